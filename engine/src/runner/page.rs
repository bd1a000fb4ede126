//! The notebook of one attempt.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;

use crate::cx::{Notebook, last_lines};
use crate::depth::{is_too_deep, too_deep};
use crate::event::Body;
use crate::failure::Failure;
use crate::id::{Attempt, Instance, InstanceName};
use crate::journal::{SecretWrite, Vault};
use crate::kind::Retry;
use crate::redact::{Redactor, Stream};
use crate::secret::Secret;

use super::desk::{Desk, Entry, NotDurable, Told};

/// What a kind writes down during one attempt: durable by way of the desk.
pub(crate) struct Page {
    instance: Instance,
    attempt: Attempt,
    name: InstanceName,
    desk: Arc<Desk>,
    vault: Arc<dyn Vault>,
    redactor: Arc<Redactor>,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    records: BTreeMap<String, String>,
    kept: BTreeMap<String, Secret<Value>>,
    notes: Vec<String>,
    log: Stream,
    /// The end of what went to the log, secrets covered.
    tail: Vec<u8>,
}

impl Lines {
    /// Keeps the end of what goes to the log.
    fn went_out(&mut self, clear: &[u8]) {
        self.tail.extend_from_slice(clear);
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
    }
}

/// How much of the log's end is kept, in bytes.
const TAIL: usize = 4096;

/// What a page is made of.
pub(crate) struct PageParts {
    pub(crate) instance: Instance,
    pub(crate) attempt: Attempt,
    pub(crate) name: InstanceName,
    pub(crate) desk: Arc<Desk>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) redactor: Arc<Redactor>,
    /// What earlier tries recorded under the intent that is still open.
    pub(crate) records: BTreeMap<String, String>,
}

impl Page {
    pub(crate) fn new(parts: PageParts) -> Self {
        let PageParts { instance, attempt, name, desk, vault, redactor, records } = parts;
        let lines = Mutex::new(Lines { records, ..Lines::default() });
        Self { instance, attempt, name, desk, vault, redactor, lines }
    }

    /// A new intent begins: what was recorded under an earlier one is over.
    pub(crate) fn begin_intent(&self) {
        self.lines().records.clear();
    }

    pub(crate) fn records(&self) -> BTreeMap<String, String> {
        self.lines().records.clone()
    }

    /// The warnings since the last question, each once.
    pub(crate) fn take_notes(&self) -> Vec<String> {
        std::mem::take(&mut self.lines().notes)
    }

    /// Lets go of what the redactor still holds back.
    pub(crate) fn close_log(&self) {
        let mut lines = self.lines();
        let rest = lines.log.finish(&self.redactor);
        lines.went_out(&rest);
        drop(lines);
        self.tell_log(rest);
    }

    fn tell_log(&self, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.desk.tell(Told::Log(self.instance, self.attempt, bytes));
        }
    }

    async fn write(&self, body: Body, secrets: Vec<SecretWrite>) -> Result<(), Failure> {
        let entry = Entry { instance: Some(self.instance), body, secrets, urgent: true };
        let seq = self.desk.add(entry, None);
        self.desk.durable(seq).await.map_err(|NotDurable| {
            Failure::new("state::not-durable", "the state can no longer be written", Retry::Never)
        })
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Notebook for Page {
    async fn record(&self, key: &str, value: &str) -> Result<(), Failure> {
        if self.redactor.finds(value) || self.redactor.finds(key) {
            let key = self.redactor.redact(key);
            let words = format!("the record `{key}` of `{}` holds a secret", self.name);
            return Err(Failure::new("engine::secret-in-record", words, Retry::Never));
        }
        let body = Body::Record { key: key.to_owned(), value: value.to_owned() };
        self.write(body, Vec::new()).await?;
        self.lines().records.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    fn recorded(&self, key: &str) -> Option<String> {
        self.lines().records.get(key).cloned()
    }

    async fn keep(&self, name: &str, value: Secret<Value>) -> Result<(), Failure> {
        self.redactor.learn(value.reveal());
        if is_too_deep(value.reveal()) {
            return Err(too_deep(&format!("the secret `{name}` of `{}`", self.name)));
        }
        let write = SecretWrite {
            instance: self.name.clone(),
            name: name.to_owned(),
            value: value.clone(),
        };
        // The vault has no history of its own; this line says when, and for whom one waits.
        let body = Body::Record { key: format!("kept {name}"), value: String::new() };
        self.write(body, vec![write]).await?;
        self.lines().kept.insert(name.to_owned(), value);
        Ok(())
    }

    fn kept(&self, name: &str) -> Result<Option<Secret<Value>>, Failure> {
        if let Some(value) = self.lines().kept.get(name) {
            return Ok(Some(value.clone()));
        }
        let value = self.vault.secret(&self.name, name)?;
        if let Some(value) = &value {
            self.redactor.learn(value.reveal());
        }
        Ok(value)
    }

    fn note(&self, text: &str) {
        let text = self.redactor.redact(text);
        let mut lines = self.lines();
        if !lines.notes.contains(&text) {
            lines.notes.push(text);
        }
    }

    fn log(&self, bytes: &[u8]) {
        let mut lines = self.lines();
        let clear = lines.log.push(&self.redactor, bytes);
        lines.went_out(&clear);
        drop(lines);
        self.tell_log(clear);
    }

    fn take_last_lines(&self, most: usize) -> Vec<String> {
        self.close_log();
        last_lines(&std::mem::take(&mut self.lines().tail), most)
    }

    fn holds_secret(&self, text: &str) -> bool {
        self.redactor.finds(text)
    }
}
