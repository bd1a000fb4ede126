//! The decision table: effect × what was seen × what is known. Pure.

use crate::event::{Done, Origin};
use crate::kind::{Effect, Mark, OnDrift};
use crate::registry::AnyVerdict;

/// What a probe saw, without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// As declared.
    Satisfied,
    /// Not there, or half made and ours.
    Absent,
    /// There, and it differs.
    Drifted(Whose),
    /// A change is in progress.
    Underway,
}

/// Whose the thing is that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// It carries our mark.
    Ours,
    /// It does not.
    Unmarked,
    /// It cannot carry one.
    Unmarkable,
}

/// What is known of the instance. An open intent goes before a recorded success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// No success is recorded.
    Nothing,
    /// One is.
    Recorded(Origin),
    /// An effect was asked for and has no outcome; whether there is a recorded success too.
    Open {
        /// A success before that intent.
        recorded: bool,
    },
}

/// Everything that a decision rests on.
#[expect(clippy::struct_excessive_bools, reason = "they are the independent columns of a table")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// What sort of change it is.
    pub effect: Effect,
    /// What the probe saw.
    pub seen: Seen,
    /// What is known.
    pub past: Past,
    /// What happens to drift.
    pub on_drift: OnDrift,
    /// Whether the task itself says `on-drift = "fix"`.
    pub fix_is_said: bool,
    /// Whether the inputs differ from the recorded ones.
    pub changed: bool,
    /// Whether changed inputs are a reason to apply although the probe is satisfied (`shell`).
    pub applies_on_change: bool,
    /// Whether everything that it lives in is new since the recorded success.
    pub new_incarnation: bool,
    /// Whether the last success of an action is older than `fresh`.
    pub stale: bool,
    /// Whether "absent" proves that a `once` did not happen.
    pub conclusive: bool,
    /// Whether an interrupted action waits for a person.
    pub ask_on_crash: bool,
    /// Whether it was polled until settle was over.
    pub waited: bool,
    /// `--force`.
    pub force: bool,
    /// `--redo`.
    pub redo: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it ends well.
    Succeed(Done),
    /// Ask for the change.
    Apply {
        /// What it is called when it has taken hold.
        done: Done,
        /// Whether the open intent is first closed as "did not take hold".
        close: bool,
    },
    /// Look again until settle is over, then decide again with `waited`.
    Poll,
    /// Nothing more can be done in this run.
    Stop(Stopped),
}

/// Why nothing more can be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// The change in progress did not end in time.
    StillUnderway,
    /// A gate was not satisfied in time.
    NotPassed,
    /// It exists, differs, and does not carry our mark.
    NotOurs,
    /// It differs, is not to be changed, and nothing is recorded that could be passed on.
    DriftUnrecorded,
    /// A `once` was done in this incarnation and is not to be seen.
    WasDone,
    /// A `once` that differs from what is declared.
    OnceDiffers,
    /// A `once` was asked for, and its probe cannot prove that it did not happen.
    InDoubt,
    /// An action was interrupted, and the task wants a person to look.
    Interrupted,
}

impl Seen {
    /// What a verdict comes down to.
    #[must_use]
    pub fn of(verdict: &AnyVerdict) -> Self {
        match verdict {
            AnyVerdict::Satisfied { .. } => Self::Satisfied,
            AnyVerdict::Absent(_) => Self::Absent,
            AnyVerdict::Drifted { mark, .. } => Self::Drifted(Whose::of(mark)),
            AnyVerdict::Underway(_) => Self::Underway,
        }
    }
}

impl Whose {
    /// What a mark says.
    #[must_use]
    pub fn of<H>(mark: &Mark<H>) -> Self {
        match mark {
            Mark::Ours(_) => Self::Ours,
            Mark::Missing(_) => Self::Unmarked,
            Mark::Nowhere => Self::Unmarkable,
        }
    }
}

/// Reads the table.
#[must_use]
pub fn decide(case: &Case) -> Decision {
    match case.effect {
        Effect::Gate => gate(case),
        Effect::Converge => converge(case),
        Effect::Once => once(case),
        Effect::Action => action(case),
    }
}

fn gate(case: &Case) -> Decision {
    match case.seen {
        Seen::Satisfied => Decision::Succeed(Done::Passed),
        Seen::Absent | Seen::Drifted(_) | Seen::Underway if case.waited => {
            Decision::Stop(Stopped::NotPassed)
        }
        Seen::Absent | Seen::Drifted(_) | Seen::Underway => Decision::Poll,
    }
}

fn underway(case: &Case) -> Decision {
    if case.waited { Decision::Stop(Stopped::StillUnderway) } else { Decision::Poll }
}

fn apply(done: Done) -> Decision {
    Decision::Apply { done, close: false }
}

fn close_and_apply(done: Done) -> Decision {
    Decision::Apply { done, close: true }
}

#[expect(clippy::match_same_arms, reason = "an arm is a cell of the table")]
fn converge(case: &Case) -> Decision {
    match (case.seen, case.past) {
        (Seen::Underway, _) => underway(case),
        (Seen::Satisfied, _) if case.force => apply(Done::Updated),
        (Seen::Satisfied, Past::Nothing) => Decision::Succeed(Done::Adopted),
        (Seen::Satisfied, Past::Recorded(_)) if case.changed && case.applies_on_change => {
            apply(Done::Updated)
        }
        (Seen::Satisfied, Past::Recorded(_)) => Decision::Succeed(Done::UpToDate),
        (Seen::Satisfied, Past::Open { .. }) => Decision::Succeed(Done::Recovered),
        (Seen::Absent, Past::Nothing) => apply(Done::Created),
        (Seen::Absent, Past::Recorded(_)) => apply(Done::Recreated),
        (Seen::Absent, Past::Open { recorded: false }) => close_and_apply(Done::Created),
        (Seen::Absent, Past::Open { recorded: true }) => close_and_apply(Done::Recreated),
        (Seen::Drifted(_), Past::Open { .. }) => apply(Done::Updated),
        (Seen::Drifted(Whose::Unmarked), Past::Nothing) => Decision::Stop(Stopped::NotOurs),
        (Seen::Drifted(_), Past::Nothing) => match case.on_drift {
            OnDrift::Fix => apply(Done::Updated),
            OnDrift::Report | OnDrift::Ignore if case.force => apply(Done::Updated),
            OnDrift::Report | OnDrift::Ignore => Decision::Stop(Stopped::DriftUnrecorded),
        },
        (Seen::Drifted(_), Past::Recorded(_)) if case.force => apply(Done::Updated),
        (Seen::Drifted(_), Past::Recorded(Origin::Found)) if !case.fix_is_said => leave(case),
        (Seen::Drifted(_), Past::Recorded(_)) => match case.on_drift {
            OnDrift::Fix => apply(Done::Updated),
            OnDrift::Report | OnDrift::Ignore => leave(case),
        },
    }
}

fn leave(case: &Case) -> Decision {
    Decision::Succeed(match case.on_drift {
        OnDrift::Fix | OnDrift::Report => Done::LeftDrifted,
        OnDrift::Ignore => Done::UpToDate,
    })
}

fn once(case: &Case) -> Decision {
    match (case.seen, case.past) {
        (Seen::Underway, _) => underway(case),
        // A person lifts every stop, and asks for what is there to be done again.
        (Seen::Absent, Past::Recorded(_)) if case.redo => apply(Done::Recreated),
        (Seen::Satisfied | Seen::Drifted(_), Past::Nothing | Past::Recorded(_)) if case.redo => {
            apply(Done::Ran)
        }
        (Seen::Satisfied, Past::Nothing) => Decision::Succeed(Done::Adopted),
        (Seen::Satisfied, Past::Recorded(_)) => Decision::Succeed(Done::Kept),
        (Seen::Satisfied, Past::Open { .. }) => Decision::Succeed(Done::Recovered),
        (Seen::Absent, Past::Nothing) => apply(Done::Created),
        (Seen::Absent, Past::Recorded(_)) if case.new_incarnation => apply(Done::Created),
        (Seen::Absent, Past::Recorded(_)) => Decision::Stop(Stopped::WasDone),
        (Seen::Drifted(_), Past::Nothing) => Decision::Stop(Stopped::OnceDiffers),
        (Seen::Drifted(_), Past::Recorded(_)) => Decision::Succeed(Done::LeftDrifted),
        (Seen::Absent | Seen::Drifted(_), Past::Open { .. }) => {
            if case.redo {
                close_and_apply(Done::Created)
            } else if !case.waited {
                Decision::Poll
            } else if case.conclusive {
                close_and_apply(Done::Created)
            } else {
                Decision::Stop(Stopped::InDoubt)
            }
        }
    }
}

#[expect(clippy::match_same_arms, reason = "an arm is a cell of the table")]
fn action(case: &Case) -> Decision {
    match (case.seen, case.past) {
        (Seen::Underway, _) => underway(case),
        (_, Past::Nothing | Past::Recorded(_)) if case.force => apply(Done::Ran),
        (Seen::Satisfied, Past::Nothing | Past::Recorded(_)) => Decision::Succeed(Done::UpToDate),
        (Seen::Satisfied, Past::Open { .. }) => Decision::Succeed(Done::Recovered),
        (Seen::Absent, Past::Nothing) => apply(Done::Ran),
        (Seen::Absent, Past::Recorded(_)) if case.changed || case.stale => apply(Done::Ran),
        (Seen::Absent, Past::Recorded(_)) => Decision::Succeed(Done::Unverified),
        (Seen::Drifted(_), Past::Nothing | Past::Recorded(_)) => apply(Done::Ran),
        (Seen::Absent | Seen::Drifted(_), Past::Open { .. }) => {
            if case.ask_on_crash && !case.redo && !case.force {
                Decision::Stop(Stopped::Interrupted)
            } else {
                apply(Done::Ran)
            }
        }
    }
}

#[cfg(test)]
mod tests;
