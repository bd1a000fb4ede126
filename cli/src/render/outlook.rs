//! How long a run takes and what is left of it, for people; nothing where nothing is known.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flow_engine::ledger::{Ledger, Row};
use flow_engine::rank;
use flow_engine::runner::{Forecast, Selected};
use flow_engine::workflow::Workflow;
use flow_engine::{Effect, Instance};

use super::time::about;

/// What is expected of a run.
pub(crate) struct Outlook {
    forecast: Forecast,
    /// How long the longest chain is that begins with each instance.
    ranks: Vec<u64>,
    known: BTreeSet<Instance>,
    is_learned: bool,
}

impl Outlook {
    /// What earlier runs and the file say; `None` if neither says anything of what runs.
    ///
    /// A file speaks of real machines: `speed` is how much faster than these the world runs.
    pub(crate) fn new(
        workflow: &Arc<Workflow>,
        ledger: &Ledger,
        selected: &Selected,
        slots: u32,
        speed: f64,
    ) -> Option<Self> {
        let row = |id: Instance| ledger.row(&workflow.instance(id).name);
        let is_learned = |id: &Instance| {
            row(*id).is_some_and(|row| !(row.durations.is_empty() && row.probes.is_empty()))
        };
        let learned: BTreeSet<Instance> = workflow.ids().filter(is_learned).collect();
        let tasks: BTreeSet<usize> = learned.iter().map(|id| workflow.instance(*id).task).collect();
        let mut known = learned.clone();
        let hinted = workflow.ids().map(|id| {
            let mut row = row(id).cloned().unwrap_or_default();
            let task = workflow.instance(id).task;
            if tasks.contains(&task) {
                known.insert(id);
            } else if let Some(hint) = workflow.tasks[task].expected {
                known.insert(id);
                hint_into(&mut row, workflow.tasks[task].effect, hint.div_f64(speed));
            }
            (workflow.instance(id).name.clone(), row)
        });
        let rows = Ledger::from_rows(hinted.collect());
        if known.is_disjoint(&selected.run) {
            return None;
        }
        let forecast = Forecast::new(workflow, &rows, selected, slots);
        let usual = |id| u64::try_from(forecast.usual(id).as_millis()).unwrap_or(u64::MAX);
        let usual: Vec<u64> = workflow.ids().map(usual).collect();
        let ranks = rank::ranks(&workflow.graph, &usual);
        let is_learned = selected.run.is_subset(&learned);
        Some(Self { forecast, ranks, known, is_learned })
    }

    /// How long the whole takes, as `usually 35m`, or `estimated 41s` where not all is known from
    /// earlier runs.
    pub(crate) fn words(&self) -> String {
        let how = if self.is_learned { "usually" } else { "estimated" };
        format!("{how} {}", about(self.forecast.whole()))
    }

    /// How long an instance usually takes, if that is known.
    pub(crate) fn usual(&self, instance: Instance) -> Option<Duration> {
        self.known.contains(&instance).then(|| self.forecast.usual(instance))
    }

    /// How long the rest takes; see [`Forecast::left`].
    pub(crate) fn left(&self, spent: impl Fn(Instance) -> Option<Duration>) -> Duration {
        self.forecast.left(spent)
    }

    /// Which of these the longest chain begins with.
    pub(crate) fn longest(&self, of: impl Iterator<Item = Instance>) -> Option<Instance> {
        of.max_by_key(|id| (self.ranks[id.index()], std::cmp::Reverse(*id)))
    }
}

fn hint_into(row: &mut Row, effect: Effect, hint: Duration) {
    let millis = u64::try_from(hint.as_millis()).unwrap_or(u64::MAX);
    match effect {
        Effect::Gate => row.probes.push(millis),
        Effect::Converge | Effect::Once | Effect::Action => row.durations.push(millis),
    }
}
