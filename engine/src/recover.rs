//! What earlier sessions have asked for without writing down how it ended.
//!
//! An instance of the selection with an open intent starts before its equals, and is decided by
//! the column *open* of the table when its turn comes; that needs nothing more. What is open
//! outside of the selection is only looked at: if it has taken hold, that is written down, else
//! it stays open, since nothing but the selection may be applied.

use crate::id::Instance;
use crate::ledger::Row;
use crate::runner::Selected;
use crate::workflow::Workflow;

/// The open instances that a run does not select.
pub(crate) fn outside(workflow: &Workflow, rows: &[Row], selected: &Selected) -> Vec<Instance> {
    workflow
        .ids()
        .filter(|id| rows[id.index()].open.is_some())
        .filter(|id| !selected.run.contains(id) && !workflow.instance(*id).skipped)
        .collect()
}
