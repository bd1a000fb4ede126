//! The loop of turns.

mod endings;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use crate::attempt::{Lent, Returned};
use crate::cx::Stop;
use crate::event::{Body, Done, RunEnded};
use crate::id::{Attempt, Instance};
use crate::journal::StoreError;
use crate::ledger::Row;
use crate::redact::Redactor;
use crate::report::{Progress, Reporter};
use crate::scheduler::{Event, Scheduler};
use crate::workflow::Workflow;

use super::desk::{Desk, Durable, Entry, Told};
use super::stop::FirstWrite;
use super::values::Board;
use super::writer::{Writer, Written, durable};
use super::{Ending, OnDurable, Run, RunError, Selected, Summary};

/// After the second interrupt everything has this long to come to an end.
const FORCED_END: Duration = Duration::from_secs(25);

type Joined = Result<(Id, Returned), JoinError>;

/// One execution under way.
pub(super) struct Session<'r> {
    pub(super) workflow: &'r Workflow,
    pub(super) lent: Arc<Lent>,
    pub(super) selected: Selected,
    pub(super) rows: Vec<Row>,
    pub(super) board: Board,
    pub(super) endings: Vec<Option<Ending>>,
    reporter: &'r mut dyn Reporter,
    scheduler: Scheduler<'r>,
    /// Of those that have begun and not ended.
    tries: BTreeMap<Instance, Tries>,
    attempts: JoinSet<Returned>,
    running: BTreeMap<Id, Instance>,
    joined: Vec<Joined>,
    /// Those whose apply has begun and has not come back.
    applying: BTreeSet<Instance>,
    retries: BTreeSet<(Instant, Instance)>,
    writer: Writer,
    broken: Option<StoreError>,
    on_durable: Option<OnDurable>,
    stop: watch::Receiver<Stop>,
    stopped: Stop,
    forced_end: Option<Instant>,
    pub(super) slots: u32,
    pub(super) started: Instant,
}

/// What is remembered from try to try.
struct Tries {
    last: Attempt,
    made: u32,
    meant: Option<Done>,
    /// Whether the last one waited until settle was over, and only lacked a slot.
    waited: bool,
    since: Instant,
}

impl<'r> Session<'r> {
    pub(super) fn new(
        run: Run,
        workflow: &'r Arc<Workflow>,
        reporter: &'r mut dyn Reporter,
        stop: watch::Receiver<Stop>,
    ) -> Self {
        let Run { workflow: _, mut ledger, mut selected, site, store, vault, options } = run;
        let rows: Vec<Row> = workflow
            .instances
            .iter()
            .map(|def| ledger.take(&def.name).unwrap_or_default())
            .collect();
        start::not_twice(&mut selected, &rows, options.run);
        let setup = start::setup(workflow, &rows, &selected, &options);
        let desk = Arc::new(Desk::new(options.run, options.next_seq, options.clock));
        let body = Body::Run(Box::new(options.started));
        desk.add(Entry { instance: None, body, secrets: Vec::new(), urgent: true }, None);
        let lent = Lent {
            workflow: Arc::clone(workflow),
            desk,
            vault,
            site,
            redactor: Arc::new(Redactor::knowing(&workflow.roots.secret_inputs)),
            stop: stop.clone(),
            first_write: FirstWrite::new(options.confirm),
            run: options.run,
            seed: options.seed,
        };
        Self {
            workflow,
            board: Board::new(workflow, &lent.redactor),
            lent: Arc::new(lent),
            endings: endings::before(workflow, &selected),
            selected,
            rows,
            reporter,
            scheduler: Scheduler::new(setup),
            tries: BTreeMap::new(),
            attempts: JoinSet::new(),
            running: BTreeMap::new(),
            joined: Vec::new(),
            applying: BTreeSet::new(),
            retries: BTreeSet::new(),
            writer: Writer::new(store, options.crash_at),
            broken: None,
            on_durable: options.on_durable,
            stop,
            stopped: Stop::No,
            forced_end: None,
            slots: options.slots.max(1),
            started: Instant::now(),
        }
    }

    /// What needs this instance is blocked by it, although it does not run.
    pub(super) fn deny(&mut self, instance: Instance) {
        self.scheduler.deny(instance);
    }

    /// Whether the user asks to stop.
    pub(super) fn is_stopped(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    pub(super) async fn run(&mut self) -> Result<Summary, RunError> {
        let mut events = Vec::new();
        self.take_stop(&mut events);
        self.scheduler.on(events);
        self.look_for_open().await;
        for id in self.workflow.ids().filter(|id| self.endings[id.index()].is_some()) {
            self.reporter.progress(Progress::Skipped(id));
        }
        self.go_on(|session| session.attempts.is_empty()).await;
        let commands = self.scheduler.begin();
        self.obey(commands);
        self.go_on(Self::is_over).await;
        self.close().await
    }

    /// Takes one turn after the other.
    async fn go_on(&mut self, until: impl Fn(&Self) -> bool) {
        loop {
            // Whatever is ready goes on first, so that it shares the batch.
            tokio::task::yield_now().await;
            if self.turn() {
                continue;
            }
            if until(self) {
                return;
            }
            self.writer.offer(&self.lent.desk, self.attempts.len(), false);
            self.wait().await;
        }
    }

    /// Takes in what has happened. Whether anything has.
    fn turn(&mut self) -> bool {
        let mut events = Vec::new();
        let mut busy = self.take_stop(&mut events);
        for told in self.lent.desk.take_told() {
            busy = true;
            self.hear(told, &mut events);
        }
        while let Some(joined) = self.attempts.try_join_next_with_id() {
            self.joined.push(joined);
        }
        for joined in std::mem::take(&mut self.joined) {
            busy = true;
            self.take_back(joined, &mut events);
        }
        busy |= self.take_due(&mut events);
        if self.lent.first_write.is_declined() && self.stopped == Stop::No {
            self.stopped = Stop::Graceful;
            self.retries.clear();
            events.push(Event::Stop);
        }
        if !events.is_empty() {
            let commands = self.scheduler.on(events);
            self.obey(commands);
        }
        busy
    }

    fn hear(&mut self, told: Told, events: &mut Vec<Event>) {
        match told {
            Told::Progress(progress) => {
                if let Progress::Applying(instance, _) = progress {
                    self.applying.insert(instance);
                }
                self.reporter.progress(progress);
            }
            Told::Settling(instance) => events.push(Event::Settling(instance)),
            Told::Log(instance, attempt, bytes) => self.reporter.log(instance, attempt, &bytes),
        }
    }

    fn take_stop(&mut self, events: &mut Vec<Event>) -> bool {
        let now = *self.stop.borrow_and_update();
        if now <= self.stopped {
            return false;
        }
        self.stopped = now;
        self.retries.clear();
        if now == Stop::Forced {
            self.forced_end = Some(Instant::now() + FORCED_END);
        }
        self.reporter.progress(Progress::Stopping(now));
        events.push(Event::Stop);
        true
    }

    fn take_due(&mut self, events: &mut Vec<Event>) -> bool {
        let now = Instant::now();
        let mut any = false;
        while let Some(due) = self.retries.first().copied().filter(|(at, _)| *at <= now) {
            self.retries.remove(&due);
            events.push(Event::RetryDue(due.1));
            any = true;
        }
        any
    }

    fn is_over(&self) -> bool {
        self.attempts.is_empty() && (self.scheduler.is_over() || self.broken.is_some())
    }

    /// Waits until a turn has something to do.
    async fn wait(&mut self) {
        let timer = [self.retries.first().map(|(at, _)| *at), self.writer.due(), self.forced_end];
        let timer = timer.into_iter().flatten().min();
        let Self { attempts, running, joined, lent, writer, stop, .. } = self;
        let written = tokio::select! {
            biased;
            Some(answer) = attempts.join_next_with_id(), if !running.is_empty() => {
                joined.push(answer);
                None
            }
            () = lent.desk.changed() => None,
            written = writer.answer() => Some(written),
            Ok(()) = stop.changed() => None,
            () = sleep_until(timer) => None,
        };
        if let Some(written) = written {
            self.take_written(written);
        }
        if self.forced_end.is_some_and(|end| Instant::now() >= end) {
            self.attempts.abort_all();
            self.forced_end = None;
        }
    }

    fn take_written(&mut self, written: Written) {
        match written {
            Written::Durable(events) => {
                if let Some(durable) = durable(&events) {
                    if let Some(on_durable) = &self.on_durable {
                        on_durable(durable.seq);
                    }
                    self.lent.desk.set_durable(durable);
                }
                self.reporter.durable(&events);
            }
            Written::Full => self.reporter.disk_is_full(),
            Written::Broken(error) => {
                let seq = self.lent.desk.durable_seq();
                self.lent.desk.set_durable(Durable { seq, broken: true });
                self.attempts.abort_all();
                self.broken = Some(error);
                // Nothing that starts now could be written down.
                self.scheduler.on([Event::Stop]);
                self.retries.clear();
            }
        }
    }

    /// Writes the last events, and sums up.
    async fn close(&mut self) -> Result<Summary, RunError> {
        self.end_unstarted();
        let ended = self.ended();
        let body = Body::End(ended);
        let last = self
            .lent
            .desk
            .add(Entry { instance: None, body, secrets: Vec::new(), urgent: true }, None);
        while self.broken.is_none() && self.lent.desk.durable_seq() < last {
            self.writer.offer(&self.lent.desk, 0, true);
            let written = tokio::select! {
                written = self.writer.answer() => written,
                Ok(_) = self.stop.wait_for(|stop| *stop == Stop::Forced), if !self.writer.is_appending() => {
                    Written::Broken(StoreError::Full)
                }
            };
            self.take_written(written);
        }
        if let Some(source) = self.broken.take() {
            return Err(RunError::State { undecided: self.undecided(), source });
        }
        if self.lent.first_write.is_declined() {
            return Err(RunError::Declined);
        }
        let endings = self.endings.drain(..).map(|ending| ending.unwrap_or(Ending::NotStarted));
        Ok(Summary { endings: endings.collect(), ended, took: self.started.elapsed(), last })
    }

    fn ended(&self) -> RunEnded {
        let mut failed = false;
        let mut interrupted = self.stopped != Stop::No;
        for ending in self.endings.iter().flatten() {
            match ending {
                Ending::Failed { .. } | Ending::Blocked(_) | Ending::NotStarted => failed = true,
                Ending::Interrupted => interrupted = true,
                Ending::Succeeded { .. } | Ending::Skipped | Ending::LeftOut | Ending::Verified => {
                }
            }
        }
        match (interrupted, failed) {
            (true, _) => RunEnded::Interrupted,
            (false, true) => RunEnded::Failed,
            (false, false) => RunEnded::Complete,
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
