//! What becomes of an instance, case by case.

use serde_json::json;

use super::*;
use crate::event::Origin;
use crate::journal::StoreError;
use crate::kind::{OnDrift, Settle};

#[tokio::test(start_paused = true)]
async fn a_refusal_that_may_pass_is_tried_again_after_a_pause() {
    let stage = Stage::default();
    stage.world.on_apply("t", [refusal(Retry::Backoff), refusal(Retry::Backoff)]);
    let summary = run(&stage, vec![one(&stage, Effect::Once)]).await;
    assert_eq!(done(&summary, 0), Done::Created);
    assert_eq!(stage.world.times("t"), 1);
    assert!(summary.took > Duration::from_millis(4800), "{:?}", summary.took);
    assert!(summary.took < Duration::from_millis(7300), "{:?}", summary.took);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_good_is_not_tried_again() {
    for retry in [Retry::Never, Retry::Human] {
        let stage = Stage::default();
        stage.world.on_apply("t", [refusal(retry)]);
        let sketches = vec![one(&stage, Effect::Converge), sketch(&stage, "u", Effect::Gate, &[0])];
        let summary = run(&stage, sketches).await;
        assert_eq!(failure(&summary, 0).code, "world::refused");
        assert_eq!(summary.endings[1], Ending::Blocked(vec![Instance(0)]));
        assert_eq!(summary.needs_a_human(), retry == Retry::Human);
        assert_eq!(summary.ended, RunEnded::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn i13_an_error_of_a_probe_never_leads_to_an_apply() {
    for effect in [Effect::Converge, Effect::Once, Effect::Action] {
        let stage = Stage::default();
        stage.world.on_probe("t", [Reaction::LoseReply, Reaction::LoseReply, Reaction::LoseReply]);
        let summary = run(&stage, vec![one(&stage, effect)]).await;
        assert_eq!(failure(&summary, 0).code, "world::lost");
        assert_eq!(stage.world.effects(), []);
        assert_eq!(stage.world.looks("t"), 3);
        assert!(!stage.store.has(Instance(0), |body| matches!(body, Body::Intent(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn i4_a_change_that_was_accepted_and_does_not_show_is_no_success() {
    for effect in [Effect::Converge, Effect::Once] {
        let stage = Stage::default();
        stage.world.on_apply("t", [Reaction::Late(Duration::from_hours(1))]);
        let summary = run(&stage, vec![one(&stage, effect)]).await;
        assert_eq!(failure(&summary, 0).code, "engine::not-settled");
        assert_eq!(stage.world.times("t"), 1);
        assert!(!stage.store.has(Instance(0), |body| {
            matches!(body, Body::Outcome(Outcome::Succeeded(_) | Outcome::Unchanged { .. }))
        }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_is_found_out_and_not_asked_for_again() {
    for effect in [Effect::Converge, Effect::Once] {
        let stage = Stage::default();
        stage.world.on_apply("t", [Reaction::LoseReply]);
        let summary = run(&stage, vec![one(&stage, effect)]).await;
        assert_eq!(done(&summary, 0), Done::Created);
        assert_eq!(stage.world.times("t"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_late_is_waited_for() {
    let stage = Stage::default();
    stage.world.on_apply("t", [Reaction::Late(Duration::from_secs(20))]);
    let summary = run(&stage, vec![one(&stage, Effect::Once)]).await;
    assert_eq!(done(&summary, 0), Done::Created);
    assert!(summary.took >= Duration::from_secs(20) && summary.took < Duration::from_secs(26));
}

#[tokio::test(start_paused = true)]
async fn i2_a_once_that_never_showed_stays_in_doubt() {
    let stage = Stage::default();
    stage.world.on_apply("t", [Reaction::Late(Duration::from_secs(70))]);
    let mut once = one(&stage, Effect::Once);
    once.conclusive = false;
    let workflow = workflow(vec![once], &[]);
    let go = || execute(&workflow, &stage.store, options(&stage.store, 1));
    assert_eq!(failure(&go().await.unwrap(), 0).code, "engine::not-settled");
    assert!(open(&stage, &workflow, 0));
    assert_eq!(failure(&go().await.unwrap(), 0).code, "engine::in-doubt");
    assert!(open(&stage, &workflow, 0));
    assert_eq!(done(&go().await.unwrap(), 0), Done::Recovered);
    assert_eq!(stage.world.times("t"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_conclusive_once_is_asked_for_again_only_when_settle_is_over() {
    let stage = Stage::default();
    let lost = Failure::new("world::hung-up", "hung up", Retry::Backoff);
    stage.world.on_apply("t", [Reaction::Refuse(lost)]);
    let summary = run(&stage, vec![one(&stage, Effect::Once)]).await;
    assert_eq!(done(&summary, 0), Done::Created);
    assert_eq!(stage.world.times("t"), 1);
    assert!(summary.took > Duration::from_secs(30), "{:?}", summary.took);
    let closed = |body: &Body| matches!(body, Body::Outcome(o) if *o == Outcome::DidNotTakeHold);
    assert!(stage.store.has(Instance(0), closed));
}

#[tokio::test(start_paused = true)]
async fn what_was_there_is_adopted_as_found_and_never_changed() {
    let stage = Stage::default();
    stage.world.put("t", json!(1), false);
    let mut task = one(&stage, Effect::Converge);
    task.with = json!(1);
    let workflow = workflow(vec![task.clone()], &[]);
    let summary = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!(done(&summary, 0), Done::Adopted);
    let row = stage.store.ledger(&workflow.names());
    let row = row.row(&workflow.instances[0].name).unwrap().clone();
    assert_eq!(row.success.unwrap().said.origin, Origin::Found);

    task.with = json!(2);
    let summary = run(&stage, vec![task]).await;
    assert_eq!(done(&summary, 0), Done::LeftDrifted);
    assert_eq!(summary.ended, RunEnded::Complete);
    assert_eq!(stage.world.effects(), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_somebody_elses_and_differs_stops_for_a_person() {
    let stage = Stage::default();
    stage.world.put("t", json!(1), false);
    let summary = run(&stage, vec![one(&stage, Effect::Converge)]).await;
    assert_eq!(failure(&summary, 0).code, "engine::not-ours");
    assert!(summary.needs_a_human());
    assert_eq!(stage.world.effects(), []);
}

#[tokio::test(start_paused = true)]
async fn drift_is_fixed_or_reported_as_the_task_says() {
    let stage = Stage::default();
    let mut task = one(&stage, Effect::Converge);
    task.with = json!(1);
    run(&stage, vec![task.clone()]).await;
    task.kind.on_drift = OnDrift::Report;
    task.with = json!(2);
    assert_eq!(done(&run(&stage, vec![task.clone()]).await, 0), Done::LeftDrifted);
    task.kind.on_drift = OnDrift::Fix;
    assert_eq!(done(&run(&stage, vec![task.clone()]).await, 0), Done::Updated);
    assert_eq!(done(&run(&stage, vec![task.clone()]).await, 0), Done::UpToDate);
    stage.world.remove("t");
    assert_eq!(done(&run(&stage, vec![task]).await, 0), Done::Recreated);
    assert_eq!(stage.world.times("t"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_once_that_vanished_is_made_again_only_in_a_new_incarnation() {
    let stage = Stage::default();
    let host = sketch(&stage, "host", Effect::Converge, &[]);
    let mut once = sketch(&stage, "once", Effect::Once, &[0]);
    once.lives_in = vec![0];
    let sketches = || vec![host.clone(), once.clone()];
    run(&stage, sketches()).await;
    stage.world.remove("once");
    assert_eq!(failure(&run(&stage, sketches()).await, 1).code, "engine::was-done");
    stage.world.remove("host");
    let summary = run(&stage, sketches()).await;
    assert_eq!((done(&summary, 0), done(&summary, 1)), (Done::Recreated, Done::Created));
    assert_eq!(stage.world.times("once"), 2);
}

#[tokio::test(start_paused = true)]
async fn an_action_runs_again_when_its_inputs_change_or_it_is_stale() {
    let stage = Stage::default();
    let mut action = one(&stage, Effect::Action);
    assert_eq!(done(&run(&stage, vec![action.clone()]).await, 0), Done::Ran);
    assert_eq!(done(&run(&stage, vec![action.clone()]).await, 0), Done::Unverified);
    action.with = json!("other");
    assert_eq!(done(&run(&stage, vec![action.clone()]).await, 0), Done::Ran);
    action.fresh = Some(Duration::from_mins(1));
    let workflow = workflow(vec![action], &[]);
    let mut later = options(&stage.store, 3);
    let now = later.clock.now();
    later.clock = crate::runner::Clock::new(move || now + 61_000);
    let summary = execute(&workflow, &stage.store, later).await.unwrap();
    assert_eq!(done(&summary, 0), Done::Ran);
}

#[tokio::test(start_paused = true)]
async fn an_apply_that_hangs_is_given_up() {
    let stage = Stage::default();
    stage.world.on_apply("t", [Reaction::Hang]);
    let mut task = one(&stage, Effect::Converge);
    task.timeout = Duration::from_secs(5);
    assert_eq!(done(&run(&stage, vec![task]).await, 0), Done::Created);
    assert_eq!(stage.world.times("t"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_gate_is_polled_until_settle_is_over() {
    let stage = Stage::default();
    stage.world.on_probe("t", (0..5).map(|_| Reaction::LoseReply));
    assert_eq!(done(&run(&stage, vec![one(&stage, Effect::Gate)]).await, 0), Done::Passed);
    stage.world.on_probe("t", (0..100).map(|_| Reaction::LoseReply));
    let mut gate = one(&stage, Effect::Gate);
    gate.kind.settle = Settle::within(Duration::from_secs(12));
    let summary = run(&stage, vec![gate]).await;
    assert_eq!(failure(&summary, 0).code, "world::lost");
    assert!(summary.took >= Duration::from_secs(12) && summary.took < Duration::from_secs(13));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_kind_fails_its_instance_only() {
    let stage = Stage::default();
    stage.world.on_apply("t", [Reaction::Panic]);
    let sketches = vec![one(&stage, Effect::Converge), sketch(&stage, "u", Effect::Once, &[])];
    let workflow = workflow(sketches, &[]);
    let summary = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!(failure(&summary, 0).code, "engine::panic");
    assert_eq!(done(&summary, 1), Done::Created);
    assert!(open(&stage, &workflow, 0));
}

/// I2: a look that panics proves nothing about what an earlier session has asked for.
#[tokio::test(start_paused = true)]
async fn i2_a_panic_leaves_what_is_in_doubt_in_doubt() {
    let stage = Stage::default();
    let mut once = one(&stage, Effect::Once);
    once.conclusive = false;
    let workflow = workflow(vec![once], &[]);
    let go = || execute(&workflow, &stage.store, options(&stage.store, 1));
    stage.world.on_apply("t", [Reaction::Late(Duration::from_secs(70))]);
    assert_eq!(failure(&go().await.unwrap(), 0).code, "engine::not-settled");
    stage.world.on_probe("t", [Reaction::Panic]);
    let summary = go().await.unwrap();
    assert_eq!(failure(&summary, 0).code, "engine::panic");
    assert!(matches!(summary.endings[0], Ending::Failed { in_doubt: true, .. }));
    assert!(open(&stage, &workflow, 0));
    assert_eq!(failure(&go().await.unwrap(), 0).code, "engine::in-doubt");
    assert_eq!(stage.world.times("t"), 1);
}

/// Asked for, half made, and asked for again in vain: the first may still have made it.
#[tokio::test(start_paused = true)]
async fn a_refusal_settles_no_older_doubt() {
    let stage = Stage::default();
    let hung = Failure::new("world::hung-up", "hung up", Retry::Never);
    stage.world.on_apply("t", [Reaction::Refuse(hung), refusal(Retry::Never)]);
    let workflow = workflow(vec![one(&stage, Effect::Converge)], &[]);
    let go = || execute(&workflow, &stage.store, options(&stage.store, 1));
    go().await.unwrap();
    stage.world.put("t", json!("half made"), true);
    let summary = go().await.unwrap();
    assert!(matches!(summary.endings[0], Ending::Failed { in_doubt: true, .. }));
    assert!(open(&stage, &workflow, 0));
    assert_eq!(done(&go().await.unwrap(), 0), Done::Updated);
    let ledger = stage.store.ledger(&workflow.names());
    assert_eq!(ledger.row(&workflow.instances[0].name).unwrap().generation.0, 1, "it was made");
}

/// What polled before it applies has given its slot away, and waits for another one.
#[tokio::test(start_paused = true)]
async fn what_has_waited_without_a_slot_applies_with_one() {
    let stage = Stage::default();
    let names = ["a", "b", "c"];
    let sketches = names.map(|name| {
        let hung = Failure::new("world::hung-up", "hung up", Retry::Never);
        stage.world.on_apply(name, [Reaction::Refuse(hung)]);
        let mut once = sketch(&stage, name, Effect::Once, &[]);
        once.kind.takes = Duration::from_secs(1);
        once.retry.attempts = 1;
        once
    });
    let workflow = workflow(sketches.into(), &[]);
    let go = || {
        let mut options = options(&stage.store, 1);
        options.slots = 1;
        execute(&workflow, &stage.store, options)
    };
    go().await.unwrap();
    let summary = go().await.unwrap();
    assert_eq!(names.map(|name| stage.world.times(name)), [1, 1, 1], "{summary:?}");
    assert_eq!(stage.world.busiest(), 1);
    assert!(summary.took < Duration::from_secs(40), "each waited once: {:?}", summary.took);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_kept_is_not_asked_for() {
    let stage = Stage::default();
    stage.store.break_vault(Some(Failure::new("vault::identity", "no identity", Retry::Human)));
    let mut task = one(&stage, Effect::Converge);
    task.kind.secret = Some("canary-canary-canary".to_owned());
    let other = sketch(&stage, "u", Effect::Converge, &[]);
    let summary = run(&stage, vec![task, other]).await;
    assert_eq!(failure(&summary, 0).code, "vault::identity");
    assert_eq!((stage.world.times("t"), stage.world.times("u")), (0, 1));
    assert!(!stage.store.has(Instance(0), |body| matches!(body, Body::Intent(_))));
}

#[tokio::test(start_paused = true)]
async fn with_fail_fast_nothing_new_starts_but_what_comes_last() {
    let stage = Stage::default();
    stage.world.on_apply("a", [refusal(Retry::Never)]);
    let mut slow = sketch(&stage, "slow", Effect::Converge, &[]);
    slow.kind.takes = Duration::from_secs(5);
    let mut last = sketch(&stage, "last", Effect::Action, &[]);
    last.finally = true;
    let sketches = vec![
        sketch(&stage, "a", Effect::Converge, &[]),
        slow,
        sketch(&stage, "b", Effect::Converge, &[1]),
        sketch(&stage, "c", Effect::Converge, &[0]),
        last,
    ];
    let workflow = workflow(sketches, &[]);
    let mut options = options(&stage.store, 1);
    options.fail_fast = true;
    let summary = execute(&workflow, &stage.store, options).await.unwrap();
    assert_eq!(done(&summary, 1), Done::Created);
    assert_eq!(summary.endings[2], Ending::NotStarted);
    assert_eq!(summary.endings[3], Ending::Blocked(vec![Instance(0)]));
    assert_eq!(done(&summary, 4), Done::Ran);
}

#[tokio::test(start_paused = true)]
async fn what_comes_last_runs_however_the_others_end() {
    let stage = Stage::default();
    stage.world.on_apply("a", [refusal(Retry::Never)]);
    let mut last = sketch(&stage, "last", Effect::Action, &[1]);
    last.finally = true;
    let a = sketch(&stage, "a", Effect::Converge, &[]);
    let sketches = vec![a, sketch(&stage, "b", Effect::Converge, &[0]), last];
    let summary = run(&stage, sketches).await;
    assert_eq!(summary.endings[1], Ending::Blocked(vec![Instance(0)]));
    assert_eq!(done(&summary, 2), Done::Ran);
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_waited_for_and_a_broken_one_ends_the_run() {
    let stage = Stage::default();
    stage.store.fail_next([StoreError::Full, StoreError::Full]);
    let summary = run(&stage, vec![one(&stage, Effect::Converge)]).await;
    assert_eq!(done(&summary, 0), Done::Created);
    assert!(summary.took >= Duration::from_secs(4));

    let stage = Stage::default();
    let source = Failure::new("disk::io", "I/O error", Retry::Never);
    stage.store.fail_next([StoreError::Broken { source }]);
    let workflow = workflow(vec![one(&stage, Effect::Converge)], &[]);
    let error = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap_err();
    assert!(matches!(error, RunError::State { undecided, .. } if undecided.is_empty()));
    assert_eq!(stage.world.effects(), []);
    assert_eq!(stage.store.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_declined_run_writes_nothing() {
    let stage = Stage::default();
    let gate = sketch(&stage, "gate", Effect::Gate, &[]);
    let sketches = vec![gate, sketch(&stage, "t", Effect::Converge, &[0])];
    let workflow = workflow(sketches, &[]);
    let mut options = options(&stage.store, 1);
    options.confirm = Some(Arc::new(|| Box::pin(async { false })));
    let error = execute(&workflow, &stage.store, options).await.unwrap_err();
    assert!(matches!(error, RunError::Declined));
    assert_eq!(stage.world.effects(), []);
    assert!(!stage.store.has(Instance(1), |_| true));
}

#[tokio::test(start_paused = true)]
async fn what_can_carry_no_mark_is_ours_if_an_intent_came_first() {
    let stage = Stage::default();
    let mut task = one(&stage, Effect::Converge);
    task.kind.marks = false;
    let workflow = workflow(vec![task], &[]);
    // Killed between the effect and its reply: an append, an effect.
    let summary = stage.live_through(&workflow, &[4], |_| {}).await.unwrap();
    assert_eq!((stage.world.times("t"), done(&summary, 0)), (1, Done::Recovered));
    let ledger = stage.store.ledger(&workflow.names());
    let row = ledger.row(&workflow.instances[0].name).unwrap();
    assert_eq!(row.success.as_ref().unwrap().said.origin, Origin::Made);
    assert_eq!(row.generation.0, 1);
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_an_apply_waits_for_nobody() {
    let stage = Stage::default();
    let mut slow = sketch(&stage, "slow", Effect::Converge, &[]);
    slow.kind.takes = Duration::from_secs(5);
    let workflow = workflow(vec![one(&stage, Effect::Converge), slow], &[]);
    let ended = |body: &Body| matches!(body, Body::Outcome(_));
    tokio::select! {
        _ = execute(&workflow, &stage.store, options(&stage.store, 1)) => panic!("too early"),
        () = tokio::time::sleep(Duration::from_millis(100)) => {}
    }
    assert!(stage.store.has(Instance(0), ended));
}
