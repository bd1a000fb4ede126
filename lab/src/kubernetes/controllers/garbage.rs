//! The garbage collector: what lost its owner goes, and owners wait for their dependants where they were told to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Turn, pods};
use crate::kubernetes::{
    json::{list, name, namespace, text, uid},
    objects::View,
};

/// Looks at everything that has an owner, or waits for its dependants.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    let (mut uids, mut owned, mut waiting) = (BTreeSet::new(), Vec::new(), Vec::new());
    for resource in turn.tx.resources() {
        for object in turn.tx.list(&resource) {
            uids.insert(uid(&object).to_owned());
            if !list(&object, "/metadata/ownerReferences").is_empty() {
                owned.push((resource.clone(), object.clone()));
            }
            if pods::is_leaving(&object) && !list(&object, "/metadata/finalizers").is_empty() {
                waiting.push((resource.clone(), object));
            }
        }
    }
    for (resource, owner) in &waiting {
        let dependants: Vec<_> = owned.iter().filter(|(_, o)| is_owned_by(o, owner)).collect();
        let has = |finalizer: &str| list(owner, "/metadata/finalizers").contains(&json!(finalizer));
        if has("orphan") {
            for (kind, dependant) in &dependants {
                turn.change(kind, dependant, |d| forget_owner(d, uid(owner)));
            }
            release(turn, resource, owner, "orphan");
        } else if has("foregroundDeletion") {
            for (kind, dependant) in &dependants {
                if !pods::is_leaving(dependant) {
                    turn.delete(kind, dependant);
                }
            }
            if dependants.is_empty() {
                release(turn, resource, owner, "foregroundDeletion");
            }
        }
    }
    for (resource, object) in &owned {
        let lost = list(object, "/metadata/ownerReferences")
            .iter()
            .all(|o| !uids.contains(text(o, "/uid")));
        if lost && !pods::is_leaving(object) {
            turn.delete(resource, object);
        }
    }
}

fn is_owned_by(object: &Value, owner: &Value) -> bool {
    list(object, "/metadata/ownerReferences").iter().any(|o| text(o, "/uid") == uid(owner))
}

fn forget_owner(object: &mut Value, owner: &str) {
    let kept: Vec<Value> = list(object, "/metadata/ownerReferences")
        .iter()
        .filter(|o| text(o, "/uid") != owner)
        .cloned()
        .collect();
    object["metadata"]["ownerReferences"] = json!(kept);
}

/// Takes a finalizer away; without any, the object goes.
fn release(turn: &mut Turn<'_, '_>, resource: &str, object: &Value, finalizer: &str) {
    let kept: Vec<Value> = list(object, "/metadata/finalizers")
        .iter()
        .filter(|f| f.as_str() != Some(finalizer))
        .cloned()
        .collect();
    if kept.is_empty() {
        turn.tx.remove(resource, namespace(object), name(object));
    } else {
        turn.change(resource, object, |o| o["metadata"]["finalizers"] = json!(kept));
    }
}
