//! A run as plain lines, for pipes and logs: one for each instance that ends, as it ends.

use flow_engine::event::{Done, Event};
use flow_engine::report::{Progress, Reporter};
use flow_engine::workflow::Workflow;
use flow_engine::{Attempt, Instance, Stop};
use std::sync::Arc;

use super::{Mark, Terminal};
use crate::render::time::took;

/// Prints a run line by line.
pub(crate) struct Plain {
    terminal: Terminal,
    workflow: Arc<Workflow>,
}

impl Plain {
    /// A printer for a workflow.
    pub(crate) fn new(terminal: Terminal, workflow: Arc<Workflow>) -> Self {
        Self { terminal, workflow }
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
            Progress::Stopping(Stop::Graceful) => {
                terminal.say("stopping: what is in flight finishes; once more to abandon it");
            }
            Progress::Stopping(Stop::Forced) => terminal.say("abandoning what is in flight"),
            Progress::Stopping(Stop::No)
            | Progress::Probing(_)
            | Progress::Applying(..)
            | Progress::Settling(..)
            | Progress::Blocked(..)
            | Progress::Skipped(_)
            | Progress::BeforeFirstWrite => {}
        }
    }

    fn durable(&mut self, _: &[Event]) {}

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}
}
