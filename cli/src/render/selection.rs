//! What a partial run is about: what runs, what is taken as it is, what is not considered.

use flow_engine::runner::Unmet;
use miette::Diagnostic;
use serde_json::{Value, json};

use super::names::folded;
use super::text::{count, hang, pad, width};

/// A selection as it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct SelectionView {
    /// How it was made, as `only cert-manager` or `until layer:talos, skip nix-cache`.
    pub(crate) how: String,
    /// What runs.
    pub(crate) will_run: Vec<String>,
    /// What these need and is not applied: recorded, and looked at before anything is applied.
    pub(crate) from_ledger: Vec<String>,
    /// What is left alone altogether.
    pub(crate) not_considered: Vec<String>,
}

impl SelectionView {
    /// The three lists as one object of JSON.
    pub(crate) fn object(&self) -> Value {
        let Self { how, will_run, from_ledger, not_considered } = self;
        json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "selection",
            "how": how,
            "run": will_run,
            "needs": from_ledger,
            "not-considered": not_considered,
        })
    }
}

/// The three lists; nothing where all runs.
pub(crate) fn selection(view: &SelectionView) -> Vec<String> {
    let SelectionView { how, will_run, from_ledger, not_considered } = view;
    if from_ledger.is_empty() && not_considered.is_empty() {
        return Vec::new();
    }
    let listed = |names: &[String]| folded(names.iter().map(String::as_str)).join(", ");
    let others = not_considered.len() + from_ledger.len();
    let others = match others {
        1 => "the other instance is neither applied nor changed".to_owned(),
        _ => format!("the other {others} instances are neither applied nor changed"),
    };
    // `only cert-manager` is a label and what it is about.
    let (label, what) = how.split_once(' ').unwrap_or(("part", how));
    let mut lines = hang(&format!("{label:<7}"), &format!("{what}; {others}"));
    lines.extend(hang("run    ", &listed(will_run)));
    if !from_ledger.is_empty() {
        let needs = listed(from_ledger);
        lines.extend(hang("needs  ", &format!("{needs}: must hold already, is looked at first")));
    }
    if !not_considered.is_empty() {
        let left = count(not_considered.len(), "instance");
        lines.push(format!("left   {left}, not considered"));
    }
    lines
}

/// A partial run was refused, since what it takes for granted does not hold.
#[derive(Debug, thiserror::Error, Diagnostic)]
#[error("cannot run {what}: {}", .unmet.iter().map(|unmet| words(unmet, site)).collect::<Vec<_>>().join("; "))]
#[diagnostic(code(select::unsatisfied), help("{instead}"))]
pub(crate) struct Refused {
    /// The selection, as `only cert-manager`.
    pub(crate) what: String,
    /// The site.
    pub(crate) site: String,
    /// What does not hold.
    pub(crate) unmet: Vec<Unmet>,
    /// The command that would work.
    pub(crate) instead: String,
    /// How many more instances that one is about.
    pub(crate) before: usize,
}

impl Refused {
    /// The lines that say so.
    pub(crate) fn lines(&self, mark: &str, exit: u8) -> Vec<String> {
        let head = format!("{mark} cannot run {}   select::unsatisfied, exit {exit}", self.what);
        let names = self.unmet.iter().map(|unmet| width(unmet.instance.as_str()));
        let widest = names.max().unwrap_or_default();
        let mut lines = vec![head];
        for unmet in &self.unmet {
            let name = pad(unmet.instance.as_str(), widest);
            lines.extend(hang(&format!("  {name}    "), &reason(unmet, &self.site)));
        }
        let before = count(self.before, "instance");
        lines.push(format!("help: {}     with the {before} before it", self.instead));
        lines
    }
}

fn words(unmet: &Unmet, site: &str) -> String {
    format!("{} {}", unmet.instance, reason(unmet, site))
}

/// Why it does not hold, without its name.
fn reason(Unmet { instance, failure }: &Unmet, site: &str) -> String {
    if failure.code == "engine::never-succeeded" {
        return format!("never applied on {site}");
    }
    let quoted = format!("`{instance}` ");
    let message = failure.message.strip_prefix(&quoted).unwrap_or(&failure.message);
    let causes = failure.causes.iter().map(String::as_str);
    std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use flow_engine::{Failure, InstanceName, Retry};
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn a_refusal_names_each_once_and_what_would_work() {
        let unmet = |name: &str, code: &'static str, message: &str| Unmet {
            instance: InstanceName::parse(name),
            failure: Failure::new(code, message, Retry::Human),
        };
        let refused = Refused {
            what: "only cert-manager".to_owned(),
            site: "lab".to_owned(),
            unmet: vec![
                unmet("flux-source", "engine::never-succeeded", "`flux-source` has not succeeded"),
                unmet("kube-api", "engine::not-passed", "`kube-api` has not passed"),
            ],
            instead: "flow run bootstrap --until cert-manager".to_owned(),
            before: 63,
        };
        assert_data_eq!(
            refused.lines("✗", 4).join("\n") + "\n",
            str![[r#"
✗ cannot run only cert-manager   select::unsatisfied, exit 4
  flux-source    never applied on lab
  kube-api       has not passed
help: flow run bootstrap --until cert-manager     with the 63 instances before it

"#]]
        );
    }

    #[test]
    fn a_part_says_what_runs_and_what_does_not() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let view = SelectionView {
            how: "only cert-manager".to_owned(),
            will_run: names(&["cert-manager"]),
            from_ledger: names(&["flux-source"]),
            not_considered: names(&["vm/0", "vm/1", "vm/2"]),
        };
        assert_data_eq!(
            selection(&view).join("\n") + "\n",
            str![[r#"
only   cert-manager; the other 4 instances are neither applied nor changed
run    cert-manager
needs  flux-source: must hold already, is looked at first
left   3 instances, not considered

"#]]
        );
        assert_eq!(view.object()["run"], json!(["cert-manager"]));
        assert!(
            selection(&SelectionView { will_run: names(&["a"]), ..SelectionView::default() })
                .is_empty()
        );
    }
}
