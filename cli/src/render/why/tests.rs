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
        recorded: Some((RunId(7), Duration::from_hours(72))),
        redefined: false,
        inputs: Inputs::Compared(Vec::new()),
        upstream: Vec::new(),
        trouble: Trouble::None,
        drift: None,
        notes: Vec::new(),
        needs: vec!["reach-vm/worker0".to_owned(), "render-config/worker0".to_owned()],
        history: vec![(RunId(7), "created, 8.0s".to_owned()), (RunId(5), "as recorded".to_owned())],
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
    let gate = ("render-config/worker0".to_owned(), vec![changed.clone()]);
    let view = WhyView {
        inputs: Inputs::Compared(vec![changed]),
        upstream: vec![gate],
        drift: Some("runs another configuration".to_owned()),
        notes: vec!["the node rebooted 2 min ago".to_owned()],
        ..view()
    };
    assert_data_eq!(
        shown(&view),
        str![[r#"
apply-config/worker0 would be looked at, and applied if the world differs:
  one input changed, what it reads of render-config/worker0 changed since run 7 (3 days ago)

  input    with.config, line 12   - time.cloudflare.com → - ntp.example.org
  from     render-config/worker0
           with.config, line 12   - time.cloudflare.com → - ntp.example.org
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
    let head = |view: WhyView| headline(&view).join("\n");
    let nothing = || WhyView { recorded: None, ..view() };
    let by = vec!["kube-api".to_owned()];
    assert_data_eq!(
        [
            head(view()),
            head(nothing()),
            head(WhyView { trouble: Trouble::LeftOut, ..view() }),
            head(WhyView { redefined: true, applies_on_change: true, ..view() }),
            head(WhyView { effect: Effect::Once, ..view() }),
            head(WhyView { effect: Effect::Action, stale: true, ..view() }),
            head(WhyView { effect: Effect::Gate, ..nothing() }),
            head(WhyView { inputs: Inputs::Until("create-vm".to_owned()), ..view() }),
            head(WhyView { trouble: Trouble::Open(RunId(8)), ..view() }),
            head(WhyView { trouble: Trouble::Working(RunId(8), "pid 7".to_owned()), ..view() }),
            head(WhyView { trouble: Trouble::Blocked(RunId(8), by), ..view() }),
        ]
        .join("\n")
            + "\n",
        str![[r#"
apply-config/worker0 would be looked at, and applied if the world differs:
  nothing changed since run 7 (3 days ago)
apply-config/worker0 would be looked at, and made where absent: nothing is recorded of it on home
apply-config/worker0 is left out: its `when` is false
apply-config/worker0 would be applied: its definition changed since run 7 (3 days ago)
apply-config/worker0 is kept as it was done: nothing changed since run 7 (3 days ago)
apply-config/worker0 would run: its last success is too old, run 7 (3 days ago)
apply-config/worker0 is looked at in every run: nothing is recorded of it on home
apply-config/worker0 would be looked at, and applied if the world differs:
  its inputs are not known until create-vm has succeeded
apply-config/worker0 is in doubt: run 8 asked for its effect and has no outcome of it
apply-config/worker0 is being worked on now by pid 7, run 8
apply-config/worker0 could not start in run 8: kube-api failed

"#]]
    );
}
