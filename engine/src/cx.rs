//! What the engine lends to a kind while it probes or applies.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::id::{Attempt, InstanceName, RunId, Seq};
use crate::secret::Secret;

/// Why something that had to be durable is not.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("`{key}` could not be recorded")]
#[diagnostic(code("state::not-recorded"), help("nothing was asked of the world after this"))]
pub struct NotRecorded {
    /// What was to be recorded.
    pub key: String,
    /// Why it was not.
    pub source: Failure,
}

/// Where a kind's records, secrets, notes and output go.
#[async_trait]
pub trait Notebook: Send + Sync {
    /// Makes a fact of the present intent durable before it returns.
    async fn record(&self, key: &str, value: &str) -> Result<(), Failure>;
    /// A fact of the present intent, also after a crash.
    fn recorded(&self, key: &str) -> Option<String>;
    /// Makes a secret durable in the vault before it returns.
    async fn keep(&self, name: &str, value: Secret<Value>) -> Result<(), Failure>;
    /// A secret of this instance: kept earlier, or part of its last success.
    ///
    /// # Errors
    ///
    /// The vault cannot be read: unknown, never "there is none".
    fn kept(&self, name: &str) -> Result<Option<Secret<Value>>, Failure>;
    /// Says something that a person should know (a warning). Shown and stored.
    fn note(&self, text: &str);
    /// Appends to the attempt's log.
    fn log(&self, bytes: &[u8]);
    /// The last lines that were logged since the last question, blank ones left out and
    /// secrets covered.
    fn take_last_lines(&self, most: usize) -> Vec<String>;
    /// Whether a secret that the run knows is in a text.
    fn holds_secret(&self, text: &str) -> bool;
}

/// How urgently the run was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Start nothing new, finish what is in flight.
    Graceful,
    /// Abandon what is in flight.
    Forced,
}

/// The site as every kind sees it.
#[derive(Debug, Clone, Default)]
pub struct SiteContext {
    /// The site's name.
    pub name: String,
    /// The owner mark that is put on everything made (`site.cluster`).
    pub cluster: String,
    /// `.flow/sites/SITE`: where a kind may keep files of its own.
    pub folder: PathBuf,
}

/// What the engine lends: identity, notebook, and whether to stop.
#[derive(Clone)]
pub struct Cx {
    run: RunId,
    instance: InstanceName,
    attempt: Attempt,
    intent: Option<Seq>,
    site: Arc<SiteContext>,
    notebook: Arc<dyn Notebook>,
    stop: watch::Receiver<Stop>,
}

/// What a [`Cx`] is made of.
pub struct CxParts {
    /// The run.
    pub run: RunId,
    /// The instance.
    pub instance: InstanceName,
    /// Its attempt.
    pub attempt: Attempt,
    /// The intent under which `apply` runs; children carry it as `FLOW_INTENT`.
    pub intent: Option<Seq>,
    /// The site.
    pub site: Arc<SiteContext>,
    /// Where records go.
    pub notebook: Arc<dyn Notebook>,
    /// Whether to stop.
    pub stop: watch::Receiver<Stop>,
}

impl Cx {
    /// Joins the parts.
    #[must_use]
    pub fn new(parts: CxParts) -> Self {
        let CxParts { run, instance, attempt, intent, site, notebook, stop } = parts;
        Self { run, instance, attempt, intent, site, notebook, stop }
    }

    /// The run that this happens in.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The instance that is probed or applied.
    #[must_use]
    pub fn instance(&self) -> &InstanceName {
        &self.instance
    }

    /// The number of this try.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// The intent under which `apply` runs; `None` in a probe without one.
    #[must_use]
    pub fn intent(&self) -> Option<Seq> {
        self.intent
    }

    /// The site's name.
    #[must_use]
    pub fn site(&self) -> &str {
        &self.site.name
    }

    /// The owner mark that is put on everything made.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.site.cluster
    }

    /// The site's folder, for files that a kind makes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// Makes a fact durable; a later attempt, also after a crash, reads it by [`Cx::recorded`].
    ///
    /// # Errors
    ///
    /// The store is not able to; nothing may be asked of the world that relies on the record.
    pub async fn record(&self, key: &str, value: &str) -> Result<(), NotRecorded> {
        self.notebook
            .record(key, value)
            .await
            .map_err(|source| NotRecorded { key: key.to_owned(), source })
    }

    /// A fact that [`Cx::record`] made durable under the present, still open intent.
    #[must_use]
    pub fn recorded(&self, key: &str) -> Option<String> {
        self.notebook.recorded(key)
    }

    /// Makes a secret durable in the vault, for one that the world shows only once.
    ///
    /// # Errors
    ///
    /// The vault is not able to.
    pub async fn keep(&self, name: &str, value: Secret<Value>) -> Result<(), NotRecorded> {
        self.notebook
            .keep(name, value)
            .await
            .map_err(|source| NotRecorded { key: name.to_owned(), source })
    }

    /// A secret of this instance, if the vault holds it.
    ///
    /// # Errors
    ///
    /// The vault cannot be read.
    pub fn kept(&self, name: &str) -> Result<Option<Secret<Value>>, NotRecorded> {
        self.notebook.kept(name).map_err(|source| NotRecorded { key: name.to_owned(), source })
    }

    /// Says something that a person should know; shown and stored with the outcome.
    pub fn note(&self, text: impl AsRef<str>) {
        self.notebook.note(text.as_ref());
    }

    /// Appends to the attempt's log.
    pub fn log(&self, bytes: &[u8]) {
        self.notebook.log(bytes);
    }

    /// The last lines that were logged since the last question, secrets covered; for the words
    /// of a failure.
    #[must_use]
    pub fn take_last_lines(&self, most: usize) -> Vec<String> {
        self.notebook.take_last_lines(most)
    }

    /// Whether a secret that the run knows is in a text, which can be neither an output nor a
    /// record then.
    #[must_use]
    pub fn holds_secret(&self, text: &str) -> bool {
        self.notebook.holds_secret(text)
    }

    /// Whether the user asked to stop; tested between several writes.
    #[must_use]
    pub fn stop_requested(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Whether, and how urgently, the user asks to stop; for a kind that ends a child.
    #[must_use]
    pub fn stop(&self) -> watch::Receiver<Stop> {
        self.stop.clone()
    }

    /// Runs CPU-heavy work (RSA, compression) away from the runner's thread.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the work still runs to its end; its result is lost.
    ///
    /// # Panics
    ///
    /// As `work` does.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(value) => value,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Default for Cx {
    /// A context outside of any run, which keeps records in memory. For tests of kinds.
    fn default() -> Self {
        Self::new(CxParts {
            run: RunId(0),
            instance: InstanceName::new("task", None),
            attempt: Attempt(1),
            intent: None,
            site: Arc::new(SiteContext {
                name: "test".to_owned(),
                cluster: "test".to_owned(),
                folder: PathBuf::new(),
            }),
            notebook: Arc::new(MemoryNotebook::default()),
            stop: watch::channel(Stop::No).1,
        })
    }
}

/// A notebook without a disk.
#[derive(Debug, Default)]
pub struct MemoryNotebook {
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    records: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret<Value>>,
    notes: Vec<String>,
    log: Vec<u8>,
    /// Up to where lines of the log were taken.
    asked: usize,
}

impl MemoryNotebook {
    /// The notes so far.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.pages().notes.clone()
    }

    /// What was logged so far.
    #[must_use]
    pub fn logged(&self) -> Vec<u8> {
        self.pages().log.clone()
    }

    fn pages(&self) -> std::sync::MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notebook for MemoryNotebook {
    async fn record(&self, key: &str, value: &str) -> Result<(), Failure> {
        self.pages().records.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn recorded(&self, key: &str) -> Option<String> {
        self.pages().records.get(key).cloned()
    }

    async fn keep(&self, name: &str, value: Secret<Value>) -> Result<(), Failure> {
        self.pages().secrets.insert(name.to_owned(), value);
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Value>>, Failure> {
        Ok(self.pages().secrets.get(name).cloned())
    }

    fn note(&self, text: &str) {
        self.pages().notes.push(text.to_owned());
    }

    fn log(&self, bytes: &[u8]) {
        self.pages().log.extend_from_slice(bytes);
    }

    fn take_last_lines(&self, most: usize) -> Vec<String> {
        let mut pages = self.pages();
        let lines = last_lines(&pages.log[pages.asked..], most);
        pages.asked = pages.log.len();
        lines
    }

    fn holds_secret(&self, _: &str) -> bool {
        false
    }
}

/// The last lines of a log that are not blank.
pub(crate) fn last_lines(log: &[u8], most: usize) -> Vec<String> {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(most)..].iter().map(|line| (*line).to_owned()).collect()
}
