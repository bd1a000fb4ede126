//! Which keys each document may have.

use std::{collections::BTreeMap, sync::LazyLock};

use serde_yaml_ng::{Mapping, Value};

/// The name of the document without a kind.
pub(super) const MAIN: &str = "v1alpha1";
/// A key that stands for any.
const ANY: &str = "*";
/// Keys of the main document that came after 1.10, with the minor release that knows them.
const LATER: [(&str, u32); 1] = [("grubUseUKICmdline", 12)];

/// A kind of document.
#[derive(Debug)]
pub(super) struct Kind {
    /// The first minor release that knows it.
    pub(super) since: u32,
    /// Its keys.
    pub(super) keys: Shape,
}

/// What a value may look like.
#[derive(Debug)]
pub(super) enum Shape {
    Text,
    Bool,
    Int,
    Anything,
    List(Box<Shape>),
    Map(Box<Shape>),
    Fields(Fields),
}

/// The known keys of a mapping.
#[derive(Debug)]
pub(super) struct Fields(BTreeMap<String, Shape>);

static SCHEMA: LazyLock<BTreeMap<String, Kind>> = LazyLock::new(|| {
    let text = include_str!("schema.yaml");
    let kinds: BTreeMap<String, Value> =
        serde_yaml_ng::from_str(text).expect("the schema is part of the program");
    kinds
        .into_iter()
        .map(|(name, kind)| {
            let since = kind.get("since").and_then(Value::as_u64).unwrap_or_default();
            let since = u32::try_from(since).unwrap_or(u32::MAX);
            let keys = Shape::of(kind.get("keys").unwrap_or(&Value::Null));
            (name, Kind { since, keys })
        })
        .collect()
});

/// A kind of document by its name.
pub(super) fn document(kind: &str) -> Option<&'static Kind> {
    SCHEMA.get(kind)
}

impl Shape {
    fn of(value: &Value) -> Self {
        match value {
            Value::String(name) => match name.as_str() {
                "str" => Self::Text,
                "bool" => Self::Bool,
                "int" => Self::Int,
                _ => Self::Anything,
            },
            Value::Sequence(items) => {
                Self::List(Box::new(items.first().map_or(Self::Anything, Self::of)))
            }
            Value::Mapping(fields) => match fields.get(ANY) {
                Some(value) => Self::Map(Box::new(Self::of(value))),
                None => Self::Fields(Fields(
                    fields
                        .iter()
                        .filter_map(|(key, value)| {
                            Some((key.as_str()?.to_owned(), Self::of(value)))
                        })
                        .collect(),
                )),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Tagged(_) => Self::Anything,
        }
    }

    /// Whether it has a field.
    pub(super) fn has(&self, field: &str) -> bool {
        match self {
            Self::Fields(Fields(fields)) => fields.contains_key(field),
            Self::Text | Self::Bool | Self::Int | Self::Anything | Self::List(_) | Self::Map(_) => {
                false
            }
        }
    }

    /// The unknown keys below a value, and into `wrong` what has another shape.
    fn unknown(&self, value: &Value, minor: u32, wrong: &mut Vec<String>) -> Option<Value> {
        if value.is_null() {
            return None;
        }
        match self {
            Self::Text if matches!(value, Value::Sequence(_) | Value::Mapping(_)) => {
                wrong.push(mismatch(value, "string"));
                None
            }
            Self::Anything | Self::Text => None,
            Self::Bool => {
                if truth(value).is_none() {
                    wrong.push(mismatch(value, "bool"));
                }
                None
            }
            Self::Int => {
                if !matches!(value, Value::Number(_)) {
                    wrong.push(mismatch(value, "int"));
                }
                None
            }
            Self::List(shape) => {
                let Value::Sequence(items) = value else {
                    wrong.push(mismatch(value, "[]interface {}"));
                    return None;
                };
                let unknown: Vec<Value> =
                    items.iter().filter_map(|item| shape.unknown(item, minor, wrong)).collect();
                (!unknown.is_empty()).then_some(Value::Sequence(unknown))
            }
            Self::Map(shape) => {
                let Value::Mapping(fields) = value else {
                    wrong.push(mismatch(value, "map[string]interface {}"));
                    return None;
                };
                let unknown: Mapping = fields
                    .iter()
                    .filter_map(|(key, value)| {
                        Some((key.clone(), shape.unknown(value, minor, wrong)?))
                    })
                    .collect();
                (!unknown.is_empty()).then_some(Value::Mapping(unknown))
            }
            Self::Fields(shapes) => {
                let Value::Mapping(fields) = value else {
                    wrong.push(mismatch(value, "struct"));
                    return None;
                };
                shapes.unknown(fields, minor, wrong)
            }
        }
    }
}

impl Fields {
    /// The part of a mapping that is not known, if any.
    pub(super) fn unknown(
        &self,
        fields: &Mapping,
        minor: u32,
        wrong: &mut Vec<String>,
    ) -> Option<Value> {
        let mut unknown = Mapping::new();
        for (key, value) in fields {
            let name = key.as_str().unwrap_or_default();
            let too_new = LATER.iter().any(|(later, since)| *later == name && minor < *since);
            match self.0.get(name).filter(|_| !too_new) {
                Some(shape) => {
                    if let Some(inner) = shape.unknown(value, minor, wrong) {
                        unknown.insert(key.clone(), inner);
                    }
                }
                None => {
                    unknown.insert(key.clone(), value.clone());
                }
            }
        }
        // Go prints the keys of a map in order.
        let mut sorted: Vec<_> = unknown.into_iter().collect();
        sorted.sort_by(|(one, _), (other, _)| one.as_str().cmp(&other.as_str()));
        (!sorted.is_empty()).then(|| Value::Mapping(sorted.into_iter().collect()))
    }
}

/// A boolean as Go's YAML reads one into a boolean field.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "y" | "yes" | "on" => Some(true),
            "n" | "no" | "off" => Some(false),
            _ => None,
        },
        Value::Null
        | Value::Number(_)
        | Value::Sequence(_)
        | Value::Mapping(_)
        | Value::Tagged(_) => None,
    }
}

fn mismatch(value: &Value, wanted: &str) -> String {
    let (tag, text) = match value {
        Value::Null => ("null", String::new()),
        Value::Bool(truth) => ("bool", format!(" `{truth}`")),
        Value::Number(number) => ("int", format!(" `{number}`")),
        Value::String(text) => ("str", format!(" `{}`", text.chars().take(10).collect::<String>())),
        Value::Sequence(_) => ("seq", String::new()),
        Value::Mapping(_) | Value::Tagged(_) => ("map", String::new()),
    };
    format!("cannot construct !!{tag}{text} into {wanted}")
}
