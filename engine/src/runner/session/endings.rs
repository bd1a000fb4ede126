//! Taking tries back, and how instances end.

use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::{End, Finished, Returned};
use crate::cx::Stop;
use crate::event::{Body, Outcome};
use crate::failure::Failure;
use crate::id::{Attempt, Instance, InstanceName};
use crate::kind::Retry;
use crate::report::Progress;
use crate::runner::backoff;
use crate::runner::desk::Entry;
use crate::runner::values::Given;
use crate::runner::{Ending, Selected};
use crate::scheduler::{Ended, Event};
use crate::workflow::Workflow;

use super::{Joined, Session};

/// How instances end that never start.
pub(super) fn before(workflow: &Workflow, selected: &Selected) -> Vec<Option<Ending>> {
    workflow
        .ids()
        .map(|id| {
            if workflow.instance(id).skipped {
                Some(Ending::Skipped)
            } else if selected.run.contains(&id) {
                None
            } else {
                Some(Ending::LeftOut)
            }
        })
        .collect()
}

impl Session<'_> {
    /// Takes a try back that is over, or has been dropped, or has panicked.
    pub(super) fn take_back(&mut self, joined: Joined, events: &mut Vec<Event>) {
        match joined {
            Ok((id, returned)) => {
                self.running.remove(&id);
                self.take_returned(returned, events);
            }
            Err(error) => {
                let Some(instance) = self.running.remove(&error.id()) else { return };
                if error.is_panic() {
                    self.take_panic(instance);
                    events.push(Event::Finished(instance, Ended::Failed));
                } else {
                    self.endings[instance.index()] = Some(Ending::Interrupted);
                    events.push(Event::Finished(instance, Ended::Later));
                }
            }
        }
    }

    fn take_returned(&mut self, returned: Returned, events: &mut Vec<Event>) {
        let Returned { instance, attempt, row, meant, end } = returned;
        self.rows[instance.index()] = row;
        if let Some(tries) = self.tries.get_mut(&instance) {
            tries.meant = meant;
        }
        let ended = match end {
            End::Succeeded(finished) => {
                self.end_well(instance, *finished);
                Ended::Succeeded
            }
            End::Failed { failure, again: true, .. } if self.stopped == Stop::No => {
                self.retry_later(instance, attempt, failure);
                Ended::Later
            }
            End::Failed { again: true, .. } | End::Interrupted | End::Lost => {
                if self.selected.run.contains(&instance) {
                    self.endings[instance.index()] = Some(Ending::Interrupted);
                }
                Ended::Later
            }
            End::Failed { failure, again: false, in_doubt } => {
                self.end_failed(instance, failure, in_doubt);
                Ended::Failed
            }
        };
        if self.rows[instance.index()].open.is_none() {
            self.applying.remove(&instance);
        }
        events.push(Event::Finished(instance, ended));
    }

    fn retry_later(&mut self, instance: Instance, attempt: Attempt, failure: Failure) {
        let policy = &self.workflow.task_of(instance).retry;
        let after = backoff::after_failure(policy, self.lent.seed, instance, attempt);
        self.retries.insert((Instant::now() + after, instance));
        self.reporter.progress(Progress::Retrying { instance, attempt, after, failure });
    }

    fn end_well(&mut self, instance: Instance, finished: Finished) {
        let Finished { done, outputs, secrets, notes, drift } = finished;
        let took = self.took(instance);
        self.publish(instance, Given { outputs, secrets });
        self.reporter.progress(Progress::Succeeded { instance, done, took, notes: notes.clone() });
        self.endings[instance.index()] = Some(Ending::Succeeded { done, notes, drift, took });
    }

    /// Lets others read what an instance has produced, and nobody its secrets.
    pub(in crate::runner) fn publish(&mut self, instance: Instance, given: Given) {
        self.lent.redactor.learn_all(&given.secrets);
        self.board.put(instance, given);
    }

    pub(super) fn end_failed(&mut self, instance: Instance, failure: Failure, in_doubt: bool) {
        let took = self.took(instance);
        self.reporter.progress(Progress::Failed { instance, failure: failure.clone(), took });
        let attempt = self.tries.get(&instance).map_or(Attempt(0), |tries| tries.last);
        let at = self.started.elapsed();
        self.endings[instance.index()] =
            Some(Ending::Failed { failure, in_doubt, attempt, at, took });
    }

    /// A panic of a kind is a bug; it ends that instance, not the run.
    fn take_panic(&mut self, instance: Instance) {
        let name = &self.workflow.instance(instance).name;
        let failure =
            Failure::new("engine::panic", format!("the kind of `{name}` panicked"), Retry::Never)
                .with_help("this is a bug; RUST_BACKTRACE=1 shows where");
        let in_doubt = self.applying.contains(&instance);
        let attempt = self.tries.get(&instance).map_or(Attempt(1), |tries| tries.last);
        let outcome = Outcome::Failed { failure: failure.clone(), attempt, in_doubt, took: 0 };
        let body = Body::Outcome(outcome);
        let entry = Entry { instance: Some(instance), body, secrets: Vec::new(), urgent: true };
        self.lent.desk.add(entry, None);
        self.end_failed(instance, failure, in_doubt);
    }

    /// Names the end of everything that never came to one.
    pub(super) fn end_unstarted(&mut self) {
        for (instance, blockers) in self.scheduler.unstarted() {
            let ending = &mut self.endings[instance.index()];
            if ending.is_none() {
                *ending = Some(if blockers.is_empty() {
                    Ending::NotStarted
                } else {
                    Ending::Blocked(blockers)
                });
            }
        }
    }

    /// Those whose effect was asked for, and that have no outcome.
    pub(super) fn undecided(&self) -> Vec<InstanceName> {
        self.applying
            .iter()
            .map(|instance| self.workflow.instance(*instance).name.clone())
            .collect()
    }

    fn took(&self, instance: Instance) -> Duration {
        self.tries.get(&instance).map_or(Duration::ZERO, |tries| tries.since.elapsed())
    }
}
