//! A disk in memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::event::{Body, Event};
use crate::failure::Failure;
use crate::id::{Instance, InstanceName, Seq};
use crate::journal::{Batch, Store, StoreError, Vault};
use crate::ledger::Ledger;
use crate::secret::Secret;

use super::power::Power;

/// History and vault in memory. Counts appends, and fails when it is told to.
#[derive(Debug, Default)]
pub struct MemoryStore {
    power: Arc<Power>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    events: Vec<Event>,
    secrets: BTreeMap<(InstanceName, String), Secret<Value>>,
    appends: usize,
    in_flight: bool,
    answers: VecDeque<Option<StoreError>>,
    vault_failure: Option<Failure>,
}

impl MemoryStore {
    /// A disk on this power.
    #[must_use]
    pub fn new(power: Arc<Power>) -> Self {
        Self { power, kept: Mutex::default() }
    }

    /// The next appends fail with these.
    pub fn fail_next(&self, failures: impl IntoIterator<Item = StoreError>) {
        self.answer_next(failures.into_iter().map(Some));
    }

    /// The next appends end like this, `None` being well, and all after them end well.
    pub fn answer_next(&self, answers: impl IntoIterator<Item = Option<StoreError>>) {
        self.kept().answers = answers.into_iter().collect();
    }

    /// From now on the vault cannot be read, or can again.
    pub fn break_vault(&self, failure: Option<Failure>) {
        self.kept().vault_failure = failure;
    }

    /// How many appends have become durable.
    #[must_use]
    pub fn appends(&self) -> usize {
        self.kept().appends
    }

    /// All events, in their order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.kept().events.clone()
    }

    /// The number of the next event.
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.kept().events.last().map_or(Seq(1), |event| event.seq.next())
    }

    /// The ledger that history folds to.
    #[must_use]
    pub fn ledger(&self, names: &[InstanceName]) -> Ledger {
        let mut ledger = Ledger::default();
        for event in &self.kept().events {
            if let Some(instance) = event.instance {
                ledger.fold(&names[instance.index()], event);
            }
        }
        ledger
    }

    /// Whether an event of an instance that passes `which` is durable.
    #[must_use]
    pub fn has(&self, instance: Instance, which: impl Fn(&Body) -> bool) -> bool {
        self.kept()
            .events
            .iter()
            .rev()
            .any(|event| event.instance == Some(instance) && which(&event.body))
    }

    /// Everything that is kept in the clear, as text, for a search.
    ///
    /// # Panics
    ///
    /// Never: events are JSON.
    #[must_use]
    pub fn dump(&self) -> String {
        let line = |event: &Event| serde_json::to_string(&event.body).expect("events are JSON");
        self.kept().events.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, batch: &Batch) {
        let mut kept = self.kept();
        assert!(!kept.in_flight, "two appends at a time");
        kept.in_flight = true;
        let mut next = kept.events.last().map(|event| event.seq.next());
        for event in &*batch.events {
            assert!(next.is_none_or(|next| next == event.seq), "a gap before {event:?}");
            next = Some(event.seq.next());
        }
    }
}

/// An event as it comes back from a disk: what cannot be read again was never durable.
fn written_and_read(event: &Event) -> Event {
    let written = serde_json::to_string(&event.body).expect("events are JSON");
    let body = serde_json::from_str(&written).expect("what is written can be read again");
    assert_eq!(body, event.body, "what is read is not what was written");
    Event { body, ..event.clone() }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        self.begin(&batch);
        self.power.step().await;
        {
            let mut kept = self.kept();
            kept.in_flight = false;
            if let Some(Some(failure)) = kept.answers.pop_front() {
                return Err(failure);
            }
            for secret in batch.secrets {
                kept.secrets.insert((secret.instance, secret.name), secret.value);
            }
            kept.events.extend(batch.events.iter().map(written_and_read));
            kept.appends += 1;
        }
        self.power.step().await;
        Ok(())
    }
}

impl Vault for MemoryStore {
    fn secret(
        &self,
        instance: &InstanceName,
        name: &str,
    ) -> Result<Option<Secret<Value>>, Failure> {
        let kept = self.kept();
        match &kept.vault_failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(kept.secrets.get(&(instance.clone(), name.to_owned())).cloned()),
        }
    }

    fn digest(&self, value: &Value) -> Result<String, Failure> {
        if let Some(failure) = &self.kept().vault_failure {
            return Err(failure.clone());
        }
        let digest = Sha256::digest(format!("a key of its own {value}"));
        Ok(format!("{digest:x?}"))
    }
}

impl MemoryStore {
    /// Forgets what was in flight when the power was cut.
    pub fn restart(&self) {
        self.kept().in_flight = false;
    }
}
