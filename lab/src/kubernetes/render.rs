//! Objects in the form that a client asked for.

use std::sync::Arc;

use axum::response::Response;
use http_body_util::Full;
use hyper::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    json::text,
    refusal::Refusal,
    registry::ResourceType,
    request::{Accepted, Form, Query},
    table::{self, Include},
};

/// Turns objects of one type into one form.
#[derive(Debug, Clone)]
pub(crate) struct Renderer {
    kind: ResourceType,
    accepted: Accepted,
    include: Include,
}

impl Renderer {
    /// The form that `Accept` and `includeObject` ask for.
    pub(crate) fn new(
        kind: ResourceType,
        accepted: Accepted,
        query: &Query,
    ) -> Result<Self, Refusal> {
        let include = match query.text("includeObject") {
            "" | "Metadata" => Include::Metadata,
            "None" => Include::None,
            "Object" => Include::Object,
            other if matches!(accepted.form, Form::Table(_)) => {
                return Err(Refusal::bad_request(format!(
                    "Unable to convert to Table as requested: includeObject: Invalid value: \"{other}\": must be \
                     'Metadata', 'Object', 'None', or empty"
                )));
            }
            _ => Include::Metadata,
        };
        Ok(Self { kind, accepted, include })
    }

    /// The type.
    pub(crate) fn kind(&self) -> &ResourceType {
        &self.kind
    }

    /// One object.
    pub(crate) fn one(&self, object: &Value) -> Value {
        match &self.accepted.form {
            Form::Object => object.clone(),
            Form::Partial => table::partial(object),
            Form::Table(version) => {
                let row = table::row(&self.kind, object, self.include);
                let revision = text(object, "/metadata/resourceVersion");
                table::table(version, revision, &table::columns(&self.kind), &[row])
            }
        }
    }

    /// A list; `more` is added to its metadata.
    pub(crate) fn list(&self, objects: &[Arc<Value>], revision: u64, more: &Value) -> Value {
        let mut list = match &self.accepted.form {
            Form::Table(version) => {
                let rows: Vec<Value> =
                    objects.iter().map(|o| table::row(&self.kind, o, self.include)).collect();
                table::table(version, &revision.to_string(), &table::columns(&self.kind), &rows)
            }
            Form::Partial => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": { "resourceVersion": revision.to_string() },
                "items": objects.iter().map(|o| table::partial(o)).collect::<Vec<_>>(),
            }),
            Form::Object => json!({
                "kind": format!("{}List", self.kind.kind), "apiVersion": self.kind.api_version(),
                "metadata": { "resourceVersion": revision.to_string() },
                "items": objects.iter().map(|o| self.item(o)).collect::<Vec<_>>(),
            }),
        };
        for (key, value) in more.as_object().into_iter().flatten() {
            list["metadata"][key] = value.clone();
        }
        list
    }

    /// Items of built-in types do not repeat their type.
    fn item(&self, object: &Value) -> Value {
        let mut item = object.clone();
        if self.kind.custom.is_none()
            && let Some(members) = item.as_object_mut()
        {
            members.remove("kind");
            members.remove("apiVersion");
        }
        item
    }

    /// The object of a watch event; columns come with the first one only.
    pub(crate) fn event(&self, object: &Value, first: bool) -> Value {
        let mut shown = self.one(object);
        if matches!(self.accepted.form, Form::Table(_)) && !first {
            shown["columnDefinitions"] = Value::Null;
        }
        shown
    }

    /// The object of a bookmark.
    pub(crate) fn bookmark(&self, revision: u64, initial: bool, first: bool) -> Value {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if initial {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let partial = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
        match &self.accepted.form {
            Form::Object => {
                let mut object = json!({
                    "kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata,
                });
                // Typed clients refuse a CRD without these, and the real server sends them.
                if self.kind.group == "apiextensions.k8s.io" {
                    object["spec"] = json!({
                        "group": "", "names": { "plural": "", "kind": "" }, "scope": "", "versions": null,
                    });
                    object["status"] = json!({
                        "conditions": null, "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": null,
                    });
                }
                object
            }
            Form::Partial => partial,
            Form::Table(version) => {
                let columns = table::columns(&self.kind);
                let width = columns.as_array().map_or(0, Vec::len);
                let cells: Vec<Value> =
                    (0..width).map(|i| if i == 0 { json!("") } else { Value::Null }).collect();
                let columns = if first { columns } else { Value::Null };
                let row = json!({ "cells": cells, "object": partial });
                table::table(version, &revision.to_string(), &columns, &[row])
            }
        }
    }

    /// The response around a value.
    pub(crate) fn respond(&self, code: StatusCode, value: &Value) -> Response {
        if self.accepted.yaml
            && let Ok(text) = serde_yaml_ng::to_string(value)
        {
            return answer(code, "application/yaml", text);
        }
        answer(code, "application/json", value.to_string())
    }
}

/// A response with the headers of every answer.
pub(crate) fn answer(code: StatusCode, kind: &'static str, body: String) -> Response {
    let mut response = Response::new(axum::body::Body::new(Full::from(body)));
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
    response
}
