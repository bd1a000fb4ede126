//! A run as plain lines, for pipes and logs: one for each instance that ends, as it ends.

use flow_engine::event::{Done, Event};
use flow_engine::report::{Progress, Reporter};
use flow_engine::workflow::Workflow;
use flow_engine::{Attempt, Instance, Stop};
use std::sync::Arc;

use super::{Mark, Terminal};
use crate::render::time::took;

/// What is said at the first request to stop.
pub(super) const STOPPING: &str = "stopping: what is in flight finishes; once more to abandon it";
/// What is said at the second one.
pub(super) const ABANDONING: &str = "abandoning what is in flight";
/// What is said when history cannot be written for want of space.
pub(super) const DISK_IS_FULL: &str =
    "the disk is full; waiting for space (nothing new is started)";
/// What is said when it can be written again.
pub(super) const SPACE_AGAIN: &str = "there is space again; going on";

/// Prints a run line by line.
pub(crate) struct Plain {
    terminal: Terminal,
    workflow: Arc<Workflow>,
    is_full: bool,
}

impl Plain {
    /// A printer for a workflow.
    pub(crate) fn new(terminal: Terminal, workflow: Arc<Workflow>) -> Self {
        Self { terminal, workflow, is_full: false }
    }

    fn name(&self, instance: Instance) -> &str {
        self.workflow.instance(instance).name.as_str()
    }
}

/// The word for what was done.
pub(crate) fn word(done: Done) -> &'static str {
    match done {
        Done::Created => "created",
        Done::Recreated => "recreated, had vanished",
        Done::Updated => "updated",
        Done::Adopted => "already right",
        Done::UpToDate => "as recorded",
        Done::Recovered => "had taken hold, not asked again",
        Done::Kept => "kept",
        Done::Ran => "ran",
        Done::Unverified => "done before, not run again",
        Done::Passed => "passed",
        Done::LeftDrifted => "differs, left alone",
    }
}

impl Reporter for Plain {
    fn progress(&mut self, progress: Progress) {
        let terminal = self.terminal;
        match progress {
            Progress::Succeeded { instance, done, took: time, notes } => {
                let (mark, name) = (terminal.mark(Mark::Good), self.name(instance));
                terminal.say(format!("{mark} {name:<28} {:<6} {}", took(time), word(done)));
                for note in notes {
                    terminal.say(format!("  {} {note}", terminal.mark(Mark::Warn)));
                }
            }
            Progress::Failed { instance, failure, took: time } => {
                let (mark, name) = (terminal.mark(Mark::Bad), self.name(instance));
                terminal.say(format!("{mark} {name:<28} {:<6} {failure}", took(time)));
            }
            Progress::Retrying { instance, failure, after, .. } => {
                let (mark, name) = (terminal.mark(Mark::Warn), self.name(instance));
                terminal.say(format!("{mark} {name:<28} {failure}, again in {}", took(after)));
            }
            Progress::Stopping(Stop::Graceful) => terminal.say(STOPPING),
            Progress::Stopping(Stop::Forced) => terminal.say(ABANDONING),
            Progress::Stopping(Stop::No)
            | Progress::Probing(_)
            | Progress::Applying(..)
            | Progress::Settling(..)
            | Progress::Blocked(..)
            | Progress::Skipped(_)
            | Progress::BeforeFirstWrite => {}
        }
    }

    fn durable(&mut self, _: &[Event]) {
        if std::mem::take(&mut self.is_full) {
            self.terminal.say(SPACE_AGAIN);
        }
    }

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}

    fn disk_is_full(&mut self) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.terminal.say(format!("{} {DISK_IS_FULL}", self.terminal.mark(Mark::Warn)));
        }
    }
}
