//! Requests that write: bodies, options, answers.

use std::sync::Arc;

use axum::{body::Bytes, response::Response};
use hyper::{StatusCode, header};
use serde_json::{Value, json};

use super::{
    json::{at, name, text, uid},
    protobuf, read,
    refusal::{Cause, Refusal},
    render::{Renderer, answer},
    request::{accepted, parse_body},
    route::{Asked, body_type},
    selector::Selector,
    server::Api,
    write::{self, Deleted, How, PatchKind, Target, Unknown, Written},
};
use crate::serve::ChangedNothing;

const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

fn target(asked: &Asked) -> Target<'_> {
    Target {
        kind: &asked.kind,
        namespace: &asked.place.namespace,
        name: &asked.place.name,
        status: asked.place.subresource == "status",
    }
}

fn how<'a>(asked: &'a Asked, manager: &'a str) -> How<'a> {
    let unknown = match asked.query.text("fieldValidation") {
        "Strict" => Unknown::Strict,
        "Ignore" => Unknown::Ignore,
        _ => Unknown::Warn,
    };
    How { manager, unknown, counted: true }
}

/// The field manager: as given, or the start of the user agent.
fn manager(asked: &Asked) -> String {
    let given = asked.query.text("fieldManager");
    if !given.is_empty() {
        return given.to_owned();
    }
    let agent =
        asked.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let start = agent.split(['/', ' ']).next().unwrap_or_default();
    if start.is_empty() { "unknown".to_owned() } else { start.to_owned() }
}

/// Reads an object from a body and checks that it is of the type of the URL.
fn read_object(asked: &Asked, body: &[u8]) -> Result<Value, Refusal> {
    let object = match body_type(asked).as_str() {
        "application/json" | "" => parse_body(body, &asked.kind.kind, false)?,
        "application/yaml" => parse_body(body, &asked.kind.kind, true)?,
        protobuf::MEDIA_TYPE => {
            protobuf::decode(body).ok_or_else(|| Refusal::unsupported_body(BODIES))?
        }
        _ => return Err(Refusal::unsupported_body(BODIES)),
    };
    check_type(asked, &object)?;
    Ok(object)
}

fn check_type(asked: &Asked, object: &Value) -> Result<(), Refusal> {
    let kind = &asked.kind;
    if !object.is_object() {
        return Err(Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {})",
            kind.kind
        )));
    }
    let (version, of) = (text(object, "/apiVersion"), text(object, "/kind"));
    if !version.is_empty() && version != kind.api_version() {
        return Err(Refusal::bad_request(format!(
            "the API version in the data ({version}) does not match the expected API version ({})",
            kind.api_version()
        )));
    }
    if !of.is_empty() && of != kind.kind {
        return Err(Refusal::bad_request(format!(
            "{of} in version \"{}\" cannot be handled as a {}: converting ({}.{of}) to ({}.{}): unknown conversion",
            kind.version,
            kind.kind,
            kind.version,
            if kind.group.is_empty() { "core" } else { &kind.group },
            kind.kind
        )));
    }
    for data in ["data", "binaryData"] {
        let held = at(object, &format!("/{data}")).as_object();
        let wrong = held.into_iter().flatten().find(|(_, v)| !v.is_string() && !v.is_null());
        if let (Some((_, value)), "configmaps" | "secrets") = (wrong, kind.plural.as_str()) {
            let got = match value {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                Value::Object(_) | Value::Null | Value::String(_) => "object",
            };
            return Err(Refusal::bad_request(format!(
                "{0} in version \"v1\" cannot be handled as a {0}: json: cannot unmarshal {got} into Go struct field \
                 {0}.{data} of type string",
                kind.kind
            )));
        }
    }
    Ok(())
}

/// Answers with what was written.
fn respond(asked: &Asked, written: &Written) -> Result<Response, Refusal> {
    let renderer = Renderer::new(asked.kind.clone(), accepted(&asked.headers)?, &asked.query)?;
    let code = if written.created { StatusCode::CREATED } else { StatusCode::OK };
    let mut object = Value::clone(&written.object);
    if written.created && asked.query.dry_run() {
        super::json::child(&mut object, "metadata").remove("resourceVersion");
    }
    let mut response = renderer.respond(code, &renderer.one(&object));
    for warning in &written.warnings {
        if let Ok(value) = format!("299 - \"unknown field \\\"{warning}\\\"\"").parse() {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    if !written.changed || asked.query.dry_run() {
        response.extensions_mut().insert(ChangedNothing);
    }
    Ok(response)
}

/// `POST` to a collection.
pub(crate) fn create(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    let mut object = read_object(asked, body)?;
    if !asked.place.name.is_empty() {
        super::json::set_meta(&mut object, "name", asked.place.name.as_str());
    }
    if asked.kind.namespaced && asked.place.namespace.is_empty() {
        return Err(Refusal::method_not_allowed());
    }
    let manager = manager(asked);
    let written = api.cluster().write(asked.query.dry_run(), |tx| {
        write::create(tx, target(asked), object, &how(asked, &manager))
    })?;
    respond(asked, &written)
}

/// `PUT` to an object.
pub(crate) fn update(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    let object = read_object(asked, body)?;
    let manager = manager(asked);
    let written = api.cluster().write(asked.query.dry_run(), |tx| {
        write::update(tx, target(asked), object, &how(asked, &manager))
    })?;
    respond(asked, &written)
}

fn patch_kind(asked: &Asked) -> Result<PatchKind, Refusal> {
    match body_type(asked).as_str() {
        "application/merge-patch+json" => Ok(PatchKind::Merge),
        "application/json-patch+json" => Ok(PatchKind::Json),
        "application/strategic-merge-patch+json" if asked.kind.custom.is_none() => {
            Ok(PatchKind::Strategic)
        }
        "application/strategic-merge-patch+json" => Err(Refusal::unsupported_body(
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
        )),
        "application/apply-patch+yaml" => {
            if asked.query.text("fieldManager").is_empty() {
                let cause = Cause::required("fieldManager", "is required for apply patch");
                return Err(Refusal::invalid_options("PatchOptions", &cause));
            }
            Ok(PatchKind::Apply { force: asked.query.flag("force") })
        }
        _ => Err(Refusal::unsupported_patch()),
    }
}

/// `PATCH` of an object.
pub(crate) fn patch(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    let kind = patch_kind(asked)?;
    let applies = matches!(kind, PatchKind::Apply { .. });
    let patch = parse_body(body, &asked.kind.kind, applies)?;
    if applies {
        check_type(asked, &patch)?;
    }
    let manager = manager(asked);
    let written = api.cluster().write(asked.query.dry_run(), |tx| {
        write::patch(tx, target(asked), kind, &patch, &how(asked, &manager))
    })?;
    respond(asked, &written)
}

fn delete_options(asked: &Asked, body: &Bytes) -> Result<Value, Refusal> {
    let mut options = match (body.is_empty(), body_type(asked).as_str()) {
        (true, _) => json!({}),
        (false, protobuf::MEDIA_TYPE) => protobuf::decode(body).unwrap_or_else(|| json!({})),
        (false, _) => parse_body(body, "DeleteOptions", true)?,
    };
    for key in ["propagationPolicy"] {
        if !asked.query.text(key).is_empty() {
            options[key] = json!(asked.query.text(key));
        }
    }
    if let Ok(seconds) = asked.query.text("gracePeriodSeconds").parse::<u64>() {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    Ok(options)
}

fn is_dry(asked: &Asked, options: &Value) -> bool {
    asked.query.dry_run() || options["dryRun"] == json!(["All"])
}

/// `DELETE` of an object.
pub(crate) fn delete(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    let options = delete_options(asked, body)?;
    let manager = manager(asked);
    let deleted = api.cluster().write(is_dry(asked, &options), |tx| {
        write::delete(tx, target(asked), &options, &how(asked, &manager))
    })?;
    match deleted {
        Deleted::Waiting(object) => {
            let renderer =
                Renderer::new(asked.kind.clone(), accepted(&asked.headers)?, &asked.query)?;
            Ok(renderer.respond(StatusCode::OK, &renderer.one(&object)))
        }
        Deleted::Gone(object) => {
            let mut details =
                json!({ "name": name(&object), "kind": asked.kind.plural, "uid": uid(&object) });
            if !asked.kind.group.is_empty() {
                details["group"] = json!(asked.kind.group);
            }
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details,
            });
            Ok(answer(StatusCode::OK, "application/json", status.to_string()))
        }
    }
}

/// `DELETE` of all objects that a selector picks.
pub(crate) fn delete_collection(
    api: &Arc<Api>,
    asked: &Asked,
    body: &Bytes,
) -> Result<Response, Refusal> {
    if !asked.kind.verbs().contains(&"deletecollection") {
        return Err(Refusal::method_not_allowed());
    }
    let options = delete_options(asked, body)?;
    let manager = manager(asked);
    let query = &asked.query;
    let selector =
        Selector::parse(&asked.kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let (gone, revision) = api.cluster().write(is_dry(asked, &options), |tx| {
        let picked = read::select(tx, &asked.kind, &asked.place.namespace, &selector);
        for object in &picked {
            let at = super::json::namespace(object);
            let target = Target { namespace: at, name: name(object), ..target(asked) };
            write::delete(tx, target, &options, &how(asked, &manager))?;
        }
        Ok((picked, tx.revision()))
    })?;
    let renderer = Renderer::new(asked.kind.clone(), accepted(&asked.headers)?, query)?;
    Ok(renderer.respond(StatusCode::OK, &renderer.list(&gone, revision, &json!({}))))
}
