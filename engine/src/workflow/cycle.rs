//! A cycle, told as a path.

use super::draft::Drafts;
use super::error::{Finding, Span};
use super::needs::{Barrier, Edges};
use crate::graph::Cycle;

/// How many members of a cycle are shown, and how many places.
const SHOWN: usize = 8;
const PLACES: usize = 4;

pub(crate) fn finding(cycle: &Cycle, drafts: &Drafts<'_>, edges: &Edges) -> Finding {
    // The graph's edges go from the needed to the needing; a person reads "needs" the other way.
    let mut members: Vec<u32> = cycle.0.clone();
    members.reverse();
    let first = members.iter().enumerate().min_by_key(|(_, v)| **v).map_or(0, |(at, _)| at);
    members.rotate_left(first);
    let name = |vertex: u32| match barrier(vertex, drafts, edges) {
        Some(Barrier::Layer(layer)) => format!("layer:{}", drafts.layers[layer].value),
        Some(Barrier::Task(task)) => drafts.list[task].syntax.name.to_owned(),
        None => drafts.name_of(vertex),
    };
    let place = |needing: u32, needed: u32| {
        let at = edges.list.iter().position(|edge| *edge == (needed, needing));
        at.map_or(Span::default(), |at| edges.spans[at])
    };
    let count = members.len();
    if count == 1 {
        let own = name(members[0]);
        return Finding::new(
            "workflow::cycle",
            format!("`{own}` needs itself"),
            place(members[0], members[0]),
            "needs itself",
        )
        .help("take this need or reference out");
    }
    let mut path: Vec<String> = members.iter().map(|vertex| name(*vertex)).collect();
    if count > SHOWN {
        let left_out = count - SHOWN;
        path.splice(SHOWN / 2..count - SHOWN / 2, [format!("… {left_out} more …")]);
    }
    path.push(name(members[0]));
    let label = |at: usize| {
        let (needing, needed) = (members[at], members[(at + 1) % count]);
        (place(needing, needed), format!("`{}` needs `{}`", name(needing), name(needed)))
    };
    let (at_first, words) = label(0);
    let mut finding = Finding::new(
        "workflow::cycle",
        format!("tasks need each other in a circle: {}", path.join(" → ")),
        at_first,
        words,
    )
    .help("take one of these needs or references out");
    let last = if count > PLACES { PLACES - 1 } else { count };
    for at in (1..last).chain((count > PLACES).then_some(count - 1)) {
        let (here, words) = label(at);
        if !finding.labels.iter().any(|(known, _)| *known == here) {
            finding = finding.label(here, words);
        }
    }
    finding
}

fn barrier(vertex: u32, drafts: &Drafts<'_>, edges: &Edges) -> Option<Barrier> {
    let at = vertex.checked_sub(drafts.count())?;
    edges.barriers.get(at as usize).copied()
}
