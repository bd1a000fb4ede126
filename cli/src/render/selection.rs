//! What a partial run is about: what runs, what is taken as it is, what is not considered.

use serde_json::{Value, json};

use super::names::folded;
use super::text::{count, hang};

/// A selection as it is shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct SelectionView {
    /// How it was made, as `only cert-manager` or `until layer:talos, skip nix-cache`.
    pub(crate) how: String,
    /// What runs.
    pub(crate) will_run: Vec<String>,
    /// What these need and is not applied: looked at, and taken from the ledger.
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
    let mut lines = hang("part   ", &format!("{how}; {others}"));
    lines.extend(hang("run    ", &listed(will_run)));
    if !from_ledger.is_empty() {
        let needs = listed(from_ledger);
        lines.extend(hang("needs  ", &format!("{needs}: looked at, taken from the ledger")));
    }
    if !not_considered.is_empty() {
        let left = count(not_considered.len(), "instance");
        lines.push(format!("left   {left}, not considered"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use snapbox::{assert_data_eq, str};

    use super::*;

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
part   only cert-manager; the other 4 instances are neither applied nor changed
run    cert-manager
needs  flux-source: looked at, taken from the ledger
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
