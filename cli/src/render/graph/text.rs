//! The picture for people: layers as rows, chains of tasks in them, 100 columns.

use std::time::Duration;

use super::{Layer, Picture, Times};
use crate::render::text::{count, pad, page, width};
use crate::render::time::took;

/// Between two chains.
const GAP: &str = "   ";

/// The lines of a picture.
pub(crate) fn text(picture: &Picture<'_>) -> Vec<String> {
    let mut lines = vec![headline(picture)];
    let layers = picture.layers();
    if layers.is_empty() {
        return lines;
    }
    lines.push(String::new());
    let critical = picture.critical();
    let label = layers.iter().map(|layer| width(name(layer))).max().unwrap_or_default();
    let room = page().saturating_sub(label + TIME + BAR);
    let mut rows: Vec<Row> = Vec::new();
    for layer in &layers {
        let heading = format!(
            "{}{:>TIME$}",
            pad(name(layer), label),
            took(Duration::from_millis(layer.done))
        );
        let further = rows_of(picture, layer, &critical, room);
        for (at, (critical, text)) in further.into_iter().enumerate() {
            let heading = if at == 0 { heading.clone() } else { " ".repeat(label + TIME) };
            rows.push(Row { heading, critical, text });
        }
    }
    let first = rows.iter().position(|row| row.critical);
    let last = rows.iter().rposition(|row| row.critical);
    for (at, row) in rows.iter().enumerate() {
        let bar = bar(at, row.critical, first, last);
        lines.push(format!("{}  {bar}{}", row.heading, row.text));
    }
    lines
}

/// Columns of the time behind a layer's name.
const TIME: usize = 8;
/// Columns of the bar, with the two before it.
const BAR: usize = 5;

/// A line of the picture, but for its bar.
struct Row {
    heading: String,
    critical: bool,
    text: String,
}

fn name<'a>(layer: &Layer<'a>) -> &'a str {
    layer.name.unwrap_or("tasks")
}

fn bar(at: usize, critical: bool, first: Option<usize>, last: Option<usize>) -> &'static str {
    let (Some(first), Some(last)) = (first, last) else { return "   " };
    match (critical, at) {
        (true, at) if first == last && at == first => "━━ ",
        (true, at) if at == first => "┏━ ",
        (true, at) if at == last => "┗━ ",
        (true, _) => "┣━ ",
        (false, at) if first < at && at < last => "┃  ",
        (false, _) => "   ",
    }
}

fn headline(picture: &Picture<'_>) -> String {
    let workflow = picture.workflow;
    let skipped = workflow.instances.iter().filter(|def| def.skipped).count();
    let mut counts = vec![
        count(workflow.tasks.len(), "task"),
        count(workflow.instances.len() - skipped, "instance"),
    ];
    if !workflow.layers.is_empty() {
        counts.push(count(workflow.layers.len(), "layer"));
    }
    if skipped > 0 {
        counts.push(format!("{skipped} left out"));
    }
    let times = match picture.times {
        Times::Expected => "estimated",
        Times::Learned => "usually",
    };
    let time = took(picture.took());
    let counts = counts.join(", ");
    let protected = workflow.tasks.iter().any(|task| task.protected);
    let protected = if protected { "; ⚿ protected" } else { "" };
    format!("{}  {counts}; critical path (━) {times} {time}{protected}", workflow.name)
}

/// The chains of a layer in lines that fit: the critical one first, and whether it is in a line.
fn rows_of(
    picture: &Picture<'_>,
    layer: &Layer<'_>,
    critical: &[usize],
    room: usize,
) -> Vec<(bool, String)> {
    let critical: Vec<usize> =
        critical.iter().copied().filter(|task| layer.tasks.contains(task)).collect();
    let others: Vec<usize> =
        layer.tasks.iter().copied().filter(|task| !critical.contains(task)).collect();
    let mut rows: Vec<(bool, String)> = Vec::new();
    if !critical.is_empty() {
        let labels = critical.iter().map(|task| label(picture, *task));
        rows.extend(joined(labels, " ━ ", room).into_iter().map(|line| (true, line)));
    }
    for chain in chains(picture, &others) {
        let labels = chain.iter().map(|task| label(picture, *task));
        for (at, line) in joined(labels, " ─ ", room).into_iter().enumerate() {
            let last = rows.last_mut().filter(|_| at == 0);
            match last.filter(|(_, last)| width(last) + width(GAP) + width(&line) <= room) {
                Some((_, last)) => *last = format!("{last}{GAP}{line}"),
                None if at > 0 => rows.push((false, format!("─ {line}"))),
                None => rows.push((false, line)),
            }
        }
    }
    rows
}

/// Tasks one behind the other where the later one needs the earlier one directly.
fn chains(picture: &Picture<'_>, tasks: &[usize]) -> Vec<Vec<usize>> {
    let mut left = tasks.to_vec();
    let mut chains = Vec::new();
    while !left.is_empty() {
        let mut chain = vec![left.remove(0)];
        loop {
            let children = chain.last().and_then(|last| picture.children.get(last));
            let next =
                children.and_then(|children| left.iter().position(|task| children.contains(task)));
            let Some(next) = next else { break };
            chain.push(left.remove(next));
        }
        chains.push(chain);
    }
    chains
}

/// Labels with a mark between them, in lines that fit.
fn joined(labels: impl Iterator<Item = String>, mark: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for label in labels {
        match lines.last_mut() {
            Some(line) if width(line) + width(mark) + width(&label) <= room => {
                line.push_str(mark);
                line.push_str(&label);
            }
            Some(_) | None => lines.push(label),
        }
    }
    lines
}

fn label(picture: &Picture<'_>, task: usize) -> String {
    let of = &picture.workflow.tasks[task];
    let times =
        if of.for_each { format!(" ×{}", picture.instances(task).count()) } else { String::new() };
    let protected = if of.protected { " ⚿" } else { "" };
    format!("{}{times}{protected}", of.name)
}
