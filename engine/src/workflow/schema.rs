//! Reading JSON schemas, as far as `schemars` writes them.

use std::collections::BTreeSet;

use serde_json::Value;

/// How often references may lead to references.
const DEPTH: usize = 16;

/// A place in what a schema describes: all schemas that may apply there.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    root: &'a Value,
    schemas: Vec<&'a Value>,
}

/// What is known of a field.
pub(crate) enum Field<'a> {
    /// It is described.
    Known(Place<'a>),
    /// It is not, and may be anything.
    Anything,
    /// There is none; these are there.
    Missing(BTreeSet<String>),
}

impl<'a> Place<'a> {
    pub(crate) fn root(root: &'a Value) -> Self {
        Self::at(root, root)
    }

    pub(crate) fn at(root: &'a Value, schema: &'a Value) -> Self {
        let mut schemas = Vec::new();
        flatten(root, schema, DEPTH, &mut schemas);
        Self { root, schemas }
    }

    pub(crate) fn field(&self, name: &str) -> Field<'a> {
        let mut known = Vec::new();
        let mut names = BTreeSet::new();
        let mut anything = self.schemas.is_empty();
        for schema in &self.schemas {
            let properties = schema.get("properties").and_then(Value::as_object);
            if let Some(field) = properties.and_then(|fields| fields.get(name)) {
                flatten(self.root, field, DEPTH, &mut known);
                anything |= field == &Value::Bool(true);
                continue;
            }
            names.extend(properties.into_iter().flatten().map(|(name, _)| name.clone()));
            match schema.get("additionalProperties") {
                Some(Value::Bool(true)) => anything = true,
                Some(Value::Bool(false)) => {}
                Some(rest) => flatten(self.root, rest, DEPTH, &mut known),
                None => anything |= properties.is_none() && may_be(schema, "object"),
            }
        }
        if !known.is_empty() {
            return Field::Known(Self { root: self.root, schemas: known });
        }
        if anything { Field::Anything } else { Field::Missing(names) }
    }

    /// The types that a value here may have; `None`: any.
    pub(crate) fn types(&self) -> Option<BTreeSet<&'a str>> {
        let mut all = BTreeSet::new();
        if self.schemas.is_empty() {
            return None;
        }
        for schema in &self.schemas {
            all.extend(own_types(schema)?);
        }
        Some(all)
    }
}

/// The schema behind references.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH {
        let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { break };
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        let Some(target) = target else { break };
        schema = target;
    }
    schema
}

/// All the alternatives of a schema, references followed.
fn flatten<'a>(root: &'a Value, schema: &'a Value, depth: usize, into: &mut Vec<&'a Value>) {
    let schema = resolve(root, schema);
    if depth == 0 {
        return;
    }
    let mut alternatives = false;
    for key in ["anyOf", "oneOf", "allOf"] {
        for branch in schema.get(key).and_then(Value::as_array).into_iter().flatten() {
            alternatives = true;
            flatten(root, branch, depth - 1, into);
        }
    }
    if !alternatives || schema.get("properties").is_some() {
        into.push(schema);
    }
}

/// The types that a schema names itself, apart from its branches; `None`: any.
pub(crate) fn own_types(schema: &Value) -> Option<BTreeSet<&str>> {
    match schema.get("type") {
        Some(Value::String(single)) => return Some(BTreeSet::from([single.as_str()])),
        Some(Value::Array(several)) => {
            return Some(several.iter().filter_map(Value::as_str).collect());
        }
        Some(_) | None => {}
    }
    let values: Vec<&Value> = match (schema.get("const"), schema.get("enum")) {
        (Some(value), _) => vec![value],
        (None, Some(Value::Array(values))) => values.iter().collect(),
        (None, _) => return None,
    };
    Some(values.into_iter().map(type_of).collect())
}

fn may_be(schema: &Value, wanted: &str) -> bool {
    own_types(schema).is_none_or(|types| types.contains(wanted))
}

/// The name that JSON Schema has for the type of a value.
pub(crate) fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Whether a value of one type can be taken where another is expected.
pub(crate) fn fits(found: &str, expected: &BTreeSet<&str>) -> bool {
    expected.contains(found)
        || (found == "integer" && expected.contains("number"))
        || (found == "number" && expected.contains("integer"))
}

/// Types in words.
pub(crate) fn words(types: &BTreeSet<&str>) -> String {
    let words: Vec<&str> = types
        .iter()
        .filter(|name| types.len() == 1 || **name != "null")
        .map(|name| match *name {
            "null" => "null",
            "boolean" => "true or false",
            "integer" => "a whole number",
            "number" => "a number",
            "string" => "a string",
            "array" => "a list",
            "object" => "a table",
            other => other,
        })
        .collect();
    words.join(" or ")
}

/// The names of what an object has.
pub(crate) fn properties(schema: &Value) -> BTreeSet<String> {
    properties_at(schema, schema)
}

/// The same of a schema within another.
pub(crate) fn properties_at(root: &Value, schema: &Value) -> BTreeSet<String> {
    let place = Place::at(root, schema);
    let fields = place.schemas.iter().filter_map(|schema| schema.get("properties")?.as_object());
    fields.flatten().map(|(name, _)| name.clone()).collect()
}

/// Whether an object may have more than its declared properties.
pub(crate) fn is_open(schema: &Value) -> bool {
    // Nothing can be called like this, so only an open object has it.
    !matches!(Place::root(schema).field("\0"), Field::Missing(_))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_found_behind_references_and_options() {
        let schema = json!({
            "properties": {
                "inner": { "anyOf": [{ "$ref": "#/$defs/Inner" }, { "type": "null" }] },
                "rest": { "type": "object", "additionalProperties": { "type": "integer" } },
            },
            "$defs": { "Inner": { "type": "object", "properties": { "x": { "type": "string" } } } },
        });
        let place = Place::root(&schema);
        let Field::Known(inner) = place.field("inner") else { panic!("inner is known") };
        assert_eq!(inner.types(), Some(BTreeSet::from(["object", "null"])));
        let Field::Known(x) = inner.field("x") else { panic!("x is known") };
        assert_eq!(x.types(), Some(BTreeSet::from(["string"])));
        assert!(matches!(inner.field("y"), Field::Missing(known) if known.contains("x")));
        let Field::Known(rest) = place.field("rest") else { panic!("rest is known") };
        let Field::Known(any) = rest.field("any") else { panic!("all fields are numbers") };
        assert_eq!(any.types(), Some(BTreeSet::from(["integer"])));
    }

    #[test]
    fn a_schema_that_says_nothing_takes_everything() {
        assert!(is_open(&json!(true)) && is_open(&json!({})));
        assert!(!is_open(&json!({ "type": "object", "properties": {} })));
        assert!(!is_open(&json!({ "type": "null" })));
        assert!(Place::root(&json!({})).types().is_none());
    }
}
