//! What a run would do, one line for each sort of change.

use std::time::Duration;

use flow_engine::RunId;
use serde_json::{Value, json};

use super::names::folded;
use super::text::{count, hang, pad, width};
use super::time::{ago, took};
use crate::exit::Exit;

/// How wide the column of names may become.
const NAMES: usize = 40;

/// What would happen to an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sign {
    /// It would be made.
    Create,
    /// It is recorded, has vanished, and would be made again.
    Recreate,
    /// It would be changed.
    Update,
    /// An action would run.
    Run,
    /// It cannot be known yet, or the world does not answer.
    Unknown,
    /// It differs, and would be left alone.
    Drifted,
    /// The run would stop here for a person.
    Stop,
}

impl Sign {
    /// The mark at the start of the line.
    fn mark(self) -> &'static str {
        match self {
            Self::Create | Self::Recreate => "+",
            Self::Update => "~",
            Self::Run => "▷",
            Self::Unknown => "?",
            Self::Drifted => "!",
            Self::Stop => "✗",
        }
    }

    /// The word behind the name.
    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Recreate => "recreate",
            Self::Update => "update",
            Self::Run => "run",
            Self::Unknown => "unknown",
            Self::Drifted => "drift",
            Self::Stop => "stop",
        }
    }

    /// What stands behind its number in the last line.
    fn counted(self) -> &'static str {
        match self {
            Self::Create => "to create",
            Self::Recreate => "to recreate",
            Self::Update => "to update",
            Self::Run => "to run",
            Self::Unknown => "unknown",
            Self::Drifted => "drifted",
            Self::Stop => "to stop at",
        }
    }

    const ALL: [Self; 7] = [
        Self::Create,
        Self::Recreate,
        Self::Update,
        Self::Run,
        Self::Unknown,
        Self::Drifted,
        Self::Stop,
    ];
}

/// What would happen to one instance, and why.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    /// What.
    pub(crate) sign: Sign,
    /// The instance.
    pub(crate) name: String,
    /// Why, or what differs; may have several lines.
    pub(crate) words: String,
}

/// A plan as it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct PlanView {
    /// The workflow.
    pub(crate) workflow: String,
    /// The site.
    pub(crate) site: String,
    /// How many instances were looked at.
    pub(crate) looked_at: usize,
    /// How long that took.
    pub(crate) took: Duration,
    /// The last run, and how long ago it began.
    pub(crate) last: Option<(RunId, Duration)>,
    /// Everything that would change, is unknown or differs, in topological order.
    pub(crate) changes: Vec<Change>,
    /// How many would stay as they are.
    pub(crate) unchanged: usize,
    /// How long the run would take.
    pub(crate) eta: Option<Duration>,
}

impl PlanView {
    fn count(&self, sign: Sign) -> usize {
        self.changes.iter().filter(|change| change.sign == sign).count()
    }

    /// How `plan --exit-code` ends: 0, 2 with changes, 3 if some are unknown, 4 for a stop.
    pub(crate) fn exit(&self) -> Exit {
        if self.count(Sign::Stop) > 0 {
            Exit::NeedsHuman
        } else if self.count(Sign::Unknown) > 0 {
            Exit::PartlyUnknown
        } else if self.changes.is_empty() {
            Exit::Ok
        } else {
            Exit::Pending
        }
    }

    /// The plan as objects of JSON: one for each change, and one for the whole.
    pub(crate) fn objects(&self) -> Vec<Value> {
        let version = crate::terminal::stream::VERSION;
        let mut objects: Vec<Value> = self
            .changes
            .iter()
            .map(|change| {
                json!({
                    "flow": version,
                    "type": "change",
                    "instance": change.name,
                    "change": change.sign.word(),
                    "words": change.words,
                })
            })
            .collect();
        let counts: serde_json::Map<String, Value> = Sign::ALL
            .into_iter()
            .map(|sign| (sign.word().to_owned(), json!(self.count(sign))))
            .collect();
        objects.push(json!({
            "flow": version,
            "type": "plan",
            "workflow": self.workflow,
            "site": self.site,
            "looked-at": self.looked_at,
            "unchanged": self.unchanged,
            "changes": counts,
            "eta-ms": self.eta.map(|eta| u64::try_from(eta.as_millis()).unwrap_or(u64::MAX)),
            "exit": self.exit().code(),
        }));
        objects
    }
}

/// The lines of a plan.
pub(crate) fn plan(view: &PlanView) -> Vec<String> {
    let mut lines = vec![headline(view), String::new()];
    let rows = rows(&view.changes);
    let widest = rows.iter().map(|row| width(&row.names)).max().unwrap_or_default().min(NAMES);
    let word = rows.iter().map(|row| width(row.sign.word())).max().unwrap_or_default();
    for row in &rows {
        let mark = row.sign.mark();
        let names = pad(&row.names, widest);
        let label = format!("  {mark} {names}   {}   ", pad(row.sign.word(), word));
        if width(&row.names) <= widest {
            lines.extend(hang(&label, &row.words));
        } else {
            lines.extend(hang(&format!("  {mark} "), &row.names));
            let under = format!("    {}   {}   ", pad("", widest), pad(row.sign.word(), word));
            lines.extend(hang(&under, &row.words));
        }
    }
    if !rows.is_empty() {
        lines.push(String::new());
    }
    lines.push(total(view));
    lines
}

fn headline(view: &PlanView) -> String {
    let PlanView { workflow, site, looked_at, .. } = view;
    let looked = count(*looked_at, "instance");
    let time = took(view.took);
    let last = match view.last {
        Some((run, since)) => format!("last run {run}, {}", ago(since)),
        None => "never run".to_owned(),
    };
    format!("plan  {workflow} on {site}: {looked} looked at in {time}; {last}")
}

/// Instances to which the same happens for the same reason.
struct Row {
    sign: Sign,
    names: String,
    words: String,
}

fn rows(changes: &[Change]) -> Vec<Row> {
    let mut groups: Vec<(Sign, &str, Vec<&str>)> = Vec::new();
    for change in changes {
        let Change { sign, name, words } = change;
        match groups.iter_mut().find(|(known, why, _)| known == sign && *why == words) {
            Some((_, _, names)) => names.push(name),
            None => groups.push((*sign, words, vec![name])),
        }
    }
    groups.sort_by_key(|(sign, _, _)| *sign);
    let row = |(sign, words, names): (Sign, &str, Vec<&str>)| Row {
        sign,
        names: folded(names).join(", "),
        // The sign has its word already.
        words: words.strip_prefix(sign.word()).unwrap_or(words).trim_start().to_owned(),
    };
    groups.into_iter().map(row).collect()
}

fn total(view: &PlanView) -> String {
    if view.changes.is_empty() {
        return format!("nothing to do: {} unchanged", view.unchanged);
    }
    let counted = Sign::ALL.into_iter().map(|sign| (view.count(sign), sign.counted()));
    let counted = counted.chain([(view.unchanged, "unchanged")]).filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counted.map(|(count, what)| format!("{count} {what}")).collect();
    let eta = view.eta.map_or_else(String::new, |eta| format!(" ~{}", took(eta)));
    format!("{}. Destroys nothing.{eta}", counts.join(", "))
}

#[cfg(test)]
mod tests {
    use snapbox::{assert_data_eq, str};

    use super::*;

    fn change(sign: Sign, name: &str, words: &str) -> Change {
        Change { sign, name: name.to_owned(), words: words.to_owned() }
    }

    fn view(changes: Vec<Change>) -> PlanView {
        PlanView {
            workflow: "bootstrap".to_owned(),
            site: "home".to_owned(),
            looked_at: 102,
            took: Duration::from_millis(4200),
            last: Some((RunId(7), Duration::from_hours(72))),
            unchanged: 102 - changes.len(),
            changes,
            eta: Some(Duration::from_secs(100)),
        }
    }

    #[test]
    fn a_plan_tells_each_change_and_its_reason() {
        let until = "unknown until nix-cache is applied";
        let view = view(vec![
            change(Sign::Drifted, "create-vm/worker1", "memory 12288 MiB, site says 16384"),
            change(Sign::Create, "nix-cache", "in git since 88e21b4, not in the cluster"),
            change(Sign::Update, "dns-zone", "SOA minimum 3600 → 300\nsecond line"),
            change(Sign::Unknown, "flux-all", until),
            change(Sign::Unknown, "https-internal", until),
            change(Sign::Unknown, "https-public-of-every-application", until),
        ]);
        assert_data_eq!(
            plan(&view).join("\n") + "\n",
            str![[r#"
plan  bootstrap on home: 102 instances looked at in 4.2s; last run 7, 3 days ago

  + nix-cache                                  create    in git since 88e21b4, not in the cluster
  ~ dns-zone                                   update    SOA minimum 3600 → 300
                                                         second line
  ? flux-all, https-internal, https-public-of-every-application
                                               unknown   until nix-cache is applied
  ! create-vm/worker1                          drift     memory 12288 MiB, site says 16384

1 to create, 1 to update, 3 unknown, 1 drifted, 96 unchanged. Destroys nothing. ~1m40s

"#]]
        );
        assert_eq!(view.exit(), Exit::PartlyUnknown);
        assert_eq!(view.objects().len(), 7);
    }

    #[test]
    fn nothing_to_do_is_said() {
        let view = PlanView { last: None, ..view(Vec::new()) };
        assert_data_eq!(
            plan(&view).join("\n") + "\n",
            str![[r#"
plan  bootstrap on home: 102 instances looked at in 4.2s; never run

nothing to do: 102 unchanged

"#]]
        );
        assert_eq!(view.exit(), Exit::Ok);
    }
}
