use std::sync::Arc;
use std::time::Duration;

use flow_engine::InstanceName;
use flow_engine::ledger::Ledger;
use flow_engine::runner::Selected;
use snapbox::{assert_data_eq, str};

use super::*;
use crate::assets::Asset;
use crate::site;
use crate::workflow::{self, Set};

const LAYERED: &str = r#"
[workflow]
name = "small"
layers = ["preflight", "machines", "talos", "apps"]

[tasks.check]
uses = "shell"
layer = "preflight"
expected = "20s"
with.apply = ["true"]

[tasks.create-vm]
uses = "shell"
layer = "machines"
for-each = ["worker0", "worker1", "worker2"]
needs = ["check"]
expected = "60s"
with.apply = ["true"]

[tasks.kube-api]
uses = "shell"
layer = "talos"
needs = ["create-vm/worker0"]
with.apply = ["true"]

[tasks.app]
uses = "shell"
layer = "apps"
for-each = ["a", "b"]
needs = ["kube-api"]
expected = "40s"
with.apply = ["true"]
"#;

fn at_work() -> (Board, Instant, impl Fn(&str) -> Instance) {
    let asset = Asset { shown: "small.toml".to_owned(), text: LAYERED.to_owned(), path: None };
    let site = site::resolve(Some("local"), None).unwrap();
    let workflow = Arc::new(workflow::load(&asset, &site, Set::default()).unwrap());
    let selected = Selected::all(&workflow);
    // Ten times as fast as the machines that the file speaks of.
    let outlook = Outlook::new(&workflow, &Ledger::default(), &selected, 2, 10.0).map(Arc::new);
    let now = Instant::now();
    let named = Arc::clone(&workflow);
    let named = move |name: &str| named.find(&InstanceName::parse(name)).unwrap();
    (Board::new(workflow, selected.run, outlook, now), now, named)
}

#[tokio::test]
async fn a_board_folds_what_is_over_and_shows_what_runs_and_what_waits() {
    let (mut board, start, named) = at_work();
    let after = |tenths: u64| start + Duration::from_millis(100 * tenths);
    board.work(named("check"), "looking", start);
    let folded = board.end(named("check"), true, after(4)).unwrap();
    assert!(folded.good);
    assert_eq!(folded.line, "preflight       1   0.4s");
    for (name, words) in [("create-vm/worker0", "looking"), ("create-vm/worker1", "looking")] {
        board.work(named(name), words, after(4));
    }
    assert!(board.end(named("create-vm/worker0"), true, after(64)).is_none());
    board.work(named("create-vm/worker1"), "importing the disk, 71 %\nand more", after(66));
    board.work(named("kube-api"), "2 of 41 checks not yet ok", after(66));
    let left = board.outdated(Duration::from_secs(1), after(74)).unwrap().left();
    board.expect(left, after(74));
    assert!(board.outdated(Duration::from_secs(1), after(80)).is_none(), "not at each repaint");
    assert_data_eq!(
        board.lines(95, after(84)).join("\n") + "\n",
        str![[r#"
▸ machines      1/3
    create-vm/worker1   8.0s of ~6.0s   importing the disk, 71 %
▸ talos         0/1
    kube-api            1.8s            2 of 41 checks not yet ok
· apps 2
━━━━━━━━╸                      2/7  8s, about 9s left   longest tail: kube-api

"#]]
    );
    // A layer is over when its last instance is, however that ended.
    board.end(named("create-vm/worker1"), true, after(90));
    let folded = board.end(named("create-vm/worker2"), false, after(90)).unwrap();
    assert!(!folded.good);
    assert!(board.end(named("create-vm/worker2"), true, after(90)).is_none(), "once");
}

#[tokio::test]
async fn no_line_is_wider_than_the_screen() {
    let (mut board, start, named) = at_work();
    board.work(named("check"), &"words ".repeat(40), start);
    for columns in [20, 40, 80] {
        let lines = board.lines(columns, start + Duration::from_secs(70));
        assert!(lines.iter().all(|line| width(line) <= columns), "{lines:?}");
    }
}
