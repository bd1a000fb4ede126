//! Handing out tries.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::Instrument;

use crate::attempt::known::token;
use crate::attempt::{Assignment, Orders, attempt};
use crate::event::{Body, Outcome};
use crate::failure::Failure;
use crate::id::{Attempt, Instance, RunId};
use crate::kind::Retry;
use crate::ledger::Row;
use crate::rank::{self, Expect};
use crate::report::Progress;
use crate::runner::desk::Entry;
use crate::runner::fingerprint::fingerprint;
use crate::runner::forecast::schedule;
use crate::runner::{Ending, Options, Selected};
use crate::scheduler::{Command, Ended, Event, Setup};
use crate::workflow::{Resolved, Unresolved, Workflow};

use super::{Session, Tries};

/// What the scheduler of a run is made of.
pub(super) fn setup<'w>(
    workflow: &'w Workflow,
    rows: &[Row],
    selected: &Selected,
    options: &Options,
) -> Setup<'w> {
    let durations = rank::durations(workflow, rows, |id| {
        Expect::of(workflow.task_of(id).effect, &rows[id.index()])
    });
    let ranks = rank::ranks(&workflow.graph, &durations);
    Setup {
        first: rows.iter().map(|row| row.open.is_some() || row.failure.is_some()).collect(),
        fail_fast: options.fail_fast,
        ..schedule(workflow, selected, ranks, options.slots)
    }
}

/// Takes out what a person wanted to be done again, and an earlier session of this run has asked
/// for.
pub(super) fn not_twice(selected: &mut Selected, rows: &[Row], run: RunId) {
    let is_new = |id: &Instance| {
        let Row { open, success, .. } = &rows[id.index()];
        let asked = open.as_ref().is_some_and(|open| open.run == run);
        !asked && success.as_ref().is_none_or(|recorded| recorded.run != run)
    };
    selected.force.retain(is_new);
    selected.redo.retain(is_new);
}

impl Session<'_> {
    /// Does what the scheduler says, and what follows from that.
    pub(super) fn obey(&mut self, commands: Vec<Command>) {
        let mut commands = commands;
        while !commands.is_empty() {
            let mut events = Vec::new();
            for command in commands {
                match command {
                    Command::Start(instance) => {
                        if let Err(failure) = self.start(instance) {
                            self.fail_unstarted(instance, failure);
                            events.push(Event::Finished(instance, Ended::Failed));
                        }
                    }
                    Command::Blocked(instance, blockers) => {
                        self.reporter.progress(Progress::Blocked(instance, blockers.clone()));
                        self.endings[instance.index()] = Some(Ending::Blocked(blockers));
                    }
                }
            }
            commands = if events.is_empty() { Vec::new() } else { self.scheduler.on(events) };
        }
    }

    fn start(&mut self, instance: Instance) -> Result<(), Failure> {
        let resolved = self
            .workflow
            .resolve(instance, &self.board)
            .map_err(|unresolved| self.unresolved(instance, unresolved))?;
        self.hand_out(instance, resolved, false);
        Ok(())
    }

    /// Hands a try out; with `only_look`, one that asks the world for nothing.
    pub(in crate::runner) fn hand_out(
        &mut self,
        instance: Instance,
        resolved: Resolved,
        only_look: bool,
    ) {
        let task = self.workflow.task_of(instance);
        self.lent.learn(&resolved);
        let fingerprint = fingerprint(&task.definition, &resolved, &self.lent);
        let token = token(self.workflow, &self.rows, instance);
        let row = std::mem::take(&mut self.rows[instance.index()]);
        // A further session of the same run goes on counting.
        let before = row.open.as_ref().filter(|open| open.run == self.lent.run);
        let before = before.map_or(Attempt(0), |open| open.attempt);
        let tries = self.tries.entry(instance).or_insert_with(|| Tries {
            last: before,
            made: 0,
            meant: None,
            waited: false,
            since: Instant::now(),
        });
        tries.last.0 += 1;
        tries.made += 1;
        let name = &self.workflow.instance(instance).name;
        let span = tracing::debug_span!("attempt", instance = %name, attempt = tries.last.0);
        let assignment = Assignment {
            instance,
            attempt: tries.last,
            last: tries.made >= task.retry.attempts,
            row,
            resolved,
            fingerprint,
            token,
            orders: Orders {
                force: self.selected.force.contains(&instance),
                redo: self.selected.redo.contains(&instance),
                only_look,
            },
            meant: tries.meant,
            waited: std::mem::take(&mut tries.waited),
        };
        let try_ = attempt(Arc::clone(&self.lent), assignment).instrument(span);
        let handle = self.attempts.spawn(try_);
        self.running.insert(handle.id(), instance);
    }

    pub(in crate::runner) fn unresolved(
        &self,
        instance: Instance,
        unresolved: Unresolved,
    ) -> Failure {
        match unresolved {
            Unresolved::Failed(failure) => self.lent.redactor.redact_failure(failure),
            Unresolved::Unknown(of) => Failure::new(
                "engine::unknown-value",
                format!(
                    "`{}` reads what `{}` has not produced",
                    self.workflow.instance(instance).name,
                    self.workflow.instance(of).name
                ),
                Retry::Never,
            ),
        }
    }

    /// Writes down a failure that came before any look.
    fn fail_unstarted(&mut self, instance: Instance, failure: Failure) {
        let attempt = self.tries.get(&instance).map_or(Attempt(1), |tries| tries.last);
        let row = &mut self.rows[instance.index()];
        let in_doubt = row.open.is_some();
        let outcome = Outcome::Failed { failure: failure.clone(), attempt, in_doubt, took: 0 };
        let body = Body::Outcome(outcome);
        let entry = Entry { instance: Some(instance), body, secrets: Vec::new(), urgent: false };
        self.lent.desk.add(entry, Some(row));
        self.end_failed(instance, failure, in_doubt);
    }
}
