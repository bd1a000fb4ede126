//! One execution of a workflow: one thread, one turn after the other, one batch a turn.
//!
//! A turn takes in what attempts have said, asks the scheduler until nothing more can start, lets
//! everything run that is ready, and then sends one batch of events to the store. The next batch
//! grows meanwhile.

pub(crate) mod backoff;
pub(crate) mod desk;
pub(crate) mod fingerprint;
pub(crate) mod forecast;
pub(crate) mod page;
mod session;
pub(crate) mod stop;
mod summary;
pub(crate) mod values;
mod verify;
mod writer;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use crate::cx::{SiteContext, Stop};
use crate::event::RunStarted;
use crate::failure::Failure;
use crate::id::{Instance, InstanceName, RunId, Seq};
use crate::journal::{Store, StoreError, Vault};
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::workflow::Workflow;

pub use forecast::Forecast;
pub use stop::Confirm;
pub use summary::{Counts, Ending, Summary};

/// Everything that one execution needs.
pub struct Run {
    /// What to run.
    pub workflow: Arc<Workflow>,
    /// What is known of its instances, folded up to the event before `options.next_seq`.
    pub ledger: Ledger,
    /// Which instances.
    pub selected: Selected,
    /// The site that kinds are told of.
    pub site: Arc<SiteContext>,
    /// Where history goes.
    pub store: Arc<dyn Store>,
    /// Where secrets are.
    pub vault: Arc<dyn Vault>,
    /// How.
    pub options: Options,
}

/// Which instances a run is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selected {
    /// Those that run.
    pub run: BTreeSet<Instance>,
    /// Those outside of `run` that must hold before anything is applied (`--only`, `--from`): a
    /// recorded success, and a probe that is satisfied now.
    pub verify: BTreeSet<Instance>,
    /// Those outside of `run` that block only what needs them if they do not hold (`--skip`).
    pub skip: BTreeSet<Instance>,
    /// Those that are applied although they are satisfied.
    pub force: BTreeSet<Instance>,
    /// Those whose stop a person has lifted.
    pub redo: BTreeSet<Instance>,
}

impl Selected {
    /// All instances that are not skipped.
    #[must_use]
    pub fn all(workflow: &Workflow) -> Self {
        let run = workflow.ids().filter(|id| !workflow.instance(*id).skipped).collect();
        Self { run, ..Self::default() }
    }
}

/// How a run goes about it.
pub struct Options {
    /// Its number.
    pub run: RunId,
    /// The number of its first event.
    pub next_seq: Seq,
    /// What its first event says.
    pub started: RunStarted,
    /// How many instances may work at a time.
    pub slots: u32,
    /// Whether a failure keeps everything from starting that has not.
    pub fail_fast: bool,
    /// Where jitter comes from.
    pub seed: u64,
    /// Asked once, before the first intent.
    pub confirm: Option<Confirm>,
    /// An event that ends its batch and is durable before the next one (see `on_durable`).
    pub crash_at: Option<Seq>,
    /// Called with the last event of each batch as soon as it is durable, before anything goes on.
    pub on_durable: Option<OnDurable>,
    /// Wall clock.
    pub clock: Clock,
}

/// Sees how far history is durable.
pub type OnDurable = Arc<dyn Fn(Seq) + Send + Sync>;

impl Options {
    /// Sixteen slots, everything else as unobtrusive as possible.
    #[must_use]
    pub fn new(run: RunId, next_seq: Seq, started: RunStarted) -> Self {
        Self {
            run,
            next_seq,
            started,
            slots: 16,
            fail_fast: false,
            seed: 0,
            confirm: None,
            crash_at: None,
            on_durable: None,
            clock: Clock::default(),
        }
    }
}

/// Wall clock, for display and for `fresh`.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// A clock that tells milliseconds since 1970.
    pub fn new(now: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", self.now())
    }
}

/// Why a run came to no ordinary end.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum RunError {
    /// What the selection takes for granted does not hold. Nothing was applied.
    #[error("the selection relies on {}, which does not hold", names(.unmet))]
    #[diagnostic(
        code(select::unsatisfied),
        help("`--until` instead of `--only` runs what is needed, too")
    )]
    Unmet {
        /// What does not hold, and why.
        unmet: Vec<Unmet>,
    },
    /// A person was asked before the first write, and said no. Nothing was written.
    #[error("the run was declined before its first write")]
    #[diagnostic(code(engine::declined))]
    Declined,
    /// History cannot be written.
    #[error("the run had to stop, because its state cannot be written")]
    #[diagnostic(
        code(engine::state),
        help("mend that first; `flow resume` then looks at what was in flight")
    )]
    State {
        /// Instances whose effect was asked for, without an outcome on record.
        undecided: Vec<InstanceName>,
        /// Why.
        #[diagnostic_source]
        source: StoreError,
    },
}

/// Something that a selection takes for granted, and that does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Unmet {
    /// Which instance.
    pub instance: InstanceName,
    /// Why not.
    pub failure: Failure,
}

fn names(unmet: &[Unmet]) -> String {
    let names: Vec<String> = unmet.iter().map(|unmet| format!("`{}`", unmet.instance)).collect();
    names.join(", ")
}

impl Run {
    /// Runs to the end: everything that was selected has succeeded, failed, or cannot start.
    ///
    /// # Errors
    ///
    /// [`RunError`]. A failed instance is not one; it stands in the [`Summary`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, everything in flight is dropped with it, as if the process had been killed.
    pub async fn execute(
        self,
        reporter: &mut dyn Reporter,
        stop: watch::Receiver<Stop>,
    ) -> Result<Summary, RunError> {
        let workflow = Arc::clone(&self.workflow);
        let mut session = session::Session::new(self, &workflow, reporter, stop);
        session.verify().await?;
        session.run().await
    }
}

#[cfg(test)]
mod tests;
