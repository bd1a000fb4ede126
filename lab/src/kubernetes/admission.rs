//! What the server adds to objects and checks about them before it stores them.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    defaults,
    json::{at, child, list, map, name, now, set_meta, text},
    known,
    refusal::{Cause, Refusal},
    registry::ResourceType,
    schema, validation,
};

/// Whether a type's objects count their generations.
fn has_generation(kind: &ResourceType) -> bool {
    kind.custom.is_some()
        || kind.plural == "pods"
        || matches!(
            kind.group.as_str(),
            "apps"
                | "batch"
                | "apiextensions.k8s.io"
                | "networking.k8s.io"
                | "policy"
                | "discovery.k8s.io"
                | "admissionregistration.k8s.io"
                | "scheduling.k8s.io"
                | "autoscaling"
        )
}

/// Gives a new object its uid, time and first generation.
pub(crate) fn stamp_new(object: &mut Value) {
    let metadata = child(object, "metadata");
    metadata.insert("uid".to_owned(), json!(Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), json!(now()));
    let counted = at(object, "/apiVersion").as_str().is_some_and(|v| v.contains('/'));
    if counted && object.get("spec").is_some() {
        set_meta(object, "generation", 1);
    }
}

/// Completes a name from `generateName`.
pub(crate) fn generate_name(object: &mut Value) {
    let prefix = text(object, "/metadata/generateName").to_owned();
    if name(object).is_empty() && !prefix.is_empty() {
        set_meta(object, "name", format!("{prefix}{}", suffix()));
    }
}

/// Five letters as the server draws them: no vowels, no digits that look like letters.
pub(crate) fn suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|_| char::from(LETTERS[rand::random_range(0..LETTERS.len())])).collect()
}

/// A new object as it is stored: completed, defaulted, checked.
pub(crate) fn admit_new(kind: &ResourceType, object: &mut Value) -> Result<Vec<String>, Refusal> {
    if kind.status && kind.custom.is_some() {
        drop(object.as_object_mut().and_then(|o| o.remove("status")));
    }
    let unknown = prepare(kind, object)?;
    let metadata = child(object, "metadata");
    for key in [
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "selfLink",
    ] {
        metadata.remove(key);
    }
    metadata.insert("uid".to_owned(), json!(Uuid::new_v4().to_string()));
    metadata.insert("creationTimestamp".to_owned(), json!(now()));
    if has_generation(kind) {
        metadata.insert("generation".to_owned(), json!(1));
    }
    if kind.status && kind.custom.is_none() && kind.plural != "namespaces" {
        object["status"] = defaults::first_status(kind);
    }
    defaults::fill_new(kind, object);
    let causes = validation::check(kind, object);
    if causes.is_empty() { Ok(unknown) } else { Err(Refusal::invalid(kind, name(object), &causes)) }
}

/// A changed object as it is stored: what only the server sets is kept, the generation raised, the rest checked.
pub(crate) fn admit_change(
    kind: &ResourceType,
    old: &Value,
    new: &mut Value,
    status: bool,
) -> Result<Vec<String>, Refusal> {
    keep_server_fields(old, new);
    if status {
        keep_all_but_status(old, new);
    } else if kind.status {
        copy_member(old, new, "status");
    }
    let unknown = prepare(kind, new)?;
    defaults::fill_changed(kind, old, new);
    if !status && has_generation(kind) && content(old) != content(new) {
        let generation = super::json::number(old, "/metadata/generation") + 1;
        set_meta(new, "generation", generation);
    }
    let mut causes = validation::check(kind, new);
    causes.extend(validation::check_change(kind, old, new));
    if causes.is_empty() { Ok(unknown) } else { Err(Refusal::invalid(kind, name(old), &causes)) }
}

fn prepare(kind: &ResourceType, object: &mut Value) -> Result<Vec<String>, Refusal> {
    object["apiVersion"] = json!(kind.api_version());
    object["kind"] = json!(kind.kind);
    drop_nulls(object);
    let Some(known) = kind.schema() else {
        defaults::fill(kind, object)?;
        return Ok(known::unknown(kind, object));
    };
    let unknown = schema::prune(object, known);
    schema::default(object, known);
    Ok(unknown)
}

/// Empty maps of labels and the like, and nulls, are not stored.
fn drop_nulls(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, v| !v.is_null());
        for key in ["labels", "annotations", "finalizers", "ownerReferences"] {
            let empty = metadata.get(key).is_some_and(|v| {
                v.as_object().is_some_and(Map::is_empty) || v.as_array().is_some_and(Vec::is_empty)
            });
            if empty {
                metadata.remove(key);
            }
        }
    }
}

fn keep_server_fields(old: &Value, new: &mut Value) {
    let before = map(old, "/metadata").cloned().unwrap_or_default();
    let metadata = child(new, "metadata");
    for key in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "name",
        "namespace",
        "generateName",
    ] {
        match before.get(key) {
            Some(value) => metadata.insert(key.to_owned(), value.clone()),
            None => metadata.remove(key),
        };
    }
}

fn keep_all_but_status(old: &Value, new: &mut Value) {
    let status = new.get("status").cloned();
    let managed = at(new, "/metadata/managedFields").clone();
    let (labels, annotations) =
        (at(new, "/metadata/labels").clone(), at(new, "/metadata/annotations").clone());
    let mut kept = old.clone();
    match status {
        Some(status) => kept["status"] = status,
        None => drop(kept.as_object_mut().and_then(|o| o.remove("status"))),
    }
    for (key, value) in
        [("managedFields", managed), ("labels", labels), ("annotations", annotations)]
    {
        if !value.is_null() {
            set_meta(&mut kept, key, value);
        }
    }
    *new = kept;
}

fn copy_member(old: &Value, new: &mut Value, key: &str) {
    match old.get(key) {
        Some(value) => new[key] = value.clone(),
        None => drop(new.as_object_mut().and_then(|o| o.remove(key))),
    }
}

/// Everything of an object that counts for its generation.
fn content(object: &Value) -> Map<String, Value> {
    let mut all = object.as_object().cloned().unwrap_or_default();
    all.retain(|k, _| k != "metadata" && k != "status");
    all
}

/// Whether the preconditions on uid and version hold for an update.
pub(crate) fn check_preconditions(
    kind: &ResourceType,
    old: &Value,
    new: &Value,
) -> Result<(), Refusal> {
    let version = text(new, "/metadata/resourceVersion");
    if !version.is_empty() && version != text(old, "/metadata/resourceVersion") {
        return Err(Refusal::modified(kind, name(old)));
    }
    let uid = text(new, "/metadata/uid");
    if !uid.is_empty() && uid != text(old, "/metadata/uid") {
        let cause = Cause::invalid("metadata.uid", &json!(uid), "field is immutable");
        return Err(Refusal::invalid(kind, name(old), &[cause]));
    }
    Ok(())
}

/// Whether an object with a deletion time has no finalizers left.
pub(crate) fn is_released(object: &Value) -> bool {
    at(object, "/metadata/deletionTimestamp").is_string()
        && list(object, "/metadata/finalizers").is_empty()
}
