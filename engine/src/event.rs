//! What is stored, reported and replayed. Stored forms are append-only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::Failure;
use crate::id::{Attempt, Generation, Instance, InstanceName, RunId, Seq, Token};

/// One line of a site's history.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the history.
    pub seq: Seq,
    /// The run that it belongs to.
    pub run: RunId,
    /// Whom it concerns; `None` for the run itself.
    pub instance: Option<Instance>,
    /// Wall clock, milliseconds since 1970; for display only.
    pub at: i64,
    /// What happened.
    pub body: Body,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Body {
    /// A run, or a further session of it, began.
    Run(Box<RunStarted>),
    /// An effect is about to be asked for.
    Intent(Intent),
    /// A fact that the kind wanted to be durable under its intent.
    Record {
        /// Its name.
        key: String,
        /// Its value; never a secret.
        value: String,
    },
    /// An instance came to an end, or an intent was closed.
    Outcome(Outcome),
    /// A person changed the ledger by a `state` command.
    Edit {
        /// Who.
        user: String,
        /// What, in words.
        what: String,
    },
    /// The session ended by itself.
    End(RunEnded),
}

/// How a run began.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RunStarted {
    /// The workflow.
    pub workflow: String,
    /// Its file, by name or by absolute path, as `flow resume` looks it up again.
    pub file: String,
    /// The command line; it holds no secret, because a secret input takes only a reference.
    pub command: String,
    /// How the instances were selected.
    pub selection: SelectionArgs,
    /// The inputs that were given, as `name = JSON`; secret ones as their reference.
    pub inputs: BTreeMap<String, Value>,
    /// SHA-256 of the workflow's text, under which the store keeps it.
    pub text: String,
    /// Whether this is a further session of an earlier run.
    pub resumed: bool,
}

/// The selection as typed; see `workflow::select`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SelectionArgs {
    /// `--only`.
    pub only: Vec<String>,
    /// `--until`.
    pub until: Vec<String>,
    /// `--from`.
    pub from: Vec<String>,
    /// `--skip`.
    pub skip: Vec<String>,
    /// `--force`.
    pub force: Vec<String>,
    /// `--redo`.
    pub redo: Vec<String>,
}

/// An effect that is about to be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Which try.
    pub attempt: Attempt,
    /// Under which incarnation.
    #[serde(default, skip_serializing_if = "Token::is_empty")]
    pub token: Token,
    /// Whether the probe found nothing at all (so that what is found later is ours).
    pub from_absent: bool,
}

/// How an instance, or an intent of it, ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is as declared.
    Succeeded(Arc<Success>),
    /// It is as declared, and all that its last success said is still so.
    Unchanged {
        /// What was found to be unnecessary.
        done: Done,
        /// How long probing took, in milliseconds.
        probe_ms: u64,
    },
    /// It is not.
    Failed {
        /// Why.
        failure: Failure,
        /// Which try was the last.
        attempt: Attempt,
        /// Whether an intent stays open: the effect is in doubt.
        in_doubt: bool,
        /// How long the work took, in milliseconds.
        took: u64,
    },
    /// The open intent certainly did not take hold; nothing is in doubt any more.
    DidNotTakeHold,
    /// It was removed.
    Destroyed,
}

/// A success, with all that the ledger needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Success {
    /// What was done, or found to be unnecessary.
    pub done: Done,
    /// What later tasks read.
    pub outputs: Arc<Value>,
    /// The secrets in the vault, by name, each with its HMAC.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// Whose it is.
    pub origin: Origin,
    /// How often it was made.
    pub generation: Generation,
    /// The incarnation, for a `once`.
    #[serde(default, skip_serializing_if = "Token::is_empty")]
    pub token: Token,
    /// How to find it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Value>,
    /// What it was made from.
    pub fingerprint: Fingerprint,
    /// The static facts of the instance at that time.
    pub facts: Facts,
    /// Warnings.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What differs and was left alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// How long probing took, in milliseconds.
    pub probe_ms: u64,
    /// How long applying and settling took, in milliseconds; `None` without an apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apply_ms: Option<u64>,
}

impl Success {
    /// Whether another success says the same of the thing, however it was found out.
    #[must_use]
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        let Self {
            done: _,
            outputs,
            secrets,
            origin,
            generation,
            token,
            handle,
            fingerprint,
            facts,
            notes,
            drift,
            probe_ms: _,
            apply_ms: _,
        } = self;
        *outputs == other.outputs
            && *secrets == other.secrets
            && *origin == other.origin
            && *generation == other.generation
            && *token == other.token
            && *handle == other.handle
            && *fingerprint == other.fingerprint
            && *facts == other.facts
            && *notes == other.notes
            && *drift == other.drift
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Done {
    /// Made from nothing.
    Created,
    /// Made again: it was recorded and had vanished.
    Recreated,
    /// Changed to what is declared.
    Updated,
    /// Was right before flow ever acted.
    Adopted,
    /// Is right, as recorded.
    UpToDate,
    /// An interrupted effect that had taken hold.
    Recovered,
    /// A `once` that stays as it is.
    Kept,
    /// An action that ran, or a `once` that ran again although it was there (`--redo`).
    Ran,
    /// An action that need not run again.
    Unverified,
    /// A gate that passed.
    Passed,
    /// Differs, and was left alone.
    LeftDrifted,
}

impl Done {
    /// Whether the world was changed for it.
    #[must_use]
    pub fn is_applied(self) -> bool {
        match self {
            Self::Created | Self::Recreated | Self::Updated | Self::Ran => true,
            Self::Adopted
            | Self::UpToDate
            | Self::Recovered
            | Self::Kept
            | Self::Unverified
            | Self::Passed
            | Self::LeftDrifted => false,
        }
    }
}

/// Who made a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// flow did.
    Made,
    /// It was there, without our mark. Never destroyed.
    Found,
}

/// What an instance was made from, in parts, so that `why` can name what changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Hash of the task's definition.
    pub definition: Arc<str>,
    /// Hash of the resolved `with`; secrets enter by HMAC.
    pub inputs: String,
    /// The resolved `with` itself, secrets replaced by their HMACs; for `why`.
    pub params: Value,
    /// Hashes of declared files.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
}

/// What the workflow said of an instance when its outcome was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// The kind.
    pub kind: Cow<'static, str>,
    /// What it needed, directly.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<InstanceName>,
    /// What it lives in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lives_in: Vec<InstanceName>,
    /// Whether `destroy` must leave it.
    pub protected: bool,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunEnded {
    /// Every instance succeeded.
    Complete,
    /// Some failed or were blocked.
    Failed,
    /// The user stopped it.
    Interrupted,
}
