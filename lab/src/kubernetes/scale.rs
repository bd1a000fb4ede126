//! The subresource `scale`.

use std::sync::Arc;

use axum::{body::Bytes, response::Response};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    json::{at, map, number, text},
    patch, read,
    refusal::Refusal,
    render::answer,
    request::parse_body,
    route::{Asked, body_type},
    server::Api,
    write::{self, How, PatchKind, Target, Unknown},
};

fn of(object: &Value) -> Value {
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata[key] = at(object, &format!("/metadata/{key}")).clone();
    }
    let labels: Vec<String> = map(object, "/spec/selector/matchLabels")
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": { "replicas": number(object, "/spec/replicas") },
        "status": { "replicas": number(object, "/status/replicas"), "selector": labels.join(",") },
    })
}

/// Reads or sets how many replicas there shall be.
pub(crate) fn scale(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    let place = (asked.place.namespace.as_str(), asked.place.name.as_str());
    let object = api.cluster().read(|objects| read::get(objects, &asked.kind, place))?;
    let mut wanted = of(&object);
    match asked.method.as_str() {
        "GET" | "HEAD" => {}
        "PUT" => wanted = parse_body(body, "Scale", false)?,
        "PATCH" => {
            let change = parse_body(body, "Scale", true)?;
            match body_type(asked).as_str() {
                "application/json-patch+json" => patch::json(&mut wanted, &change)?,
                _ => patch::merge(&mut wanted, &change),
            }
        }
        _ => return Err(Refusal::method_not_allowed()),
    }
    let shown = if matches!(asked.method.as_str(), "PUT" | "PATCH") {
        let target = Target { kind: &asked.kind, namespace: place.0, name: place.1, status: false };
        let manager = match asked.query.text("fieldManager") {
            "" => "kubectl",
            given => given,
        };
        let how = How { manager, unknown: Unknown::Ignore, counted: true };
        let change = json!({ "spec": { "replicas": at(&wanted, "/spec/replicas") } });
        let version = text(&wanted, "/metadata/resourceVersion");
        if asked.method.as_str() == "PUT"
            && !version.is_empty()
            && version != text(&object, "/metadata/resourceVersion")
        {
            return Err(Refusal::modified(&asked.kind, place.1));
        }
        let written = api.cluster().write(asked.query.dry_run(), |tx| {
            write::patch(tx, target, PatchKind::Merge, &change, &how)
        })?;
        of(&written.object)
    } else {
        wanted
    };
    Ok(answer(StatusCode::OK, "application/json", shown.to_string()))
}
