//! The picture for Graphviz: tasks as boxes, layers as clusters, barriers as points.

use std::collections::BTreeSet;
use std::fmt::Write;

use flow_engine::Instance;

use super::Picture;

/// The picture in the language of Graphviz.
pub(crate) fn dot(picture: &Picture<'_>) -> String {
    let workflow = picture.workflow;
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a string takes all");
    line(format!("digraph {} {{", quoted(&workflow.name)));
    line("  rankdir=LR; compound=true; newrank=true;".to_owned());
    line("  node [shape=box, style=rounded, fontname=\"sans-serif\"];".to_owned());
    for (number, name) in workflow.layers.iter().enumerate() {
        line(format!("  subgraph cluster_{number} {{"));
        line(format!("    label={};", quoted(name)));
        for (index, task) in workflow.tasks.iter().enumerate() {
            if task.layer == Some(number) {
                line(format!("    {}", node(picture, index)));
            }
        }
        line("  }".to_owned());
    }
    for (index, task) in workflow.tasks.iter().enumerate() {
        if task.layer.is_none() {
            line(format!("  {}", node(picture, index)));
        }
    }
    let graph = &workflow.graph;
    for vertex in barriers(picture) {
        line(format!("  {} [shape=point];", barrier(vertex)));
    }
    let mut edges = BTreeSet::new();
    for vertex in 0..u32::try_from(graph.len()).unwrap_or(u32::MAX) {
        for child in graph.children(vertex) {
            edges.insert((end(picture, vertex), end(picture, *child)));
        }
    }
    let heavy = critical_edges(picture);
    for (from, to) in edges.iter().filter(|(from, to)| from != to) {
        let style = if heavy.contains(&(from.clone(), to.clone())) { " [penwidth=3]" } else { "" };
        line(format!("  {from} -> {to}{style};"));
    }
    line("}".to_owned());
    text
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn node(picture: &Picture<'_>, index: usize) -> String {
    let task = &picture.workflow.tasks[index];
    let count = picture.instances(index).count();
    let mut label = task.name.clone();
    if task.for_each {
        let _ = write!(label, " ×{count}");
    }
    if task.protected {
        label.push_str(" ⚿");
    }
    let mut style = Vec::new();
    if picture.critical().contains(&index) {
        style.push("penwidth=3");
    }
    if count == 0 {
        style.push("style=dashed");
    }
    let label = format!("label={}", quoted(&label));
    let style: Vec<_> = std::iter::once(label.as_str()).chain(style).collect();
    format!("{} [{}];", quoted(&task.name), style.join(", "))
}

fn barriers(picture: &Picture<'_>) -> impl Iterator<Item = u32> {
    let graph = &picture.workflow.graph;
    graph.instances()..u32::try_from(graph.len()).unwrap_or(u32::MAX)
}

fn barrier(vertex: u32) -> String {
    format!("barrier_{vertex}")
}

/// One end of an edge: the task of an instance, or a barrier.
fn end(picture: &Picture<'_>, vertex: u32) -> String {
    let workflow = picture.workflow;
    if vertex < workflow.graph.instances() {
        quoted(&workflow.task_of(Instance(vertex)).name)
    } else {
        barrier(vertex)
    }
}

/// The edges of the longest chain, through barriers too.
fn critical_edges(picture: &Picture<'_>) -> BTreeSet<(String, String)> {
    let graph = &picture.workflow.graph;
    let mut edges = BTreeSet::new();
    for pair in picture.path.windows(2) {
        let [from, to] = pair else { continue };
        edges.insert((end(picture, from.0), end(picture, to.0)));
        for middle in graph.children(from.0).iter().filter(|v| graph.parents(to.0).contains(v)) {
            edges.insert((end(picture, from.0), end(picture, *middle)));
            edges.insert((end(picture, *middle), end(picture, to.0)));
        }
    }
    edges
}
