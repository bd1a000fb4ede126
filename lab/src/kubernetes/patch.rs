//! Merge patches, JSON patches and strategic merge patches.

use serde_json::{Map, Value};

use super::{
    refusal::Refusal,
    shape::{Cursor, ListShape, item_key},
};

/// A JSON merge patch (RFC 7396).
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (name, value) in changes {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// A strategic merge patch: as a merge patch, but lists with keys merge by them.
pub(crate) fn strategic(target: &mut Value, patch: &Value, cursor: &Cursor<'_>) {
    match (&mut *target, patch) {
        (Value::Object(object), Value::Object(changes)) => {
            if changes.get("$patch").and_then(Value::as_str) == Some("replace") {
                *object = changes
                    .iter()
                    .filter(|(k, _)| !k.starts_with('$'))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect();
                return;
            }
            for (name, value) in changes {
                if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
                    if let (Some(Value::Array(held)), Some(gone)) =
                        (object.get_mut(list), value.as_array())
                    {
                        held.retain(|i| !gone.contains(i));
                    }
                } else if name.starts_with('$') {
                    // Orderings and retained keys say nothing about the content.
                } else if value.is_null() {
                    object.remove(name);
                } else {
                    strategic(
                        object.entry(name).or_insert(Value::Null),
                        value,
                        &cursor.field(name),
                    );
                }
            }
        }
        (Value::Array(items), Value::Array(changes)) => match strategic_list(cursor) {
            ListShape::Keyed(keys) => strategic_items(items, changes, &keys, cursor),
            ListShape::Set => items
                .extend(changes.iter().filter(|c| !items.contains(c)).cloned().collect::<Vec<_>>()),
            ListShape::Atomic => items.clone_from(changes),
        },
        (_, Value::Object(_)) => {
            *target = Value::Object(Map::new());
            strategic(target, patch, cursor);
        }
        (_, _) => *target = patch.clone(),
    }
}

/// Strategic merges know ports by one key where applies need two.
fn strategic_list(cursor: &Cursor<'_>) -> ListShape {
    match cursor.list() {
        ListShape::Keyed(keys) => ListShape::Keyed(keys.into_iter().take(1).collect()),
        other @ (ListShape::Set | ListShape::Atomic) => other,
    }
}

fn strategic_items(
    items: &mut Vec<Value>,
    changes: &[Value],
    keys: &[String],
    cursor: &Cursor<'_>,
) {
    for change in changes {
        let key = item_key(change, keys);
        let place = items.iter().position(|i| key.is_some() && item_key(i, keys) == key);
        let delete = change.get("$patch").and_then(Value::as_str) == Some("delete");
        match (place, delete) {
            (Some(place), true) => {
                items.remove(place);
            }
            (None, true) => {}
            (Some(place), false) => strategic(&mut items[place], change, &cursor.item()),
            (None, false) => items.push(change.clone()),
        }
    }
}

/// A JSON patch (RFC 6902).
///
/// # Errors
/// A patch that is not one is a bad request; an operation that does not fit is unprocessable.
pub(crate) fn json(target: &mut Value, patch: &Value) -> Result<(), Refusal> {
    let Value::Array(operations) = patch else {
        return Err(Refusal::bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
        ));
    };
    for operation in operations {
        carry_out(target, operation).ok_or_else(Refusal::unprocessable)?;
    }
    Ok(())
}

fn carry_out(target: &mut Value, operation: &Value) -> Option<()> {
    let path = operation.get("path")?.as_str()?;
    let value = || operation.get("value").cloned();
    let from = || operation.get("from")?.as_str();
    match operation.get("op")?.as_str()? {
        "add" => add(target, path, value()?),
        "remove" => take(target, path).map(drop),
        "replace" => {
            *target.pointer_mut(path)? = value()?;
            Some(())
        }
        "test" => (target.pointer(path)? == operation.get("value")?).then_some(()),
        "move" => {
            let moved = take(target, from()?)?;
            add(target, path, moved)
        }
        "copy" => {
            let copied = target.pointer(from()?)?.clone();
            add(target, path, copied)
        }
        _ => None,
    }
}

fn split(path: &str) -> Option<(&str, String)> {
    let (parent, last) = path.rsplit_once('/')?;
    Some((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Option<()> {
    if path.is_empty() {
        *target = value;
        return Some(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(object) => {
            object.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|i| *i <= items.len())?;
            items.insert(index, value);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
    }
    Some(())
}

fn take(target: &mut Value, path: &str) -> Option<Value> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent)? {
        Value::Object(object) => object.remove(&last),
        Value::Array(items) => {
            let index: usize = last.parse().ok().filter(|i| *i < items.len())?;
            Some(items.remove(index))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_patches_are_carried_out_or_refused() {
        let mut object = json!({ "metadata": { "name": "a" }, "list": [1, 2] });
        let patch = json!([
            { "op": "test", "path": "/metadata/name", "value": "a" },
            { "op": "add", "path": "/metadata/labels", "value": { "j": "p" } },
            { "op": "add", "path": "/list/-", "value": 3 },
            { "op": "remove", "path": "/list/0" },
        ]);
        super::json(&mut object, &patch).unwrap();
        assert_eq!(
            object,
            json!({ "metadata": { "name": "a", "labels": { "j": "p" } }, "list": [2, 3] })
        );
        let failing = json!([{ "op": "test", "path": "/metadata/name", "value": "b" }]);
        assert_eq!(super::json(&mut object, &failing).unwrap_err().code(), 422);
        assert_eq!(super::json(&mut object, &json!({})).unwrap_err().code(), 400);
    }

    #[test]
    fn strategic_patches_merge_lists_by_key() {
        let cursor = Cursor::BuiltIn { parent: String::new(), field: String::new() };
        let mut object = json!({ "spec": { "containers": [
            { "name": "web", "image": "a" }, { "name": "side", "image": "b" },
        ] } });
        let patch = json!({ "spec": { "containers": [
            { "name": "web", "env": [{ "name": "A", "value": "1" }] }, { "name": "side", "$patch": "delete" },
        ] } });
        strategic(&mut object, &patch, &cursor);
        assert_eq!(
            object["spec"]["containers"],
            json!([{ "name": "web", "image": "a", "env": [{ "name": "A", "value": "1" }] }])
        );
    }
}
