//! Going through the graph, as wide as a run would.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::attempt::glance::{Glance, glance};
use crate::attempt::known::{Known, Said, token};
use crate::attempt::stopped;
use crate::attempt::{Lent, joined};
use crate::cx::Stop;
use crate::decide::{Decision, decide};
use crate::event::Done;
use crate::failure::Failure;
use crate::id::{Instance, RunId, Seq};
use crate::kind::{Effect, OnDrift, Retry};
use crate::ledger::Row;
use crate::rank::{self, Expect};
use crate::redact::Redactor;
use crate::registry::AnyVerdict;
use crate::report::{Progress, Reporter};
use crate::runner::Selected;
use crate::runner::desk::{Desk, Durable, Told};
use crate::runner::fingerprint::fingerprint;
use crate::runner::forecast::schedule;
use crate::runner::stop::FirstWrite;
use crate::runner::values::{Board, Given, given_by_ledger};
use crate::scheduler::{Command, Ended, Event, Scheduler, Setup};
use crate::workflow::{Unresolved, Workflow};

use super::{Item, Plan, Planned, Survey};

pub(super) struct Walk<'r> {
    lent: Arc<Lent>,
    workflow: Arc<Workflow>,
    selected: Selected,
    rows: Vec<Row>,
    board: Board,
    items: Vec<Option<Item>>,
    reporter: &'r mut dyn Reporter,
    looks: JoinSet<Glance>,
    slots: u32,
    started: Instant,
}

impl<'r> Walk<'r> {
    pub(super) fn new(
        survey: Survey,
        reporter: &'r mut dyn Reporter,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let Survey { workflow, mut ledger, selected, site, vault, slots, seed, clock } = survey;
        let rows = workflow
            .instances
            .iter()
            .map(|def| ledger.take(&def.name).unwrap_or_default())
            .collect();
        let desk = Desk::new(RunId(0), Seq(1), clock);
        // It only carries what is told: a probe that wants something recorded is refused.
        desk.set_durable(Durable { seq: Seq(0), broken: true });
        let lent = Lent {
            workflow: Arc::clone(&workflow),
            desk: Arc::new(desk),
            vault,
            site,
            redactor: Arc::new(Redactor::knowing(&workflow.roots.secret_inputs)),
            stop,
            first_write: FirstWrite::new(None),
            run: RunId(0),
            seed,
        };
        Self {
            board: Board::new(&workflow, &lent.redactor),
            lent: Arc::new(lent),
            items: vec![None; workflow.instances.len()],
            rows,
            selected,
            workflow,
            reporter,
            looks: JoinSet::new(),
            slots,
            started: Instant::now(),
        }
    }

    pub(super) async fn walk(mut self) -> Plan {
        let workflow = Arc::clone(&self.workflow);
        for id in workflow.ids() {
            if workflow.instance(id).skipped {
                self.put(id, Planned::Skipped);
            } else if !self.selected.run.contains(&id) {
                self.put(id, Planned::LeftOut);
            }
        }
        let mut scheduler = Scheduler::new(self.setup(&workflow));
        let mut commands = scheduler.begin();
        loop {
            let events = self.look_at(commands);
            if !events.is_empty() {
                commands = scheduler.on(events);
                continue;
            }
            let Some(glance) = self.looks.join_next().await.and_then(joined) else { break };
            self.tell();
            let id = glance.instance;
            self.take(glance);
            commands = scheduler.on([Event::Finished(id, Ended::Succeeded)]);
        }
        self.finish(&workflow)
    }

    /// How a walk is scheduled: looking takes no pools, and the order is the file's.
    fn setup<'w>(&self, workflow: &'w Workflow) -> Setup<'w> {
        let ranks = vec![0; workflow.graph.len()];
        let requests = vec![Vec::new(); workflow.instances.len()];
        Setup { requests, ..schedule(workflow, &self.selected, ranks, self.slots) }
    }

    /// Begins to look; what cannot be looked at is over at once.
    fn look_at(&mut self, commands: Vec<Command>) -> Vec<Event> {
        let mut events = Vec::new();
        for command in commands {
            let Command::Start(id) = command else { continue };
            if let Err(planned) = self.begin(id) {
                self.put(id, planned);
                events.push(Event::Finished(id, Ended::Succeeded));
            }
        }
        events
    }

    fn begin(&mut self, id: Instance) -> Result<(), Planned> {
        if *self.lent.stop.borrow() != Stop::No {
            return Err(Planned::Unreadable(interrupted()));
        }
        if let Some((until, root)) = self.waits_for(id) {
            return Err(Planned::Unknown { until, root });
        }
        let resolved = loop {
            match self.workflow.resolve(id, &self.board) {
                Ok(resolved) => break resolved,
                Err(Unresolved::Failed(failure)) => {
                    let failure = self.lent.redactor.redact_failure(failure);
                    return Err(Planned::Stuck(failure));
                }
                Err(Unresolved::Unknown(of)) => {
                    let unknown = Planned::Unknown { until: of, root: of };
                    let Some(recorded) = &self.rows[of.index()].success else {
                        return Err(unknown);
                    };
                    if self.board.has(of) {
                        return Err(unknown);
                    }
                    let name = &self.workflow.instance(of).name;
                    let given = given_by_ledger(name, recorded, &*self.lent.vault)
                        .map_err(Planned::Unreadable)?;
                    self.board.publish(of, given);
                }
            }
        };
        self.lent.learn(&resolved);
        self.reporter.progress(Progress::Probing(id));
        let row = self.rows[id.index()].clone();
        self.looks.spawn(glance(Arc::clone(&self.lent), id, resolved, row));
        Ok(())
    }

    /// What an instance needs, and that is not as it will be.
    fn waits_for(&self, id: Instance) -> Option<(Instance, Instance)> {
        self.workflow.instance(id).needs.iter().find_map(|needed| {
            let planned = &self.items[needed.index()].as_ref()?.planned;
            match planned {
                Planned::Unknown { root, .. } => Some((*needed, *root)),
                Planned::Apply { .. }
                | Planned::Underway(_)
                | Planned::Stuck(_)
                | Planned::Unreadable(_) => Some((*needed, *needed)),
                Planned::Unchanged(_)
                | Planned::Drift { .. }
                | Planned::Skipped
                | Planned::LeftOut => None,
            }
        })
    }

    fn take(&mut self, glance: Glance) {
        let Glance { instance: id, resolved, seen, notes } = glance;
        let task = self.workflow.task_of(id);
        let fingerprint = fingerprint(&task.definition, &resolved, &self.lent);
        let planned = match seen {
            None => Planned::Unreadable(interrupted()),
            Some(Err(failure)) => Planned::Unreadable(failure),
            Some(Ok(verdict)) => {
                let token = token(&self.workflow, &self.rows, id);
                let known = Known {
                    task,
                    def: self.workflow.instance(id),
                    row: &self.rows[id.index()],
                    fingerprint: &fingerprint,
                    token: &token,
                    now: self.lent.desk.now(),
                };
                let said = Said {
                    waited: true,
                    force: self.selected.force.contains(&id),
                    redo: self.selected.redo.contains(&id),
                };
                let decision = decide(&known.case(&verdict, said));
                self.planned(id, decision, verdict)
            }
        };
        self.items[id.index()] = Some(Item { planned, fingerprint: Some(fingerprint), notes });
    }

    fn planned(&mut self, id: Instance, decision: Decision, verdict: AnyVerdict) -> Planned {
        let name = &self.workflow.instance(id).name;
        if let AnyVerdict::Underway(what) = &verdict {
            return Planned::Underway(self.lent.redactor.redact(what));
        }
        match decision {
            Decision::Succeed(done) => self.unchanged(id, done, verdict),
            Decision::Apply { done, .. } => {
                let diff = diff_of(&verdict).map(|diff| self.lent.redactor.redact(&diff));
                Planned::Apply { done, diff }
            }
            Decision::Stop(stop) => {
                let failure = stopped::failure(stop, name, &verdict);
                let failure = self.lent.redactor.redact_failure(failure);
                match self.workflow.task_of(id).effect {
                    Effect::Gate => Planned::Unreadable(failure),
                    Effect::Converge | Effect::Once | Effect::Action => Planned::Stuck(failure),
                }
            }
            // Only what has not waited is told to.
            Decision::Poll => Planned::Underway(String::new()),
        }
    }

    fn unchanged(&mut self, id: Instance, done: Done, verdict: AnyVerdict) -> Planned {
        let name = &self.workflow.instance(id).name;
        let diff = diff_of(&verdict);
        let given = match (verdict, &self.rows[id.index()].success) {
            (AnyVerdict::Satisfied { outputs, secrets, .. }, _) => {
                Ok(Given { outputs: Arc::new(outputs), secrets })
            }
            (_, Some(recorded)) => given_by_ledger(name, recorded, &*self.lent.vault),
            (_, None) => Ok(Given::default()),
        };
        match given {
            Ok(given) => self.board.publish(id, given),
            Err(failure) => return Planned::Unreadable(failure),
        }
        match diff {
            Some(diff) => {
                let pending = self.workflow.task_of(id).on_drift != OnDrift::Ignore;
                Planned::Drift { diff: self.lent.redactor.redact(&diff), pending }
            }
            None => Planned::Unchanged(done),
        }
    }

    fn put(&mut self, id: Instance, planned: Planned) {
        self.items[id.index()] = Some(Item { planned, fingerprint: None, notes: Vec::new() });
    }

    fn tell(&mut self) {
        for told in self.lent.desk.take_told() {
            match told {
                Told::Progress(progress) => self.reporter.progress(progress),
                Told::Log(instance, attempt, bytes) => {
                    self.reporter.log(instance, attempt, &bytes);
                }
                Told::Settling(_) => {}
            }
        }
    }

    fn finish(mut self, workflow: &Workflow) -> Plan {
        self.tell();
        let interrupted_ = *self.lent.stop.borrow() != Stop::No;
        let unread = || Item {
            planned: Planned::Unreadable(interrupted()),
            fingerprint: None,
            notes: Vec::new(),
        };
        let items: Vec<Item> = std::mem::take(&mut self.items)
            .into_iter()
            .map(|item| item.unwrap_or_else(unread))
            .collect();
        let durations = rank::durations(workflow, &self.rows, |id| {
            match (workflow.task_of(id).effect, expect(&items[id.index()])) {
                // A gate never applies.
                (Effect::Gate, Expect::Apply) => Expect::Look,
                (Effect::Gate | Effect::Converge | Effect::Once | Effect::Action, it) => it,
            }
        });
        let ranks = rank::ranks(&workflow.graph, &durations);
        let setup = schedule(workflow, &self.selected, ranks.clone(), self.slots);
        let eta = rank::replay(setup, &durations);
        Plan {
            critical: rank::critical_path(&workflow.graph, &ranks),
            eta: Duration::from_millis(eta),
            items,
            took: self.started.elapsed(),
            interrupted: interrupted_,
        }
    }
}

fn expect(item: &Item) -> Expect {
    match &item.planned {
        Planned::Apply { .. }
        | Planned::Underway(_)
        | Planned::Stuck(_)
        | Planned::Unreadable(_)
        | Planned::Unknown { .. } => Expect::Apply,
        Planned::Unchanged(_) | Planned::Drift { .. } => Expect::Look,
        Planned::Skipped | Planned::LeftOut => Expect::Nothing,
    }
}

fn diff_of(verdict: &AnyVerdict) -> Option<String> {
    match verdict {
        AnyVerdict::Drifted { diff, .. } => Some(diff.clone()),
        AnyVerdict::Satisfied { .. } | AnyVerdict::Absent(_) | AnyVerdict::Underway(_) => None,
    }
}

fn interrupted() -> Failure {
    Failure::new("engine::interrupted", "it was not looked at to the end", Retry::Never)
}
