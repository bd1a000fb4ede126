//! The writing connection and its thread: one transaction for each batch.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{Builder, JoinHandle};

use async_trait::async_trait;
use flow_engine::journal::{Batch, Store, StoreError};
use flow_engine::{Failure, Retry, RunId, Seq};
use tokio::sync::{mpsc, oneshot};

use crate::error::QueryError;
use crate::site::{Begin, Site};
use crate::vault::SiteVault;
use crate::writer::Writer;

/// Where one session of a run writes its history.
///
/// Dropped, or [closed](EventStore::close), it ends its thread. A drop does not fold: the next
/// writer does.
#[derive(Debug)]
pub struct EventStore {
    run: RunId,
    first: Seq,
    commits: Arc<AtomicU64>,
    /// Never contended, because the engine has at most one append in flight.
    writer: Arc<Mutex<Writer>>,
    /// Holds one request, because the engine has at most one append in flight.
    requests: Option<mpsc::Sender<Request>>,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Append(Batch, oneshot::Sender<Result<(), StoreError>>),
    Settle(oneshot::Sender<Result<(), StoreError>>),
}

impl EventStore {
    pub(crate) fn begin(
        site: Site,
        begin: Begin,
        vault: Arc<SiteVault>,
    ) -> Result<Self, QueryError> {
        let commits = Arc::new(AtomicU64::new(0));
        let writer = Writer::new(site, begin, vault, Arc::clone(&commits))?;
        let (run, first) = (writer.run(), writer.next());
        let writer = Arc::new(Mutex::new(writer));
        let (requests, received) = mpsc::channel(1);
        let served = Arc::clone(&writer);
        let thread = Builder::new()
            .name("flow-store".to_owned())
            .spawn(move || serve(&served, received))
            .map_err(|error| QueryError::Thread { source: error })?;
        Ok(Self { run, first, commits, writer, requests: Some(requests), thread: Some(thread) })
    }

    /// The run that is written.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The place of this session's first event.
    #[must_use]
    pub fn first_seq(&self) -> Seq {
        self.first
    }

    /// How many transactions were committed so far.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Folds the history into the ledger, at the clean end of a run.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. The history is durable all the same, and the next writer folds it.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the fold may or may not be done; it is done whole or not at all.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.ask(Request::Settle).await
    }

    /// Ends the session and gives the site back, still locked. Waits for what was asked for.
    ///
    /// # Errors
    ///
    /// [`StoreError::Broken`] if the thread did not survive.
    pub fn close(mut self) -> Result<Site, StoreError> {
        self.end_thread();
        let writer = Arc::clone(&self.writer);
        drop(self);
        let writer = Arc::into_inner(writer).and_then(|writer| writer.into_inner().ok());
        writer.map(Writer::into_site).ok_or_else(thread_is_gone)
    }

    fn end_thread(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was answered to whoever waited for it.
            thread.join().ok();
        }
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Request + Send,
    ) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or_else(thread_is_gone)?;
        requests.send(request(answer)).await.map_err(|_| thread_is_gone())?;
        answered.await.map_err(|_| thread_is_gone())?
    }
}

#[async_trait]
impl Store for EventStore {
    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        // Two threads that wake each other add half the time of an fsync to it, which is wasted
        // where nobody could do anything meanwhile.
        if batch.all_wait && batch.secrets.is_empty() {
            return lock(&self.writer)?.append(batch);
        }
        self.ask(|answer| Request::Append(batch, answer)).await
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.end_thread();
    }
}

fn serve(writer: &Mutex<Writer>, mut requests: mpsc::Receiver<Request>) {
    while let Some(request) = requests.blocking_recv() {
        let (answer, result) = match request {
            Request::Append(batch, answer) => {
                (answer, lock(writer).and_then(|mut writer| writer.append(batch)))
            }
            Request::Settle(answer) => {
                (answer, lock(writer).and_then(|mut writer| writer.settle()))
            }
        };
        // Whoever no longer waits for the answer has lost interest, not the batch.
        answer.send(result).ok();
    }
}

fn lock(writer: &Mutex<Writer>) -> Result<MutexGuard<'_, Writer>, StoreError> {
    writer.lock().map_err(|_| thread_is_gone())
}

fn thread_is_gone() -> StoreError {
    let source = Failure::new("state::broken", "the store thread has ended", Retry::Never);
    StoreError::Broken { source }
}
