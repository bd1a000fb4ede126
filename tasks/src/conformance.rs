//! What every kind must bear, tried in real lab worlds with real faults: see [`conforms`].
//!
//! A [`Case`] says which kind, and prepares one world in which it can start: the earlier kinds run
//! once, the lab stops, and every variant gets a copy of that folder on the same addresses.
//!
//! ```ignore
//! #[tokio::test]
//! async fn conforms_to_the_contract() {
//!     conforms(&Case::new(CreateVm), async |world| {
//!         let token = world.make(ProxmoxToken, &json!({ … })).await;
//!         json!({ "token": token.secret("token"), "call": "0.5s", … })
//!     })
//!     .await;
//! }
//! ```

mod bench;
mod trial;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use flow_engine::{AnyKind, Effect, Failure, Retry, Secrets};
use flow_lab::Count;
use serde_json::Value;

use bench::{Bench, Seen};
pub(crate) use bench::{Laboratory, in_a_world};
pub(crate) use trial::{Reached, Trial};

/// How often a kind may be tried after a fault until it must have reached its goal.
const ATTEMPTS: usize = 4;
/// How long an earlier kind may take.
const PREPARATION: Duration = Duration::from_secs(30);
/// What can happen to any call.
const FAULTS: [&str; 4] = ["5xx", "reset", "hang", "malformed"];
/// What can happen to a call that changes something, on top.
const LOST: &str = "reply-lost";
/// Verbs that must not happen twice to one object.
const MAKING: [&str; 2] = ["create", "Bootstrap"];

/// What an earlier kind made for the one that is tried.
pub(crate) struct Made {
    /// Its outputs.
    pub(crate) outputs: Value,
    /// Its secrets.
    pub(crate) secrets: Secrets,
}

impl Made {
    /// An output, as the params of later kinds take it.
    pub(crate) fn output(&self, name: &str) -> Value {
        self.outputs.get(name).cloned().unwrap_or_else(|| panic!("no output `{name}`"))
    }

    /// A secret, as the params of later kinds take it.
    pub(crate) fn secret(&self, name: &str) -> Value {
        let secret = self.secrets.get(name).unwrap_or_else(|| panic!("no secret `{name}`"));
        secret.reveal().clone()
    }
}

impl Laboratory {
    /// Runs an earlier kind to its goal, for `prepare`.
    pub(crate) async fn make(&self, kind: impl AnyKind, params: &Value) -> Made {
        let name = kind.name();
        let reached = Trial::new(&kind, self, params).attempt(PREPARATION).await;
        let Reached { outputs, secrets, .. } =
            reached.unwrap_or_else(|failure| panic!("{name} prepares the world: {failure:?}"));
        Made { outputs, secrets }
    }
}

/// A kind, and how it is to be tried.
pub(crate) struct Case {
    kind: Box<dyn AnyKind>,
    tree: BTreeMap<String, Vec<u8>>,
    limit: Duration,
    one_of_each: bool,
    nudged: bool,
    others: Option<&'static str>,
}

/// What a probe says of the prepared world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fresh {
    /// Nothing is there yet.
    Absent,
    /// It is there and differs.
    Drifted,
}

impl Case {
    /// A kind whose thing is absent in the prepared world.
    pub(crate) fn new(kind: impl AnyKind) -> Self {
        Self {
            kind: Box::new(kind),
            tree: BTreeMap::new(),
            limit: Duration::from_secs(20),
            one_of_each: false,
            nudged: false,
            others: None,
        }
    }

    /// The tree that the lab's git server serves.
    pub(crate) fn tree(mut self, tree: BTreeMap<String, Vec<u8>>) -> Self {
        self.tree = tree;
        self
    }

    /// Tries faults on the first of the calls that differ in the name of an object only.
    ///
    /// For a kind that does the same to very many objects.
    pub(crate) fn one_of_each(mut self) -> Self {
        self.one_of_each = true;
        self
    }

    /// The kind waits for what another system does by itself, and its apply only asks for haste.
    ///
    /// It is satisfied in the prepared world; an apply follows there, and changes nothing of that.
    pub(crate) fn nudged(mut self) -> Self {
        self.nudged = true;
        self
    }

    /// Calls that another system makes for the kind, by how they begin (`factory:GET /image/`).
    ///
    /// They never hang: how long that system waits is its own affair.
    pub(crate) fn made_by_others(mut self, prefix: &'static str) -> Self {
        self.others = Some(prefix);
        self
    }
}

/// Tries a kind; panics with the broken rule.
///
/// `prepare` gets a fresh running world, makes in it what the kind needs, and returns the params;
/// let their deadline of a call be short. It runs once. What is checked:
///
/// * a fresh world is absent; a probe changes nothing;
/// * one attempt (probe, apply, probe until satisfied) reaches the goal; another one changes
///   nothing and finds the same outputs; a second apply is harmless;
/// * a thing with a handle exists as the probe marked it, is gone after `destroy`, which can be
///   repeated, and is then absent;
/// * for each call made, each fault ends in a failure worth retrying within the limit, never in a
///   wrong verdict, and a later attempt reaches the same outputs without making anything twice.
///
/// A gate has no apply: it is satisfied in the prepared world and bears the same faults. So is a
/// kind that is [nudged](Case::nudged).
pub(crate) async fn conforms(case: &Case, prepare: impl AsyncFnOnce(&Laboratory) -> Value) {
    let bench = Bench::prepare(case.tree.clone(), prepare).await;
    let gate = case.kind.effect(&bench.params) == Ok(Effect::Gate);
    let passes = gate || case.nudged;
    let sound = if passes { passes_at_once(case, &bench).await } else { makes(case, &bench).await };
    for variant in variants(case, &sound.calls) {
        survives(case, &bench, &sound, &variant).await;
    }
}

/// A run without faults: what the others are compared with.
struct Sound {
    outputs: Value,
    calls: Vec<Seen>,
    counts: Vec<Count>,
}

async fn passes_at_once(case: &Case, bench: &Bench) -> Sound {
    let world = bench.world();
    let trial = Trial::new(&*case.kind, &world, &bench.params);
    trial.awake(&world, case.limit).await;
    let before = world.counts();
    let reached = trial.attempt(case.limit).await.expect("it passes in its prepared world");
    assert_eq!(world.counts(), before, "what passes changes nothing");
    assert_eq!(world.writes(), Vec::<String>::new(), "what passes asks for no change");
    if case.nudged {
        let after = nudge(case, &trial).await.expect("a nudge is accepted");
        assert_eq!(after.outputs, reached.outputs, "a nudge leaves the same");
    }
    Sound { outputs: reached.outputs, calls: world.calls(), counts: before }
}

async fn nudge(case: &Case, trial: &Trial<'_>) -> Result<Reached, Failure> {
    trial.apply(case.limit).await?;
    trial.settle(case.limit).await
}

async fn makes(case: &Case, bench: &Bench) -> Sound {
    let world = bench.world();
    let trial = Trial::new(&*case.kind, &world, &bench.params);
    trial.awake(&world, case.limit).await;
    let before = world.counts();
    let fresh = trial.probe().await.expect("a probe of the prepared world answers");
    assert_eq!(trial::fresh(&fresh), Some(Fresh::Absent), "the prepared world has none yet");
    assert_eq!(world.counts(), before, "a probe changes nothing");
    assert_eq!(world.writes(), Vec::<String>::new(), "a probe asks for no change");

    let reached = trial.attempt(case.limit).await.expect("an attempt without faults succeeds");
    let (calls, counts) = (world.calls(), world.counts());

    let again = trial.attempt(case.limit).await.expect("another attempt succeeds");
    assert_eq!(again.outputs, reached.outputs, "another attempt finds the same");
    assert_eq!(world.counts(), counts, "another attempt changes nothing");

    applies_twice(case, &trial, &reached).await;
    assert_made_once(&counts, &world.counts(), "a second apply");
    handle_is_true(case, &trial, &reached).await;
    Sound { outputs: reached.outputs, calls, counts }
}

/// A `converge` bears a second apply; a `once` need not accept it, but must not suffer from it.
async fn applies_twice(case: &Case, trial: &Trial<'_>, reached: &Reached) {
    let second = trial.apply(case.limit).await;
    match trial.effect() {
        Effect::Converge | Effect::Action | Effect::Gate => {
            second.expect("a second apply is accepted");
        }
        // Refusing is as good as doing nothing.
        Effect::Once => drop(second),
    }
    if trial.effect() != Effect::Action {
        let after = trial.settle(case.limit).await.expect("a second apply is harmless");
        assert_eq!(after.outputs, reached.outputs, "a second apply leaves the same");
    }
}

async fn handle_is_true(case: &Case, trial: &Trial<'_>, reached: &Reached) {
    let Some(handle) = &reached.handle else { return };
    trial.exists_as_marked(reached).await;
    for time in ["first", "second"] {
        trial
            .destroy(handle, case.limit)
            .await
            .unwrap_or_else(|failure| panic!("the {time} destroy succeeds: {failure:?}"));
    }
    let fresh = trial.probe().await.expect("a probe after destroy answers");
    assert_eq!(trial::fresh(&fresh), Some(Fresh::Absent), "what was destroyed is absent");
}

/// A call and what happens to it.
#[derive(Debug)]
struct Variant {
    faults: Vec<String>,
    effect: &'static str,
    call: String,
}

/// The pause before another attempt; the engine's own is longer by default.
const BACKOFF: Duration = Duration::from_millis(200);

fn variants(case: &Case, calls: &[Seen]) -> Vec<Variant> {
    let mut before: BTreeMap<&str, usize> = BTreeMap::new();
    let mut variants = Vec::new();
    let mut tried = BTreeSet::new();
    for call in calls {
        let passed = before.entry(call.glob.as_str()).or_default();
        // A read that is repeated (a poll) is hit once; of writes each one.
        let due = if call.write { true } else { *passed == 0 };
        let alike = call.glob.rsplit_once('/').map_or(call.glob.as_str(), |(folder, _)| folder);
        let hit = due && (tried.insert((alike, *passed)) || !case.one_of_each);
        if hit {
            let lost = call.write.then_some(LOST);
            let others = case.others.is_some_and(|prefix| call.glob.starts_with(prefix));
            let effects =
                FAULTS.into_iter().chain(lost).filter(|effect| !others || *effect != "hang");
            variants.extend(effects.map(|effect| Variant {
                faults: faults(&call.glob, effect, *passed),
                effect,
                call: format!("{} (after {passed})", call.glob),
            }));
        }
        *passed += 1;
    }
    variants
}

/// The fault for the call after `passed` others of the same shape.
fn faults(glob: &str, effect: &str, passed: usize) -> Vec<String> {
    // The first fault that fits a call is used up first: a delay of nothing lets calls pass.
    let pass = (passed > 0).then(|| format!("{glob}:slow=0s:{passed}"));
    pass.into_iter().chain([format!("{glob}:{effect}:1")]).collect()
}

async fn survives(case: &Case, bench: &Bench, sound: &Sound, variant: &Variant) {
    let Variant { faults, effect, call } = variant;
    let what = format!("{}: {effect} on {call}", case.kind.name());
    let world = bench.world();
    let trial = Trial::new(&*case.kind, &world, &bench.params);
    trial.awake(&world, case.limit).await;
    for fault in faults {
        world.fault(fault);
    }
    for attempt in 1..=ATTEMPTS {
        let reached = match trial.attempt(case.limit).await {
            Ok(_) if case.nudged => nudge(case, &trial).await,
            other => other,
        };
        match reached {
            Ok(reached) => {
                assert_eq!(reached.outputs, sound.outputs, "{what}: outputs");
                assert_made_once(&sound.counts, &world.counts(), &what);
                return;
            }
            Err(failure) => {
                assert_eq!(failure.retry, Retry::Backoff, "{what}, attempt {attempt}: {failure:?}");
                tokio::time::sleep(BACKOFF).await;
            }
        }
    }
    panic!("{what}: not reached in {ATTEMPTS} attempts");
}

fn assert_made_once(sound: &[Count], now: &[Count], what: &str) {
    let times = |counts: &[Count], this: &Count| {
        counts
            .iter()
            .find(|c| c.system == this.system && c.object == this.object && c.verb == this.verb)
            .map_or(0, |count| count.times)
    };
    for count in now.iter().filter(|count| MAKING.contains(&count.verb.as_str())) {
        let once = times(sound, count).max(1);
        assert!(count.times <= once, "{what}: made {count:?}, without faults {once} times");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_manual_has_a_phrase_and_an_example_that_parses() {
        for kind in crate::registry().kinds() {
            let (name, manual) = (kind.name(), kind.manual());
            assert!((1..=80).contains(&manual.summary.len()), "{name}: the summary fits a line");
            assert!(!manual.summary.ends_with('.'), "{name}: the summary is a phrase");
            let example: toml::Table = manual.example.parse().unwrap_or_else(|error| {
                panic!("{name}: the example is TOML: {error}");
            });
            if manual.example.contains("${") {
                // What an expression gives is known in a workflow only; its key is known here.
                let schema = kind.params_schema();
                let known = schema.get("properties").and_then(Value::as_object);
                let known = known.unwrap_or_else(|| panic!("{name}: params have keys"));
                let unknown = example.keys().find(|key| !known.contains_key(*key));
                assert_eq!(unknown, None, "{name}: the example has only keys of the params");
                continue;
            }
            let params = serde_json::to_value(example).expect("TOML is JSON here");
            if let Err(failure) = kind.check(&params) {
                panic!("{name}: the example is read as params: {failure:?}");
            }
        }
    }

    #[test]
    fn no_kind_takes_parameters_that_it_does_not_know() {
        for kind in crate::registry().kinds() {
            let schema = kind.params_schema();
            let rest = schema.get("additionalProperties");
            assert_eq!(rest, Some(&Value::Bool(false)), "{}", kind.name());
        }
    }

    #[test]
    fn a_gate_looks_once_only_where_nobody_is_asked() {
        for kind in crate::registry().kinds() {
            if kind.effect(&Value::Null) == Ok(Effect::Gate) {
                let alone = ["check-site", "render-config"].contains(&kind.name());
                assert_eq!(kind.settle().within.is_zero(), alone, "{}", kind.name());
            }
        }
    }

    #[test]
    fn a_fault_lets_earlier_calls_pass() {
        assert_eq!(faults("git:GET /x", "reset", 0), ["git:GET /x:reset:1"]);
        assert_eq!(
            faults("git:GET /x", "reset", 2),
            ["git:GET /x:slow=0s:2", "git:GET /x:reset:1"]
        );
    }
}
