//! `DaemonSet`s: one pod on every node that they tolerate and want.

use serde_json::{Value, json};

use super::{Turn, pods, replicas::template_hash, scheduler};
use crate::kubernetes::{
    json::{is_true, name, number, set_status, text},
    objects::View,
};

const HASH: &str = "controller-revision-hash";

/// Looks at every DaemonSet.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for set in turn.tx.list("apps/daemonsets") {
        if !pods::is_leaving(&set) {
            one(turn, &set);
        }
    }
}

/// The set's pod as the scheduler would see it: such pods tolerate nodes that are not ready.
fn shape(set: &Value) -> Value {
    let mut pod = json!({ "spec": set["spec"]["template"]["spec"] });
    let tolerations =
        pod["spec"].as_object_mut().map(|s| s.entry("tolerations").or_insert_with(|| json!([])));
    if let Some(Value::Array(all)) = tolerations {
        for key in [
            "not-ready",
            "unreachable",
            "disk-pressure",
            "memory-pressure",
            "pid-pressure",
            "unschedulable",
        ] {
            all.push(json!({ "key": format!("node.kubernetes.io/{key}"), "operator": "Exists" }));
        }
    }
    pod
}

fn one(turn: &mut Turn<'_, '_>, set: &Value) {
    let shape = shape(set);
    let wanted: Vec<String> = turn
        .tx
        .list("core/nodes")
        .iter()
        .filter(|n| scheduler::wants(&shape, n) && scheduler::tolerates(&shape, n))
        .map(|n| name(n).to_owned())
        .collect();
    let held = turn.pods_of(set);
    let hash = template_hash(set);
    for node in &wanted {
        if !held.iter().any(|p| text(p, "/spec/nodeName") == node) {
            let mut pod = pods::from_template(set, &[(HASH, &hash)]);
            pod["spec"]["nodeName"] = json!(node);
            pod["spec"]["tolerations"] = shape["spec"]["tolerations"].clone();
            turn.tx.make("core/pods", pod);
        }
    }
    for pod in &held {
        if !wanted.iter().any(|n| n == text(pod, "/spec/nodeName")) && !pods::is_leaving(pod) {
            turn.delete("core/pods", pod);
        }
    }
    roll(turn, set, &hash);
    status(turn, set, &wanted, &hash);
}

/// Replaces outdated pods, one at a time.
fn roll(turn: &mut Turn<'_, '_>, set: &Value, hash: &str) {
    if text(set, "/spec/updateStrategy/type") == "OnDelete" {
        return;
    }
    let held = turn.pods_of(set);
    let most = number(set, "/spec/updateStrategy/rollingUpdate/maxUnavailable").max(1);
    let down = held.iter().filter(|p| pods::is_leaving(p) || !is_true(p, "Ready")).count();
    let outdated = held
        .iter()
        .filter(|p| crate::kubernetes::json::label(p, HASH) != Some(hash) && !pods::is_leaving(p));
    let free = usize::try_from(most).unwrap_or(1).saturating_sub(down);
    for pod in outdated.take(free) {
        turn.delete("core/pods", pod);
    }
}

fn status(turn: &mut Turn<'_, '_>, set: &Value, wanted: &[String], hash: &str) {
    let held = turn.pods_of(set);
    let count = |pick: &dyn Fn(&Value) -> bool| held.iter().filter(|p| pick(p)).count();
    let ready = count(&|p| is_true(p, "Ready"));
    let updated =
        count(&|p| crate::kubernetes::json::label(p, HASH) == Some(hash) && !pods::is_leaving(p));
    let generation = number(set, "/metadata/generation");
    turn.change("apps/daemonsets", set, |s| {
        set_status(s, "desiredNumberScheduled", wanted.len());
        set_status(s, "currentNumberScheduled", held.len());
        set_status(s, "numberMisscheduled", 0);
        set_status(s, "numberReady", ready);
        set_status(s, "numberAvailable", ready);
        set_status(s, "numberUnavailable", wanted.len().saturating_sub(ready));
        set_status(s, "updatedNumberScheduled", updated);
        set_status(s, "observedGeneration", generation);
    });
}
