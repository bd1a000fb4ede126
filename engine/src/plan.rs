//! The dry walk: the same looks and the same decisions as a run, without an apply or an intent.

mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::cx::{SiteContext, Stop};
use crate::event::{Done, Fingerprint};
use crate::failure::Failure;
use crate::id::Instance;
use crate::journal::Vault;
use crate::ledger::Ledger;
use crate::report::Reporter;
use crate::runner::{Clock, Selected};
use crate::workflow::Workflow;

/// Everything that a plan needs. Nothing in it can write.
pub struct Survey {
    /// What would run.
    pub workflow: Arc<Workflow>,
    /// What is known of its instances.
    pub ledger: Ledger,
    /// Which instances.
    pub selected: Selected,
    /// The site that kinds are told of.
    pub site: Arc<SiteContext>,
    /// Where secrets are.
    pub vault: Arc<dyn Vault>,
    /// How many instances are looked at, and would work, at a time.
    pub slots: u32,
    /// Where jitter comes from.
    pub seed: u64,
    /// Wall clock, for `fresh`.
    pub clock: Clock,
}

/// What a run would do with one instance.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// Nothing: it is right, and this is what a run would call it.
    Unchanged(Done),
    /// Its change would be asked for.
    Apply {
        /// What it would be called.
        done: Done,
        /// What differs, in the probe's words.
        diff: Option<String>,
    },
    /// It differs, and would be left alone.
    Drift {
        /// What differs.
        diff: String,
        /// Whether it counts as pending (`on-drift = "report"`).
        pending: bool,
    },
    /// A change of it is in progress, which a run would wait for.
    Underway(String),
    /// A run would stop here for a person.
    Stuck(Failure),
    /// The world did not answer, or a gate has not passed.
    Unreadable(Failure),
    /// Nobody can tell before these are applied.
    Unknown {
        /// What it needs itself, and that is not applied, or not known either.
        until: Instance,
        /// The change at the root of it, which a run would ask for.
        root: Instance,
    },
    /// `when` is false.
    Skipped,
    /// The selection leaves it out.
    LeftOut,
}

/// What is planned for one instance, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// What a run would do.
    pub planned: Planned,
    /// What it would be made from, where that is known: for a comparison with the record.
    pub fingerprint: Option<Fingerprint>,
    /// Warnings of the probe.
    pub notes: Vec<String>,
}

/// What a run would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One for each instance, by number.
    pub items: Vec<Item>,
    /// The chain that the run cannot be shorter than.
    pub critical: Vec<Instance>,
    /// How long the run would take.
    pub eta: Duration,
    /// How long looking took.
    pub took: Duration,
    /// Whether the user stopped it, so that the rest is unknown.
    pub interrupted: bool,
}

impl Planned {
    /// Whether a run would change something here, or a person has to.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        match self {
            Self::Apply { .. } | Self::Underway(_) | Self::Stuck(_) => true,
            Self::Drift { pending, .. } => *pending,
            Self::Unchanged(_)
            | Self::Unreadable(_)
            | Self::Unknown { .. }
            | Self::Skipped
            | Self::LeftOut => false,
        }
    }

    /// Whether a plan cannot say.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Unreadable(_) | Self::Unknown { .. } => true,
            Self::Unchanged(_)
            | Self::Apply { .. }
            | Self::Drift { .. }
            | Self::Underway(_)
            | Self::Stuck(_)
            | Self::Skipped
            | Self::LeftOut => false,
        }
    }
}

impl Plan {
    /// Whether anything is pending.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.items.iter().any(|item| item.planned.is_pending())
    }

    /// Whether anything is unknown.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.interrupted || self.items.iter().any(|item| item.planned.is_unknown())
    }
}

/// Looks at everything that was selected, and says what a run would do. Writes nothing.
///
/// # Cancel safety
///
/// Only reads.
pub async fn plan(
    survey: Survey,
    reporter: &mut dyn Reporter,
    stop: watch::Receiver<Stop>,
) -> Plan {
    walk::Walk::new(survey, reporter, stop).walk().await
}

#[cfg(test)]
mod tests;
