//! Namespaces: what every one of them holds, and how they go.

use serde_json::{Value, json};

use super::Turn;
use crate::kubernetes::{
    json::{list, name, set_condition, text},
    objects::View,
    registry,
};

const ROOT_CA: &str = "kube-root-ca.crt";

/// Looks at every namespace.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for space in turn.tx.list("core/namespaces") {
        if text(&space, "/status/phase") == "Terminating" {
            empty(turn, &space);
        } else {
            furnish(turn, name(&space));
        }
    }
}

fn furnish(turn: &mut Turn<'_, '_>, space: &str) {
    if turn.tx.get("core/serviceaccounts", space, "default").is_none() {
        turn.tx.make(
            "core/serviceaccounts",
            json!({
                "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default", "namespace": space },
            }),
        );
    }
    if turn.tx.get("core/configmaps", space, ROOT_CA).is_none() {
        let Some(first) = turn.tx.get("core/configmaps", "kube-system", ROOT_CA) else { return };
        turn.tx.make(
            "core/configmaps",
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": ROOT_CA, "namespace": space },
                "data": first["data"],
            }),
        );
    }
}

/// Deletes what is in a namespace, then the namespace.
fn empty(turn: &mut Turn<'_, '_>, space: &Value) {
    let named = name(space);
    let mut left = 0;
    let kinds = registry::all(turn.tx);
    for kind in kinds.iter().filter(|k| k.namespaced && !k.virtual_only) {
        let resource = kind.resource();
        for object in turn.tx.list_in(&resource, named) {
            left += 1;
            if !object["metadata"]["deletionTimestamp"].is_string() {
                turn.delete(&resource, &object);
            }
        }
    }
    if left > 0 {
        let message = format!("Some resources are remaining: {left} resource instances");
        turn.change("core/namespaces", space, |s| {
            set_condition(
                s,
                "NamespaceContentRemaining",
                "True",
                ("SomeResourcesRemain", &message),
            );
        });
    } else if turn.waited(&format!("namespace/{named}"), 2.0)
        && list(space, "/metadata/finalizers").is_empty()
    {
        turn.tx.remove("core/namespaces", "", named);
    }
}
