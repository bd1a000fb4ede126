//! Why an instance would run, ran or did not: what is recorded against what is declared.

use std::time::Duration;

use flow_engine::{Effect, Failure, OnDrift, RunId};
use serde_json::{Value, json};

use super::change::Changed;
use super::names::folded;
use super::report;
use super::text::{hang, pad, width};
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
    /// `when` is false.
    pub(crate) skipped: bool,
    /// The run of the last success that stands, and how long ago.
    pub(crate) recorded: Option<(RunId, Duration)>,
    /// Whether the task's definition differs from then.
    pub(crate) redefined: bool,
    /// How its inputs differ from then.
    pub(crate) inputs: Inputs,
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
        inputs || self.redefined
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
        match &self.inputs {
            Inputs::Compared(changed) => {
                let place = |changed: &Changed| {
                    let Changed { place, from, to } = changed;
                    json!({ "place": place, "from": from, "to": to })
                };
                object["changed"] = changed.iter().map(place).collect();
            }
            Inputs::Until(instance) => object["inputs-until"] = json!(instance),
            Inputs::Unreadable(words) => object["inputs-unreadable"] = json!(words),
        }
        match &self.trouble {
            Trouble::None => {}
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
    let mut lines = hang("", &headline(view));
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

fn headline(view: &WhyView) -> String {
    let name = &view.name;
    match &view.trouble {
        Trouble::Open(run) => {
            return format!(
                "{name} is in doubt: run {run} asked for its effect and has no outcome of it"
            );
        }
        Trouble::Failed(run, _, _) => return format!("{name} failed in run {run}"),
        Trouble::Blocked(run, by) => {
            let by = folded(by.iter().map(String::as_str)).join(", ");
            return format!("{name} could not start in run {run}: {by} failed");
        }
        Trouble::None => {}
    }
    format!("{name} {}: {}", decision(view), reason(view))
}

/// What a run would do, as far as that can be said without looking at the world.
fn decision(view: &WhyView) -> &'static str {
    if view.skipped {
        return "is left out";
    }
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
    if view.skipped {
        return "its `when` is false".to_owned();
    }
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
            reasons.push(format!("its inputs are not known until {instance} has succeeded"));
        }
        Inputs::Unreadable(_) => reasons.push("its inputs cannot be compared".to_owned()),
    }
    if view.redefined {
        reasons.push("its definition changed".to_owned());
    }
    if reasons.is_empty() {
        reasons.push("nothing changed".to_owned());
    }
    format!("{} {since}", reasons.join(", "))
}

fn inputs(view: &WhyView) -> Vec<String> {
    let changed = match &view.inputs {
        Inputs::Compared(changed) => changed,
        Inputs::Until(_) => return Vec::new(),
        Inputs::Unreadable(words) => return hang("  input    ", words),
    };
    let shown = changed.iter().take(PLACES);
    let widest = shown.clone().map(|changed| width(&changed.place)).max().unwrap_or_default();
    let mut lines = Vec::new();
    for (at, Changed { place, from, to }) in shown.enumerate() {
        let label = if at == 0 { "  input    " } else { "           " };
        let label = format!("{label}{}   ", pad(place, widest));
        lines.extend(hang(&label, &format!("{from} → {to}")));
    }
    if changed.len() > PLACES {
        lines.push(format!("           {} more", changed.len() - PLACES));
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
        Trouble::None => Vec::new(),
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
mod tests {
    use flow_engine::Retry;
    use snapbox::{assert_data_eq, str};

    use super::*;

    fn view() -> WhyView {
        WhyView {
            name: "apply-config/worker0".to_owned(),
            site: "home".to_owned(),
            site_flag: " --site home".to_owned(),
            kind: "apply-config".to_owned(),
            effect: Effect::Converge,
            on_drift: OnDrift::Fix,
            applies_on_change: false,
            stale: false,
            skipped: false,
            recorded: Some((RunId(7), Duration::from_hours(72))),
            redefined: false,
            inputs: Inputs::Compared(Vec::new()),
            trouble: Trouble::None,
            drift: None,
            notes: Vec::new(),
            needs: vec!["reach-vm/worker0".to_owned(), "render-config/worker0".to_owned()],
            history: vec![
                (RunId(7), "created, 8.0s".to_owned()),
                (RunId(5), "as recorded".to_owned()),
            ],
        }
    }

    fn shown(view: &WhyView) -> String {
        why(view).join("\n") + "\n"
    }

    #[test]
    fn what_changed_is_named() {
        let changed = Changed {
            place: "with.config, line 12".to_owned(),
            from: "- time.cloudflare.com".to_owned(),
            to: "- ntp.example.org".to_owned(),
        };
        let view = WhyView {
            inputs: Inputs::Compared(vec![changed]),
            drift: Some("runs another configuration".to_owned()),
            notes: vec!["the node rebooted 2 min ago".to_owned()],
            ..view()
        };
        assert_data_eq!(
            shown(&view),
            str![[r#"
apply-config/worker0 would be looked at, and applied if the world differs: one input changed since
run 7 (3 days ago)

  input    with.config, line 12   - time.cloudflare.com → - ntp.example.org
  world    differs, left alone: runs another configuration
  note     the node rebooted 2 min ago
  kind     apply-config (converge); drift is put right
  needs    reach-vm/worker0, render-config/worker0
  history  run 7 created, 8.0s · run 5 as recorded

"#]]
        );
        assert_eq!(view.object()["changed"][0]["to"], "- ntp.example.org");
    }

    #[test]
    fn a_failure_is_told_whole() {
        let failure = Failure::new("talos::refused", "the node refuses", Retry::Never)
            .with_causes(vec!["unknown keys: foo".to_owned()]);
        let trouble = Trouble::Failed(RunId(8), Box::new(failure), 1);
        assert_data_eq!(
            shown(&WhyView { trouble, ..view() }),
            str![[r#"
apply-config/worker0 failed in run 8

  × apply-config/worker0   talos::refused, exit 1
  │ the node refuses
  ╰─ unknown keys: foo

  kind     apply-config (converge); drift is put right
  needs    reach-vm/worker0, render-config/worker0
  history  run 7 created, 8.0s · run 5 as recorded

next   flow logs apply-config/worker0 --run 8 --site home   what it printed
       flow resume --site home                              after the fix

"#]]
        );
    }

    #[test]
    fn every_sort_of_answer_has_its_words() {
        let head = |view: WhyView| why(&view).swap_remove(0);
        let nothing = || WhyView { recorded: None, ..view() };
        let by = vec!["kube-api".to_owned()];
        assert_data_eq!(
            [
                head(view()),
                head(nothing()),
                head(WhyView { skipped: true, ..view() }),
                head(WhyView { redefined: true, applies_on_change: true, ..view() }),
                head(WhyView { effect: Effect::Once, ..view() }),
                head(WhyView { effect: Effect::Action, stale: true, ..view() }),
                head(WhyView { effect: Effect::Gate, ..nothing() }),
                head(WhyView { inputs: Inputs::Until("create-vm".to_owned()), ..view() }),
                head(WhyView { trouble: Trouble::Open(RunId(8)), ..view() }),
                head(WhyView { trouble: Trouble::Blocked(RunId(8), by), ..view() }),
            ]
            .join("\n")
                + "\n",
            str![[r#"
apply-config/worker0 would be looked at, and applied if the world differs: nothing changed since run
apply-config/worker0 would be looked at, and made where absent: nothing is recorded of it on home
apply-config/worker0 is left out: its `when` is false
apply-config/worker0 would be applied: its definition changed since run 7 (3 days ago)
apply-config/worker0 is kept as it was done: nothing changed since run 7 (3 days ago)
apply-config/worker0 would run: its last success is too old, run 7 (3 days ago)
apply-config/worker0 is looked at in every run: nothing is recorded of it on home
apply-config/worker0 would be looked at, and applied if the world differs: its inputs are not known
apply-config/worker0 is in doubt: run 8 asked for its effect and has no outcome of it
apply-config/worker0 could not start in run 8: kube-api failed

"#]]
        );
    }
}
