//! Deployments: a `ReplicaSet` for each template, the newest scaled up and the others down.

use serde_json::{Value, json};

use super::{Turn, pods, replicas::template_hash};
use crate::kubernetes::{
    json::{
        label, name, namespace, number, owner_reference, set_condition, set_meta, set_status, text,
        uid,
    },
    objects::View,
};

const HASH: &str = "pod-template-hash";
const REVISION: &str = "deployment.kubernetes.io/revision";

/// Looks at every Deployment.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for deployment in turn.tx.list("apps/deployments") {
        if !pods::is_leaving(&deployment) {
            one(turn, &deployment);
        }
    }
}

fn one(turn: &mut Turn<'_, '_>, deployment: &Value) {
    let hash = template_hash(deployment);
    let mut sets = turn.tx.list_in("apps/replicasets", namespace(deployment));
    sets.retain(|s| text(crate::kubernetes::json::controller_of(s), "/uid") == uid(deployment));
    let wanted = number(deployment, "/spec/replicas");
    let current = sets.iter().find(|s| label(s, HASH) == Some(&hash));
    let Some(current) = current else {
        make(turn, deployment, &hash, sets.len() + 1);
        return;
    };
    scale(turn, current, wanted);
    let recreate = text(deployment, "/spec/strategy/type") == "Recreate";
    let ready = number(current, "/status/readyReplicas");
    for old in sets.iter().filter(|s| uid(s) != uid(current)) {
        // The old ones make room as the new ones become ready.
        let left =
            if recreate { 0 } else { (wanted - ready).clamp(0, number(old, "/spec/replicas")) };
        scale(turn, old, left);
    }
    status(turn, deployment, &hash);
}

fn scale(turn: &mut Turn<'_, '_>, set: &Value, replicas: i64) {
    turn.change("apps/replicasets", set, |s| {
        if number(s, "/spec/replicas") != replicas {
            s["spec"]["replicas"] = json!(replicas);
            let generation = number(s, "/metadata/generation") + 1;
            set_meta(s, "generation", generation);
        }
    });
}

fn make(turn: &mut Turn<'_, '_>, deployment: &Value, hash: &str, revision: usize) {
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"][HASH] = json!(hash);
    let mut selector = deployment["spec"]["selector"].clone();
    selector["matchLabels"][HASH] = json!(hash);
    turn.tx.make(
        "apps/replicasets",
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "metadata": {
                "name": format!("{}-{hash}", name(deployment)), "namespace": namespace(deployment),
                "labels": template["metadata"]["labels"], "annotations": { REVISION: revision.to_string() },
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {
                "replicas": deployment["spec"]["replicas"], "selector": selector, "template": template,
            },
            "status": { "replicas": 0 },
        }),
    );
    turn.change("apps/deployments", deployment, |d| {
        let mut annotations =
            d["metadata"].get("annotations").cloned().unwrap_or_else(|| json!({}));
        annotations[REVISION] = json!(revision.to_string());
        set_meta(d, "annotations", annotations);
    });
    let message = format!(
        "Scaled up replica set {}-{hash} from 0 to {}",
        name(deployment),
        number(deployment, "/spec/replicas")
    );
    turn.event(deployment, "Normal", ("ScalingReplicaSet", &message), "deployment-controller");
}

fn status(turn: &mut Turn<'_, '_>, deployment: &Value, hash: &str) {
    let mut sets = turn.tx.list_in("apps/replicasets", namespace(deployment));
    sets.retain(|s| text(crate::kubernetes::json::controller_of(s), "/uid") == uid(deployment));
    let sum = |key: &str| sets.iter().map(|s| number(s, &format!("/status/{key}"))).sum::<i64>();
    let (all, ready) = (sum("replicas"), sum("readyReplicas"));
    let current = sets.iter().find(|s| label(s, HASH) == Some(hash));
    let updated = current.map_or(0, |s| number(s, "/status/replicas"));
    let updated_ready = current.map_or(0, |s| number(s, "/status/readyReplicas"));
    let wanted = number(deployment, "/spec/replicas");
    let generation = number(deployment, "/metadata/generation");
    // A quarter may be missing, rounded down.
    let least = wanted - wanted / 4;
    let set = current.map(|s| name(s).to_owned()).unwrap_or_default();
    turn.change("apps/deployments", deployment, |d| {
        for (key, value) in [
            ("replicas", all),
            ("updatedReplicas", updated),
            ("readyReplicas", ready),
            ("availableReplicas", ready),
            ("unavailableReplicas", (wanted - ready).max(0)),
            ("observedGeneration", generation),
        ] {
            set_status(d, key, value);
        }
        if ready >= least {
            let why = ("MinimumReplicasAvailable", "Deployment has minimum availability.");
            set_condition(d, "Available", "True", why);
        } else {
            let why =
                ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.");
            set_condition(d, "Available", "False", why);
        }
        if updated_ready >= wanted && all == updated {
            let message = format!("ReplicaSet \"{set}\" has successfully progressed.");
            set_condition(d, "Progressing", "True", ("NewReplicaSetAvailable", &message));
        } else {
            let message = format!("ReplicaSet \"{set}\" is progressing.");
            set_condition(d, "Progressing", "True", ("ReplicaSetUpdated", &message));
        }
    });
}
