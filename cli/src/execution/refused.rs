//! Why a run came to no ordinary end.

use std::sync::Arc;

use flow_engine::event::SelectionArgs;
use flow_engine::runner::{RunError, Unmet};
use flow_engine::workflow::{Workflow, select};
use miette::Report;

use super::Execute;
use crate::abort::Abort;
use crate::exit::Exit;
use crate::render::selection::Refused;

impl Execute<'_> {
    /// What a run that came to no ordinary end is told as.
    pub(super) fn run_error(&self, error: RunError, workflow: &Arc<Workflow>) -> Abort {
        match error {
            RunError::Unmet { unmet } => {
                Abort::new(Exit::NeedsHuman, Report::new(self.refused(&unmet, workflow)))
            }
            RunError::Declined => Abort::new(Exit::NeedsHuman, error),
            RunError::State { .. } => Abort::new(Exit::State, error),
        }
    }

    /// A selection relies on what does not hold; nothing was applied.
    fn refused(&self, unmet: &[Unmet], workflow: &Arc<Workflow>) -> Refused {
        let SelectionArgs { only, from, .. } = &self.selection;
        let word = if only.is_empty() { "from" } else { "only" };
        let selectors = [&only[..], &from[..]].concat();
        let until = SelectionArgs { until: selectors.clone(), ..SelectionArgs::default() };
        let before = select(workflow, &until).map_or(0, |until| until.selected.run.len());
        let only = SelectionArgs { only: selectors.clone(), ..SelectionArgs::default() };
        let own = select(workflow, &only);
        let own = own.map_or(0, |own| own.selected.run.len());
        Refused {
            what: format!("{word} {}", selectors.join(" ")),
            site: self.site.site.name.clone(),
            unmet: unmet.to_vec(),
            instead: format!(
                "flow run {} --until {}{}",
                self.asset.typed(),
                selectors.join(" --until "),
                self.site.flag()
            ),
            before: before.saturating_sub(own),
        }
    }
}
