//! How a run ended, instance by instance.

use std::time::Duration;

use crate::event::{Done, RunEnded};
use crate::failure::Failure;
use crate::id::{Attempt, Instance, Seq};
use crate::kind::Retry;

/// How one instance ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// It is as declared, or was deliberately left as it is.
    Succeeded {
        /// What was done.
        done: Done,
        /// Warnings.
        notes: Vec<String>,
        /// What differs and was left alone.
        drift: Option<String>,
        /// From its first start.
        took: Duration,
    },
    /// It failed for this run.
    Failed {
        /// Why.
        failure: Failure,
        /// Whether an effect was asked for of which nobody knows whether it happened.
        in_doubt: bool,
        /// Which try was the last; 0 if it never had one.
        attempt: Attempt,
        /// When, from the start of the session.
        at: Duration,
        /// From its first start.
        took: Duration,
    },
    /// It could not start: these failed (the first ones).
    Blocked(Vec<Instance>),
    /// The user stopped it; what it asked for is settled by the next session.
    Interrupted,
    /// It never started, since the run was stopped.
    NotStarted,
    /// `when` is false.
    Skipped,
    /// The selection leaves it out.
    LeftOut,
    /// The selection needs it as it is: it was looked at and holds.
    Verified,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// One for each instance, by number.
    pub endings: Vec<Ending>,
    /// The whole.
    pub ended: RunEnded,
    /// From start to end.
    pub took: Duration,
    /// The last event.
    pub last: Seq,
}

/// How many instances ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// The world was changed for it.
    pub applied: usize,
    /// A gate that passed.
    pub checked: usize,
    /// Was right before flow ever acted.
    pub already_right: usize,
    /// Is as flow left it earlier.
    pub as_recorded: usize,
    /// An interrupted effect of an earlier session that had taken hold.
    pub recovered: usize,
    /// Differs, and was left alone.
    pub left_drifted: usize,
    /// Failed.
    pub failed: usize,
    /// Could not start.
    pub blocked: usize,
    /// Stopped, or never started.
    pub interrupted: usize,
    /// `when` is false.
    pub skipped: usize,
    /// Outside of the selection, verified or not.
    pub left_out: usize,
}

impl Summary {
    /// How many instances ended how.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for ending in &self.endings {
            *counts.of(ending) += 1;
        }
        counts
    }

    /// The failed instances, in topological order.
    pub fn failures(&self) -> impl Iterator<Item = (Instance, &Failure)> {
        (0..).map(Instance).zip(&self.endings).filter_map(|(id, ending)| match ending {
            Ending::Failed { failure, .. } => Some((id, failure)),
            Ending::Succeeded { .. }
            | Ending::Blocked(_)
            | Ending::Interrupted
            | Ending::NotStarted
            | Ending::Skipped
            | Ending::LeftOut
            | Ending::Verified => None,
        })
    }

    /// Whether something failed, and nothing that a person need not look at first.
    #[must_use]
    pub fn needs_a_human(&self) -> bool {
        let mut failures = self.failures().peekable();
        failures.peek().is_some() && failures.all(|(_, failure)| failure.retry == Retry::Human)
    }
}

impl Counts {
    fn of(&mut self, ending: &Ending) -> &mut usize {
        match ending {
            Ending::Succeeded { done, .. } => match done {
                Done::Created | Done::Recreated | Done::Updated | Done::Ran => &mut self.applied,
                Done::Passed => &mut self.checked,
                Done::Adopted => &mut self.already_right,
                Done::UpToDate | Done::Kept | Done::Unverified => &mut self.as_recorded,
                Done::Recovered => &mut self.recovered,
                Done::LeftDrifted => &mut self.left_drifted,
            },
            Ending::Failed { .. } => &mut self.failed,
            Ending::Blocked(_) => &mut self.blocked,
            Ending::Interrupted | Ending::NotStarted => &mut self.interrupted,
            Ending::Skipped => &mut self.skipped,
            Ending::LeftOut | Ending::Verified => &mut self.left_out,
        }
    }
}
