//! A workflow as a picture: what stands in which layer, who needs whom, and which chain of
//! instances the whole cannot be shorter than.

mod dot;
mod json;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flow_engine::Instance;
use flow_engine::ledger::{Ledger, Row};
use flow_engine::rank::{self, Expect};
use flow_engine::workflow::Workflow;

pub(crate) use dot::dot;
pub(crate) use json::object;
pub(crate) use text::text;

/// Where the durations of a picture come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    /// From the hints of the file.
    Expected,
    /// From earlier runs on this site.
    Learned,
}

/// A workflow with how long everything takes if all is made from nothing.
pub(crate) struct Picture<'a> {
    workflow: &'a Workflow,
    times: Times,
    /// By instance, in milliseconds.
    durations: Vec<u64>,
    /// When each instance is done at the earliest.
    done: Vec<u64>,
    /// The longest chain, first to last.
    path: Vec<Instance>,
    /// Tasks by direct need of one of their instances: who needs whom.
    children: BTreeMap<usize, BTreeSet<usize>>,
}

impl<'a> Picture<'a> {
    /// The picture of a workflow; learned durations count only where all are known.
    pub(crate) fn new(workflow: &'a Workflow, ledger: &Ledger) -> Self {
        let learned = making(workflow, ledger);
        let times = if learned.is_some() { Times::Learned } else { Times::Expected };
        let rows = learned.unwrap_or_else(|| vec![Row::default(); workflow.instances.len()]);
        let durations = rank::durations(workflow, &rows, |_| Expect::Apply);
        let ranks = rank::ranks(&workflow.graph, &durations);
        let path = rank::critical_path(&workflow.graph, &ranks);
        let path = path.into_iter().filter(|id| !workflow.instance(*id).skipped).collect();
        let (mut done, mut children) = (Vec::new(), BTreeMap::<_, BTreeSet<_>>::new());
        for id in workflow.ids() {
            let def = workflow.instance(id);
            let begin = def.needs.iter().map(|parent| done[parent.index()]).max();
            let end = begin.unwrap_or(0_u64).saturating_add(durations[id.index()]);
            done.push(end);
            for parent in &def.needs {
                let parent = workflow.instance(*parent).task;
                children.entry(parent).or_default().insert(def.task);
            }
        }
        Self { workflow, times, durations, done, path, children }
    }

    /// How long the longest chain takes.
    fn took(&self) -> Duration {
        Duration::from_millis(self.done.iter().copied().max().unwrap_or_default())
    }

    /// The instances of a task that are not left out.
    fn instances(&self, task: usize) -> impl Iterator<Item = Instance> {
        let of_task = move |id: &Instance| {
            let def = self.workflow.instance(*id);
            def.task == task && !def.skipped
        };
        self.workflow.ids().filter(of_task)
    }

    /// The tasks on the longest chain, in its order.
    fn critical(&self) -> Vec<usize> {
        let mut tasks: Vec<usize> = Vec::new();
        for id in &self.path {
            let task = self.workflow.instance(*id).task;
            if !tasks.contains(&task) {
                tasks.push(task);
            }
        }
        tasks
    }

    /// The layers with their tasks; those without a layer come last, under no name.
    fn layers(&self) -> Vec<Layer<'a>> {
        let names = self.workflow.layers.iter().map(String::as_str).map(Some).chain([None]);
        let mut layers: Vec<Layer<'_>> =
            names.map(|name| Layer { name, tasks: Vec::new(), done: 0 }).collect();
        let last = layers.len() - 1;
        for id in self.workflow.ids().filter(|id| !self.workflow.instance(*id).skipped) {
            let task = self.workflow.instance(id).task;
            let layer = &mut layers[self.workflow.tasks[task].layer.unwrap_or(last)];
            layer.done = layer.done.max(self.done[id.index()]);
            if !layer.tasks.contains(&task) {
                layer.tasks.push(task);
            }
        }
        layers.retain(|layer| !layer.tasks.is_empty());
        layers
    }
}

/// A layer as it is drawn.
struct Layer<'a> {
    name: Option<&'a str>,
    /// In topological order.
    tasks: Vec<usize>,
    /// When its last instance is done, in milliseconds.
    done: u64,
}

/// What is known of making each instance, as if none stood yet; `None` unless all is known.
fn making(workflow: &Workflow, ledger: &Ledger) -> Option<Vec<Row>> {
    let learned = workflow.instances.iter().map(|def| {
        if def.skipped {
            return Some(Row::default());
        }
        let row = ledger.row(&def.name)?;
        // One that was right before flow came has taught how long a look takes, no more.
        let durations =
            if row.durations.is_empty() { row.probes.clone() } else { row.durations.clone() };
        let known = !durations.is_empty();
        known.then(|| Row { durations, ..Row::default() })
    });
    learned.collect()
}

#[cfg(test)]
mod tests;
