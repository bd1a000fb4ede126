//! Where attempts put what has to be stored and told, and where they wait until it is durable.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use crate::event::{Body, Event};
use crate::id::{Attempt, Instance, RunId, Seq};
use crate::journal::SecretWrite;
use crate::ledger::Row;
use crate::report::Progress;

use super::Clock;

/// What an attempt tells the runner; each is small, and at most a few wait per running attempt.
#[derive(Debug)]
pub(crate) enum Told {
    /// For the reporter.
    Progress(Progress),
    /// The instance needs no slot any more.
    Settling(Instance),
    /// Redacted output of an attempt.
    Log(Instance, Attempt, Vec<u8>),
}

/// What is to become durable.
pub(crate) struct Entry {
    pub(crate) instance: Option<Instance>,
    pub(crate) body: Body,
    /// Durable before the event.
    pub(crate) secrets: Vec<SecretWrite>,
    /// Whether somebody waits for it, or the world was changed.
    pub(crate) urgent: bool,
}

/// How far history is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Durable {
    pub(crate) seq: Seq,
    /// Nothing more will become durable.
    pub(crate) broken: bool,
}

/// The store has given up: nothing that was not durable may be relied upon.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotDurable;

/// The turn's buffer. One owner, the runner; attempts only append.
#[derive(Debug)]
pub(crate) struct Desk {
    run: RunId,
    now: Clock,
    pending: Mutex<Pending>,
    wake: Notify,
    durable: watch::Sender<Durable>,
    /// How many wait for something to become durable.
    waiters: AtomicUsize,
}

#[derive(Debug)]
struct Pending {
    next: Seq,
    events: Vec<Event>,
    secrets: Vec<(Seq, SecretWrite)>,
    urgent: bool,
    told: Vec<Told>,
}

impl Desk {
    pub(crate) fn new(run: RunId, next: Seq, now: Clock) -> Self {
        let before = Seq(next.0.saturating_sub(1));
        Self {
            run,
            now,
            pending: Mutex::new(Pending {
                next,
                events: Vec::new(),
                secrets: Vec::new(),
                urgent: false,
                told: Vec::new(),
            }),
            wake: Notify::new(),
            durable: watch::channel(Durable { seq: before, broken: false }).0,
            waiters: AtomicUsize::new(0),
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> i64 {
        self.now.now()
    }

    /// Adds an event to the next batch, and to the row of whom it concerns.
    pub(crate) fn add(&self, entry: Entry, row: Option<&mut Row>) -> Seq {
        let Entry { instance, body, secrets, urgent } = entry;
        let at = self.now();
        let mut pending = self.pending();
        let seq = pending.next;
        let event = Event { seq, run: self.run, instance, at, body };
        if let Some(row) = row {
            row.fold(&event);
        }
        pending.next = seq.next();
        pending.urgent |= urgent || !secrets.is_empty();
        pending.events.push(event);
        pending.secrets.extend(secrets.into_iter().map(|secret| (seq, secret)));
        drop(pending);
        self.wake.notify_one();
        seq
    }

    /// Waits until the event of this number, and so everything before it, is durable.
    pub(crate) async fn durable(&self, seq: Seq) -> Result<(), NotDurable> {
        let _waits = Waits::new(&self.waiters);
        let mut durable = self.durable.subscribe();
        match durable.wait_for(|durable| durable.broken || durable.seq >= seq).await {
            Ok(durable) if durable.seq >= seq => Ok(()),
            Ok(_) | Err(_) => Err(NotDurable),
        }
    }

    /// How many wait for something to become durable.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.load(Ordering::Relaxed)
    }

    /// Tells the runner something that is not stored.
    pub(crate) fn tell(&self, told: Told) {
        self.pending().told.push(told);
        self.wake.notify_one();
    }

    /// What was told since the last question.
    pub(crate) fn take_told(&self) -> Vec<Told> {
        std::mem::take(&mut self.pending().told)
    }

    /// Resolves when something was added or told since it last resolved.
    pub(crate) async fn changed(&self) {
        self.wake.notified().await;
    }

    /// How many events wait, and whether they may wait longer.
    pub(crate) fn waiting(&self) -> (usize, bool) {
        let pending = self.pending();
        (pending.events.len(), pending.urgent)
    }

    /// Takes the next batch, at most up to the event `until`.
    pub(crate) fn take_batch(&self, until: Option<Seq>) -> (Vec<Event>, Vec<SecretWrite>) {
        let mut pending = self.pending();
        let cut = match until {
            Some(until) => pending.events.partition_point(|event| event.seq <= until),
            None => pending.events.len(),
        };
        let rest = pending.events.split_off(cut);
        let events = std::mem::replace(&mut pending.events, rest);
        let last = events.last().map(|event| event.seq);
        let (now, later) = std::mem::take(&mut pending.secrets)
            .into_iter()
            .partition(|(seq, _)| Some(*seq) <= last);
        pending.secrets = later;
        pending.urgent &= !pending.events.is_empty();
        (events, now.into_iter().map(|(_, secret): (Seq, SecretWrite)| secret).collect())
    }

    /// Says how far history is durable now.
    pub(crate) fn set_durable(&self, durable: Durable) {
        self.durable.send_replace(durable);
    }

    /// How far history is durable.
    pub(crate) fn durable_seq(&self) -> Seq {
        self.durable.borrow().seq
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        // Nothing panics while it is held.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts as one who waits, until it is dropped.
struct Waits<'d>(&'d AtomicUsize);

impl<'d> Waits<'d> {
    fn new(waiters: &'d AtomicUsize) -> Self {
        waiters.fetch_add(1, Ordering::Relaxed);
        Self(waiters)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
