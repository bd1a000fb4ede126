//! What passes between the runner and a try: the assignment out, the end back.

use std::sync::Arc;

use tokio::sync::watch;

use crate::cx::{SiteContext, Stop};
use crate::event::{Done, Fingerprint};
use crate::failure::Failure;
use crate::id::{Attempt, Instance, RunId, Token};
use crate::journal::Vault;
use crate::ledger::Row;
use crate::redact::Redactor;
use crate::runner::desk::Desk;
use crate::runner::stop::FirstWrite;
use crate::secret::Secrets;
use crate::workflow::{Resolved, Workflow};

/// What all attempts of a run share.
pub(crate) struct Lent {
    pub(crate) workflow: Arc<Workflow>,
    pub(crate) desk: Arc<Desk>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) site: Arc<SiteContext>,
    pub(crate) redactor: Arc<Redactor>,
    pub(crate) stop: watch::Receiver<Stop>,
    pub(crate) first_write: FirstWrite,
    pub(crate) run: RunId,
    pub(crate) seed: u64,
}

impl Lent {
    /// Sees to it that nobody is told the secrets of these parameters.
    pub(crate) fn learn(&self, resolved: &Resolved) {
        for pointer in &resolved.secret {
            if let Some(value) = resolved.params.pointer(pointer) {
                self.redactor.learn(value);
            }
        }
    }
}

/// One try, as the runner hands it out.
pub(crate) struct Assignment {
    pub(crate) instance: Instance,
    pub(crate) attempt: Attempt,
    /// Whether a failure of this one is final.
    pub(crate) last: bool,
    /// What is known; given back with what this try adds.
    pub(crate) row: Row,
    pub(crate) resolved: Resolved,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) token: Token,
    pub(crate) orders: Orders,
    /// What an earlier try of this session asked for.
    pub(crate) meant: Option<Done>,
    /// Whether this try has looked before until settle was over, and then queued for a slot.
    pub(crate) waited: bool,
}

/// What a person, or the run, wants of a try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Orders {
    pub(crate) force: bool,
    pub(crate) redo: bool,
    /// Only to find out whether an open effect has taken hold: nothing is asked for.
    pub(crate) only_look: bool,
}

/// A try that is over.
pub(crate) struct Returned {
    pub(crate) instance: Instance,
    pub(crate) attempt: Attempt,
    pub(crate) row: Row,
    pub(crate) meant: Option<Done>,
    pub(crate) end: End,
}

/// How a try ended.
pub(crate) enum End {
    /// As declared.
    Succeeded(Box<Finished>),
    /// Not as declared.
    Failed {
        failure: Failure,
        /// Whether another try may help. Else the failure is on its way into history.
        again: bool,
        in_doubt: bool,
    },
    /// It has looked while others had its slot, and goes on when it has one again. Not a failure.
    Queues {
        /// Whether it has looked until settle was over.
        waited: bool,
    },
    /// The user stopped it; an open intent stays open.
    Interrupted,
    /// History cannot be written any more.
    Lost,
}

/// What a success hands on.
pub(crate) struct Finished {
    pub(crate) done: Done,
    pub(crate) outputs: Arc<serde_json::Value>,
    pub(crate) secrets: Secrets,
    pub(crate) notes: Vec<String>,
    pub(crate) drift: Option<String>,
}
