//! What a person wants of a run: a part of it, force, a stop, no secret shown.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::cx::Stop;
use crate::event::Event;
use crate::id::{Attempt, RunId};
use crate::journal::StoreError;
use crate::report::{Progress, Reporter};
use crate::runner::Selected;

/// Keeps what it is told.
#[derive(Default)]
struct Ears {
    log: Vec<u8>,
}

impl Reporter for Ears {
    fn progress(&mut self, _: Progress) {}

    fn durable(&mut self, _: &[Event]) {}

    fn log(&mut self, _: Instance, _: Attempt, bytes: &[u8]) {
        self.log.extend_from_slice(bytes);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_interrupt_lets_applies_finish_with_one_look() {
    let stage = Stage::default();
    let mut slow = one(&stage, Effect::Once);
    slow.kind.takes = Duration::from_secs(5);
    let mut late = sketch(&stage, "late", Effect::Once, &[]);
    late.kind.takes = Duration::from_secs(5);
    stage.world.on_apply("late", [Reaction::Late(Duration::from_secs(9))]);
    let next = sketch(&stage, "next", Effect::Converge, &[0]);
    let workflow = workflow(vec![slow, late, next], &[]);
    let (stop, stopped) = watch::channel(Stop::No);
    let run = prepared(&stage, &workflow, Selected::all(&workflow));
    let mut ears = Ears::default();
    let (summary, ()) = tokio::join!(run.execute(&mut ears, stopped), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(Stop::Graceful);
    });
    let summary = summary.unwrap();
    assert_eq!(done(&summary, 0), Done::Created);
    assert_eq!(summary.endings[1..], [Ending::Interrupted, Ending::NotStarted]);
    assert_eq!(summary.ended, RunEnded::Interrupted);
    assert!(summary.took < Duration::from_secs(6));
    assert!(open(&stage, &workflow, 1));
    let summary = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!(done(&summary, 1), Done::Recovered);
    assert_eq!(stage.world.times("late"), 1);
}

/// Stopped between its intent and the call: that asked for nothing, an older intent has.
#[tokio::test(start_paused = true)]
async fn an_interrupt_before_the_call_settles_no_older_doubt() {
    let stage = Stage::default();
    let hung = Failure::new("world::hung-up", "hung up", Retry::Never);
    stage.world.on_apply("t", [Reaction::Refuse(hung)]);
    let workflow = workflow(vec![one(&stage, Effect::Converge)], &[]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    stage.world.put("t", json!("half made"), true);
    let (stop, stopped) = watch::channel(Stop::No);
    let mut run = prepared(&stage, &workflow, Selected::all(&workflow));
    run.options.on_durable = Some(Arc::new(move |_| {
        stop.send_replace(Stop::Graceful);
    }));
    let summary = run.execute(&mut Ears::default(), stopped).await.unwrap();
    assert_eq!(summary.endings, [Ending::Interrupted]);
    let intents = stage.store.events().into_iter().filter(|e| matches!(e.body, Body::Intent(_)));
    assert_eq!((intents.count(), stage.world.times("t")), (2, 0));
    assert!(open(&stage, &workflow, 0));
}

#[tokio::test(start_paused = true)]
async fn the_second_interrupt_drops_applies_and_leaves_them_open() {
    let stage = Stage::default();
    stage.world.on_apply("t", [Reaction::Hang]);
    // Its command is killed for the user's sake: that is no failure, and blocks nobody.
    stage.world.on_apply("killed", [Reaction::WindDown]);
    stage.world.on_probe("look", [Reaction::WindDown]);
    let killed = sketch(&stage, "killed", Effect::Action, &[]);
    let look = sketch(&stage, "look", Effect::Gate, &[]);
    let next = sketch(&stage, "next", Effect::Converge, &[1]);
    let workflow = workflow(vec![one(&stage, Effect::Converge), killed, look, next], &[]);
    let (stop, stopped) = watch::channel(Stop::No);
    let run = prepared(&stage, &workflow, Selected::all(&workflow));
    let mut ears = Ears::default();
    let (summary, ()) = tokio::join!(run.execute(&mut ears, stopped), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(Stop::Graceful);
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(Stop::Forced);
    });
    let summary = summary.unwrap();
    let stopped = Ending::Interrupted;
    assert_eq!(summary.endings, [stopped.clone(), stopped.clone(), stopped, Ending::NotStarted]);
    assert!(summary.took < Duration::from_secs(3));
    assert!(open(&stage, &workflow, 0) && open(&stage, &workflow, 1));
}

#[tokio::test(start_paused = true)]
async fn i8_a_secret_is_in_the_vault_and_nowhere_else() {
    const FILE: &str = r#"
[tasks.make]
uses = "simulated"
with = { token = "${inputs.token}", pem = "${inputs.pem}" }

[tasks.fails]
uses = "simulated"
with.key = "${tasks.make.key}"

[tasks.echoes]
uses = "simulated"
with.say = ["${inputs.pem}"]
"#;
    let token = "canary-canary-canary";
    let line = "canary/Canary+".repeat(4);
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{line}\n{line}\n-----END PRIVATE KEY-----\n");
    let wrapped: Vec<u8> = STANDARD
        .encode(format!("data: {pem}"))
        .as_bytes()
        .chunks(76)
        .flat_map(|line| [line, b"\n"].concat())
        .collect();
    let stage = Stage::default();
    let mut kind = Simulated::new(&stage.world, Effect::Converge);
    kind.secret = Some("made-canary-made-canary".to_owned());
    kind.says = vec![b"before canary-cana".to_vec(), b"ry-canary after\n".to_vec()];
    kind.says.extend([pem.as_bytes().to_vec(), b"\n".to_vec()]);
    kind.says.extend(wrapped.chunks(50).map(<[u8]>::to_vec));
    let quoted = Failure::new("world::refused", format!("no {token}"), Retry::Never)
        .with_help(format!("not {token}"))
        .with_causes(vec![pem.clone(), "made-canary-made-canary".to_owned()]);
    stage.world.on_apply("fails", [Reaction::Refuse(quoted)]);
    let workflow = super::data::loaded(FILE, kind, &[("token", token), ("pem", &pem)]);
    let mut ears = Ears::default();
    let mut told = Vec::new();
    for _ in 0..2 {
        let run = prepared(&stage, &workflow, Selected::all(&workflow));
        let (_keep, stop) = watch::channel(Stop::No);
        let summary = run.execute(&mut ears, stop).await.unwrap();
        told.push(summary);
    }
    let vault: &dyn crate::journal::Vault = &*stage.store;
    let make = crate::InstanceName::parse("make");
    let kept = vault.secret(&make, "key").unwrap().unwrap();
    assert_eq!(kept.reveal(), &json!("made-canary-made-canary"));
    let log = String::from_utf8(ears.log).unwrap();
    assert!(log.starts_with("before *** after\n"), "{log}");
    for text in [log, format!("{told:?}"), stage.store.dump()] {
        let text = text.to_lowercase();
        // Raw, and what is certain of it in base64 at each offset.
        for canary in ["canary", "Y2FuYXJ5", "NhbmFye", "jYW5hcn"] {
            assert!(!text.contains(&canary.to_lowercase()), "{text}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i7_only_what_is_selected_is_applied_and_the_rest_must_hold() {
    let stage = Stage::default();
    let sketches: Vec<Sketch> = vec![
        sketch(&stage, "a", Effect::Converge, &[]),
        sketch(&stage, "gate", Effect::Gate, &[0]),
        sketch(&stage, "b", Effect::Converge, &[0, 1]),
        sketch(&stage, "c", Effect::Converge, &[2]),
    ];
    let workflow = workflow(sketches, &[]);
    let only_b = || Selected {
        run: BTreeSet::from([Instance(2)]),
        verify: BTreeSet::from([Instance(0), Instance(1)]),
        ..Selected::default()
    };
    let go = async || {
        let (_keep, stop) = watch::channel(Stop::No);
        prepared(&stage, &workflow, only_b()).execute(&mut Ears::default(), stop).await
    };
    let Err(RunError::Unmet { unmet }) = go().await else { panic!("a was never applied") };
    assert_eq!(unmet.len(), 1);
    assert_eq!(unmet[0].instance.as_str(), "a");
    assert_eq!((stage.world.effects().len(), stage.store.events().len()), (0, 0));

    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    stage.world.remove("b");
    stage.world.remove("c");
    let summary = go().await.unwrap();
    assert_eq!(done(&summary, 2), Done::Recreated);
    assert_eq!(summary.endings[0], Ending::Verified);
    assert_eq!(summary.endings[3], Ending::LeftOut);
    assert_eq!(stage.world.times("c"), 1);

    stage.world.remove("a");
    assert!(matches!(go().await, Err(RunError::Unmet { .. })));
    assert_eq!(stage.world.times("a"), 1);

    stage.world.on_probe("a", [Reaction::Panic]);
    let Err(RunError::Unmet { unmet }) = go().await else { panic!("nobody knows how a is") };
    assert_eq!((unmet[0].instance.as_str(), &*unmet[0].failure.code), ("a", "engine::panic"));
}

#[tokio::test(start_paused = true)]
async fn what_a_skip_leaves_out_blocks_only_those_that_need_it() {
    let stage = Stage::default();
    let sketches: Vec<Sketch> = vec![
        sketch(&stage, "a", Effect::Converge, &[]),
        sketch(&stage, "b", Effect::Converge, &[0]),
        sketch(&stage, "c", Effect::Converge, &[]),
    ];
    let workflow = workflow(sketches, &[]);
    let selected = Selected {
        run: BTreeSet::from([Instance(1), Instance(2)]),
        skip: BTreeSet::from([Instance(0)]),
        ..Selected::default()
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let run = prepared(&stage, &workflow, selected);
    let summary = run.execute(&mut Ears::default(), stop).await.unwrap();
    assert_eq!(summary.endings[1], Ending::Blocked(vec![Instance(0)]));
    assert_eq!(done(&summary, 2), Done::Created);
}

#[tokio::test(start_paused = true)]
async fn force_applies_what_is_satisfied_and_spares_a_once() {
    let stage = Stage::default();
    let sketches =
        vec![sketch(&stage, "a", Effect::Converge, &[]), sketch(&stage, "b", Effect::Once, &[])];
    let workflow = workflow(sketches, &[]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    let all: BTreeSet<Instance> = workflow.ids().collect();
    let force = Selected { force: all.clone(), ..Selected::all(&workflow) };
    let go = async |selected: &Selected, id| {
        let mut run = prepared(&stage, &workflow, selected.clone());
        run.options.run = RunId(id);
        let (_keep, stop) = watch::channel(Stop::No);
        let summary = run.execute(&mut Ears::default(), stop).await.unwrap();
        (done(&summary, 0), done(&summary, 1))
    };
    assert_eq!(go(&force, 2).await, (Done::Updated, Done::Kept));
    assert_eq!(go(&force, 2).await, (Done::UpToDate, Done::Kept), "a further session of it");
    let redo = Selected { redo: all, ..Selected::all(&workflow) };
    assert_eq!(go(&redo, 3).await, (Done::UpToDate, Done::Ran));
    assert_eq!(go(&redo, 3).await, (Done::UpToDate, Done::Kept), "a further session of it");
    assert_eq!((stage.world.times("a"), stage.world.times("b")), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_open_outside_of_the_selection_is_looked_at_and_never_applied() {
    let stage = Stage::default();
    let hung = || Failure::new("world::hung-up", "hung up", Retry::Never);
    stage.world.on_apply("took", [Reaction::LoseReply]);
    stage.world.on_apply("lost", [Reaction::Refuse(hung())]);
    let mut took = sketch(&stage, "took", Effect::Converge, &[]);
    took.retry.attempts = 1;
    let sketches = vec![
        took,
        sketch(&stage, "lost", Effect::Once, &[]),
        sketch(&stage, "u", Effect::Once, &[]),
    ];
    let workflow = workflow(sketches, &[]);
    let selected = |run: &[u32]| Selected {
        run: run.iter().copied().map(Instance).collect(),
        ..Selected::default()
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let first = prepared(&stage, &workflow, selected(&[0, 1]));
    first.execute(&mut Ears::default(), stop.clone()).await.unwrap();
    assert!(open(&stage, &workflow, 0) && open(&stage, &workflow, 1));

    let second = prepared(&stage, &workflow, selected(&[2]));
    let summary = second.execute(&mut Ears::default(), stop).await.unwrap();
    assert_eq!(done(&summary, 0), Done::Recovered);
    assert_eq!(summary.endings[1], Ending::LeftOut);
    assert_eq!(summary.ended, RunEnded::Complete);
    assert!(!open(&stage, &workflow, 0) && open(&stage, &workflow, 1));
    assert_eq!((stage.world.times("took"), stage.world.times("lost")), (1, 0));
}

/// The disk breaks while what an earlier session has left open is looked at.
#[tokio::test(start_paused = true)]
async fn nothing_starts_on_a_disk_that_has_broken() {
    let stage = Stage::default();
    let hung = Failure::new("world::hung-up", "hung up", Retry::Never);
    stage.world.on_apply("open", [Reaction::Refuse(hung)]);
    let sketches = ["open", "t"].map(|name| sketch(&stage, name, Effect::Once, &[]));
    let workflow = workflow(sketches.into(), &[]);
    let (_keep, stop) = watch::channel(Stop::No);
    let only = |id| Selected { run: BTreeSet::from([Instance(id)]), ..Selected::default() };
    let first = prepared(&stage, &workflow, only(0));
    first.execute(&mut Ears::default(), stop.clone()).await.unwrap();

    stage.world.on_probe("open", [Reaction::Hang]);
    let source = Failure::new("disk::io", "I/O error", Retry::Never);
    stage.store.fail_next([StoreError::Broken { source }]);
    let second = prepared(&stage, &workflow, only(1));
    let error = second.execute(&mut Ears::default(), stop).await.unwrap_err();
    assert!(matches!(error, RunError::State { .. }));
    assert_eq!((stage.world.looks("open"), stage.world.looks("t")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn force_is_not_forgotten_by_a_retry() {
    let stage = Stage::default();
    let workflow = workflow(vec![one(&stage, Effect::Converge)], &[]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    stage.world.on_apply("t", [refusal(Retry::Backoff)]);
    let force = Selected { force: BTreeSet::from([Instance(0)]), ..Selected::all(&workflow) };
    let (_keep, stop) = watch::channel(Stop::No);
    let mut run = prepared(&stage, &workflow, force);
    run.options.run = RunId(2);
    let summary = run.execute(&mut Ears::default(), stop).await.unwrap();
    assert_eq!(done(&summary, 0), Done::Updated);
    assert_eq!(stage.world.times("t"), 2);
}
