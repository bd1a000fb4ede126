use snapbox::{assert_data_eq, str};

use super::*;
use crate::assets::{self, Asset};
use crate::site;
use crate::workflow::{self, Set};

const SMALL: &str = r#"
[workflow]
name = "small"
layers = ["first", "second"]

[tasks.key]
uses = "shell"
layer = "first"
protected = true
expected = "2s"
with.apply = ["true"]

[tasks.left-out]
uses = "shell"
layer = "first"
when = false
with.apply = ["true"]

[tasks.machine]
uses = "shell"
layer = "first"
for-each = ["a", "b"]
expected = "90s"
with.apply = ["true"]

[tasks.cluster]
uses = "shell"
layer = "second"
needs = ["layer:first"]
expected = "30s"
with.apply = ["true"]

[tasks.look]
uses = "shell"
layer = "second"
needs = ["key"]
expected = "1s"
with.apply = ["true"]

[tasks.look-again]
uses = "shell"
layer = "second"
needs = ["look"]
expected = "1s"
with.apply = ["true"]
"#;

fn small() -> Workflow {
    let asset = Asset { shown: "small.toml".to_owned(), text: SMALL.to_owned(), path: None };
    let site = site::resolve(Some("local"), None).unwrap();
    workflow::load(&asset, &site, Set::default()).unwrap()
}

#[test]
fn layers_are_rows_and_the_longest_chain_is_heavy() {
    let workflow = small();
    let picture = Picture::new(&workflow, &Ledger::default());
    assert_data_eq!(
        text(&picture).join("\n") + "\n",
        str![[r#"
small  6 tasks, 6 instances, 2 layers, 1 left out; critical path (━) estimated 2m00s; ⚿ protected

first    1m30s  ┏━ machine ×2   key ⚿
second   2m00s  ┗━ cluster   look ─ look-again

"#]]
    );
}

#[test]
fn graphviz_gets_a_cluster_for_each_layer() {
    let workflow = small();
    let picture = Picture::new(&workflow, &Ledger::default());
    assert_data_eq!(
        dot(&picture),
        str![[r#"
digraph "small" {
  rankdir=LR; compound=true; newrank=true;
  node [shape=box, style=rounded, fontname="sans-serif"];
  subgraph cluster_0 {
    label="first";
    "key" [label="key ⚿"];
    "left-out" [label="left-out", style=dashed];
    "machine" [label="machine ×2", penwidth=3];
  }
  subgraph cluster_1 {
    label="second";
    "cluster" [label="cluster", penwidth=3];
    "look" [label="look"];
    "look-again" [label="look-again"];
  }
  barrier_7 [shape=point];
  "key" -> "look";
  "key" -> barrier_7;
  "left-out" -> barrier_7;
  "look" -> "look-again";
  "machine" -> barrier_7 [penwidth=3];
  barrier_7 -> "cluster" [penwidth=3];
}

"#]]
    );
}

#[test]
fn programs_get_tasks_instances_edges_and_the_longest_chain() {
    let workflow = small();
    let picture = Picture::new(&workflow, &Ledger::default());
    let object = object(&picture);
    assert_eq!(object["critical-path"]["instances"], serde_json::json!(["machine/a", "cluster"]));
    assert_eq!(object["critical-path"]["took-ms"], 120_000);
    assert_eq!(object["layers"][1]["done-ms"], 120_000);
    assert_eq!(object["edges"][0], serde_json::json!(["key", "cluster"]));
    assert_eq!(object["times"], "expected");
}

#[test]
fn what_was_learned_counts_once_all_is_known() {
    let workflow = small();
    let row = |ms| Row { durations: vec![ms], ..Row::default() };
    let known = workflow.instances.iter().map(|def| (def.name.clone(), row(1000)));
    let mut known: BTreeMap<_, _> = known.collect();
    let learned = Ledger::from_rows(known.clone());
    let picture = Picture::new(&workflow, &learned);
    assert_eq!((picture.times, picture.took()), (Times::Learned, Duration::from_secs(3)));
    known.pop_first();
    let picture_of_less = Ledger::from_rows(known);
    assert_eq!(Picture::new(&workflow, &picture_of_less).times, Times::Expected);
}

#[test]
fn every_line_of_the_flagship_fits_its_page() {
    let asset = assets::workflow("bootstrap").unwrap();
    let site = site::resolve(Some("lab"), None).unwrap();
    let workflow = workflow::load(&asset, &site, Set::default()).unwrap();
    let picture = Picture::new(&workflow, &Ledger::default());
    for line in text(&picture) {
        assert!(crate::render::text::width(&line) <= crate::render::text::PAGE, "{line}");
    }
}
