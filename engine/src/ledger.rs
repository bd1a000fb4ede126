//! The ledger: one row for each live thing that flow knows, folded from history.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::event::{Body, Done, Event, Outcome, Success};
use crate::failure::Failure;
use crate::id::{Attempt, Generation, InstanceName, RunId, Seq, Token};

/// How many good durations a row remembers.
const REMEMBERED: usize = 10;

/// The live things of one workflow on one site.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ledger {
    rows: BTreeMap<InstanceName, Row>,
}

/// What flow knows of one instance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// The last success that still stands.
    pub success: Option<Recorded>,
    /// The failure after it, if the last outcome was one.
    pub failure: Option<Failed>,
    /// The effect that was asked for and has no outcome yet.
    pub open: Option<Open>,
    /// How often it was made or destroyed.
    pub generation: Generation,
    /// The incarnation of the last `once` success; outlives a vanished thing.
    pub once: Option<Token>,
    /// Milliseconds that good applies took, newest last.
    pub durations: Vec<u64>,
    /// Milliseconds that good probes took, newest last.
    pub probes: Vec<u64>,
}

/// A success as the ledger keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The last event that said so.
    pub seq: Seq,
    /// The run that it happened in.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// What was done then, or found to be unnecessary.
    pub done: Done,
    /// When it was last *applied* (not merely verified), for `fresh`.
    pub applied_at: Option<i64>,
    /// What the last event said that was not [`Outcome::Unchanged`].
    pub said: Arc<Success>,
}

/// A failure as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The run that it happened in.
    pub run: RunId,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Why.
    pub failure: Failure,
}

/// An intent without an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// The event of the intent.
    pub seq: Seq,
    /// Its run.
    pub run: RunId,
    /// Its try.
    pub attempt: Attempt,
    /// Its incarnation.
    pub token: Token,
    /// Whether the probe before it found nothing.
    pub from_absent: bool,
    /// What the kind recorded under it.
    pub records: BTreeMap<String, String>,
}

impl Ledger {
    /// A ledger of rows that a store has kept.
    #[must_use]
    pub fn from_rows(rows: BTreeMap<InstanceName, Row>) -> Self {
        Self { rows }
    }

    /// What is known of an instance.
    #[must_use]
    pub fn row(&self, name: &InstanceName) -> Option<&Row> {
        self.rows.get(name)
    }

    /// All rows, by name.
    pub fn rows(&self) -> impl Iterator<Item = (&InstanceName, &Row)> {
        self.rows.iter()
    }

    /// Takes one event in. `name` is whom the event concerns.
    ///
    /// Folding is deterministic and knows no clock: the same events give the same ledger.
    pub fn fold(&mut self, name: &InstanceName, event: &Event) {
        match &event.body {
            Body::Run(_) | Body::Edit { .. } | Body::End(_) => {}
            Body::Intent(_) | Body::Record { .. } | Body::Outcome(_) => {
                self.rows.entry(name.clone()).or_default().fold(event);
            }
        }
    }

    /// Takes the row of an instance out.
    pub(crate) fn take(&mut self, name: &InstanceName) -> Option<Row> {
        self.rows.remove(name)
    }
}

impl Row {
    /// Takes in one event that concerns this row's instance; see [`Ledger::fold`].
    pub fn fold(&mut self, event: &Event) {
        match &event.body {
            Body::Run(_) | Body::Edit { .. } | Body::End(_) => {}
            Body::Intent(intent) => {
                self.open = Some(Open {
                    seq: event.seq,
                    run: event.run,
                    attempt: intent.attempt,
                    token: intent.token.clone(),
                    from_absent: intent.from_absent,
                    records: BTreeMap::new(),
                });
            }
            Body::Record { key, value } => {
                if let Some(open) = &mut self.open {
                    open.records.insert(key.clone(), value.clone());
                }
            }
            Body::Outcome(outcome) => self.end(event, outcome),
        }
    }

    fn end(&mut self, event: &Event, outcome: &Outcome) {
        match outcome {
            Outcome::Succeeded(said) => self.succeed(event, said),
            Outcome::Unchanged { done, probe_ms } => self.stand(event, *done, *probe_ms),
            Outcome::Failed { failure, in_doubt, .. } => {
                if !in_doubt {
                    self.open = None;
                }
                self.failure =
                    Some(Failed { run: event.run, at: event.at, failure: failure.clone() });
            }
            Outcome::DidNotTakeHold => self.open = None,
            Outcome::Destroyed => {
                self.open = None;
                self.success = None;
                self.failure = None;
                self.generation.0 += 1;
            }
        }
    }

    fn succeed(&mut self, event: &Event, said: &Arc<Success>) {
        let before = self.success.as_ref().and_then(|recorded| recorded.applied_at);
        let applied = said.done.is_applied() || self.open.is_some();
        self.open = None;
        self.failure = None;
        self.generation = said.generation;
        if !said.token.is_empty() {
            self.once = Some(said.token.clone());
        }
        remember(&mut self.probes, Some(said.probe_ms));
        remember(&mut self.durations, said.apply_ms);
        self.success = Some(Recorded {
            seq: event.seq,
            run: event.run,
            at: event.at,
            done: said.done,
            applied_at: if applied { Some(event.at) } else { before },
            said: Arc::clone(said),
        });
    }

    fn stand(&mut self, event: &Event, done: Done, probe_ms: u64) {
        self.failure = None;
        remember(&mut self.probes, Some(probe_ms));
        if let Some(recorded) = &mut self.success {
            *recorded = Recorded {
                seq: event.seq,
                run: event.run,
                at: event.at,
                done,
                applied_at: recorded.applied_at,
                said: Arc::clone(&recorded.said),
            };
        }
    }
}

fn remember(durations: &mut Vec<u64>, took: Option<u64>) {
    durations.extend(took);
    let surplus = durations.len().saturating_sub(REMEMBERED);
    durations.drain(..surplus);
}

#[cfg(test)]
mod tests;
