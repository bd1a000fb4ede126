//! Killed anywhere and resumed: the same world as without the kill.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};

use crate::support::{Room, finish, wait_for};

/// What may happen at most once in the life of a world, whoever is killed.
fn assert_nothing_was_made_twice(room: &Room) {
    for (name, times) in room.writes() {
        let once = name.ends_with(" create") || name.ends_with(" Bootstrap");
        assert!(!once || times == 1, "{name}: {times} times");
    }
}

/// The objects that a world was given, with what differs from world to world left out.
fn objects(room: &Room) -> BTreeSet<String> {
    let written = room.writes().into_iter().map(|(name, _)| name);
    written
        .filter(|name| !name.ends_with(" download") && !name.contains("schematics/"))
        .map(|name| match name.split_once("sealed-secrets-key-") {
            Some((kind, _)) => kind.to_owned(),
            None => name,
        })
        .collect()
}

/// Five Ready nodes of one etcd, and a run that finds nothing to do and writes nothing.
fn assert_whole(room: &Room, unkilled: &BTreeSet<String>) {
    assert_nothing_was_made_twice(room);
    let differing: Vec<_> = objects(room).symmetric_difference(unkilled).cloned().collect();
    assert!(differing.is_empty(), "not the world of an unkilled run: {differing:#?}");
    let before = room.written();
    let again = room.ok(&["run", "bootstrap"]);
    assert!(again.err.contains("nothing to do"), "{again:#?}");
    assert_eq!(room.written(), before);
}

/// What an unkilled run leaves.
fn unkilled() -> BTreeSet<String> {
    let room = Room::new();
    room.ok(&["run", "bootstrap"]);
    objects(&room)
}

#[test]
fn a_chain_of_sessions_each_killed_at_its_next_event_ends_as_an_unkilled_run() {
    let unkilled = unkilled();
    let room = Room::new();
    let serving = room.serve();
    let mut seq = 1;
    let mut said = room.crash_at(&["run", "bootstrap"], seq);
    let mut sessions = 1;
    while said.code.is_none() {
        // The next session's own events begin after all that are durable.
        let durable = last_seq(&room);
        assert!(durable >= seq, "killed at {seq}, durable is {durable}");
        seq = durable + 2;
        said = room.crash_at(&["resume"], seq);
        sessions += 1;
        assert!(sessions < 1000, "the chain does not end: {said:#?}");
    }
    assert_eq!(said.code, Some(0), "{said:#?}");
    assert!(sessions > 40, "only {sessions} sessions: the kills did not happen");
    assert_whole(&room, &unkilled);
    drop(serving);
}

#[test]
fn twenty_runs_killed_at_random_moments_with_the_lab_inside_end_as_an_unkilled_run() {
    let unkilled = unkilled();
    let mut random = rand::rngs::StdRng::seed_from_u64(20);
    for round in 0..20 {
        let room = Room::new();
        let mut child = room.command(&["run", "bootstrap"]).spawn().unwrap();
        let at = random.random_range(1..=130);
        let mut ended = false;
        wait_for("the moment of the kill", || {
            ended = child.try_wait().unwrap().is_some();
            ended || last_seq(&room) >= at
        });
        if !ended {
            child.kill().unwrap();
        }
        finish(child, &["the killed run"]);
        let resumed = room.flow(&["resume"]);
        assert_eq!(resumed.code, Some(0), "round {round}, killed at {at}: {resumed:#?}");
        assert_whole(&room, &unkilled);
    }
}

/// The last durable event of the site `lab`; 0 before the first.
fn last_seq(room: &Room) -> u64 {
    let dir = flow_state::SiteDir::new(room.path(), "lab");
    let reader = flow_state::Reader::open(&dir).ok().flatten();
    reader.and_then(|reader| reader.last_seq().ok()).map_or(0, |seq| seq.0)
}
