//! One batch at a time to the store, while the next one grows.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::Event;
use crate::id::Seq;
use crate::journal::{Batch, SecretWrite, Store, StoreError};

use super::desk::{Desk, Durable};

/// How long a batch may wait that nobody waits for.
const PATIENCE: Duration = Duration::from_secs(1);
/// How large it may grow meanwhile.
const PLENTY: usize = 4096;
/// How often a full disk is tried again.
const FULL_AGAIN: Duration = Duration::from_secs(2);

type Append = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

enum State {
    Idle,
    Appending {
        append: Append,
        events: Arc<[Event]>,
        secrets: Vec<SecretWrite>,
    },
    /// The disk is full: the same batch is tried again.
    Waiting {
        until: Instant,
        events: Arc<[Event]>,
        secrets: Vec<SecretWrite>,
    },
}

/// What became of a batch.
pub(super) enum Written {
    /// It is durable.
    Durable(Arc<[Event]>),
    /// The disk is full; it will be tried again.
    Full,
    /// Nothing more can be written.
    Broken(StoreError),
}

pub(super) struct Writer {
    store: Arc<dyn Store>,
    state: State,
    /// When the oldest event that may wait came in.
    waiting_since: Option<Instant>,
    /// No batch goes beyond this event before it is durable by itself.
    cut: Option<Seq>,
}

impl Writer {
    pub(super) fn new(store: Arc<dyn Store>, cut: Option<Seq>) -> Self {
        Self { store, state: State::Idle, waiting_since: None, cut }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether a batch is on its way, and not waiting for space.
    pub(super) fn is_appending(&self) -> bool {
        matches!(self.state, State::Appending { .. })
    }

    /// Sends what waits on the desk, if that is due and nothing else is on its way; `running`
    /// says how many attempts there are.
    pub(super) fn offer(&mut self, desk: &Desk, running: usize, closing: bool) {
        let (count, urgent) = desk.waiting();
        if count == 0 {
            self.waiting_since = None;
            return;
        }
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let due = urgent || closing || count >= PLENTY || since.elapsed() >= PATIENCE;
        if due && self.is_idle() {
            self.waiting_since = None;
            let cut = self.cut.filter(|cut| *cut > desk.durable_seq());
            let (events, secrets) = desk.take_batch(cut);
            self.send(events.into(), secrets, desk.waiters() == running);
        }
    }

    /// When [`Writer::offer`] has to be called again although nothing has happened.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting_since.filter(|_| self.is_idle()).map(|since| since + PATIENCE)
    }

    /// Waits for the answer to the batch that is on its way; for ever, if there is none.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the batch stays on its way.
    pub(super) async fn answer(&mut self) -> Written {
        loop {
            match &mut self.state {
                State::Idle => pending::<()>().await,
                State::Waiting { until, .. } => {
                    tokio::time::sleep_until(*until).await;
                    self.again();
                }
                State::Appending { append, .. } => {
                    let answer = append.await;
                    return self.take(answer);
                }
            }
        }
    }

    fn take(&mut self, answer: Result<(), StoreError>) -> Written {
        let State::Appending { events, secrets, .. } =
            std::mem::replace(&mut self.state, State::Idle)
        else {
            return Written::Full;
        };
        match answer {
            Ok(()) => Written::Durable(events),
            Err(StoreError::Full) => {
                let until = Instant::now() + FULL_AGAIN;
                self.state = State::Waiting { until, events, secrets };
                Written::Full
            }
            Err(error @ (StoreError::Broken { .. } | StoreError::Vault { .. })) => {
                Written::Broken(error)
            }
        }
    }

    fn again(&mut self) {
        if let State::Waiting { events, secrets, .. } =
            std::mem::replace(&mut self.state, State::Idle)
        {
            self.send(events, secrets, false);
        }
    }

    fn send(&mut self, events: Arc<[Event]>, secrets: Vec<SecretWrite>, all_wait: bool) {
        let batch = Batch { events: Arc::clone(&events), secrets: secrets.clone(), all_wait };
        let store = Arc::clone(&self.store);
        let append: Append = Box::pin(async move { store.append(batch).await });
        self.state = State::Appending { append, events, secrets };
    }
}

/// Up to where these events are durable now.
pub(super) fn durable(events: &[Event]) -> Option<Durable> {
    events.last().map(|event| Durable { seq: event.seq, broken: false })
}
