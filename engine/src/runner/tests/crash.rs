//! Runs that are killed at every step. See I1, I2, I3, I6, I12 of the specification.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;

use super::*;
use crate::cx::{Cx, Stop};
use crate::event::Event;
use crate::id::Seq;
use crate::journal::{Batch, Store, StoreError};
use crate::report::Silent;
use crate::testing::{MemoryStore, Witness};
use crate::workflow::RetryPolicy;

/// A small seeded sequence.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// A workflow of every effect, with lost replies and late effects.
fn any_workflow(stage: &Stage, seed: u64) -> Arc<Workflow> {
    let mut draw = Draw(seed);
    let count = u32::try_from(3 + draw.below(6)).unwrap();
    let mut sketches: Vec<Sketch> = Vec::new();
    for id in 0..count {
        let effect = match draw.below(8) {
            0 | 1 => Effect::Once,
            2 => Effect::Action,
            3 => Effect::Gate,
            _ => Effect::Converge,
        };
        let needs: Vec<u32> = (0..id).filter(|_| draw.one_in(2)).collect();
        let name = format!("t{id}");
        let mut sketch = sketch(stage, &name, effect, &needs);
        sketch.with = json!({ "value": id });
        sketch.kind.witness = Some(stage_witness(stage, &needs));
        sketch.kind.takes = Duration::from_millis(draw.below(3) * 100);
        sketch.retry = RetryPolicy { attempts: 5, ..RetryPolicy::default() };
        if draw.one_in(3) {
            sketch.pools = vec![(0, 1)];
        }
        if effect == Effect::Once {
            sketch.lives_in = needs.into_iter().take(2).collect();
        }
        match draw.below(4) {
            0 => stage.world.on_apply(&name, [Reaction::LoseReply]),
            1 => stage.world.on_apply(&name, [Reaction::Late(Duration::from_secs(3))]),
            _ => {}
        }
        if draw.one_in(4) {
            stage.world.on_probe(&name, [Reaction::LoseReply, Reaction::LoseReply]);
        }
        sketches.push(sketch);
    }
    workflow(sketches, &[1])
}

/// I3: when an effect takes place, its intent is on disk, and so is how all that it needs has
/// ended in this session.
fn stage_witness(stage: &Stage, needs: &[u32]) -> Witness {
    let store = Arc::clone(&stage.store);
    let needs: BTreeSet<Instance> = needs.iter().copied().map(Instance).collect();
    Arc::new(move |cx: &Cx| {
        let intent = cx.intent().expect("an effect has an intent");
        let mut succeeded = BTreeSet::new();
        let mut is_durable = false;
        for event in store.events() {
            take_in(&mut succeeded, &event);
            is_durable |= event.seq == intent && matches!(event.body, Body::Intent(_));
        }
        assert!(is_durable, "the intent of {} is not durable", cx.instance());
        assert!(needs.is_subset(&succeeded), "{} before what it needs", cx.instance());
    })
}

/// I3: in every prefix of history, an intent comes after the success of all that it needs, in
/// the same session: what succeeded in an earlier one is looked at again first.
fn obeys_the_commit_rule(workflow: &Workflow, events: &[Event]) {
    let mut succeeded = BTreeSet::new();
    for event in events {
        take_in(&mut succeeded, event);
        if let (Some(instance), Body::Intent(_)) = (event.instance, &event.body) {
            for needed in &workflow.instance(instance).needs {
                assert!(succeeded.contains(needed), "{needed} before {event:?}");
            }
        }
    }
}

/// Keeps account of what has succeeded in the session that an event belongs to.
fn take_in(succeeded: &mut BTreeSet<Instance>, event: &Event) {
    match &event.body {
        Body::Run(_) => succeeded.clear(),
        Body::Outcome(Outcome::Succeeded(_) | Outcome::Unchanged { .. }) => {
            succeeded.extend(event.instance);
        }
        Body::Outcome(Outcome::Failed { .. } | Outcome::DidNotTakeHold | Outcome::Destroyed)
        | Body::Intent(_)
        | Body::Record { .. }
        | Body::Edit { .. }
        | Body::End(_) => {}
    }
}

fn effects_are_as_promised(stage: &Stage, workflow: &Workflow, crashes: usize) {
    for def in &workflow.instances {
        let times = stage.world.times(def.name.as_str());
        match workflow.tasks[def.task].effect {
            Effect::Converge => assert!(times >= 1, "{} was not made", def.name),
            Effect::Once => assert_eq!(times, 1, "{} happened {times} times", def.name),
            // The lost reply, and each crash, may make an action run once more.
            Effect::Action => assert!((1..=2 + crashes).contains(&times), "{} × {times}", def.name),
            Effect::Gate => assert_eq!(times, 0),
        }
    }
}

async fn unkilled(seed: u64) -> (u64, Vec<String>) {
    let stage = Stage::default();
    let workflow = any_workflow(&stage, seed);
    let summary = execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
    assert_eq!(summary.failures().collect::<Vec<_>>(), [], "seed {seed}");
    effects_are_as_promised(&stage, &workflow, 0);
    obeys_the_commit_rule(&workflow, &stage.store.events());
    (stage.power.steps(), world_of(&stage))
}

fn world_of(stage: &Stage) -> Vec<String> {
    stage.world.things().iter().map(|(name, value)| format!("{name} = {value}")).collect()
}

async fn killed(seed: u64, cuts: &[u64]) -> (Stage, Arc<Workflow>) {
    let stage = Stage::default();
    let workflow = any_workflow(&stage, seed);
    let summary = stage.live_through(&workflow, cuts, |_| {}).await.unwrap();
    assert_eq!(summary.failures().collect::<Vec<_>>(), [], "seed {seed}, cuts {cuts:?}");
    (stage, workflow)
}

#[tokio::test(start_paused = true)]
async fn i1_a_run_that_is_killed_anywhere_ends_in_the_same_world() {
    for seed in 0..40 {
        let (steps, world) = unkilled(seed).await;
        for cut in 1..=steps {
            let (stage, workflow) = killed(seed, &[cut]).await;
            assert_eq!(world_of(&stage), world, "seed {seed}, cut {cut}");
            effects_are_as_promised(&stage, &workflow, 1);
            obeys_the_commit_rule(&workflow, &stage.store.events());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i2_a_once_happens_once_however_often_the_run_is_killed() {
    let mut draw = Draw(7);
    for seed in 100..400 {
        let cuts: Vec<u64> = (0..4).map(|_| 1 + draw.below(12)).collect();
        let (stage, workflow) = killed(seed, &cuts).await;
        effects_are_as_promised(&stage, &workflow, cuts.len());
        obeys_the_commit_rule(&workflow, &stage.store.events());
    }
}

#[tokio::test(start_paused = true)]
async fn i3_no_intent_is_durable_before_what_it_needs() {
    let mut draw = Draw(3);
    for seed in 400..500 {
        let cuts: Vec<u64> = (0..2).map(|_| 1 + draw.below(20)).collect();
        let (stage, workflow) = killed(seed, &cuts).await;
        let events = stage.store.events();
        for end in 0..=events.len() {
            obeys_the_commit_rule(&workflow, &events[..end]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn i12_run_and_resume_remove_nothing() {
    let mut draw = Draw(12);
    for seed in 500..600 {
        let cuts: Vec<u64> = (0..3).map(|_| 1 + draw.below(12)).collect();
        let (stage, workflow) = killed(seed, &cuts).await;
        // What is found drifted, foreign or orphaned gives no reason either.
        for def in &workflow.instances {
            stage.world.put(def.name.as_str(), json!({ "seed": seed }), draw.below(2) == 0);
        }
        stage.live_through(&workflow, &[], |_| {}).await.unwrap();
        assert_eq!(stage.world.removals(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn i6_a_run_after_a_good_run_causes_no_effect() {
    for seed in 0..100 {
        let stage = Stage::default();
        let workflow = any_workflow(&stage, seed);
        execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
        let (effects, events) = (stage.world.effects(), stage.store.events().len());
        let summary = execute(&workflow, &stage.store, options(&stage.store, 2)).await.unwrap();
        assert_eq!(stage.world.effects(), effects);
        let counts = summary.counts();
        assert_eq!(counts.as_recorded + counts.checked, workflow.instances.len());
        let later = &stage.store.events()[events..];
        assert!(!later.iter().any(|event| matches!(event.body, Body::Intent(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn every_event_can_be_the_last_one() {
    for seed in [3, 11, 29] {
        let stage = Stage::default();
        let workflow = any_workflow(&stage, seed);
        execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
        let (last, world) = (stage.store.next_seq().0, world_of(&stage));
        for seq in 1..last {
            let stage = Stage::default();
            let workflow = any_workflow(&stage, seed);
            let mut options = options(&stage.store, 1);
            options.crash_at = Some(Seq(seq));
            let power = Arc::clone(&stage.power);
            options.on_durable = Some(Arc::new(move |durable| {
                if durable == Seq(seq) {
                    power.cut();
                }
            }));
            let ended = stage.live(&workflow, options).await;
            assert!(ended.is_none() || seq + 1 == last, "seed {seed}: not killed at {seq}");
            assert_eq!(stage.store.next_seq(), Seq(seq + 1));
            stage.reboot();
            execute(&workflow, &stage.store, options_of(&stage.store)).await.unwrap();
            assert_eq!(world_of(&stage), world, "seed {seed}, killed at {seq}");
            effects_are_as_promised(&stage, &workflow, 1);
        }
    }
}

fn options_of(store: &MemoryStore) -> crate::runner::Options {
    options(store, 1)
}

/// A disk that knows how often the world had been looked at when it broke.
struct Breaking {
    disk: Arc<MemoryStore>,
    looks: Box<dyn Fn() -> usize + Send + Sync>,
    when_it_broke: OnceLock<usize>,
}

impl Breaking {
    fn new(stage: &Stage, workflow: &Workflow) -> Self {
        let (world, names) = (Arc::clone(&stage.world), workflow.names());
        let looks = move || names.iter().map(|name| world.looks(name.as_str())).sum();
        let looks = Box::new(looks);
        Self { disk: Arc::clone(&stage.store), looks, when_it_broke: OnceLock::new() }
    }

    fn nothing_started_since(&self) -> bool {
        self.when_it_broke.get().is_none_or(|looks| *looks == (self.looks)())
    }
}

#[async_trait]
impl Store for Breaking {
    async fn append(&self, batch: Batch) -> Result<(), StoreError> {
        let answer = self.disk.append(batch).await;
        if let Err(StoreError::Broken { .. }) = answer {
            self.when_it_broke.get_or_init(|| (self.looks)());
        }
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_breaks_or_fills_at_any_append_loses_nothing() {
    let broken = || StoreError::Broken { source: Failure::new("disk::io", "no", Retry::Never) };
    for seed in 0..30 {
        let (_, world) = unkilled(seed).await;
        for at in 0.. {
            let stage = Stage::default();
            let workflow = any_workflow(&stage, seed);
            let accepted = (0..at).map(|_| None);
            stage.store.answer_next(accepted.chain([Some(StoreError::Full), Some(broken())]));
            let store = Arc::new(Breaking::new(&stage, &workflow));
            let run = prepared(&stage, &workflow, Selected::all(&workflow));
            let run = Run { store: Arc::clone(&store) as Arc<dyn Store>, ..run };
            let (_keep, stop) = watch::channel(Stop::No);
            let whole = run.execute(&mut Silent, stop).await.is_ok();
            assert!(store.nothing_started_since(), "seed {seed}, append {at}");
            stage.store.answer_next([]);
            execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap();
            assert_eq!(world_of(&stage), world, "seed {seed}, append {at}");
            effects_are_as_promised(&stage, &workflow, 1);
            obeys_the_commit_rule(&workflow, &stage.store.events());
            if whole {
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_changes_nothing() {
    for seed in 0..20 {
        let (_, world) = unkilled(seed).await;
        let stage = Stage::default();
        let workflow = any_workflow(&stage, seed);
        let mut options = options(&stage.store, 1);
        let ticks = std::sync::atomic::AtomicI64::new(0);
        options.clock = crate::runner::Clock::new(move || {
            let tick = ticks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            if tick % 2 == 0 { -1_000_000 * tick } else { 86_400_000 * tick }
        });
        execute(&workflow, &stage.store, options).await.unwrap();
        assert_eq!(world_of(&stage), world);
    }
}
