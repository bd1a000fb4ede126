//! Server-side tables: what `kubectl get` prints.

mod age;
mod cells;

use serde_json::{Value, json};

pub(crate) use age::human;

use super::{
    json::{at, list, number, text},
    jsonpath::pick,
    registry::ResourceType,
};

/// What the rows of a table carry besides their cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Include {
    /// Nothing.
    None,
    /// The object's metadata.
    Metadata,
    /// The object.
    Object,
}

/// A column: name, type, priority (0 always, 1 with `-o wide`).
pub(super) type Column = (&'static str, &'static str, u8);

/// The columns of a resource type.
pub(crate) fn columns(kind: &ResourceType) -> Value {
    if let Some(version) = kind.version_of_crd() {
        return custom_columns(version);
    }
    let all = cells::columns(kind).into_iter().map(|(name, of, priority)| {
        let format = if name == "Name" { "name" } else { "" };
        json!({ "name": name, "type": of, "format": format, "description": describe(name), "priority": priority })
    });
    Value::Array(all.collect())
}

fn describe(name: &str) -> String {
    match name {
        "Name" => "Name must be unique within a namespace.".to_owned(),
        "Age" => "CreationTimestamp is the server time when this object was created.".to_owned(),
        other => format!("{other} of the object."),
    }
}

fn custom_columns(version: &Value) -> Value {
    let mut all = vec![json!({
        "name": "Name", "type": "string", "format": "name", "description": describe("Name"), "priority": 0,
    })];
    for column in printer_columns(version) {
        let description = match text(&column, "/description") {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                text(&column, "/jsonPath")
            ),
            given => given.to_owned(),
        };
        all.push(json!({
            "name": column["name"], "type": column["type"], "format": text(&column, "/format"),
            "description": description, "priority": number(&column, "/priority"),
        }));
    }
    Value::Array(all)
}

fn printer_columns(version: &Value) -> Vec<Value> {
    let given = list(version, "/additionalPrinterColumns");
    if given.is_empty() {
        return vec![
            json!({ "name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp" }),
        ];
    }
    given.to_vec()
}

/// The cells of an object.
pub(crate) fn cells(kind: &ResourceType, object: &Value) -> Vec<Value> {
    let Some(version) = kind.version_of_crd() else {
        return cells::cells(kind, object);
    };
    let mut all = vec![json!(super::json::name(object))];
    for column in printer_columns(version) {
        let found = pick(object, text(&column, "/jsonPath"));
        let cell = match (text(&column, "/type"), found.first()) {
            (_, None) => Value::Null,
            ("date", Some(value)) => json!(age::since(value.as_str().unwrap_or_default())),
            ("string", Some(Value::String(held))) => json!(held),
            ("string", Some(value)) => json!(value.to_string()),
            (_, Some(value)) => (*value).clone(),
        };
        all.push(cell);
    }
    all
}

/// A row of a table.
pub(crate) fn row(kind: &ResourceType, object: &Value, include: Include) -> Value {
    let carried = match include {
        Include::None => Value::Null,
        Include::Metadata => partial(object),
        Include::Object => object.clone(),
    };
    json!({ "cells": cells(kind, object), "object": carried })
}

/// An object's metadata alone.
pub(crate) fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": at(object, "/metadata") })
}

/// A table around rows.
pub(crate) fn table(version: &str, revision: &str, columns: &Value, rows: &[Value]) -> Value {
    json!({
        "kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": { "resourceVersion": revision },
        "columnDefinitions": columns, "rows": rows,
    })
}
