//! A world of things that tasks make, with faults.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use schemars::Schema;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cx::{Cx, Stop};
use crate::failure::Failure;
use crate::id::InstanceName;
use crate::kind::{Effect, Manual, Mark, OnDrift, Presence, Retry, Settle};
use crate::registry::{AnyKind, AnyVerdict};
use crate::secret::{Secret, Secrets};

use super::power::Power;

/// How the world answers one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Reaction {
    /// As it should.
    Accept,
    /// With a failure, before anything has happened.
    Refuse(Failure),
    /// It does what was asked, and the reply is lost.
    LoseReply,
    /// It does what was asked, and it is not to be seen before this long.
    Late(Duration),
    /// Never.
    Hang,
    /// Not before the user wants it abandoned; then with a failure that says so.
    WindDown,
    /// The kind panics.
    Panic,
}

/// What the world holds of one instance.
#[derive(Debug, Clone, PartialEq)]
struct Thing {
    params: Value,
    ours: bool,
    seen_from: Instant,
}

/// The simulated world: things by the name of their instance.
#[derive(Debug)]
pub struct World {
    power: Arc<Power>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    things: BTreeMap<InstanceName, Thing>,
    effects: Vec<InstanceName>,
    probes: BTreeMap<InstanceName, usize>,
    probe_faults: BTreeMap<InstanceName, VecDeque<Reaction>>,
    apply_faults: BTreeMap<InstanceName, VecDeque<Reaction>>,
    busy: usize,
    busiest: usize,
    removals: usize,
}

impl World {
    /// An empty world on this power.
    #[must_use]
    pub fn new(power: Arc<Power>) -> Self {
        Self { power, state: Mutex::default() }
    }

    /// How the next probes of an instance are answered.
    pub fn on_probe(&self, name: &str, reactions: impl IntoIterator<Item = Reaction>) {
        let name = InstanceName::parse(name);
        self.state().probe_faults.entry(name).or_default().extend(reactions);
    }

    /// How the next applies of an instance are answered.
    pub fn on_apply(&self, name: &str, reactions: impl IntoIterator<Item = Reaction>) {
        let name = InstanceName::parse(name);
        self.state().apply_faults.entry(name).or_default().extend(reactions);
    }

    /// Puts something there that flow did not make.
    pub fn put(&self, name: &str, params: Value, ours: bool) {
        let thing = Thing { params, ours, seen_from: Instant::now() };
        self.state().things.insert(InstanceName::parse(name), thing);
    }

    /// Takes something away.
    pub fn remove(&self, name: &str) {
        self.state().things.remove(&InstanceName::parse(name));
    }

    /// What is there, and what it looks like.
    #[must_use]
    pub fn things(&self) -> BTreeMap<InstanceName, Value> {
        let state = self.state();
        state.things.iter().map(|(name, thing)| (name.clone(), thing.params.clone())).collect()
    }

    /// Whose effects took place, in their order.
    #[must_use]
    pub fn effects(&self) -> Vec<InstanceName> {
        self.state().effects.clone()
    }

    /// How often an effect of this instance took place.
    #[must_use]
    pub fn times(&self, name: &str) -> usize {
        self.state().effects.iter().filter(|effect| effect.as_str() == name).count()
    }

    /// How often an instance was looked at.
    #[must_use]
    pub fn looks(&self, name: &str) -> usize {
        self.state().probes.get(&InstanceName::parse(name)).copied().unwrap_or(0)
    }

    /// How many applies went on at the same time, at most.
    #[must_use]
    pub fn busiest(&self) -> usize {
        self.state().busiest
    }

    /// How often something was removed by a kind.
    #[must_use]
    pub fn removals(&self) -> usize {
        self.state().removals
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at an effect at the moment in which it takes place.
pub type Witness = Arc<dyn Fn(&Cx) + Send + Sync>;

/// A kind whose things live in a [`World`]. It puts out what `with.say` says.
#[derive(Clone)]
pub struct Simulated {
    /// The world.
    pub world: Arc<World>,
    /// What sort of change it makes.
    pub effect: Effect,
    /// What happens to drift.
    pub on_drift: OnDrift,
    /// Whether it is applied again when its inputs change.
    pub applies_on_change: bool,
    /// How long an apply takes.
    pub takes: Duration,
    /// How to poll.
    pub settle: Settle,
    /// A secret that comes with its outputs.
    pub secret: Option<String>,
    /// Whether its things carry our mark.
    pub marks: bool,
    /// Called when an effect takes place.
    pub witness: Option<Witness>,
    /// What it writes to its log while it applies.
    pub says: Vec<Vec<u8>>,
}

impl Simulated {
    /// A kind that converges, at once.
    #[must_use]
    pub fn new(world: &Arc<World>, effect: Effect) -> Self {
        Self {
            world: Arc::clone(world),
            effect,
            on_drift: OnDrift::Fix,
            applies_on_change: false,
            takes: Duration::ZERO,
            settle: Settle::within(Duration::from_secs(30)),
            secret: None,
            marks: true,
            witness: None,
            says: Vec::new(),
        }
    }

    fn found(&self, cx: &Cx, params: &Value) -> AnyVerdict {
        let state = self.world.state();
        let thing =
            state.things.get(cx.instance()).filter(|thing| thing.seen_from <= Instant::now());
        let Some(thing) = thing else { return AnyVerdict::Absent(Mark::Nowhere) };
        let handle = json!({ "name": cx.instance() });
        let mark = if thing.ours { Mark::Ours(handle) } else { Mark::Missing(handle) };
        if thing.params != *params {
            return AnyVerdict::Drifted { diff: format!("{} != {params}", thing.params), mark };
        }
        let secret = self.secret.iter().map(|text| ("key".to_owned(), Secret::new(json!(text))));
        AnyVerdict::Satisfied {
            outputs: json!({ "id": cx.instance(), "said": [params["say"]] }),
            secrets: secret.collect::<Secrets>(),
            mark,
        }
    }

    fn take_effect(&self, cx: &Cx, params: &Value, late: Duration) {
        if let Some(witness) = &self.witness {
            witness(cx);
        }
        let mut state = self.world.state();
        state.effects.push(cx.instance().clone());
        if self.effect != Effect::Action {
            let seen_from = Instant::now() + late;
            let thing = Thing { params: params.clone(), ours: self.marks, seen_from };
            state.things.insert(cx.instance().clone(), thing);
        }
    }

    async fn react(&self, cx: &Cx, params: &Value, reaction: Reaction) -> Result<(), Failure> {
        let lost = || Failure::new("world::lost", "the reply was lost", Retry::Backoff);
        let (late, answer) = match reaction {
            Reaction::Accept => (Duration::ZERO, Ok(())),
            Reaction::Refuse(failure) => return Err(failure),
            Reaction::LoseReply => (Duration::ZERO, Err(lost())),
            Reaction::Late(late) => (late, Ok(())),
            Reaction::Hang => pending().await,
            Reaction::WindDown => return Err(wound_down(cx).await),
            Reaction::Panic => panicking(),
        };
        // A power cut comes before the effect, or between the effect and the reply.
        self.world.power.step().await;
        self.take_effect(cx, params, late);
        self.world.power.step().await;
        answer
    }
}

async fn wound_down(cx: &Cx) -> Failure {
    // An error means that nobody is left who could ask.
    let _ = cx.stop().wait_for(|stop| *stop == Stop::Forced).await;
    Failure::new("world::killed", "ended by a signal", Retry::Never)
}

#[async_trait]
impl AnyKind for Simulated {
    fn name(&self) -> &'static str {
        "simulated"
    }

    fn manual(&self) -> Manual {
        Manual { summary: "Make a thing in a simulated world", details: "", example: "" }
    }

    fn effect(&self, _with: &Value) -> Result<Effect, String> {
        Ok(self.effect)
    }

    fn settle(&self) -> Settle {
        self.settle
    }

    fn on_drift(&self) -> OnDrift {
        self.on_drift
    }

    fn conclusive(&self, _with: &Value) -> bool {
        true
    }

    fn applies_on_change(&self, _with: &Value) -> bool {
        self.applies_on_change
    }

    fn params_schema(&self) -> Schema {
        Schema::from(true)
    }

    fn outputs_schema(&self, _with: &Value) -> Schema {
        schemars::json_schema!({ "properties": { "id": {}, "said": {} } })
    }

    fn secrets_schema(&self) -> Schema {
        schemars::json_schema!({ "properties": { "key": {} } })
    }

    fn check(&self, _params: &Value) -> Result<(), Failure> {
        Ok(())
    }

    async fn probe(&self, cx: &Cx, params: &Value) -> Result<AnyVerdict, Failure> {
        let fault = {
            let mut state = self.world.state();
            *state.probes.entry(cx.instance().clone()).or_default() += 1;
            state.probe_faults.get_mut(cx.instance()).and_then(VecDeque::pop_front)
        };
        match fault {
            None | Some(Reaction::Accept) => {}
            Some(Reaction::Refuse(failure)) => return Err(failure),
            Some(Reaction::LoseReply) => {
                return Err(Failure::new("world::lost", "the reply was lost", Retry::Backoff));
            }
            Some(Reaction::Late(late)) => tokio::time::sleep(late).await,
            Some(Reaction::Hang) => pending().await,
            Some(Reaction::WindDown) => return Err(wound_down(cx).await),
            Some(Reaction::Panic) => panicking(),
        }
        if self.effect == Effect::Gate {
            return Ok(AnyVerdict::Satisfied {
                outputs: json!({ "id": cx.instance() }),
                secrets: Secrets::new(),
                mark: Mark::Nowhere,
            });
        }
        Ok(self.found(cx, params))
    }

    async fn apply(&self, cx: &Cx, params: &Value) -> Result<(), Failure> {
        let reaction = {
            let mut state = self.world.state();
            state.busy += 1;
            state.busiest = state.busiest.max(state.busy);
            state.apply_faults.get_mut(cx.instance()).and_then(VecDeque::pop_front)
        };
        for bytes in &self.says {
            cx.log(bytes);
        }
        if !self.takes.is_zero() {
            tokio::time::sleep(self.takes).await;
        }
        let answer = self.react(cx, params, reaction.unwrap_or(Reaction::Accept)).await;
        self.world.state().busy -= 1;
        answer
    }

    async fn exists(&self, cx: &Cx, _handle: &Value) -> Result<Presence, Failure> {
        Ok(match self.world.state().things.get(cx.instance()) {
            Some(thing) if thing.ours => Presence::Ours,
            Some(_) => Presence::Foreign,
            None => Presence::Gone,
        })
    }

    async fn destroy(&self, cx: &Cx, _handle: &Value) -> Result<(), Failure> {
        let mut state = self.world.state();
        state.removals += 1;
        state.things.remove(cx.instance());
        Ok(())
    }
}

#[expect(clippy::panic, reason = "that a kind may panic is what is simulated")]
fn panicking() -> ! {
    panic!("a simulated kind panics")
}
