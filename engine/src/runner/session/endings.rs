//! Taking tries back, and how instances end.

use std::time::Duration;

use tokio::time::Instant;

use crate::attempt::{End, Finished, Returned, joined};
use crate::cx::Stop;
use crate::failure::Failure;
use crate::id::{Attempt, Instance, InstanceName};
use crate::report::Progress;
use crate::runner::backoff;
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
    /// Takes a try back that is over, or has been dropped.
    pub(super) fn take_back(&mut self, returned: Joined, events: &mut Vec<Event>) {
        let id = match &returned {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let Some(instance) = self.running.remove(&id) else { return };
        if let Some((_, returned)) = joined(returned) {
            self.take_returned(returned, events);
        } else {
            self.endings[instance.index()] = Some(Ending::Interrupted);
            events.push(Event::Finished(instance, Ended::Later));
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
            End::Queues { waited } if self.stopped == Stop::No => {
                self.queue_again(instance, waited);
                Ended::Later
            }
            End::Failed { again: true, .. } | End::Queues { .. } | End::Interrupted | End::Lost => {
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

    /// The same try goes on as soon as it has a slot.
    fn queue_again(&mut self, instance: Instance, waited: bool) {
        if let Some(tries) = self.tries.get_mut(&instance) {
            tries.waited = waited;
            tries.last.0 -= 1;
            tries.made -= 1;
        }
        self.retries.insert((Instant::now(), instance));
    }

    fn retry_later(&mut self, instance: Instance, attempt: Attempt, failure: Failure) {
        let policy = &self.workflow.task_of(instance).retry;
        let after = backoff::after_failure(policy, self.lent.seed, instance, attempt);
        self.retries.insert((Instant::now() + after, instance));
        self.reporter.progress(Progress::Retrying { instance, attempt, after, failure });
    }

    fn end_well(&mut self, instance: Instance, finished: Finished) {
        let Finished { done, outputs, secrets, notes, drift } = finished;
        let (_, took) = self.forget_tries(instance);
        self.board.publish(instance, Given { outputs, secrets });
        self.reporter.progress(Progress::Succeeded { instance, done, took, notes: notes.clone() });
        self.endings[instance.index()] = Some(Ending::Succeeded { done, notes, drift, took });
    }

    pub(super) fn end_failed(&mut self, instance: Instance, failure: Failure, in_doubt: bool) {
        let (attempt, took) = self.forget_tries(instance);
        self.reporter.progress(Progress::Failed { instance, failure: failure.clone(), took });
        let at = self.started.elapsed();
        self.endings[instance.index()] =
            Some(Ending::Failed { failure, in_doubt, attempt, at, took });
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

    /// Which try was the last of an instance that has ended, and how long all of them took.
    fn forget_tries(&mut self, instance: Instance) -> (Attempt, Duration) {
        let tries = self.tries.remove(&instance);
        tries.map_or((Attempt(0), Duration::ZERO), |tries| (tries.last, tries.since.elapsed()))
    }
}
