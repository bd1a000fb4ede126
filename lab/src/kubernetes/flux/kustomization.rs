//! kustomize-controller: Kustomizations.

use std::{collections::BTreeMap, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    Flux, REQUESTED,
    build::{self, BuildError},
    health::{self, Health},
    hold, inventory,
    inventory::Applied,
    let_go, period, set_failed, set_handled, set_progressing, set_succeeded,
    source::GIT,
    substitute::substitute,
};
use crate::kubernetes::{
    controllers::Turn,
    json::{
        annotation, at, condition, is_true, list, map, name, namespace, now, number, set_condition,
        set_status, text, uid,
    },
    objects::View,
};

const KUSTOMIZATIONS: &str = "kustomize.toolkit.fluxcd.io/kustomizations";
/// How long a Kustomization waits for what it depends on.
const REQUEUE_DEPENDENCY: Duration = Duration::from_secs(30);
/// How long fetching and building takes in the world.
const BUILD: f64 = 1.5;

/// Generation, token of a request, revision of the source.
type Wish = (i64, String, String);

/// What was tried for one object.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    wish: Wish,
    count: u32,
    phase: Phase,
}

#[derive(Debug, Default)]
enum Phase {
    /// To be tried now.
    #[default]
    Due,
    /// Built; to be applied, or waited for.
    Built { objects: Vec<Value>, applied: bool },
    /// Ended; tried again after this.
    Rests(Duration),
}

/// A failed attempt: reason, message, and when it is tried again.
struct Failure {
    reason: &'static str,
    message: String,
    retry: Duration,
}

/// Looks at every Kustomization.
pub(super) fn run(turn: &mut Turn<'_, '_>, flux: &mut Flux) {
    for kustomization in turn.tx.list(KUSTOMIZATIONS) {
        if at(&kustomization, "/metadata/deletionTimestamp").is_string() {
            finalize(turn, &kustomization);
        } else if at(&kustomization, "/spec/suspend") != &json!(true) {
            one(turn, flux, &kustomization);
        }
    }
}

/// Deletes what was applied, then lets the object go.
fn finalize(turn: &mut Turn<'_, '_>, kustomization: &Value) {
    let orphan = text(kustomization, "/spec/deletionPolicy") == "Orphan";
    if at(kustomization, "/spec/prune") == &json!(true) && !orphan {
        inventory::prune(turn, kustomization, &[]);
    }
    let_go(turn, KUSTOMIZATIONS, kustomization);
}

fn one(turn: &mut Turn<'_, '_>, flux: &mut Flux, kustomization: &Value) {
    let id = uid(kustomization).to_owned();
    let source = source(turn, kustomization);
    let revision = source
        .as_ref()
        .map(|s| text(s, "/status/artifact/revision").to_owned())
        .unwrap_or_default();
    let wish: Wish = (
        number(kustomization, "/metadata/generation"),
        annotation(kustomization, REQUESTED).to_owned(),
        revision,
    );
    let attempt = flux.kustomizations.entry(id.clone()).or_default();
    if attempt.wish != wish {
        *attempt = Attempt { wish: wish.clone(), count: attempt.count + 1, phase: Phase::Due };
    }
    let key = format!("ks/{id}/{}", attempt.count);
    if let Phase::Rests(pause) = attempt.phase {
        if !turn.waited(&format!("{key}/rest"), pause.as_secs_f64()) {
            return;
        }
        attempt.count += 1;
        attempt.phase = Phase::Due;
    }
    let step = step(turn, kustomization, attempt, source.as_deref());
    match step {
        Ok(None) => {}
        Ok(Some(done)) => {
            attempt.phase =
                Phase::Rests(period(kustomization, "interval", Duration::from_mins(10)));
            succeed(turn, kustomization, &wish.2, &done);
        }
        Err(failure) => {
            attempt.phase = Phase::Rests(failure.retry);
            fail(turn, kustomization, &wish.2, &failure);
        }
    }
}

fn source(turn: &Turn<'_, '_>, kustomization: &Value) -> Option<std::sync::Arc<Value>> {
    let space = match text(kustomization, "/spec/sourceRef/namespace") {
        "" => namespace(kustomization),
        given => given,
    };
    turn.tx.get(GIT, space, text(kustomization, "/spec/sourceRef/name"))
}

fn retry_interval(kustomization: &Value) -> Duration {
    period(
        kustomization,
        "retryInterval",
        period(kustomization, "interval", Duration::from_mins(10)),
    )
}

/// One step of an attempt; its inventory once it has succeeded.
fn step(
    turn: &mut Turn<'_, '_>,
    kustomization: &Value,
    attempt: &mut Attempt,
    source: Option<&Value>,
) -> Result<Option<Vec<Value>>, Failure> {
    let key = format!("ks/{}/{}", uid(kustomization), attempt.count);
    let revision = attempt.wish.2.clone();
    if matches!(attempt.phase, Phase::Due) {
        check_ready(turn, kustomization, source, &revision)?;
        turn.change(KUSTOMIZATIONS, kustomization, |k| {
            hold(k);
            // A routine look at something that is as wanted does not show.
            let routine = is_true(k, "Ready") && text(k, "/status/lastAppliedRevision") == revision;
            let seen = number(k, "/status/observedGeneration") == number(k, "/metadata/generation");
            if !(routine && seen) {
                set_progressing(
                    k,
                    &format!(
                        "Building manifests for revision {revision} with a timeout of {}",
                        spell_timeout(k)
                    ),
                );
            }
        });
        if !turn.waited(&format!("{key}/build"), BUILD) {
            return Ok(None);
        }
        attempt.phase = Phase::Built { objects: built(turn, kustomization)?, applied: false };
    }
    let Phase::Built { objects, applied } = &mut attempt.phase else { return Ok(None) };
    if !*applied {
        let force = at(kustomization, "/spec/force") == &json!(true);
        let result =
            inventory::apply(turn, kustomization, objects, force).map_err(|message| Failure {
                reason: "ReconciliationFailed",
                message,
                retry: retry_interval(kustomization),
            })?;
        if result == Applied::Wait {
            return Ok(None);
        }
        *applied = true;
        if at(kustomization, "/spec/prune") == &json!(true) {
            inventory::prune(turn, kustomization, &inventory::entries(objects));
        }
        let entries = inventory::entries(objects);
        turn.change(KUSTOMIZATIONS, kustomization, |k| {
            set_status(k, "inventory", json!({ "entries": entries }));
        });
    }
    let objects = objects.clone();
    if is_healthy(turn, kustomization, &objects, &key)? {
        Ok(Some(inventory::entries(&objects)))
    } else {
        Ok(None)
    }
}

/// Whether the source and everything this depends on is there.
fn check_ready(
    turn: &Turn<'_, '_>,
    kustomization: &Value,
    source: Option<&Value>,
    revision: &str,
) -> Result<(), Failure> {
    let Some(source) = source else {
        let kind = text(kustomization, "/spec/sourceRef/kind");
        let named = text(kustomization, "/spec/sourceRef/name");
        let message = format!("{kind}.source.toolkit.fluxcd.io \"{named}\" not found");
        return Err(Failure {
            reason: "ArtifactFailed",
            message,
            retry: retry_interval(kustomization),
        });
    };
    if revision.is_empty() {
        let message = "Source artifact not found, retrying in 30s".to_owned();
        return Err(Failure { reason: "ArtifactFailed", message, retry: REQUEUE_DEPENDENCY });
    }
    for dependency in list(kustomization, "/spec/dependsOn") {
        let space = match text(dependency, "/namespace") {
            "" => namespace(kustomization),
            given => given,
        };
        let named = text(dependency, "/name");
        let wrong = match turn.tx.get(KUSTOMIZATIONS, space, named) {
            None => Some(format!(
                "dependency '{space}/{named}' not found: kustomizations.kustomize.toolkit.fluxcd.io \"{named}\" not found"
            )),
            Some(other) if !is_settled(&other) => {
                Some(format!("dependency '{space}/{named}' is not ready"))
            }
            Some(other)
                if other["spec"]["sourceRef"]["name"]
                    == kustomization["spec"]["sourceRef"]["name"]
                    && text(&other, "/status/lastAppliedRevision")
                        != text(source, "/status/artifact/revision") =>
            {
                Some(format!("dependency '{space}/{named}' revision is not up to date"))
            }
            Some(_) => None,
        };
        if let Some(message) = wrong {
            return Err(Failure {
                reason: "DependencyNotReady",
                message,
                retry: REQUEUE_DEPENDENCY,
            });
        }
    }
    Ok(())
}

fn is_settled(kustomization: &Value) -> bool {
    is_true(kustomization, "Ready")
        && number(kustomization, "/status/observedGeneration")
            == number(kustomization, "/metadata/generation")
}

/// The objects of the path, with variables put in.
fn built(turn: &Turn<'_, '_>, kustomization: &Value) -> Result<Vec<Value>, Failure> {
    let retry = retry_interval(kustomization);
    let tree = turn.cluster.world().git().files();
    let mut objects = build::build(tree, text(kustomization, "/spec/path")).map_err(|error| match error {
        BuildError::NoPath(path) => Failure {
            reason: "ArtifactFailed",
            message: format!("kustomization path not found: stat /tmp/kustomization/{path}: no such file or directory"),
            retry,
        },
        BuildError::Failed(message) => Failure { reason: "BuildFailed", message, retry },
    })?;
    inventory::decorate(kustomization, &mut objects);
    let failed = |message| Failure { reason: "BuildFailed", message, retry };
    let variables = variables(turn, kustomization).map_err(failed)?;
    if variables.is_empty() && text(kustomization, "/spec/postBuild/substituteStrategy") != "Always"
    {
        return Ok(objects);
    }
    for object in &mut objects {
        if annotation(object, "kustomize.toolkit.fluxcd.io/substitute") == "disabled" {
            continue;
        }
        let put_in = put_in(object, &variables);
        *object = put_in.map_err(|why| {
            failed(format!("post build failed for '{}': envsubst error: {why}", name(object)))
        })?;
    }
    Ok(objects)
}

fn put_in(object: &Value, variables: &BTreeMap<String, String>) -> Result<Value, String> {
    let text = serde_yaml_ng::to_string(object).map_err(|error| error.to_string())?;
    if !text.contains("${") {
        return Ok(object.clone());
    }
    serde_yaml_ng::from_str(&substitute(&text, variables)?).map_err(|error| error.to_string())
}

fn variables(
    turn: &Turn<'_, '_>,
    kustomization: &Value,
) -> Result<BTreeMap<String, String>, String> {
    let mut variables = BTreeMap::new();
    for from in list(kustomization, "/spec/postBuild/substituteFrom") {
        let (kind, named, space) =
            (text(from, "/kind"), text(from, "/name"), namespace(kustomization));
        let secret = kind == "Secret";
        let resource = if secret { "core/secrets" } else { "core/configmaps" };
        let Some(held) = turn.tx.get(resource, space, named) else {
            if at(from, "/optional") == &json!(true) {
                continue;
            }
            let plural = if secret { "secrets" } else { "configmaps" };
            return Err(format!(
                "post build failed for '{}': substitute from '{kind}/{named}' error: {plural} \"{named}\" not found",
                name(kustomization)
            ));
        };
        for (key, value) in map(&held, "/data").into_iter().flatten() {
            let plain = value.as_str().unwrap_or_default();
            let plain = if secret {
                String::from_utf8_lossy(&STANDARD.decode(plain).unwrap_or_default()).into_owned()
            } else {
                plain.to_owned()
            };
            variables.insert(key.clone(), plain);
        }
    }
    for (key, value) in map(kustomization, "/spec/postBuild/substitute").into_iter().flatten() {
        variables.insert(key.clone(), value.as_str().unwrap_or_default().to_owned());
    }
    Ok(variables)
}

fn timeout(kustomization: &Value) -> Duration {
    let interval = period(kustomization, "interval", Duration::from_mins(10));
    let least = Duration::from_secs(30);
    period(kustomization, "timeout", interval.saturating_sub(least).max(least))
}

fn spell_timeout(kustomization: &Value) -> String {
    let seconds = timeout(kustomization).as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

/// Whether what is to be watched is as wanted; an error once that has failed or takes too long.
fn is_healthy(
    turn: &mut Turn<'_, '_>,
    kustomization: &Value,
    objects: &[Value],
    key: &str,
) -> Result<bool, Failure> {
    let watched: Vec<Value> = if at(kustomization, "/spec/wait") == &json!(true) {
        objects.to_vec()
    } else {
        list(kustomization, "/spec/healthChecks")
            .iter()
            .map(|check| {
                let version = match text(check, "/apiVersion") {
                    "" => "apps/v1",
                    given => given,
                };
                json!({
                    "apiVersion": version, "kind": check["kind"],
                    "metadata": { "name": check["name"], "namespace": check["namespace"] },
                })
            })
            .collect()
    };
    let mut late = Vec::new();
    for object in &watched {
        let held = inventory::find(turn, object).and_then(|(_, held)| held);
        let health = health::of(held.as_deref());
        if health != Health::Current {
            late.push((inventory::spelled(object), health));
        }
    }
    if late.is_empty() {
        return Ok(true);
    }
    let spell = |late: &[(String, Health)]| {
        let all: Vec<String> =
            late.iter().map(|(o, h)| format!("{o} status: '{}'", h.word())).collect();
        all.join(", ")
    };
    let failed: Vec<_> = late.iter().filter(|(_, h)| *h == Health::Failed).cloned().collect();
    let retry = retry_interval(kustomization);
    if !failed.is_empty() {
        let message = format!(
            "health check failed: failed early due to stalled resources: [{}]",
            spell(&failed)
        );
        return Err(Failure { reason: "HealthCheckFailed", message, retry });
    }
    if turn.waited(&format!("{key}/health"), timeout(kustomization).as_secs_f64()) {
        let message = format!(
            "health check failed after {}: timeout waiting for: [{}]",
            spell_timeout(kustomization),
            spell(&late)
        );
        return Err(Failure { reason: "HealthCheckFailed", message, retry });
    }
    turn.change(KUSTOMIZATIONS, kustomization, |k| {
        let message = format!(
            "Running health checks for revision {} with a timeout of {}",
            source_revision(k),
            spell_timeout(k)
        );
        set_progressing(k, &message);
        set_condition(k, "Healthy", "Unknown", ("Progressing", &message));
    });
    Ok(false)
}

fn source_revision(kustomization: &Value) -> &str {
    let message = text(condition(kustomization, "Ready"), "/message");
    message.split("revision ").nth(1).and_then(|m| m.split(' ').next()).unwrap_or_default()
}

fn history(kustomization: &mut Value, revision: &str, word: &str) {
    let digest = format!("sha256:{}", number(kustomization, "/metadata/generation"));
    let mut all = list(kustomization, "/status/history").to_vec();
    let same = all
        .first()
        .is_some_and(|h| text(h, "/digest") == digest && text(h, "/lastReconciledStatus") == word);
    if same {
        all[0]["lastReconciled"] = json!(now());
        all[0]["totalReconciliations"] = json!(number(&all[0], "/totalReconciliations") + 1);
    } else {
        let entry = json!({
            "digest": digest, "firstReconciled": now(), "lastReconciled": now(), "lastReconciledDuration": "1s",
            "lastReconciledStatus": word, "totalReconciliations": 1, "metadata": { "revision": revision },
        });
        all.insert(0, entry);
        all.truncate(5);
    }
    set_status(kustomization, "history", all);
}

fn succeed(turn: &mut Turn<'_, '_>, kustomization: &Value, revision: &str, entries: &[Value]) {
    let message = format!("Applied revision: {revision}");
    turn.change(KUSTOMIZATIONS, kustomization, |k| {
        set_status(k, "inventory", json!({ "entries": entries }));
        set_status(k, "lastAppliedRevision", revision);
        set_status(k, "lastAttemptedRevision", revision);
        let health = format!("Health check passed for revision {revision}");
        set_condition(k, "Healthy", "True", ("Succeeded", &health));
        set_succeeded(k, "ReconciliationSucceeded", &message);
        set_handled(k);
        history(k, revision, "ReconciliationSucceeded");
    });
}

fn fail(turn: &mut Turn<'_, '_>, kustomization: &Value, revision: &str, failure: &Failure) {
    let changed = turn.change(KUSTOMIZATIONS, kustomization, |k| {
        hold(k);
        if !revision.is_empty() && failure.reason != "DependencyNotReady" {
            set_status(k, "lastAttemptedRevision", revision);
        }
        if failure.reason == "HealthCheckFailed" {
            set_condition(k, "Healthy", "False", (failure.reason, &failure.message));
        }
        set_failed(k, failure.reason, &failure.message);
        set_handled(k);
        if failure.reason != "DependencyNotReady" {
            history(k, revision, failure.reason);
        }
    });
    if changed && failure.reason != "DependencyNotReady" {
        turn.event(
            kustomization,
            "Warning",
            (failure.reason, &failure.message),
            "kustomize-controller",
        );
    }
}
