//! What is written down of a success.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::event::{Body, Done, Facts, Origin, Outcome, Success};
use crate::failure::Failure;
use crate::id::{Generation, Token};
use crate::journal::SecretWrite;
use crate::kind::{Effect, Mark};
use crate::registry::AnyVerdict;
use crate::runner::desk::Entry;
use crate::runner::values::{Given, given_by_ledger};
use crate::secret::Secrets;

use super::{Broke, Finished, Work, millis};

/// What a success rests on: the probe, or, where it has nothing to say, the ledger.
struct Basis {
    outputs: Arc<Value>,
    secrets: Secrets,
    mark: Option<Mark<Value>>,
    drift: Option<String>,
}

impl Work {
    /// Ends the try well, and puts its outcome on the desk.
    pub(super) fn succeed(&mut self, done: Done, verdict: AnyVerdict) -> Result<Finished, Broke> {
        let done = match (done, self.its.meant) {
            // The effect that is found now was asked for in this session.
            (Done::Recovered, Some(meant)) => meant,
            _ => done,
        };
        let basis = self.basis(verdict).map_err(Broke::for_good)?;
        self.lent.redactor.learn_all(&basis.secrets);
        self.may_be_kept(&basis.outputs, &basis.secrets, basis.mark.as_ref())
            .map_err(Broke::for_good)?;
        let (digests, writes) = self.secrets_to_keep(&basis.secrets).map_err(Broke::for_good)?;
        let drift = match done {
            Done::LeftDrifted => basis.drift.map(|diff| self.lent.redactor.redact(&diff)),
            Done::Created
            | Done::Recreated
            | Done::Updated
            | Done::Adopted
            | Done::UpToDate
            | Done::Recovered
            | Done::Kept
            | Done::Ran
            | Done::Unverified
            | Done::Passed => None,
        };
        let notes = self.page.take_notes();
        let made = self.is_made_now(done);
        let success = Success {
            done,
            outputs: Arc::clone(&basis.outputs),
            secrets: digests,
            origin: self.origin(made, basis.mark.as_ref()),
            generation: Generation(self.its.row.generation.0 + u64::from(made)),
            token: self.token_of(done),
            handle: self.handle(basis.mark),
            fingerprint: std::mem::take(&mut self.its.fingerprint),
            facts: self.facts(),
            notes: notes.clone(),
            drift: drift.clone(),
            probe_ms: millis(self.probed),
            apply_ms: self.applied.map(|applied| millis(applied.elapsed())),
        };
        let urgent = self.applied.is_some() || self.its.row.open.is_some();
        let entry = Entry {
            instance: Some(self.its.instance),
            body: Body::Outcome(self.unless_unchanged(success)),
            secrets: writes,
            urgent,
        };
        self.lent.desk.add(entry, Some(&mut self.its.row));
        Ok(Finished { done, outputs: basis.outputs, secrets: basis.secrets, notes, drift })
    }

    /// What history says: that nothing is new, or everything.
    fn unless_unchanged(&self, success: Success) -> Outcome {
        let (done, probe_ms) = (success.done, success.probe_ms);
        // What a person should know is said each time.
        let is_silent = success.notes.is_empty() && success.drift.is_none();
        let is_same = is_silent
            && self.its.row.open.is_none()
            && success.apply_ms.is_none()
            && self
                .its
                .row
                .success
                .as_ref()
                .is_some_and(|recorded| recorded.said.is_same_as(&success));
        if is_same {
            Outcome::Unchanged { done, probe_ms }
        } else {
            Outcome::Succeeded(Arc::new(success))
        }
    }

    fn basis(&self, verdict: AnyVerdict) -> Result<Basis, Failure> {
        let drift = match verdict {
            AnyVerdict::Satisfied { outputs, secrets, mark } => {
                let outputs = Arc::new(outputs);
                return Ok(Basis { outputs, secrets, mark: Some(mark), drift: None });
            }
            AnyVerdict::Drifted { diff, .. } => Some(diff),
            AnyVerdict::Absent(_) | AnyVerdict::Underway(_) => None,
        };
        let ran = self.applied.is_some();
        let Some(recorded) = self.its.row.success.as_ref().filter(|_| !ran) else {
            let outputs = Arc::new(Value::Object(serde_json::Map::new()));
            return Ok(Basis { outputs, secrets: Secrets::new(), mark: None, drift });
        };
        let Given { outputs, secrets } = given_by_ledger(self.name(), recorded, &*self.lent.vault)?;
        Ok(Basis { outputs, secrets, mark: None, drift })
    }

    /// The digests of all secrets, and those that the vault does not hold yet.
    fn secrets_to_keep(
        &self,
        secrets: &Secrets,
    ) -> Result<(BTreeMap<String, String>, Vec<SecretWrite>), Failure> {
        let mut digests = BTreeMap::new();
        let mut writes = Vec::new();
        if self.task().effect == Effect::Gate {
            return Ok((digests, writes));
        }
        for (name, value) in secrets {
            let digest = self.lent.vault.digest(value.reveal())?;
            let recorded = self.its.row.success.as_ref().and_then(|row| row.said.secrets.get(name));
            let kept =
                recorded == Some(&digest) && self.lent.vault.secret(self.name(), name)?.is_some();
            if !kept {
                writes.push(SecretWrite {
                    instance: self.name().clone(),
                    name: name.clone(),
                    value: value.clone(),
                });
            }
            digests.insert(name.clone(), digest);
        }
        Ok((digests, writes))
    }

    /// Whether this success is the end of a making from nothing.
    fn is_made_now(&self, done: Done) -> bool {
        let from_absent = self.its.row.open.as_ref().is_some_and(|open| open.from_absent);
        match done {
            Done::Created | Done::Recreated | Done::Updated | Done::Recovered => from_absent,
            Done::Adopted
            | Done::UpToDate
            | Done::Kept
            | Done::Ran
            | Done::Unverified
            | Done::Passed
            | Done::LeftDrifted => false,
        }
    }

    /// Found is what was there, without our mark, before we ever asked for anything.
    fn origin(&self, made: bool, mark: Option<&Mark<Value>>) -> Origin {
        if made {
            return Origin::Made;
        }
        if let Some(recorded) = &self.its.row.success {
            return recorded.said.origin;
        }
        match mark {
            Some(Mark::Missing(_)) => Origin::Found,
            Some(Mark::Ours(_) | Mark::Nowhere) | None => Origin::Made,
        }
    }

    fn token_of(&self, done: Done) -> Token {
        match self.task().effect {
            Effect::Converge | Effect::Action | Effect::Gate => Token::default(),
            Effect::Once => match (done, &self.its.row.open, &self.its.row.once) {
                (Done::Recovered, Some(open), _) => open.token.clone(),
                (Done::Kept | Done::LeftDrifted, _, Some(once))
                    if !self.known().is_new_incarnation() =>
                {
                    once.clone()
                }
                _ => self.its.token.clone(),
            },
        }
    }

    fn handle(&self, mark: Option<Mark<Value>>) -> Option<Value> {
        match mark {
            Some(Mark::Ours(handle) | Mark::Missing(handle)) => Some(handle),
            Some(Mark::Nowhere) => None,
            None => self.its.row.success.as_ref().and_then(|recorded| recorded.said.handle.clone()),
        }
    }

    fn facts(&self) -> Facts {
        let name = |id: &crate::Instance| self.lent.workflow.instance(*id).name.clone();
        Facts {
            kind: Cow::Borrowed(self.task().kind.name()),
            needs: self.def().needs.iter().map(name).collect(),
            lives_in: self.def().lives_in.iter().map(name).collect(),
            protected: self.task().protected,
        }
    }
}
