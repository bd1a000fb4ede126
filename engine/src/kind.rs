//! The contract of a kind: what a task can `use`.

use std::future::Future;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cx::Cx;

/// What a task `uses`: one sort of thing in the world.
pub trait Kind: Send + Sync + Sized + 'static {
    /// The name that workflows use, as `verb-noun`. Stored, so never renamed.
    const NAME: &'static str;
    /// What sort of change [`Kind::apply`] makes.
    const EFFECT: Effect;
    /// What `flow explain` and the generated reference page show.
    const MANUAL: Manual;
    /// How the engine polls [`Kind::probe`] after an apply.
    const SETTLE: Settle = Settle::DEFAULT;
    /// What happens to drift where the task does not say.
    const ON_DRIFT: OnDrift = OnDrift::Fix;
    /// Whether a probe that finds nothing proves that a `once` did not happen.
    const CONCLUSIVE: bool = true;

    /// The task's `[tasks.X.with]` table.
    type Params: DeserializeOwned + JsonSchema + Send + Sync;
    /// What later tasks read. Stored in the clear, so it never holds a secret.
    type Outputs: Serialize + JsonSchema + Send;
    /// What later tasks read and nobody else may see. Kept in the vault; `()` for none.
    type Secrets: Serialize + JsonSchema + Send;
    /// The little that is needed to find the thing again, prove it ours and remove it.
    ///
    /// An append-only format: every release must read the handles of all earlier ones.
    type Handle: Serialize + DeserializeOwned + Send + Sync;
    /// Everything that can go wrong, one variant for each remedy.
    type Error: KindError;

    /// Looks at the world and says what it found. An error means *unknown*, never *absent*.
    ///
    /// # Cancel safety
    ///
    /// Only reads, so the engine may drop it at any `.await`.
    fn probe(
        &self,
        cx: &Cx,
        params: &Self::Params,
    ) -> impl Future<Output = Result<Verdict<Self>, Self::Error>> + Send;

    /// Makes the change's calls, each safe to repeat; returns when the last one is accepted.
    ///
    /// It does not wait for the change to take hold; the engine polls [`Kind::probe`] for that.
    /// What the next call depends on (a server's own task) is awaited by the client.
    ///
    /// # Cancel safety
    ///
    /// Not dropped by the first interrupt. With several writes, check [`Cx::stop_requested`]
    /// between them; dropped all the same, the next probe finds out.
    fn apply(
        &self,
        cx: &Cx,
        params: &Self::Params,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says whether the thing is there, and whether it is still ours.
    fn exists(
        &self,
        cx: &Cx,
        handle: &Self::Handle,
    ) -> impl Future<Output = Result<Presence, Self::Error>> + Send;

    /// Asks for the removal of one thing that [`Kind::exists`] called ours.
    fn destroy(
        &self,
        cx: &Cx,
        handle: &Self::Handle,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// What sort of change a kind makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Safe to apply again at any time.
    Converge,
    /// Must never take effect twice for one [`Token`](crate::Token).
    Once,
    /// Leaves nothing to look at.
    Action,
    /// Only looks or computes.
    Gate,
}

/// What happens where the world differs from what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDrift {
    /// Apply.
    Fix,
    /// Leave it, tell it, count it as pending.
    Report,
    /// Leave it, say nothing.
    Ignore,
}

/// How a probe is polled until it is satisfied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settle {
    /// The pause after the first look, which is at once.
    pub first: std::time::Duration,
    /// The longest pause; each one is 1.5 times the one before.
    pub max: std::time::Duration,
    /// When to give up; a task's `settle` replaces it.
    pub within: std::time::Duration,
}

impl Settle {
    /// 50 ms growing to 5 s, for at most two minutes.
    pub const DEFAULT: Self = Self::within(std::time::Duration::from_mins(2));

    /// The default pauses with a limit of their own.
    #[must_use]
    pub const fn within(limit: std::time::Duration) -> Self {
        Self {
            first: std::time::Duration::from_millis(50),
            max: std::time::Duration::from_secs(5),
            within: limit,
        }
    }
}

/// What `flow explain KIND` shows.
#[derive(Debug, Clone, Copy)]
pub struct Manual {
    /// A phrase that fits a line.
    pub summary: &'static str,
    /// A few sentences: what it looks at, what it changes, what it never does.
    pub details: &'static str,
    /// A `[tasks.X.with]` table in TOML, which a test parses as the kind's params.
    pub example: &'static str,
}

/// What [`Kind::probe`] found.
#[must_use]
pub enum Verdict<K: Kind> {
    /// The world is as declared.
    Satisfied(Found<K>),
    /// It is not there, or half made and ours (then with its mark): making goes on.
    Absent(Mark<K::Handle>),
    /// It is there and differs.
    Drifted {
        /// What differs, for a person.
        diff: String,
        /// Whose it is.
        mark: Mark<K::Handle>,
    },
    /// A change is in progress, whoever began it. Never applied over.
    Underway(String),
}

impl<K: Kind<Secrets = ()>> Verdict<K> {
    /// Satisfied, with nothing to mark and no secrets.
    pub fn satisfied(outputs: K::Outputs) -> Self {
        Self::Satisfied(Found { outputs, secrets: (), mark: Mark::Nowhere })
    }

    /// Satisfied by a thing that can be found and removed again, without secrets.
    pub fn found(outputs: K::Outputs, mark: Mark<K::Handle>) -> Self {
        Self::Satisfied(Found { outputs, secrets: (), mark })
    }
}

/// What a satisfied probe hands out.
pub struct Found<K: Kind> {
    /// What later tasks may read.
    pub outputs: K::Outputs,
    /// What later tasks may read and nobody else may see.
    pub secrets: K::Secrets,
    /// Whose the thing is.
    pub mark: Mark<K::Handle>,
}

/// Whose the thing is that a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mark<H> {
    /// It carries our mark.
    Ours(H),
    /// It does not. Recorded as `found` unless an intent of ours came first.
    Missing(H),
    /// There is nothing of its own to mark or to remove.
    Nowhere,
}

/// What [`Kind::exists`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// There, and it carries our mark.
    Ours,
    /// There, and somebody else's.
    Foreign,
    /// Not there.
    Gone,
}

/// The handle of kinds that make nothing of their own: it has no value.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum NoHandle {}

/// What to do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// Try again after a while.
    Backoff,
    /// Trying again cannot help.
    Never,
    /// A person must do something first; exit code 4.
    Human,
}

/// A failure that a user can act on and the engine can classify.
pub trait KindError: miette::Diagnostic + Send + Sync + 'static {
    /// Says what to do next.
    fn retry(&self) -> Retry;

    /// Says that the world has certainly not begun the change that was asked for.
    ///
    /// Decides whether a `once` may be asked for again; where in doubt, it may not.
    fn refused(&self) -> bool {
        false
    }
}
