//! Which instances a command is about.

use std::collections::BTreeSet;

use super::kinds::loaded;
use crate::Instance;
use crate::event::SelectionArgs;
use crate::workflow::{SelectError, Selection, Workflow, select};

fn workflow() -> Workflow {
    loaded(
        r#"
        [workflow]
        name = "w"
        layers = ["one", "two"]

        [tasks.a]
        uses = "notify"
        layer = "one"

        [tasks.b]
        uses = "notify"
        layer = "one"
        for-each = ["x", "y"]
        needs = ["a"]
        tags = ["disk"]

        [tasks.left-out]
        uses = "notify"
        when = false
        needs = ["b"]

        [tasks.c]
        uses = "notify"
        layer = "two"
        needs = ["left-out", "layer:one"]

        [tasks.d]
        uses = "notify"
        layer = "two"
        needs = ["c"]
        "#,
    )
}

fn names(workflow: &Workflow, ids: &BTreeSet<Instance>) -> String {
    let names: Vec<String> = ids.iter().map(|id| workflow.instance(*id).name.to_string()).collect();
    names.join(" ")
}

/// run | verify | skip | unconsidered
fn told(args: &SelectionArgs) -> String {
    let workflow = workflow();
    match select(&workflow, args) {
        Ok(Selection { selected, unconsidered }) => {
            let lists = [&selected.run, &selected.verify, &selected.skip, &unconsidered];
            lists.map(|ids| names(&workflow, ids)).join(" | ")
        }
        Err(error) => error.to_string(),
    }
}

fn list(selectors: &[&str]) -> Vec<String> {
    selectors.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn without_a_selection_everything_runs_that_is_not_left_out() {
    assert_eq!(told(&SelectionArgs::default()), "a b/x b/y c d |  |  | ");
}

#[test]
fn only_verifies_what_is_needed_directly() {
    let only = |s| told(&SelectionArgs { only: list(&[s]), ..SelectionArgs::default() });
    assert_eq!(only("d"), "d | c |  | a b/x b/y");
    assert_eq!(only("c"), "c | a b/x b/y |  | d");
    assert_eq!(only("b/x"), "b/x | a |  | b/y c d");
    assert_eq!(only("tag:disk"), "b/x b/y | a |  | c d");
    assert_eq!(only("layer:t*"), "c d | a b/x b/y |  | ");
    assert_eq!(only("*/y"), "b/y | a |  | b/x c d");
}

#[test]
fn until_takes_ancestors_and_from_descendants() {
    let until = SelectionArgs { until: list(&["b/x"]), ..SelectionArgs::default() };
    assert_eq!(told(&until), "a b/x |  |  | b/y c d");
    let from = SelectionArgs { from: list(&["c"]), ..SelectionArgs::default() };
    assert_eq!(told(&from), "c d | a b/x b/y |  | ");
}

#[test]
fn what_is_skipped_blocks_only_what_needs_it() {
    let skip = SelectionArgs { skip: list(&["b"]), ..SelectionArgs::default() };
    assert_eq!(told(&skip), "a c d |  | b/x b/y | ");
}

#[test]
fn what_matches_nothing_is_an_error_with_a_near_miss() {
    let help = |selector: &str| {
        let args = SelectionArgs { only: list(&[selector]), ..SelectionArgs::default() };
        match select(&workflow(), &args) {
            Err(SelectError::NoMatch { help, .. }) => help,
            other => format!("{other:?}"),
        }
    };
    assert_eq!(help("bb"), "did you mean `b`?");
    assert_eq!(help("b/z"), "there are b/x, b/y");
    assert_eq!(help("layer:tow"), "did you mean `layer:two`?");
    assert_eq!(help("tag:disc"), "did you mean `tag:disk`?");
    assert_eq!(help("nothing-like-it"), "`flow graph` shows all tasks");
    let left_out = SelectionArgs { only: list(&["left-out"]), ..SelectionArgs::default() };
    assert_eq!(told(&left_out), "`left-out` matches only what `when` leaves out");
}

#[test]
fn only_what_runs_can_be_forced() {
    let args = SelectionArgs { only: list(&["d"]), force: list(&["a"]), ..Default::default() };
    assert_eq!(told(&args), "`a` is forced, but does not run");
    let workflow = workflow();
    let args = SelectionArgs { force: list(&["b"]), ..Default::default() };
    let selected = select(&workflow, &args).unwrap().selected;
    assert_eq!(names(&workflow, &selected.force), "b/x b/y");
}

#[test]
fn only_what_runs_and_has_a_stop_to_lift_can_be_redone() {
    let workflow = loaded(
        r#"
        [workflow]
        name = "w"

        [tasks.a]
        uses = "notify"

        [tasks.key]
        uses = "seal"
        for-each = ["x", "y"]

        [tasks.asks]
        uses = "notify"
        on-crash = "ask"
        "#,
    );
    let redo = |args: &SelectionArgs| match select(&workflow, args) {
        Ok(selection) => names(&workflow, &selection.selected.redo),
        Err(error) => error.to_string(),
    };
    let of = |s| SelectionArgs { redo: list(&[s]), ..SelectionArgs::default() };
    assert_eq!(redo(&of("key/y")), "key/y");
    assert_eq!(redo(&of("key")), "key/x key/y");
    assert_eq!(redo(&of("asks")), "asks");
    assert_eq!(redo(&of("a")), "`a` may be applied at any time, so there is nothing to lift");
    let other = SelectionArgs { only: list(&["a"]), ..of("key/x") };
    assert_eq!(redo(&other), "`key/x` is to be done again, but does not run");
    let forced = SelectionArgs { force: list(&["key"]), ..SelectionArgs::default() };
    assert_eq!(redo(&forced), "`key/x` must never take effect twice, so it is not forced");
}
