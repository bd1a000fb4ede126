//! How long things take, how long the tail behind each is, and how long the whole will take.
//!
//! An instance with a long tail starts first, so that the end of the run is never one chain that
//! could have begun earlier. Learned durations replace hints; where both are missing the median
//! of the run stands in.

use std::collections::BTreeSet;

use crate::graph::Graph;
use crate::id::Instance;
use crate::kind::Effect;
use crate::ledger::Row;
use crate::scheduler::{Command, Ended, Event, Scheduler, Setup};
use crate::workflow::Workflow;

/// What is assumed where nothing at all is known, in milliseconds.
const UNKNOWN: u64 = 1000;

/// What an instance is expected to take its time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// For its change, and for looking whether that has taken hold.
    Apply,
    /// For a look.
    Look,
    /// It takes none.
    Nothing,
}

impl Expect {
    /// What is expected of an instance before anybody has looked.
    #[must_use]
    pub fn of(effect: Effect, row: &Row) -> Self {
        let stands = row.success.is_some() && row.open.is_none() && row.failure.is_none();
        match effect {
            // What stands is probably only looked at again.
            Effect::Converge | Effect::Once if stands => Self::Look,
            Effect::Converge | Effect::Once | Effect::Action => Self::Apply,
            Effect::Gate => Self::Look,
        }
    }
}

/// The expected duration of every instance, in milliseconds.
///
/// The first that is known: its own good durations, those of other instances of its task, what
/// the file expects, the median of all that is known. `rows` has one entry for each instance.
#[must_use]
pub fn durations(
    workflow: &Workflow,
    rows: &[Row],
    expect: impl Fn(Instance) -> Expect,
) -> Vec<u64> {
    let expect: Vec<Expect> = workflow.ids().map(expect).collect();
    let own: Vec<Option<u64>> =
        rows.iter().zip(&expect).map(|(row, expect)| learned(*expect, row)).collect();
    let mut by_task: Vec<Vec<u64>> = vec![Vec::new(); workflow.tasks.len()];
    for ((def, own), expect) in workflow.instances.iter().zip(&own).zip(&expect) {
        if *expect == Expect::Apply {
            by_task[def.task].extend(*own);
        }
    }
    let by_task: Vec<Option<u64>> = by_task
        .into_iter()
        .zip(&workflow.tasks)
        .map(|(times, task)| median(times).or_else(|| task.expected.map(millis)))
        .collect();
    let known: Vec<Option<u64>> = workflow
        .instances
        .iter()
        .zip(own)
        .zip(&expect)
        .map(|((def, own), expect)| match expect {
            _ if def.skipped => Some(0),
            Expect::Apply => own.or(by_task[def.task]),
            Expect::Look | Expect::Nothing => own,
        })
        .collect();
    let usual = median(known.iter().flatten().copied().filter(|ms| *ms > 0).collect());
    known.into_iter().map(|ms| ms.or(usual).unwrap_or(UNKNOWN)).collect()
}

fn learned(expect: Expect, row: &Row) -> Option<u64> {
    match expect {
        Expect::Apply => median(row.durations.clone()),
        Expect::Look => median(row.probes.clone()),
        Expect::Nothing => Some(0),
    }
}

fn median(mut values: Vec<u64>) -> Option<u64> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The length of the longest chain that starts with each vertex, itself included.
///
/// `durations` holds one entry for each instance; barriers take no time.
#[must_use]
pub fn ranks(graph: &Graph, durations: &[u64]) -> Vec<u64> {
    let mut ranks = vec![0_u64; graph.len()];
    for vertex in ends_first(graph) {
        let tail = graph.children(vertex).iter().map(|child| ranks[*child as usize]).max();
        let own = durations.get(vertex as usize).copied().unwrap_or(0);
        ranks[vertex as usize] = own.saturating_add(tail.unwrap_or(0));
    }
    ranks
}

/// All vertices, each after everything that needs it.
fn ends_first(graph: &Graph) -> Vec<u32> {
    let count = u32::try_from(graph.len()).expect("a graph is checked for its size");
    let mut left: Vec<usize> = (0..count).map(|v| graph.children(v).len()).collect();
    let mut order: Vec<u32> = (0..count).filter(|v| left[*v as usize] == 0).collect();
    let mut next = 0;
    while let Some(&vertex) = order.get(next) {
        next += 1;
        for &parent in graph.parents(vertex) {
            left[parent as usize] -= 1;
            if left[parent as usize] == 0 {
                order.push(parent);
            }
        }
    }
    order
}

/// The longest chain: the instances that the run cannot be shorter than, first to last.
///
/// # Panics
///
/// Never: a graph of more than `u32::MAX` vertices is refused at load.
#[must_use]
pub fn critical_path(graph: &Graph, ranks: &[u64]) -> Vec<Instance> {
    let longest = |vertices: &mut dyn Iterator<Item = u32>| {
        vertices.max_by_key(|v| (ranks[*v as usize], std::cmp::Reverse(*v)))
    };
    let mut path = Vec::new();
    let count = u32::try_from(graph.len()).expect("a graph is checked for its size");
    let mut at = longest(&mut (0..count).filter(|v| graph.parents(*v).is_empty()));
    while let Some(vertex) = at {
        if vertex < graph.instances() {
            path.push(Instance(vertex));
        }
        at = longest(&mut graph.children(vertex).iter().copied());
    }
    path
}

/// How long a run takes if every instance takes as long as expected: one replay.
#[must_use]
pub fn replay(setup: Setup<'_>, durations: &[u64]) -> u64 {
    let mut scheduler = Scheduler::new(setup);
    let mut now = 0_u64;
    let mut due: BTreeSet<(u64, u32)> = BTreeSet::new();
    let mut commands = scheduler.begin();
    loop {
        for command in commands {
            match command {
                Command::Start(id) => {
                    let takes = durations.get(id.index()).copied().unwrap_or(0);
                    due.insert((now.saturating_add(takes), id.0));
                }
                Command::Blocked(..) => {}
            }
        }
        let Some((at, first)) = due.pop_first() else { return now };
        now = at;
        let mut finished = vec![Event::Finished(Instance(first), Ended::Succeeded)];
        while let Some(&(_, id)) = due.first().filter(|(then, _)| *then == at) {
            due.remove(&(at, id));
            finished.push(Event::Finished(Instance(id), Ended::Succeeded));
        }
        commands = scheduler.on(finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_for_ever_takes_no_longer() {
        let graph = Graph::new(2, 0, &[(0, 1)]).unwrap().graph;
        let durations = [u64::MAX, 1];
        let setup = Setup {
            graph: &graph,
            ranks: ranks(&graph, &durations),
            pools: Vec::new(),
            requests: vec![Vec::new(); 2],
            passive: vec![false; 2],
            finally: vec![false; 2],
            first: vec![false; 2],
            slots: 1,
            fail_fast: false,
        };
        assert_eq!(replay(setup, &durations), u64::MAX);
    }
}
