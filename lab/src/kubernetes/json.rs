//! Reading and changing JSON objects by path.

use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The value at a JSON pointer, `Null` where there is none.
pub(crate) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text at a JSON pointer, empty where there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// The number at a JSON pointer, 0 where there is none.
pub(crate) fn number(value: &Value, pointer: &str) -> i64 {
    at(value, pointer).as_i64().unwrap_or_default()
}

/// The list at a JSON pointer, empty where there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer).as_array().map_or(&[], Vec::as_slice)
}

/// The map at a JSON pointer, where there is one.
pub(crate) fn map<'a>(value: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    at(value, pointer).as_object()
}

/// The object's name.
pub(crate) fn name(value: &Value) -> &str {
    text(value, "/metadata/name")
}

/// The object's namespace, empty for a cluster-wide one.
pub(crate) fn namespace(value: &Value) -> &str {
    text(value, "/metadata/namespace")
}

/// The object's uid.
pub(crate) fn uid(value: &Value) -> &str {
    text(value, "/metadata/uid")
}

/// A member made where it is missing, as a map; what stood there and is no map is replaced.
pub(crate) fn child<'a>(value: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    let Value::Object(object) = value else { unreachable_object() };
    let slot = object.entry(key).or_insert_with(|| json!({}));
    if !slot.is_object() {
        *slot = json!({});
    }
    match slot {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            unreachable_object()
        }
    }
}

#[expect(clippy::panic, reason = "both callers have just made the value an object")]
fn unreachable_object() -> ! {
    panic!("the value was made an object")
}

/// Sets `key` in the object's metadata.
pub(crate) fn set_meta(value: &mut Value, key: &str, to: impl Into<Value>) {
    child(value, "metadata").insert(key.to_owned(), to.into());
}

/// Sets `key` in the object's status.
pub(crate) fn set_status(value: &mut Value, key: &str, to: impl Into<Value>) {
    child(value, "status").insert(key.to_owned(), to.into());
}

/// An annotation's text, empty where it is missing.
pub(crate) fn annotation<'a>(value: &'a Value, key: &str) -> &'a str {
    at(value, "/metadata/annotations").get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A label's text, where it is set.
pub(crate) fn label<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    at(value, "/metadata/labels").get(key).and_then(Value::as_str)
}

/// The status condition of a type.
pub(crate) fn condition<'a>(value: &'a Value, kind: &str) -> &'a Value {
    list(value, "/status/conditions")
        .iter()
        .find(|c| text(c, "/type") == kind)
        .unwrap_or(&Value::Null)
}

/// Whether the status condition of a type is True.
pub(crate) fn is_true(value: &Value, kind: &str) -> bool {
    text(condition(value, kind), "/status") == "True"
}

/// Sets a status condition; its transition time moves only when its status does.
pub(crate) fn set_condition(value: &mut Value, kind: &str, status: &str, why: (&str, &str)) {
    let old = condition(value, kind).clone();
    let mut new = if old.is_object() { old.clone() } else { json!({ "type": kind }) };
    if text(&old, "/status") != status {
        new["lastTransitionTime"] = json!(now());
    }
    new["status"] = json!(status);
    new["reason"] = json!(why.0);
    new["message"] = json!(why.1);
    let conditions = child(value, "status").entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    if let Some(all) = conditions.as_array_mut() {
        match all.iter_mut().find(|c| text(c, "/type") == kind) {
            Some(place) => *place = new,
            None => all.push(new),
        }
    }
}

/// Takes a status condition away.
pub(crate) fn drop_condition(value: &mut Value, kind: &str) {
    if let Some(all) = value.pointer_mut("/status/conditions").and_then(Value::as_array_mut) {
        all.retain(|c| text(c, "/type") != kind);
    }
}

/// The time now as the API writes it: RFC 3339, whole seconds, UTC.
pub(crate) fn now() -> String {
    stamp(OffsetDateTime::now_utc())
}

/// A time as the API writes it.
pub(crate) fn stamp(at: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Reads a time of the API.
pub(crate) fn parse_stamp(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()
}

/// The first entry of `ownerReferences` that is the controller.
pub(crate) fn controller_of(value: &Value) -> &Value {
    list(value, "/metadata/ownerReferences")
        .iter()
        .find(|o| at(o, "/controller") == &Value::Bool(true))
        .unwrap_or(&Value::Null)
}

/// An owner reference to `owner`.
pub(crate) fn owner_reference(owner: &Value) -> Value {
    json!({
        "apiVersion": text(owner, "/apiVersion"), "kind": text(owner, "/kind"), "name": name(owner),
        "uid": uid(owner), "controller": true, "blockOwnerDeletion": true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_moves_its_time_only_with_its_status() {
        let mut object = json!({});
        set_condition(&mut object, "Ready", "False", ("A", "a"));
        object["status"]["conditions"][0]["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
        set_condition(&mut object, "Ready", "False", ("B", "b"));
        let ready = condition(&object, "Ready");
        assert_eq!(text(ready, "/lastTransitionTime"), "2026-01-01T00:00:00Z");
        assert_eq!(text(ready, "/reason"), "B");
        set_condition(&mut object, "Ready", "True", ("C", "c"));
        assert_ne!(
            text(condition(&object, "Ready"), "/lastTransitionTime"),
            "2026-01-01T00:00:00Z"
        );
    }

    #[test]
    fn times_are_read_back_as_written() {
        let text = "2026-11-23T16:06:52Z";
        assert_eq!(stamp(parse_stamp(text).unwrap()), text);
    }
}
