//! Between JSON, which everything of ours speaks, and the values of HCL.

use serde_json::{Map, Number, Value};

/// A JSON value as HCL evaluates it.
pub(super) fn to_hcl(value: &Value) -> hcl::Value {
    match value {
        Value::Null => hcl::Value::Null,
        Value::Bool(value) => hcl::Value::Bool(*value),
        Value::Number(number) => hcl::Value::Number(number_to_hcl(number)),
        Value::String(text) => hcl::Value::String(text.clone()),
        Value::Array(items) => hcl::Value::Array(items.iter().map(to_hcl).collect()),
        Value::Object(fields) => hcl::Value::Object(
            fields.iter().map(|(name, value)| (name.clone(), to_hcl(value))).collect(),
        ),
    }
}

fn number_to_hcl(number: &Number) -> hcl::Number {
    if let Some(number) = number.as_i64() {
        return hcl::Number::from(number);
    }
    if let Some(number) = number.as_u64() {
        return hcl::Number::from(number);
    }
    number.as_f64().and_then(hcl::Number::from_f64).unwrap_or_else(|| hcl::Number::from(0))
}

/// What HCL evaluated, as JSON. A float without a fraction becomes an integer, as in HCL, where
/// there is one type of number.
pub(super) fn to_json(value: hcl::Value) -> Value {
    match value {
        hcl::Value::Null => Value::Null,
        hcl::Value::Bool(value) => Value::Bool(value),
        hcl::Value::Number(number) => number_to_json(&number),
        hcl::Value::String(text) => Value::String(text),
        hcl::Value::Array(items) => Value::Array(items.into_iter().map(to_json).collect()),
        hcl::Value::Object(fields) => Value::Object(
            fields.into_iter().map(|(name, value)| (name, to_json(value))).collect::<Map<_, _>>(),
        ),
    }
}

fn number_to_json(number: &hcl::Number) -> Value {
    if let Some(number) = number.as_i64() {
        return Value::from(number);
    }
    if let Some(number) = number.as_u64() {
        return Value::from(number);
    }
    number.as_f64().and_then(Number::from_f64).map_or(Value::Null, Value::Number)
}

/// What sort of value it is, with an article. Never the value itself, which may be a secret.
pub(crate) fn sort(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

/// The same of a value of HCL.
pub(super) fn sort_of(value: &hcl::Value) -> &'static str {
    match value {
        hcl::Value::Null => "null",
        hcl::Value::Bool(_) => "a boolean",
        hcl::Value::Number(_) => "a number",
        hcl::Value::String(_) => "a string",
        hcl::Value::Array(_) => "a list",
        hcl::Value::Object(_) => "a table",
    }
}
