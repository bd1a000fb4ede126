//! Sets of fields of an object, as `managedFields` hold them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::shape::{Cursor, ListShape, item_key};

/// A set of fields: a tree whose elements are written `f:NAME`, `k:{KEYS}` or `v:VALUE`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct FieldSet {
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self { member: true, children: BTreeMap::new() }
    }

    /// Whether no field is in it.
    pub(crate) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    fn put(&mut self, element: String, set: Self) {
        if !set.is_empty() {
            self.children.insert(element, set);
        }
    }

    /// The fields of a value. With `maps`, maps are members themselves, as an update counts them.
    pub(crate) fn of(value: &Value, cursor: &Cursor<'_>, maps: bool) -> Self {
        match value {
            Value::Object(object) if !object.is_empty() && !cursor.is_atomic_map() => {
                let mut set = Self { member: maps, children: BTreeMap::new() };
                for (name, inner) in object {
                    set.put(format!("f:{name}"), Self::of(inner, &cursor.field(name), maps));
                }
                set
            }
            Value::Array(items) if !items.is_empty() => match cursor.list() {
                ListShape::Atomic => Self::leaf(),
                ListShape::Set => {
                    let mut set = Self { member: maps, children: BTreeMap::new() };
                    for item in items {
                        set.put(format!("v:{item}"), Self::leaf());
                    }
                    set
                }
                ListShape::Keyed(keys) => {
                    let mut set = Self { member: maps, children: BTreeMap::new() };
                    for item in items {
                        let Some(key) = item_key(item, &keys) else { return Self::leaf() };
                        let mut inner = Self::of(item, &cursor.item(), maps);
                        inner.member = true;
                        set.put(format!("k:{key}"), inner);
                    }
                    set
                }
            },
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => Self::leaf(),
        }
    }

    /// The fields whose value in `new` is not the one in `old`.
    pub(crate) fn changed(old: &Value, new: &Value, cursor: &Cursor<'_>) -> Self {
        if old == new {
            return Self::default();
        }
        match (old, new) {
            (Value::Object(before), Value::Object(after)) if !cursor.is_atomic_map() => {
                let mut set = Self::default();
                for (name, value) in after {
                    let inner = match before.get(name) {
                        Some(was) => Self::changed(was, value, &cursor.field(name)),
                        None => Self::of(value, &cursor.field(name), true),
                    };
                    set.put(format!("f:{name}"), inner);
                }
                set
            }
            (Value::Array(before), Value::Array(after)) => match cursor.list() {
                ListShape::Atomic => Self::leaf(),
                ListShape::Set => {
                    let mut set = Self::default();
                    after
                        .iter()
                        .filter(|i| !before.contains(i))
                        .for_each(|i| set.put(format!("v:{i}"), Self::leaf()));
                    set
                }
                ListShape::Keyed(keys) => Self::changed_items(before, after, &keys, cursor),
            },
            _ => Self::of(new, cursor, true),
        }
    }

    fn changed_items(
        before: &[Value],
        after: &[Value],
        keys: &[String],
        cursor: &Cursor<'_>,
    ) -> Self {
        let mut set = Self::default();
        for item in after {
            let Some(key) = item_key(item, keys) else { return Self::leaf() };
            let was = before.iter().find(|b| item_key(b, keys).as_ref() == Some(&key));
            let inner = if let Some(was) = was {
                Self::changed(was, item, &cursor.item())
            } else {
                let mut all = Self::of(item, &cursor.item(), true);
                all.member = true;
                all
            };
            set.put(format!("k:{key}"), inner);
        }
        set
    }

    /// The fields in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member && other.member, children: BTreeMap::new() };
        for (element, inner) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                set.put(element.clone(), inner.and(theirs));
            }
        }
        set
    }

    /// The fields in this one or the other.
    pub(crate) fn or(&self, other: &Self) -> Self {
        let mut set = self.clone();
        set.member |= other.member;
        for (element, inner) in &other.children {
            let merged =
                set.children.get(element).map_or_else(|| inner.clone(), |mine| mine.or(inner));
            set.children.insert(element.clone(), merged);
        }
        set
    }

    /// The fields of this one that are not in the other.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member && !other.member, children: BTreeMap::new() };
        for (element, inner) in &self.children {
            let left = other
                .children
                .get(element)
                .map_or_else(|| inner.clone(), |theirs| inner.minus(theirs));
            set.put(element.clone(), left);
        }
        set
    }

    /// As [`FieldSet::minus`], but an item of which the other knows any field stays.
    pub(crate) fn unknown_to(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member && other.is_empty(), children: BTreeMap::new() };
        for (element, inner) in &self.children {
            let left = other
                .children
                .get(element)
                .map_or_else(|| inner.clone(), |theirs| inner.unknown_to(theirs));
            set.put(element.clone(), left);
        }
        set
    }

    /// The fields that the value has.
    pub(crate) fn present_in(&self, value: &Value, cursor: &Cursor<'_>) -> Self {
        self.and_reaching(&Self::of(value, cursor, true))
    }

    /// The members of this one whose element exists in the other, deeper or not.
    fn and_reaching(&self, other: &Self) -> Self {
        let mut set = Self { member: self.member, children: BTreeMap::new() };
        for (element, inner) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                set.put(element.clone(), inner.and_reaching(theirs));
            }
        }
        set
    }

    /// The paths of the leaves, `.spec.containers[name="web"].image`.
    pub(crate) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect(String::new(), &mut paths);
        paths
    }

    fn collect(&self, at: String, into: &mut Vec<String>) {
        if self.children.is_empty() {
            if self.member {
                into.push(at);
            }
            return;
        }
        for (element, inner) in &self.children {
            inner.collect(format!("{at}{}", spell(element)), into);
        }
    }

    /// As `fieldsV1`.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = Map::new();
        if self.member && !self.children.is_empty() {
            object.insert(".".to_owned(), json!({}));
        }
        for (element, inner) in &self.children {
            object.insert(element.clone(), inner.to_json());
        }
        Value::Object(object)
    }

    /// Reads `fieldsV1`.
    pub(crate) fn from_json(value: &Value) -> Self {
        let Some(object) = value.as_object().filter(|o| !o.is_empty()) else {
            return Self::leaf();
        };
        let mut set = Self { member: object.contains_key("."), children: BTreeMap::new() };
        for (element, inner) in object.iter().filter(|(e, _)| *e != ".") {
            set.children.insert(element.clone(), Self::from_json(inner));
        }
        set
    }

    /// The set without what no manager owns: names, versions and what the server itself writes.
    pub(crate) fn without_server_fields(mut self) -> Self {
        self.children.retain(|e, _| e != "f:apiVersion" && e != "f:kind");
        if let Some(metadata) = self.children.get_mut("f:metadata") {
            metadata.member = false;
            metadata.children.retain(|e, _| {
                !matches!(
                    e.as_str(),
                    "f:name"
                        | "f:namespace"
                        | "f:uid"
                        | "f:resourceVersion"
                        | "f:generation"
                        | "f:selfLink"
                        | "f:creationTimestamp"
                        | "f:managedFields"
                        | "f:deletionTimestamp"
                        | "f:deletionGracePeriodSeconds"
                )
            });
            if metadata.children.is_empty() {
                self.children.remove("f:metadata");
            }
        }
        self.member = false;
        self
    }

    /// Only the fields under `status`, or only the others.
    pub(crate) fn of_subresource(mut self, status: bool) -> Self {
        self.children.retain(|e, _| (e == "f:status") == status);
        self
    }

    /// Takes the fields of this set out of a value.
    pub(crate) fn remove_from(&self, value: &mut Value, cursor: &Cursor<'_>) {
        match value {
            Value::Object(object) => {
                for (element, inner) in &self.children {
                    let Some(name) = element.strip_prefix("f:") else { continue };
                    let Some(held) = object.get_mut(name) else { continue };
                    if inner.children.is_empty() {
                        object.remove(name);
                        continue;
                    }
                    inner.remove_from(held, &cursor.field(name));
                    let empty = held.as_object().is_some_and(Map::is_empty)
                        || held.as_array().is_some_and(Vec::is_empty);
                    if empty {
                        object.remove(name);
                    }
                }
            }
            Value::Array(items) => self.remove_items(items, cursor),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn remove_items(&self, items: &mut Vec<Value>, cursor: &Cursor<'_>) {
        match cursor.list() {
            ListShape::Atomic => {}
            ListShape::Set => items.retain(|i| !self.children.contains_key(&format!("v:{i}"))),
            ListShape::Keyed(keys) => {
                let find = |item: &Value| {
                    item_key(item, &keys).and_then(|k| self.children.get(&format!("k:{k}")))
                };
                items.retain(|i| !find(i).is_some_and(|set| set.member));
                for item in items {
                    if let Some(set) = find(item) {
                        set.remove_from(item, &cursor.item());
                    }
                }
            }
        }
    }
}

fn spell(element: &str) -> String {
    if let Some(name) = element.strip_prefix("f:") {
        return format!(".{name}");
    }
    if let Some(keys) = element.strip_prefix("k:")
        && let Ok(Value::Object(keys)) = serde_json::from_str::<Value>(keys)
    {
        let pairs: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
        return format!("[{}]", pairs.join(","));
    }
    format!("[={}]", element.trim_start_matches("v:"))
}
