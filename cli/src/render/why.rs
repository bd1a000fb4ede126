//! Why an instance would run, ran or did not: what is recorded against what is declared.

use std::time::Duration;

use flow_engine::{Effect, Failure, OnDrift, RunId};
use serde_json::{Value, json};

use super::change::Changed;
use super::names::folded;
use super::report;
use super::text::{hang, pad, page, width};
use super::time::ago;

/// The most changed places that are shown.
const PLACES: usize = 8;
/// The most runs that are shown.
const RUNS: usize = 6;

/// What is known of an instance's inputs, compared with those of its last success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inputs {
    /// They were compared.
    Compared(Vec<Changed>),
    /// They need what this instance has not produced yet.
    Until(String),
    /// They cannot be computed, in words.
    Unreadable(String),
}

/// What stands in the way of a plain answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// Its `when` is false.
    LeftOut,
    /// Its effect was asked for by this process, which goes on.
    Working(RunId, String),
    /// Its effect was asked for, and nobody knows whether it happened.
    Open(RunId),
    /// It failed, so many tries in.
    Failed(RunId, Box<Failure>, u32),
    /// It could not start, since these failed.
    Blocked(RunId, Vec<String>),
}

/// Everything that is told of an instance.
#[derive(Debug, Clone)]
pub(crate) struct WhyView {
    /// Its name.
    pub(crate) name: String,
    /// The site.
    pub(crate) site: String,
    /// ` --site NAME` where proposed commands need it, else empty.
    pub(crate) site_flag: String,
    /// The kind.
    pub(crate) kind: String,
    /// What sort of change it makes.
    pub(crate) effect: Effect,
    /// What happens to drift.
    pub(crate) on_drift: OnDrift,
    /// Whether changed inputs are enough to apply it, whatever the world says.
    pub(crate) applies_on_change: bool,
    /// Whether an action's last success is too old.
    pub(crate) stale: bool,
    /// The run of the last success that stands, and how long ago.
    pub(crate) recorded: Option<(RunId, Duration)>,
    /// Whether the task's definition differs from then.
    pub(crate) redefined: bool,
    /// How its inputs differ from then.
    pub(crate) inputs: Inputs,
    /// Gates whose answer it reads and whose own inputs changed, with these.
    pub(crate) upstream: Vec<(String, Vec<Changed>)>,
    /// What is in the way.
    pub(crate) trouble: Trouble,
    /// What differed at the last look and was left alone.
    pub(crate) drift: Option<String>,
    /// What the last probe noted.
    pub(crate) notes: Vec<String>,
    /// What it needs, directly.
    pub(crate) needs: Vec<String>,
    /// What became of it in each run, newest first.
    pub(crate) history: Vec<(RunId, String)>,
}

impl WhyView {
    fn changed(&self) -> bool {
        let inputs = match &self.inputs {
            Inputs::Compared(changed) => !changed.is_empty(),
            Inputs::Until(_) | Inputs::Unreadable(_) => false,
        };
        inputs || self.redefined || !self.upstream.is_empty()
    }

    /// Everything as one object of JSON.
    pub(crate) fn object(&self) -> Value {
        let mut object = json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "why",
            "instance": self.name,
            "site": self.site,
            "kind": self.kind,
            "effect": self.effect,
            "decision": decision(self),
            "recorded-run": self.recorded.map(|(run, _)| run),
            "redefined": self.redefined,
            "drift": self.drift,
            "notes": self.notes,
            "needs": self.needs,
        });
        let history = self.history.iter().map(|(run, how)| json!({ "run": run, "how": how }));
        object["history"] = history.collect();
        let place = |changed: &Changed| {
            let Changed { place, from, to } = changed;
            json!({ "place": place, "from": from, "to": to })
        };
        let upstream = self.upstream.iter().map(|(gate, changed)| {
            json!({ "instance": gate, "changed": changed.iter().map(place).collect::<Vec<_>>() })
        });
        object["upstream"] = upstream.collect();
        match &self.inputs {
            Inputs::Compared(changed) => {
                object["changed"] = changed.iter().map(place).collect();
            }
            Inputs::Until(instance) => object["inputs-until"] = json!(instance),
            Inputs::Unreadable(words) => object["inputs-unreadable"] = json!(words),
        }
        match &self.trouble {
            Trouble::None => {}
            Trouble::LeftOut => object["left-out"] = json!(true),
            Trouble::Working(run, by) => object["working"] = json!({ "run": run, "by": by }),
            Trouble::Open(run) => object["open-in-run"] = json!(run),
            Trouble::Failed(run, failure, attempts) => {
                object["failed"] = json!({ "run": run, "failure": failure, "attempts": attempts });
            }
            Trouble::Blocked(run, by) => object["blocked"] = json!({ "run": run, "by": by }),
        }
        object
    }
}

/// The lines that answer why.
pub(crate) fn why(view: &WhyView) -> Vec<String> {
    let mut lines = headline(view);
    if let Trouble::Failed(_, failure, attempts) = &view.trouble {
        lines.push(String::new());
        lines.extend(report::failure(&view.name, failure, *attempts));
    }
    lines.push(String::new());
    lines.extend(inputs(view));
    if let Some(drift) = &view.drift {
        lines.extend(hang("  world    ", &format!("differs, left alone: {drift}")));
    }
    for note in &view.notes {
        lines.extend(hang("  note     ", note));
    }
    lines.extend(hang("  kind     ", &kind(view)));
    if !view.needs.is_empty() {
        let needs = folded(view.needs.iter().map(String::as_str)).join(", ");
        lines.extend(hang("  needs    ", &needs));
    }
    if !view.history.is_empty() {
        let runs = view.history.iter().take(RUNS);
        let runs: Vec<_> = runs.map(|(run, how)| format!("run {run} {how}")).collect();
        lines.extend(hang("  history  ", &runs.join(" · ")));
    }
    lines.extend(report::commands_with("next", &next(view)));
    lines
}

fn headline(view: &WhyView) -> Vec<String> {
    let name = &view.name;
    let words = match &view.trouble {
        Trouble::LeftOut => format!("{name} is left out: its `when` is false"),
        Trouble::Working(run, by) => format!("{name} is being worked on now by {by}, run {run}"),
        Trouble::Open(run) => {
            format!("{name} is in doubt: run {run} asked for its effect and has no outcome of it")
        }
        Trouble::Failed(run, _, _) => format!("{name} failed in run {run}"),
        Trouble::Blocked(run, by) => {
            let by = folded(by.iter().map(String::as_str)).join(", ");
            format!("{name} could not start in run {run}: {by} failed")
        }
        Trouble::None => {
            let (decision, reason) = (decision(view), reason(view));
            let line = format!("{name} {decision}: {reason}");
            if width(&line) > page() {
                return [format!("{name} {decision}:"), format!("  {reason}")].into();
            }
            line
        }
    };
    hang("", &words)
}

/// What a run would do, as far as that can be said without looking at the world.
fn decision(view: &WhyView) -> &'static str {
    match (view.effect, view.recorded) {
        (Effect::Gate, _) => "is looked at in every run",
        (Effect::Action, None) => "would run",
        (Effect::Action, Some(_)) if view.stale || view.changed() => "would run",
        (Effect::Action, Some(_)) => "would not run again",
        (Effect::Converge | Effect::Once, None) => "would be looked at, and made where absent",
        (Effect::Once, Some(_)) => "is kept as it was done",
        (Effect::Converge, Some(_)) if view.applies_on_change && view.changed() => {
            "would be applied"
        }
        (Effect::Converge, Some(_)) => "would be looked at, and applied if the world differs",
    }
}

fn reason(view: &WhyView) -> String {
    let Some((run, since)) = view.recorded else {
        return format!("nothing is recorded of it on {}", view.site);
    };
    if view.stale {
        return format!("its last success is too old, run {run} ({})", ago(since));
    }
    let since = format!("since run {run} ({})", ago(since));
    let mut reasons = Vec::new();
    match &view.inputs {
        Inputs::Compared(changed) => match changed.len() {
            0 => {}
            1 => reasons.push("one input changed".to_owned()),
            many => reasons.push(format!("{many} inputs changed")),
        },
        Inputs::Until(instance) => {
            return format!("its inputs are not known until {instance} has succeeded");
        }
        Inputs::Unreadable(_) => reasons.push("its inputs cannot be compared".to_owned()),
    }
    if view.redefined {
        reasons.push("its definition changed".to_owned());
    }
    match view.upstream.as_slice() {
        [] => {}
        [(gate, _)] => reasons.push(format!("what it reads of {gate} changed")),
        gates => reasons.push(format!("what it reads of {} gates changed", gates.len())),
    }
    if reasons.is_empty() {
        reasons.push("nothing changed".to_owned());
    }
    format!("{} {since}", reasons.join(", "))
}

fn inputs(view: &WhyView) -> Vec<String> {
    let mut lines = match &view.inputs {
        Inputs::Compared(changed) => places("  input    ", changed),
        Inputs::Until(_) => Vec::new(),
        Inputs::Unreadable(words) => hang("  input    ", words),
    };
    for (gate, changed) in &view.upstream {
        lines.push(format!("  from     {gate}"));
        lines.extend(places("           ", changed));
    }
    lines
}

/// One line for each changed place, behind a label.
fn places(label: &str, changed: &[Changed]) -> Vec<String> {
    let shown = changed.iter().take(PLACES);
    let widest = shown.clone().map(|changed| width(&changed.place)).max().unwrap_or_default();
    let further = " ".repeat(width(label));
    let mut lines = Vec::new();
    for (at, Changed { place, from, to }) in shown.enumerate() {
        let label = if at == 0 { label } else { &further };
        let label = format!("{label}{}   ", pad(place, widest));
        lines.extend(hang(&label, &format!("{from} → {to}")));
    }
    if changed.len() > PLACES {
        lines.push(format!("{further}{} more", changed.len() - PLACES));
    }
    lines
}

fn kind(view: &WhyView) -> String {
    let effect = match view.effect {
        Effect::Converge => "converge",
        Effect::Once => "once",
        Effect::Action => "action",
        Effect::Gate => "gate",
    };
    let drift = match (view.effect, view.on_drift) {
        (Effect::Gate | Effect::Action | Effect::Once, _) => "",
        (Effect::Converge, OnDrift::Fix) => "; drift is put right",
        (Effect::Converge, OnDrift::Report) => "; drift is reported and left alone",
        (Effect::Converge, OnDrift::Ignore) => "; drift is ignored",
    };
    format!("{} ({effect}){drift}", view.kind)
}

fn next(view: &WhyView) -> Vec<(String, String)> {
    let WhyView { name, site_flag: site, .. } = view;
    match &view.trouble {
        Trouble::None | Trouble::LeftOut | Trouble::Working(..) => Vec::new(),
        Trouble::Open(_) => vec![(
            format!("flow resume{site}"),
            "looks whether it took hold, before anything else".to_owned(),
        )],
        Trouble::Failed(run, _, _) => vec![
            (format!("flow logs {name} --run {run}{site}"), "what it printed".to_owned()),
            (format!("flow resume{site}"), "after the fix".to_owned()),
        ],
        Trouble::Blocked(_, by) => by
            .first()
            .map(|first| (format!("flow why {first}{site}"), "what stands in its way".to_owned()))
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests;
