//! Server-side apply, and who owns which field after any write.

use serde_json::{Map, Value, json};

use super::{
    fields::FieldSet,
    json::{list, now, text},
    shape::{Cursor, ListShape, item_key},
};

/// Who writes, and what.
#[derive(Debug, Clone)]
pub(crate) struct Writer<'a> {
    /// The field manager.
    pub(crate) manager: &'a str,
    /// The version of the object that is written.
    pub(crate) api_version: String,
    /// Whether `status` is written; else everything else is.
    pub(crate) status: bool,
    /// The shape of the object.
    pub(crate) cursor: Cursor<'a>,
}

/// One entry of `managedFields`.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    manager: String,
    operation: String,
    api_version: String,
    subresource: String,
    time: String,
    set: FieldSet,
}

impl Entry {
    fn read(value: &Value) -> Self {
        Self {
            manager: text(value, "/manager").to_owned(),
            operation: text(value, "/operation").to_owned(),
            api_version: text(value, "/apiVersion").to_owned(),
            subresource: text(value, "/subresource").to_owned(),
            time: text(value, "/time").to_owned(),
            set: FieldSet::from_json(&value["fieldsV1"]),
        }
    }

    fn write(&self) -> Value {
        let mut entry = json!({
            "manager": self.manager, "operation": self.operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": self.set.to_json(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    fn is_of(&self, writer: &Writer<'_>, operation: &str) -> bool {
        self.manager == writer.manager
            && self.operation == operation
            && (self.subresource == "status") == writer.status
    }

    fn spelled(&self) -> String {
        if self.operation == "Apply" {
            format!("\"{}\"", self.manager)
        } else {
            let how = if self.subresource.is_empty() {
                String::new()
            } else {
                format!(" with subresource \"{}\"", self.subresource)
            };
            format!("\"{}\"{how} using {}", self.manager, self.api_version)
        }
    }
}

fn entries(object: &Value) -> Vec<Entry> {
    list(object, "/metadata/managedFields").iter().map(Entry::read).collect()
}

fn store(object: &mut Value, mut entries: Vec<Entry>) {
    entries.retain(|e| !e.set.is_empty());
    entries.sort_by_key(|e| e.operation != "Apply");
    let metadata = super::json::child(object, "metadata");
    if entries.is_empty() {
        metadata.remove("managedFields");
    } else {
        let written = entries.iter().map(Entry::write).collect();
        metadata.insert("managedFields".to_owned(), Value::Array(written));
    }
}

fn own_fields(value: &Value, writer: &Writer<'_>) -> FieldSet {
    FieldSet::of(value, &writer.cursor, false).without_server_fields().of_subresource(writer.status)
}

/// Applies a configuration to the object as it is (an empty one if it is to be made).
///
/// Answers the new object, with new `managedFields`.
///
/// # Errors
/// The fields that other managers own, as (manager, path), unless `force` is set.
pub(crate) fn apply(
    live: &Value,
    config: &Value,
    writer: &Writer<'_>,
    force: bool,
) -> Result<Value, Vec<(String, String)>> {
    let mut others = entries(live);
    let mine = others.iter().position(|e| e.is_of(writer, "Apply")).map(|i| others.remove(i));
    let wanted = own_fields(config, writer);
    let mut merged = merge(live, config, &writer.cursor);
    let changed = FieldSet::changed(live, &merged, &writer.cursor);
    let mut conflicts = Vec::new();
    for other in &mut others {
        let lost = other.set.and(&wanted).and(&changed);
        if lost.paths().is_empty() {
            continue;
        }
        conflicts.extend(lost.paths().into_iter().map(|path| (other.spelled(), path)));
        other.set = other.set.minus(&lost);
    }
    if !force && !conflicts.is_empty() {
        return Err(conflicts);
    }
    if let Some(old) = &mine {
        let others_fields = others.iter().fold(FieldSet::default(), |all, e| all.or(&e.set));
        old.set
            .minus(&wanted)
            .unknown_to(&wanted)
            .unknown_to(&others_fields)
            .remove_from(&mut merged, &writer.cursor);
    }
    let same = mine.as_ref().is_some_and(|m| m.set == wanted) && conflicts.is_empty();
    let unchanged = same && without_managers(&merged) == without_managers(live);
    if unchanged {
        return Ok(live.clone());
    }
    let entry = Entry {
        manager: writer.manager.to_owned(),
        operation: "Apply".to_owned(),
        api_version: writer.api_version.clone(),
        subresource: if writer.status { "status".to_owned() } else { String::new() },
        time: now(),
        set: wanted,
    };
    let place = list(live, "/metadata/managedFields")
        .iter()
        .position(|e| Entry::read(e).is_of(writer, "Apply"));
    others.insert(
        place.unwrap_or(others.iter().take_while(|e| e.operation == "Apply").count()),
        entry,
    );
    store(&mut merged, others);
    Ok(merged)
}

/// Books a change by an update or a patch: the writer owns what changed, and nobody what is gone.
pub(crate) fn book(old: &Value, new: &mut Value, writer: &Writer<'_>) {
    let changed = FieldSet::changed(old, new, &writer.cursor)
        .without_server_fields()
        .of_subresource(writer.status);
    let mut all = entries(old);
    let mut mine = all.iter().position(|e| e.is_of(writer, "Update")).map(|i| all.remove(i));
    for other in &mut all {
        other.set = other.set.minus(&changed.and(&other.set)).present_in(new, &writer.cursor);
    }
    if let Some(mine) = &mut mine {
        mine.set = mine.set.present_in(new, &writer.cursor);
    }
    if !changed.is_empty() {
        let before = mine.map(|m| m.set).unwrap_or_default();
        mine = Some(Entry {
            manager: writer.manager.to_owned(),
            operation: "Update".to_owned(),
            api_version: writer.api_version.clone(),
            subresource: if writer.status { "status".to_owned() } else { String::new() },
            time: now(),
            set: before.or(&changed),
        });
    }
    all.extend(mine);
    store(new, all);
}

/// The object without its `managedFields`.
pub(crate) fn without_managers(object: &Value) -> Value {
    let mut bare = object.clone();
    if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    bare
}

/// Lays a configuration over a value, by the shape of its lists.
pub(crate) fn merge(live: &Value, config: &Value, cursor: &Cursor<'_>) -> Value {
    match (live, config) {
        (Value::Object(old), Value::Object(new)) if !cursor.is_atomic_map() => {
            let mut merged: Map<String, Value> = old.clone();
            for (name, value) in new {
                let inner =
                    merge(old.get(name).unwrap_or(&Value::Null), value, &cursor.field(name));
                merged.insert(name.clone(), inner);
            }
            Value::Object(merged)
        }
        (Value::Array(old), Value::Array(new)) => match cursor.list() {
            ListShape::Atomic => config.clone(),
            ListShape::Set => {
                let mut merged = old.clone();
                merged.extend(new.iter().filter(|i| !old.contains(i)).cloned());
                Value::Array(merged)
            }
            ListShape::Keyed(keys) => Value::Array(merge_items(old, new, &keys, cursor)),
        },
        (_, _) => config.clone(),
    }
}

fn merge_items(old: &[Value], new: &[Value], keys: &[String], cursor: &Cursor<'_>) -> Vec<Value> {
    let mut merged = old.to_vec();
    for item in new {
        let key = item_key(item, keys);
        match merged.iter_mut().find(|m| key.is_some() && item_key(m, keys) == key) {
            Some(place) => *place = merge(place, item, &cursor.item()),
            None => merged.push(item.clone()),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::shape::Cursor;

    fn writer(manager: &str) -> Writer<'_> {
        Writer {
            manager,
            api_version: "apps/v1".to_owned(),
            status: false,
            cursor: Cursor::BuiltIn { parent: String::new(), field: String::new() },
        }
    }

    fn deployment(replicas: u32, image: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "ssa" },
            "spec": {
                "replicas": replicas, "selector": { "matchLabels": { "app": "ssa" } },
                "template": {
                    "metadata": { "labels": { "app": "ssa" } },
                    "spec": { "containers": [{
                        "name": "web", "image": image, "ports": [{ "containerPort": 80, "name": "http" }],
                    }] },
                },
            },
        })
    }

    #[test]
    fn the_first_apply_owns_what_the_real_server_says() {
        let made = apply(&json!({}), &deployment(2, "nginx:1"), &writer("flow"), false).unwrap();
        assert_eq!(
            made["metadata"]["managedFields"][0]["fieldsV1"],
            json!({ "f:spec": {
                "f:replicas": {}, "f:selector": {},
                "f:template": {
                    "f:metadata": { "f:labels": { "f:app": {} } },
                    "f:spec": { "f:containers": { "k:{\"name\":\"web\"}": {
                        ".": {}, "f:image": {}, "f:name": {},
                        "f:ports": { "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {
                            ".": {}, "f:containerPort": {}, "f:name": {},
                        } },
                    } } },
                },
            } })
        );
    }

    #[test]
    fn another_manager_conflicts_unless_it_forces() {
        let made = apply(&json!({}), &deployment(2, "nginx:1"), &writer("flow"), false).unwrap();
        let conflicts =
            apply(&made, &deployment(3, "nginx:3"), &writer("other"), false).unwrap_err();
        assert_eq!(
            conflicts,
            [
                ("\"flow\"".to_owned(), ".spec.replicas".to_owned()),
                (
                    "\"flow\"".to_owned(),
                    ".spec.template.spec.containers[name=\"web\"].image".to_owned()
                ),
            ]
        );
        let forced = apply(&made, &deployment(3, "nginx:3"), &writer("other"), true).unwrap();
        assert_eq!(forced["spec"]["replicas"], 3);
        let flow = &forced["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"];
        assert!(flow.get("f:replicas").is_none());
        assert!(flow.get("f:selector").is_some());
    }

    #[test]
    fn what_a_manager_no_longer_applies_goes_unless_others_own_it() {
        let made = apply(&json!({}), &deployment(3, "nginx:1"), &writer("flow"), false).unwrap();
        let third = json!({ "metadata": { "name": "ssa", "labels": { "x": "1" } }, "spec": { "replicas": 3 } });
        let shared = apply(&made, &third, &writer("third"), false).unwrap();
        assert_eq!(shared["metadata"]["labels"]["x"], "1");
        let left =
            apply(&shared, &json!({ "metadata": { "name": "ssa" } }), &writer("third"), false)
                .unwrap();
        assert!(left["metadata"].get("labels").is_none());
        assert_eq!(left["spec"]["replicas"], 3);
    }

    #[test]
    fn items_of_a_list_come_and_go_by_their_key() {
        let made = apply(&json!({}), &deployment(3, "nginx:1"), &writer("flow"), false).unwrap();
        let side = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "side", "image": "b:1" }] } } } });
        let both = apply(&made, &side, &writer("sidecar"), false).unwrap();
        assert_eq!(list(&both, "/spec/template/spec/containers").len(), 2);
        let one =
            apply(&both, &json!({ "metadata": { "name": "ssa" } }), &writer("sidecar"), false)
                .unwrap();
        assert_eq!(list(&one, "/spec/template/spec/containers").len(), 1);
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let made = apply(&json!({}), &deployment(2, "nginx:1"), &writer("flow"), false).unwrap();
        assert_eq!(apply(&made, &deployment(2, "nginx:1"), &writer("flow"), false).unwrap(), made);
    }

    #[test]
    fn an_update_takes_over_what_it_changes() {
        let made = apply(&json!({}), &deployment(2, "nginx:1"), &writer("flow"), false).unwrap();
        let mut new = made.clone();
        new["spec"]["replicas"] = json!(5);
        book(&made, &mut new, &writer("edit"));
        let conflicts = apply(&new, &deployment(2, "nginx:1"), &writer("flow"), false).unwrap_err();
        assert_eq!(conflicts[0].0, "\"edit\" using apps/v1");
    }
}
