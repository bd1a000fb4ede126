//! Applying what was built, and what to prune of what was applied before.

use serde_json::{Value, json};

use crate::kubernetes::{
    controllers::Turn,
    json::{annotation, child, label, list, name, namespace, text},
    objects::View,
    patch,
    registry::{self, ResourceType},
    write::{self, How, PatchKind, Target, Unknown},
};

const MANAGER: &str = "kustomize-controller";
const GROUP: &str = "kustomize.toolkit.fluxcd.io";

/// Whether an object defines what others need: it is applied first.
fn is_definition(object: &Value) -> bool {
    matches!(
        text(object, "/kind"),
        "Namespace" | "CustomResourceDefinition" | "ClusterRole" | "PriorityClass" | "StorageClass"
    )
}

/// `KIND/NAMESPACE/NAME` as messages call an object.
pub(super) fn spelled(object: &Value) -> String {
    match namespace(object) {
        "" => format!("{}/{}", text(object, "/kind"), name(object)),
        space => format!("{}/{space}/{}", text(object, "/kind"), name(object)),
    }
}

/// The id of an inventory's entry: `NAMESPACE_NAME_GROUP_KIND`.
pub(super) fn id(object: &Value) -> String {
    let group = text(object, "/apiVersion").rsplit_once('/').map_or("", |(group, _)| group);
    format!(
        "{}_{}_{group}_{}",
        namespace(object),
        name(object).replace(':', "__"),
        text(object, "/kind")
    )
}

/// An entry of an inventory as an object without content.
pub(super) fn entry_object(entry: &Value) -> Option<Value> {
    let parts: Vec<&str> = text(entry, "/id").splitn(2, '_').collect();
    let (space, rest) = (parts.first()?, parts.get(1)?);
    let mut back = rest.rsplitn(3, '_');
    let (kind, group, named) = (back.next()?, back.next()?, back.next()?);
    let version = text(entry, "/v");
    let api = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Some(json!({
        "apiVersion": api, "kind": kind, "metadata": { "name": named.replace("__", ":"), "namespace": space },
    }))
}

/// The type of an object, and the object as it stands.
pub(super) fn find(
    turn: &Turn<'_, '_>,
    object: &Value,
) -> Option<(ResourceType, Option<std::sync::Arc<Value>>)> {
    let kind = registry::find_kind(turn.tx, text(object, "/apiVersion"), text(object, "/kind"))?;
    let space = if kind.namespaced { namespace(object) } else { "" };
    let held = turn.tx.get(&kind.resource(), space, name(object));
    Some((kind, held))
}

/// What applying came to.
#[derive(Debug, PartialEq)]
pub(super) enum Applied {
    /// Everything is applied.
    All,
    /// Definitions are not served yet.
    Wait,
}

/// Applies everything, definitions first. On an error nothing of that stage has changed.
pub(super) fn apply(
    turn: &mut Turn<'_, '_>,
    owner: &Value,
    objects: &[Value],
    force: bool,
) -> Result<Applied, String> {
    let (first, rest): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(|o| is_definition(o));
    stage(turn, owner, &first, force)?;
    for object in first.iter().filter(|o| text(o, "/kind") == "CustomResourceDefinition") {
        let held = find(turn, object).and_then(|(_, held)| held);
        if !held.is_some_and(|crd| crate::kubernetes::json::is_true(&crd, "Established")) {
            return Ok(Applied::Wait);
        }
    }
    stage(turn, owner, &rest, force)?;
    Ok(Applied::All)
}

fn stage(
    turn: &mut Turn<'_, '_>,
    owner: &Value,
    objects: &[&Value],
    force: bool,
) -> Result<(), String> {
    let mark = turn.tx.mark();
    for object in objects {
        if let Err(why) = apply_one(turn, owner, object, force) {
            turn.tx.back_to(&mark);
            return Err(why);
        }
    }
    Ok(())
}

fn apply_one(
    turn: &mut Turn<'_, '_>,
    owner: &Value,
    object: &Value,
    force: bool,
) -> Result<(), String> {
    let mut object = object.clone();
    let control = |key: &str| annotation(&object, &format!("{GROUP}/{key}")).to_owned();
    if control("reconcile") == "disabled" || control("ssa") == "Ignore" {
        return Ok(());
    }
    let Some(kind) =
        registry::find_kind(turn.tx, text(&object, "/apiVersion"), text(&object, "/kind"))
    else {
        let version = text(&object, "/apiVersion");
        let wanted = text(&object, "/kind");
        return Err(format!(
            "{} dry-run failed: no matches for kind \"{wanted}\" in version \"{version}\"",
            spelled(&object)
        ));
    };
    if kind.namespaced && namespace(&object).is_empty() {
        return Err(format!(
            "{} namespace not specified: the server could not find the requested resource",
            spelled(&object)
        ));
    }
    for (key, value) in [("name", name(owner)), ("namespace", namespace(owner))] {
        let labels = child(&mut object, "metadata").entry("labels").or_insert_with(|| json!({}));
        labels[format!("{GROUP}/{key}")] = json!(value);
    }
    let target = Target {
        kind: &kind,
        namespace: if kind.namespaced { namespace(&object) } else { "" },
        name: name(&object),
        status: false,
    };
    let exists = turn.tx.get(&kind.resource(), target.namespace, target.name).is_some();
    if exists && annotation(&object, &format!("{GROUP}/ssa")) == "IfNotPresent" {
        return Ok(());
    }
    let how = How { manager: MANAGER, unknown: Unknown::Ignore, counted: false };
    let how_patched = PatchKind::Apply { force: true };
    let applied = write::patch(turn.tx, target, how_patched, &object, &how);
    match applied {
        Ok(_) => Ok(()),
        Err(refusal) if refusal.code() == 422 && exists && force => {
            turn.tx.remove(&kind.resource(), target.namespace, target.name);
            let again = write::patch(turn.tx, target, how_patched, &object, &how);
            again.map(drop).map_err(|refusal| {
                format!("{} apply failed: {}", spelled(&object), refusal.message())
            })
        }
        Err(refusal) => {
            let reason = text(&refusal.body(), "/reason").to_owned();
            let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
            Err(format!("{} dry-run failed{reason}: {}", spelled(&object), refusal.message()))
        }
    }
}

/// The inventory of what was applied.
pub(super) fn entries(objects: &[Value]) -> Vec<Value> {
    let mut all: Vec<Value> = objects
        .iter()
        .map(|o| {
            let version = text(o, "/apiVersion").rsplit('/').next().unwrap_or_default();
            json!({ "id": id(o), "v": version })
        })
        .collect();
    all.sort_by(|a, b| text(a, "/id").cmp(text(b, "/id")));
    all
}

/// Deletes what an old inventory has and the new one has not.
pub(super) fn prune(turn: &mut Turn<'_, '_>, owner: &Value, kept: &[Value]) -> Vec<String> {
    let mut gone = Vec::new();
    for entry in list(owner, "/status/inventory/entries").to_vec() {
        if kept.iter().any(|k| text(k, "/id") == text(&entry, "/id")) {
            continue;
        }
        let Some(object) = entry_object(&entry) else { continue };
        let Some((kind, Some(held))) = find(turn, &object) else { continue };
        let is_ours = label(&held, &format!("{GROUP}/name")) == Some(name(owner))
            && label(&held, &format!("{GROUP}/namespace")) == Some(namespace(owner));
        let disabled =
            annotation(&held, &format!("{GROUP}/prune")).eq_ignore_ascii_case("disabled");
        if is_ours && !disabled {
            turn.delete(&kind.resource(), &held);
            gone.push(spelled(&held));
        }
    }
    gone
}

/// Puts `commonMetadata` and the like on what was built.
pub(super) fn decorate(owner: &Value, objects: &mut [Value]) {
    let common = &owner["spec"]["commonMetadata"];
    let space = text(owner, "/spec/targetNamespace");
    for object in objects.iter_mut() {
        for key in ["labels", "annotations"] {
            if common[key].is_object() {
                let metadata = child(object, "metadata");
                patch::merge(metadata.entry(key).or_insert_with(|| json!({})), &common[key]);
            }
        }
        if !space.is_empty() && !is_definition(object) {
            crate::kubernetes::json::set_meta(object, "namespace", space);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back() {
        for object in [
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web", "namespace": "lab" } }),
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab", "namespace": "" } }),
        ] {
            let entry = entries(std::slice::from_ref(&object)).remove(0);
            assert_eq!(entry_object(&entry), Some(object));
        }
    }
}
