//! The end of a run: one line where all went well, else what failed, why, what it blocks, and
//! the command to go on with.

use std::collections::BTreeMap;
use std::time::Duration;

use flow_engine::{Failure, Retry, RunId};
use serde_json::{Value, json};

use super::names::folded;
use super::text::{hang, pad, width};
use super::time::took;

/// How a run ended, as a report shows it.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunEnd {
    /// The workflow.
    pub(crate) workflow: String,
    /// The site.
    pub(crate) site: String,
    /// ` --site NAME` where proposed commands need it, else empty.
    pub(crate) site_flag: String,
    /// The run's number.
    pub(crate) run: RunId,
    /// How many sessions it has had, this one included.
    pub(crate) sessions: u32,
    /// From the start of this session to its end.
    pub(crate) took: Duration,
    /// The world was changed for so many.
    pub(crate) applied: usize,
    /// Gates that passed.
    pub(crate) checked: usize,
    /// Were right before flow ever acted.
    pub(crate) already_right: usize,
    /// Are as flow left them earlier.
    pub(crate) as_recorded: usize,
    /// Interrupted effects of an earlier session that had taken hold.
    pub(crate) recovered: usize,
    /// Instances that differ and were left alone, each with what differs.
    pub(crate) left_drifted: Vec<(String, String)>,
    /// What failed, in topological order.
    pub(crate) failed: Vec<FailedInstance>,
    /// What could not start, each with the failed instances in its way.
    pub(crate) blocked: Vec<(String, Vec<String>)>,
    /// Stopped by the user: how many were stopped or never started.
    pub(crate) interrupted: Option<usize>,
    /// Instances whose effect was asked for, without an outcome.
    pub(crate) open: Vec<String>,
    /// What a good run has led to, by label.
    pub(crate) facts: Vec<(String, String)>,
}

/// One failed instance.
#[derive(Debug, Clone)]
pub(crate) struct FailedInstance {
    /// Its name.
    pub(crate) name: String,
    /// Why it failed.
    pub(crate) failure: Failure,
    /// How many tries it had; 0 if unknown.
    pub(crate) attempts: u32,
    /// When it failed, from the start of the session.
    pub(crate) at: Option<Duration>,
}

impl RunEnd {
    fn done(&self) -> usize {
        self.applied
            + self.checked
            + self.already_right
            + self.as_recorded
            + self.recovered
            + self.left_drifted.len()
    }

    /// Whether nothing in the world was changed by it.
    pub(crate) fn is_idle(&self) -> bool {
        self.applied == 0 && self.recovered == 0
    }

    /// The counts of what ended well, as `73 applied, 26 checked`.
    fn counts(&self) -> String {
        let counts = [
            (self.applied, "applied"),
            (self.recovered, "had taken hold"),
            (self.checked, "checked"),
            (self.already_right, "already right"),
            (self.as_recorded, "as recorded"),
            (self.left_drifted.len(), "left as found"),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let counted: Vec<_> = counted.map(|(count, what)| format!("{count} {what}")).collect();
        if counted.is_empty() { "no instances".to_owned() } else { counted.join(", ") }
    }

    /// The whole as one object of JSON.
    pub(crate) fn object(&self) -> Value {
        let blocked: BTreeMap<_, _> = self.blocked.iter().cloned().collect();
        let failed: Vec<_> = self
            .failed
            .iter()
            .map(|failed| {
                json!({
                    "instance": failed.name,
                    "failure": failed.failure,
                    "attempts": failed.attempts,
                    "exit": exit(&failed.failure),
                })
            })
            .collect();
        json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "summary",
            "run": self.run,
            "workflow": self.workflow,
            "site": self.site,
            "sessions": self.sessions,
            "took-ms": u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
            "applied": self.applied,
            "checked": self.checked,
            "already-right": self.already_right,
            "as-recorded": self.as_recorded,
            "recovered": self.recovered,
            "left-drifted": self.left_drifted.iter().cloned().collect::<BTreeMap<_, _>>(),
            "failed": failed,
            "blocked": blocked,
            "interrupted": self.interrupted,
            "in-doubt": self.open,
        })
    }
}

/// The lines that a run ends with.
pub(crate) fn report(end: &RunEnd) -> Vec<String> {
    let mut lines = vec![headline(end)];
    for (name, diff) in &end.left_drifted {
        lines.extend(hang(&format!("  ! {name}   "), &format!("{diff}; left alone")));
    }
    if !end.is_idle() && !end.facts.is_empty() {
        lines.push(String::new());
        lines.extend(facts(&end.facts));
    }
    for failed in &end.failed {
        lines.push(String::new());
        lines.extend(failure(&failed.name, &failed.failure, failed.attempts));
    }
    let notes = aftermath(end);
    if !notes.is_empty() {
        lines.push(String::new());
        lines.extend(notes);
    }
    lines.extend(next(end));
    lines
}

fn headline(end: &RunEnd) -> String {
    let RunEnd { workflow, site, run, .. } = end;
    let time = took(end.took);
    let over = match end.sessions {
        0 | 1 => String::new(),
        several => format!(" over {several} sessions"),
    };
    if !end.failed.is_empty() {
        let ended = counts_of_failure(end);
        return format!("✗ {workflow} on {site}, run {run}, after {time}{over}   {ended}");
    }
    if let Some(left) = end.interrupted {
        let ended = format!("{} done, {left} not", end.done());
        return format!("! {workflow} on {site}, run {run}, stopped after {time}{over}   {ended}");
    }
    let idle = if end.is_idle() { "nothing to do: " } else { "" };
    format!("✓ {workflow} on {site} in {time}{over}   {idle}{}", end.counts())
}

fn counts_of_failure(end: &RunEnd) -> String {
    let (failed, blocked) = (end.failed.len(), end.blocked.len());
    let mut counts = vec![format!("{} done", end.done())];
    let at = end.failed.iter().find_map(|failed| failed.at).filter(|_| failed == 1);
    let at = at.map_or_else(String::new, |at| format!(" (at {})", took(at)));
    counts.push(format!("{failed} failed{at}"));
    if blocked > 0 {
        counts.push(format!("{blocked} blocked by {}", if failed == 1 { "it" } else { "them" }));
    }
    if let Some(left) = end.interrupted {
        counts.push(format!("{left} stopped"));
    }
    counts.join(", ")
}

/// The exit code that a failure asks for.
pub(crate) fn exit(failure: &Failure) -> u8 {
    let exit = match failure.retry {
        Retry::Human => crate::exit::Exit::NeedsHuman,
        Retry::Backoff | Retry::Never => crate::exit::Exit::Failed,
    };
    exit.code()
}

/// One failure: whose, code, words, causes, help.
pub(crate) fn failure(name: &str, failure: &Failure, attempts: u32) -> Vec<String> {
    let tries = if attempts > 1 { format!(", {attempts} attempts") } else { String::new() };
    let exit = exit(failure);
    let mut lines = vec![format!("  × {name}   {}, exit {exit}{tries}", failure.code)];
    lines.extend(bar("  │ ", "  │ ", &failure.message));
    let last = failure.causes.len().saturating_sub(1);
    for (at, cause) in failure.causes.iter().enumerate() {
        let (first, further) =
            if at == last { ("  ╰─ ", "     ") } else { ("  ├─ ", "  │  ") };
        lines.extend(bar(first, further, cause));
    }
    if let Some(help) = &failure.help {
        // A kind does not know for whom its words are read.
        let help = help.replace(" INSTANCE`", &format!(" {name}`"));
        lines.extend(hang("  help: ", &help));
    }
    lines
}

/// A wrapped text with a mark before its first line and another one before the others.
fn bar(first: &str, further: &str, text: &str) -> Vec<String> {
    let lines = hang(&" ".repeat(width(first)), text).into_iter().enumerate();
    let marked = lines.map(|(at, line)| {
        let mark = if at == 0 { first } else { further };
        let text: String = line.chars().skip(width(first)).collect();
        format!("{mark}{text}").trim_end().to_owned()
    });
    marked.collect()
}

/// What is blocked and by whom, and whether anything is half done.
fn aftermath(end: &RunEnd) -> Vec<String> {
    let mut by: Vec<(&str, Vec<&str>)> = Vec::new();
    for (name, blockers) in &end.blocked {
        let blocker = blockers.first().map_or("", String::as_str);
        match by.iter_mut().find(|(known, _)| *known == blocker) {
            Some((_, names)) => names.push(name),
            None => by.push((blocker, vec![name])),
        }
    }
    let mut lines = Vec::new();
    for (at, (blocker, names)) in by.into_iter().enumerate() {
        let label = if at == 0 { "  blocked  " } else { "           " };
        let blocked = folded(names).join(", ");
        lines.extend(hang(label, &format!("{blocker} → {blocked}")));
    }
    if !end.open.is_empty() {
        let (number, names) = (end.open.len(), end.open.iter().map(String::as_str));
        let names = folded(names).join(", ");
        let resume = format!("`flow resume{}` looks first", end.site_flag);
        let words = format!("{names}: asked for, the end is not known; {resume}");
        lines.extend(hang(&pad(&format!("  open {number}"), 11), &words));
    } else if !end.failed.is_empty() || end.interrupted.is_some() {
        lines.push("  safe     nothing is half done".to_owned());
    }
    lines
}

/// Labels with what stands behind each, one below the other.
fn facts(facts: &[(String, String)]) -> Vec<String> {
    let widest = facts.iter().map(|(label, _)| width(label)).max().unwrap_or_default();
    let line =
        |(label, words): &(String, String)| hang(&format!("  {}  ", pad(label, widest)), words);
    facts.iter().flat_map(line).collect()
}

/// The commands to go on with, with what each is good for.
fn next(end: &RunEnd) -> Vec<String> {
    let site = &end.site_flag;
    let mut commands = Vec::new();
    if let Some(first) = end.failed.first() {
        let starts = format!("after the fix; starts with {}", first.name);
        commands.push((format!("flow resume{site}"), starts));
        let why = "what was asked and answered, attempt by attempt".to_owned();
        commands.push((format!("flow why {}{site}", first.name), why));
    } else if end.interrupted.is_some() {
        commands.push((format!("flow resume{site}"), "goes on where it was stopped".to_owned()));
    }
    commands_with("next", &commands)
}

/// Proposed commands under a label, after an empty line; nothing if there are none.
pub(crate) fn commands_with(label: &str, commands: &[(String, String)]) -> Vec<String> {
    let widest = commands.iter().map(|(command, _)| width(command)).max();
    let Some(widest) = widest else { return Vec::new() };
    let mut lines = vec![String::new()];
    for (at, (command, words)) in commands.iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        let command = pad(command, widest);
        lines.push(format!("{label:<4}   {command}   {words}").trim_end().to_owned());
    }
    lines
}

#[cfg(test)]
mod tests;
