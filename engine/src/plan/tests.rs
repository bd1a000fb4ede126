use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::cx::SiteContext;
use crate::kind::{Effect, OnDrift, Retry};
use crate::report::Silent;
use crate::runner::{Clock, Selected};
use crate::testing::{Reaction, Simulated, Sketch, Stage, execute, options, workflow};

fn sketch(stage: &Stage, name: &str, effect: Effect, needs: &[u32]) -> Sketch {
    Sketch::new(name, Simulated::new(&stage.world, effect), needs.iter().copied())
}

async fn look(stage: &Stage, workflow: &Arc<Workflow>) -> Plan {
    let survey = Survey {
        workflow: Arc::clone(workflow),
        ledger: stage.store.ledger(&workflow.names()),
        selected: Selected::all(workflow),
        site: Arc::new(SiteContext::default()),
        vault: Arc::clone(&stage.store) as Arc<dyn Vault>,
        slots: 4,
        seed: 0,
        clock: Clock::default(),
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let before = stage.store.events();
    let plan = plan(survey, &mut Silent, stop).await;
    assert_eq!(stage.store.events(), before, "a plan writes nothing");
    plan
}

fn planned(plan: &Plan) -> Vec<&Planned> {
    plan.items.iter().map(|item| &item.planned).collect()
}

fn create() -> Planned {
    Planned::Apply { done: Done::Created, diff: None }
}

fn chain(stage: &Stage) -> Arc<Workflow> {
    workflow(
        vec![
            sketch(stage, "gate", Effect::Gate, &[]),
            sketch(stage, "a", Effect::Converge, &[0]),
            sketch(stage, "b", Effect::Once, &[1]),
            sketch(stage, "c", Effect::Converge, &[2]),
            sketch(stage, "d", Effect::Action, &[0]),
        ],
        &[],
    )
}

#[tokio::test(start_paused = true)]
async fn i5_a_plan_of_nothing_yet_knows_what_it_cannot_know() {
    let stage = Stage::default();
    let workflow = chain(&stage);
    let plan = look(&stage, &workflow).await;
    let unknown = |until, root| Planned::Unknown { until: Instance(until), root: Instance(root) };
    assert_eq!(
        planned(&plan),
        [
            &Planned::Unchanged(Done::Passed),
            &create(),
            &unknown(1, 1),
            &unknown(2, 1),
            &Planned::Apply { done: Done::Ran, diff: None },
        ]
    );
    assert!(plan.is_pending() && plan.is_unknown());
    assert_eq!(stage.world.effects(), []);
    assert_eq!(stage.world.looks("b"), 0);
    assert_eq!(plan.critical, [0, 1, 2, 3].map(Instance));
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_a_kind_is_one_unknown_in_a_plan() {
    let stage = Stage::default();
    let sketches = ["a", "b"].map(|name| sketch(&stage, name, Effect::Converge, &[]));
    let workflow = workflow(sketches.into(), &[]);
    stage.world.on_probe("a", [Reaction::Panic]);
    let plan = look(&stage, &workflow).await;
    let Planned::Unreadable(failure) = &plan.items[0].planned else { panic!("{:?}", plan.items) };
    assert_eq!(failure.code, "engine::panic");
    assert_eq!(plan.items[1].planned, create());
}

#[tokio::test(start_paused = true)]
async fn after_a_good_run_nothing_is_pending() {
    let stage = Stage::default();
    let workflow = chain(&stage);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    let plan = look(&stage, &workflow).await;
    assert!(!plan.is_pending() && !plan.is_unknown(), "{:?}", planned(&plan));
    stage.world.remove("b");
    stage.world.remove("c");
    let plan = look(&stage, &workflow).await;
    assert!(
        matches!(planned(&plan)[2], Planned::Stuck(failure) if failure.code == "engine::was-done")
    );
    assert!(matches!(planned(&plan)[3], Planned::Unknown { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_is_unknown_and_so_is_what_needs_it() {
    let stage = Stage::default();
    let workflow = chain(&stage);
    let never = Failure::new("world::denied", "denied", Retry::Never);
    stage.world.on_probe("a", [Reaction::Refuse(never.clone())]);
    let plan = look(&stage, &workflow).await;
    assert_eq!(planned(&plan)[1], &Planned::Unreadable(never));
    assert_eq!(planned(&plan)[2], &Planned::Unknown { until: Instance(1), root: Instance(1) });
}

#[tokio::test(start_paused = true)]
async fn drift_is_told_with_its_difference() {
    for (on_drift, applies, pending) in [
        (OnDrift::Fix, true, true),
        (OnDrift::Report, false, true),
        (OnDrift::Ignore, false, false),
    ] {
        let stage = Stage::default();
        let mut task = sketch(&stage, "t", Effect::Converge, &[]);
        task.kind.on_drift = on_drift;
        let workflow = workflow(vec![task], &[]);
        execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
        stage.world.put("t", json!(7), true);
        let plan = look(&stage, &workflow).await;
        let diff = "7 != null".to_owned();
        let expected = if applies {
            Planned::Apply { done: Done::Updated, diff: Some(diff) }
        } else {
            Planned::Drift { diff, pending }
        };
        assert_eq!(planned(&plan), [&expected]);
        assert_eq!(plan.is_pending(), pending);
    }
}

#[tokio::test(start_paused = true)]
async fn the_eta_is_learned_and_follows_the_pools() {
    let stage = Stage::default();
    let sketches: Vec<Sketch> = (0..4)
        .map(|id| {
            let mut task = sketch(&stage, &format!("t{id}"), Effect::Converge, &[]);
            task.kind.takes = Duration::from_secs(10);
            task.pools = vec![(0, 1)];
            task
        })
        .collect();
    let workflow = workflow(sketches, &[2]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!(look(&stage, &workflow).await.eta, Duration::ZERO);
    for id in 0..4 {
        stage.world.remove(&format!("t{id}"));
    }
    assert_eq!(look(&stage, &workflow).await.eta, Duration::from_secs(20));
}
