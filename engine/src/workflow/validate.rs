//! A value that is known, against a schema.

use std::collections::BTreeSet;

use serde_json::Value;

use super::schema::{self, resolve};
use crate::expr::value::sort;

/// Why a value does not fit, as the end of a sentence. Never quotes a value.
///
/// `open`: more schemas apply to the same value, so unknown keys are not for this one to say.
pub(crate) fn value(root: &Value, schema: &Value, value: &Value, open: bool) -> Result<(), String> {
    let schema = resolve(root, schema);
    if schema == &Value::Bool(false) {
        return Err("is not allowed".to_owned());
    }
    if let Some(types) = schema::own_types(schema)
        && !schema::fits(schema::type_of(value), &types)
    {
        return Err(format!("is {}, but must be {}", sort(value), schema::words(&types)));
    }
    whole(schema, value)?;
    constants(schema, value)?;
    for key in ["anyOf", "oneOf"] {
        if let Some(branches) = schema.get(key).and_then(Value::as_array) {
            alternatives(root, branches, value)?;
        }
    }
    for branch in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        self::value(root, branch, value, true)?;
    }
    bounds(schema, value)?;
    match value {
        Value::Array(items) => {
            let Some(item) = schema.get("items") else { return Ok(()) };
            items.iter().enumerate().try_for_each(|(at, inner)| {
                self::value(root, item, inner, false).map_err(|words| format!("[{at}] {words}"))
            })
        }
        Value::Object(_) => {
            let branches = ["anyOf", "oneOf", "allOf"].iter().any(|key| schema.get(key).is_some());
            fields(root, schema, value, open || branches)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// HCL has one type of number; where a whole one is expected, it must be whole.
fn whole(schema: &Value, value: &Value) -> Result<(), String> {
    let only_integer = schema.get("type").is_some_and(|found| found == "integer");
    let fraction = value.as_f64().is_some_and(|number| number.fract() != 0.0);
    if only_integer && fraction {
        return Err("must be a whole number".to_owned());
    }
    Ok(())
}

fn constants(schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        return Err(format!("must be {constant}"));
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let all: Vec<String> =
            allowed.iter().filter(|value| !value.is_null()).map(ToString::to_string).collect();
        return Err(format!("must be one of {}", all.join(", ")));
    }
    Ok(())
}

fn alternatives(root: &Value, branches: &[Value], found: &Value) -> Result<(), String> {
    let mut words = Vec::new();
    for branch in branches {
        match value(root, branch, found, true) {
            Ok(()) => return Ok(()),
            Err(why) => {
                let place = schema::Place::at(root, branch);
                let same =
                    place.types().is_none_or(|types| schema::fits(schema::type_of(found), &types));
                words.push((same, why));
            }
        }
    }
    let fitting: BTreeSet<String> =
        words.iter().filter(|(same, _)| *same).map(|(_, why)| why.clone()).collect();
    let mut fitting = fitting.into_iter();
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Err(only),
        _ => Err(format!("is {} that fits none of its forms", sort(found))),
    }
}

fn bounds(schema: &Value, value: &Value) -> Result<(), String> {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    if let Some(number) = value.as_f64() {
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            return Err(format!("must be at least {least}"));
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            return Err(format!("must be at most {most}"));
        }
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "characters")),
        Value::Array(items) => Some((items.len(), "minItems", "entries")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    };
    if let Some((length, key, unit)) = length
        && let Some(least) = schema.get(key).and_then(Value::as_u64)
        && (length as u64) < least
    {
        return Err(format!("must have at least {least} {unit}"));
    }
    if let (Some(pattern), Some(text)) =
        (schema.get("pattern").and_then(Value::as_str), value.as_str())
        && let Ok(pattern) = regex::Regex::new(pattern)
        && !pattern.is_match(text)
    {
        return Err(format!("must match `{}`", pattern.as_str()));
    }
    Ok(())
}

fn fields(root: &Value, schema: &Value, found: &Value, open: bool) -> Result<(), String> {
    let Value::Object(fields) = found else { return Ok(()) };
    let properties = schema.get("properties").and_then(Value::as_object);
    let rest = schema.get("additionalProperties");
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    for key in required.filter_map(Value::as_str) {
        if !fields.contains_key(key) {
            return Err(format!("lacks `{key}`"));
        }
    }
    for (key, inner) in fields {
        let below = |words| format!(".{key} {words}");
        match (properties.and_then(|known| known.get(key)), rest) {
            (Some(property), _) => value(root, property, inner, false).map_err(below)?,
            (None, Some(rest)) if rest.is_object() => {
                value(root, rest, inner, false).map_err(below)?;
            }
            (None, Some(Value::Bool(false))) if !open => {
                return Err(format!("has an unknown field `{key}`"));
            }
            (None, _) => {}
        }
    }
    Ok(())
}
