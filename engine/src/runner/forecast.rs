//! How long a run will take, and what is left of that.

use std::sync::Arc;
use std::time::Duration;

use crate::id::Instance;
use crate::ledger::{Ledger, Row};
use crate::rank::{self, Expect};
use crate::scheduler::Setup;
use crate::workflow::Workflow;

use super::Selected;

/// What is expected of a run, from learned durations and hints.
pub struct Forecast {
    workflow: Arc<Workflow>,
    selected: Selected,
    slots: u32,
    durations: Vec<u64>,
}

impl Forecast {
    /// What is expected before anything was looked at: what stands is only looked at again.
    #[must_use]
    pub fn new(workflow: &Arc<Workflow>, ledger: &Ledger, selected: &Selected, slots: u32) -> Self {
        let rows: Vec<Row> = workflow
            .instances
            .iter()
            .map(|def| ledger.row(&def.name).cloned().unwrap_or_default())
            .collect();
        let durations = rank::durations(workflow, &rows, |id| {
            Expect::of(workflow.task_of(id).effect, &rows[id.index()])
        });
        Self { workflow: Arc::clone(workflow), selected: selected.clone(), slots, durations }
    }

    /// How long an instance usually takes.
    #[must_use]
    pub fn usual(&self, instance: Instance) -> Duration {
        Duration::from_millis(self.durations[instance.index()])
    }

    /// How long the whole run takes.
    #[must_use]
    pub fn whole(&self) -> Duration {
        self.left(|_| None)
    }

    /// How long the rest takes, where `spent` says how long an instance has been at work;
    /// [`Duration::MAX`] for one that is over.
    #[must_use]
    pub fn left(&self, spent: impl Fn(Instance) -> Option<Duration>) -> Duration {
        let left: Vec<u64> = self
            .workflow
            .ids()
            .zip(&self.durations)
            .map(|(id, whole)| {
                let spent = spent(id).unwrap_or_default();
                whole.saturating_sub(u64::try_from(spent.as_millis()).unwrap_or(u64::MAX))
            })
            .collect();
        let ranks = rank::ranks(&self.workflow.graph, &left);
        let setup = schedule(&self.workflow, &self.selected, ranks, self.slots);
        Duration::from_millis(rank::replay(setup, &left))
    }
}

/// How a selection is scheduled; nothing goes first among equals.
pub(crate) fn schedule<'w>(
    workflow: &'w Workflow,
    selected: &Selected,
    ranks: Vec<u64>,
    slots: u32,
) -> Setup<'w> {
    Setup {
        graph: &workflow.graph,
        ranks,
        pools: workflow.pools.iter().map(|pool| pool.size).collect(),
        requests: workflow.instances.iter().map(|def| def.pools.clone()).collect(),
        passive: workflow
            .ids()
            .map(|id| workflow.instance(id).skipped || !selected.run.contains(&id))
            .collect(),
        finally: workflow.ids().map(|id| workflow.task_of(id).finally).collect(),
        first: vec![false; workflow.instances.len()],
        slots,
        fail_fast: false,
    }
}
