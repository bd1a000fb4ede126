use super::Stopped::{
    DriftUnrecorded, InDoubt, Interrupted, NotOurs, NotPassed, OnceDiffers, StillUnderway, WasDone,
};
use super::*;
use Done::{
    Adopted, Created, Kept, LeftDrifted, Passed, Ran, Recovered, Recreated, Unverified, UpToDate,
    Updated,
};
use Effect::{Action, Converge, Gate, Once};
use Seen::{Absent, Satisfied, Underway};

const OURS: Seen = Seen::Drifted(Whose::Ours);
const FOREIGN: Seen = Seen::Drifted(Whose::Unmarked);
const NONE: Past = Past::Nothing;
const MADE: Past = Past::Recorded(Origin::Made);
const FOUND: Past = Past::Recorded(Origin::Found);
const OPEN: Past = Past::Open { recorded: false };
const REOPENED: Past = Past::Open { recorded: true };

fn case(effect: Effect, seen: Seen, past: Past) -> Case {
    Case {
        effect,
        seen,
        past,
        on_drift: OnDrift::Fix,
        fix_is_said: false,
        changed: false,
        applies_on_change: false,
        new_incarnation: false,
        stale: false,
        conclusive: true,
        ask_on_crash: false,
        waited: false,
        force: false,
        redo: false,
    }
}

fn of(effect: Effect, seen: Seen, past: Past) -> Decision {
    decide(&case(effect, seen, past))
}

fn waited(effect: Effect, seen: Seen, past: Past) -> Decision {
    decide(&Case { waited: true, ..case(effect, seen, past) })
}

fn ends(done: Done) -> Decision {
    Decision::Succeed(done)
}

fn stops(why: Stopped) -> Decision {
    Decision::Stop(why)
}

#[test]
fn what_is_underway_is_waited_for_and_never_applied_over() {
    for effect in [Converge, Once, Action] {
        for past in [NONE, MADE, FOUND, OPEN, REOPENED] {
            for (force, redo) in [(false, false), (true, false), (false, true)] {
                let case = Case { force, redo, ..case(effect, Underway, past) };
                assert_eq!(decide(&case), Decision::Poll);
                let case = Case { waited: true, ..case };
                assert_eq!(decide(&case), stops(StillUnderway));
            }
        }
    }
}

#[test]
fn converge_satisfied() {
    assert_eq!(of(Converge, Satisfied, NONE), ends(Adopted));
    assert_eq!(of(Converge, Satisfied, MADE), ends(UpToDate));
    assert_eq!(of(Converge, Satisfied, FOUND), ends(UpToDate));
    assert_eq!(of(Converge, Satisfied, OPEN), ends(Recovered));
    let changed = Case { changed: true, ..case(Converge, Satisfied, MADE) };
    assert_eq!(decide(&changed), ends(UpToDate));
    assert_eq!(decide(&Case { applies_on_change: true, ..changed }), apply(Updated));
    let forced = Case { force: true, ..case(Converge, Satisfied, MADE) };
    assert_eq!(decide(&forced), apply(Updated));
}

#[test]
fn converge_absent() {
    assert_eq!(of(Converge, Absent, NONE), apply(Created));
    assert_eq!(of(Converge, Absent, MADE), apply(Recreated));
    assert_eq!(of(Converge, Absent, OPEN), close_and_apply(Created));
    assert_eq!(of(Converge, Absent, REOPENED), close_and_apply(Recreated));
}

#[test]
fn converge_drifted() {
    let with = |on_drift, seen, past| decide(&Case { on_drift, ..case(Converge, seen, past) });
    for (on_drift, none, made) in [
        (OnDrift::Fix, apply(Updated), apply(Updated)),
        (OnDrift::Report, stops(DriftUnrecorded), ends(LeftDrifted)),
        (OnDrift::Ignore, stops(DriftUnrecorded), ends(UpToDate)),
    ] {
        assert_eq!(with(on_drift, OURS, NONE), none);
        assert_eq!(with(on_drift, OURS, MADE), made);
        assert_eq!(with(on_drift, FOREIGN, NONE), stops(NotOurs));
        assert_eq!(with(on_drift, OURS, OPEN), apply(Updated));
        assert_eq!(with(on_drift, FOREIGN, REOPENED), apply(Updated));
    }
    assert_eq!(with(OnDrift::Fix, FOREIGN, FOUND), ends(LeftDrifted));
    let said = Case { fix_is_said: true, ..case(Converge, FOREIGN, FOUND) };
    assert_eq!(decide(&said), apply(Updated));
    let forced = Case { force: true, ..case(Converge, FOREIGN, NONE) };
    assert_eq!(decide(&forced), stops(NotOurs), "force takes nothing that is not ours");
}

#[test]
fn once_satisfied() {
    assert_eq!(of(Once, Satisfied, NONE), ends(Adopted));
    assert_eq!(of(Once, Satisfied, MADE), ends(Kept));
    assert_eq!(of(Once, Satisfied, OPEN), ends(Recovered));
    let changed =
        Case { changed: true, applies_on_change: true, force: true, ..case(Once, Satisfied, MADE) };
    assert_eq!(decide(&changed), ends(Kept));
}

#[test]
fn once_absent() {
    assert_eq!(of(Once, Absent, NONE), apply(Created));
    assert_eq!(of(Once, Absent, MADE), stops(WasDone));
    let new = Case { new_incarnation: true, ..case(Once, Absent, MADE) };
    assert_eq!(decide(&new), apply(Created));
    for past in [OPEN, REOPENED] {
        assert_eq!(of(Once, Absent, past), Decision::Poll);
        assert_eq!(waited(Once, Absent, past), close_and_apply(Created));
        let unsure = Case { conclusive: false, waited: true, ..case(Once, Absent, past) };
        assert_eq!(decide(&unsure), stops(InDoubt));
        assert_eq!(decide(&Case { redo: true, ..unsure }), close_and_apply(Created));
    }
}

#[test]
fn once_drifted() {
    assert_eq!(of(Once, OURS, NONE), stops(OnceDiffers));
    assert_eq!(of(Once, OURS, MADE), ends(LeftDrifted));
    assert_eq!(of(Once, OURS, OPEN), of(Once, Absent, OPEN));
    assert_eq!(waited(Once, OURS, OPEN), waited(Once, Absent, OPEN));
}

#[test]
fn only_redo_lifts_the_stops_of_a_once() {
    let lifted = [
        (Absent, NONE, Created),
        (Absent, MADE, Recreated),
        (OURS, NONE, Ran),
        (Satisfied, NONE, Ran),
        (Satisfied, MADE, Ran),
    ];
    for (seen, past, done) in lifted {
        let plain = case(Once, seen, past);
        let forced = Case { force: true, ..plain };
        assert_eq!(decide(&forced), decide(&plain));
        assert_eq!(decide(&Case { redo: true, ..plain }), apply(done));
    }
}

#[test]
fn action_satisfied() {
    assert_eq!(of(Action, Satisfied, NONE), ends(UpToDate));
    assert_eq!(of(Action, Satisfied, MADE), ends(UpToDate));
    assert_eq!(of(Action, Satisfied, OPEN), ends(Recovered));
}

#[test]
fn action_absent() {
    assert_eq!(of(Action, Absent, NONE), apply(Ran));
    assert_eq!(of(Action, Absent, MADE), ends(Unverified));
    let known = case(Action, Absent, MADE);
    assert_eq!(decide(&Case { changed: true, ..known }), apply(Ran));
    assert_eq!(decide(&Case { stale: true, ..known }), apply(Ran));
    assert_eq!(decide(&Case { force: true, ..known }), apply(Ran));
    assert_eq!(of(Action, Absent, OPEN), apply(Ran));
    let asks = Case { ask_on_crash: true, ..case(Action, Absent, OPEN) };
    assert_eq!(decide(&asks), stops(Interrupted));
    assert_eq!(decide(&Case { redo: true, ..asks }), apply(Ran));
}

#[test]
fn action_drifted() {
    assert_eq!(of(Action, OURS, NONE), apply(Ran));
    assert_eq!(of(Action, FOREIGN, MADE), apply(Ran));
    assert_eq!(of(Action, OURS, OPEN), of(Action, Absent, OPEN));
}

#[test]
fn gate() {
    for past in [NONE, MADE] {
        assert_eq!(of(Gate, Satisfied, past), ends(Passed));
        for seen in [Absent, OURS, FOREIGN, Underway] {
            assert_eq!(of(Gate, seen, past), Decision::Poll);
            assert_eq!(waited(Gate, seen, past), stops(NotPassed));
        }
    }
}
