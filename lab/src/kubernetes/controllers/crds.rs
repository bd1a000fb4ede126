//! Custom resource definitions: their names are accepted, then they are served.

use serde_json::{Value, json};

use super::Turn;
use crate::kubernetes::{
    json::{at, is_true, list, name, set_condition, set_status, text},
    objects::View,
    registry::{CRDS, resource_name},
};

/// Looks at every CRD.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for crd in turn.tx.list(CRDS) {
        if at(&crd, "/metadata/deletionTimestamp").is_string() {
            remove(turn, &crd);
        } else if !is_true(&crd, "NamesAccepted") {
            if turn.waited(&format!("crd-names/{}", name(&crd)), 0.5) {
                turn.change(CRDS, &crd, accept);
            }
        } else if !is_true(&crd, "Established") && turn.waited(&format!("crd/{}", name(&crd)), 1.0)
        {
            turn.change(CRDS, &crd, |c| {
                set_condition(
                    c,
                    "Established",
                    "True",
                    ("InitialNamesAccepted", "the initial names have been accepted"),
                );
            });
        }
    }
    orphans(turn);
}

fn accept(crd: &mut Value) {
    let names = at(crd, "/spec/names").clone();
    set_condition(crd, "NamesAccepted", "True", ("NoConflicts", "no conflicts found"));
    set_condition(
        crd,
        "Established",
        "False",
        ("Installing", "the initial names have been accepted"),
    );
    set_status(crd, "acceptedNames", names);
}

/// Objects go before the CRD that served them.
fn remove(turn: &mut Turn<'_, '_>, crd: &Value) {
    let resource = resource_name(text(crd, "/spec/group"), text(crd, "/spec/names/plural"));
    for object in turn.tx.list(&resource) {
        if !at(&object, "/metadata/deletionTimestamp").is_string() {
            turn.delete(&resource, &object);
        }
    }
    if turn.tx.list(&resource).is_empty() {
        turn.change(CRDS, crd, |c| {
            let kept: Vec<Value> = list(c, "/metadata/finalizers")
                .iter()
                .filter(|f| *f != &json!("customresourcecleanup.apiextensions.k8s.io"))
                .cloned()
                .collect();
            c["metadata"]["finalizers"] = json!(kept);
        });
    }
}

/// Objects whose CRD was removed at once.
fn orphans(turn: &mut Turn<'_, '_>) {
    for resource in turn.tx.custom_resources() {
        let Some((group, plural)) = resource.split_once('/') else { continue };
        if turn.tx.get(CRDS, "", &format!("{plural}.{group}")).is_some() {
            continue;
        }
        for object in turn.tx.list(&resource) {
            turn.tx.remove(
                &resource,
                object["metadata"]["namespace"].as_str().unwrap_or_default(),
                name(&object),
            );
        }
    }
}
