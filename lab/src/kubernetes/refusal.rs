//! What the API server answers when it refuses: `Status` objects with the texts of the real one.

use axum::response::{IntoResponse, Response};
use http_body_util::Full;
use hyper::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::registry::ResourceType;

/// One thing wrong with an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldManagerConflict` …
    pub(crate) reason: &'static str,
    /// The path of the field, `spec.size`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) message: String,
}

impl Cause {
    /// `FIELD: Required value`.
    pub(crate) fn required(field: impl Into<String>, more: &str) -> Self {
        let message = if more.is_empty() {
            "Required value".to_owned()
        } else {
            format!("Required value: {more}")
        };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// `FIELD: Invalid value: VALUE: MESSAGE`.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, message: &str) -> Self {
        Self {
            reason: "FieldValueInvalid",
            field: field.into(),
            message: format!("Invalid value: {value}: {message}"),
        }
    }

    fn json(&self) -> Value {
        json!({ "reason": self.reason, "message": self.message, "field": self.field })
    }
}

/// A refused request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// A `Status` object.
    Status(Box<Failure>),
    /// `404 page not found` as text, for paths and groups that nobody serves.
    NoSuchPath,
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Failure {
    code: u16,
    reason: &'static str,
    message: String,
    details: Option<Map<String, Value>>,
}

impl Refusal {
    pub(super) fn status(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self::Status(Box::new(Failure { code, reason, message: message.into(), details: None }))
    }

    fn with_details(mut self, details: Value) -> Self {
        if let (Self::Status(failure), Value::Object(map)) = (&mut self, details) {
            failure.details = Some(map);
        }
        self
    }

    /// The HTTP status code.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::Status(failure) => failure.code,
            Self::NoSuchPath => 404,
        }
    }

    /// What went wrong, in the server's words.
    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Status(failure) => &failure.message,
            Self::NoSuchPath => "404 page not found",
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::status(400, "BadRequest", message)
    }

    pub(crate) fn unauthorized() -> Self {
        Self::status(401, "Unauthorized", "Unauthorized")
    }

    pub(crate) fn not_found(kind: &ResourceType, name: &str) -> Self {
        Self::status(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified()))
            .with_details(details(kind, Some(name)))
    }

    /// A known group without this version or resource.
    pub(crate) fn no_such_resource() -> Self {
        Self::status(404, "NotFound", "the server could not find the requested resource")
            .with_details(json!({}))
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::status(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(json!({}))
    }

    pub(crate) fn not_acceptable() -> Self {
        let message = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                       application/vnd.kubernetes.protobuf, application/json;stream=watch, \
                       application/vnd.kubernetes.protobuf;stream=watch";
        Self::status(406, "NotAcceptable", message).with_details(json!({}))
    }

    pub(crate) fn already_exists(kind: &ResourceType, name: &str) -> Self {
        Self::status(
            409,
            "AlreadyExists",
            format!("{} \"{name}\" already exists", kind.qualified()),
        )
        .with_details(details(kind, Some(name)))
    }

    /// A stale `resourceVersion`.
    pub(crate) fn modified(kind: &ResourceType, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes \
             to the latest version and try again",
            kind.qualified()
        );
        Self::status(409, "Conflict", message).with_details(details(kind, Some(name)))
    }

    /// A precondition of a deletion that does not hold.
    pub(crate) fn precondition(kind: &ResourceType, name: &str, what: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {what}", kind.kind);
        Self::status(409, "Conflict", message)
            .with_details(json!({ "name": name, "kind": kind.kind }))
    }

    /// An update of an object that has another uid.
    pub(crate) fn other_uid(kind: &ResourceType, held: &Value, wanted: &str) -> Self {
        let (space, name) = (super::json::namespace(held), super::json::name(held));
        let key = [kind.plural.as_str(), space, name]
            .into_iter()
            .filter(|p| !p.is_empty())
            .collect::<Vec<_>>();
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": StorageError: invalid object, Code: 4, Key: /registry/{}, \
             ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object \
             meta: {}",
            kind.qualified(),
            key.join("/"),
            super::json::uid(held)
        );
        Self::status(409, "Conflict", message).with_details(details(kind, Some(name)))
    }

    /// An eviction that a disruption budget does not permit.
    pub(crate) fn disruption(budget: &str, needs: usize, has: usize) -> Self {
        let cause = format!(
            "The disruption budget {budget} needs {needs} healthy pods and has {has} currently"
        );
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        Self::status(429, "TooManyRequests", message)
            .with_details(json!({ "causes": [{ "reason": "DisruptionBudget", "message": cause }] }))
    }

    /// Fields of an apply that other managers own: (manager, path of the field).
    pub(crate) fn apply_conflict(conflicts: &[(String, String)]) -> Self {
        let mut lines: Vec<String> = Vec::new();
        let mut last: Option<&str> = None;
        for (manager, path) in conflicts {
            if last != Some(manager) {
                lines.push(format!("conflicts with {manager}:"));
                last = Some(manager);
            }
            lines.push(format!("- {path}"));
        }
        let body = match conflicts {
            [(manager, path)] => format!("conflict with {manager}: {path}"),
            _ => lines.join("\n"),
        };
        let plural = if conflicts.len() == 1 { "" } else { "s" };
        let causes: Vec<Value> = conflicts
            .iter()
            .map(|(manager, path)| {
                json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {manager}"), "field": path })
            })
            .collect();
        Self::status(
            409,
            "Conflict",
            format!("Apply failed with {} conflict{plural}: {body}", conflicts.len()),
        )
        .with_details(json!({ "causes": causes }))
    }

    /// An object that breaks rules.
    pub(crate) fn invalid(kind: &ResourceType, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<String> =
            causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let joined = match texts.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let full = if kind.group.is_empty() {
            kind.kind.clone()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let mut more = json!({ "kind": kind.kind, "causes": causes.iter().map(Cause::json).collect::<Vec<_>>() });
        if !name.is_empty() {
            more["name"] = json!(name);
        }
        if !kind.group.is_empty() {
            more["group"] = json!(kind.group);
        }
        Self::status(422, "Invalid", format!("{full} \"{name}\" is invalid: {joined}"))
            .with_details(more)
    }

    /// Options of a list or a patch that do not go together.
    pub(crate) fn invalid_options(options: &str, cause: &Cause) -> Self {
        let message =
            format!("{options}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        Self::status(422, "Invalid", message).with_details(
            json!({ "group": "meta.k8s.io", "kind": options, "causes": [cause.json()] }),
        )
    }

    /// A JSON patch that could not be carried out.
    pub(crate) fn unprocessable() -> Self {
        Self::status(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with_details(json!({}))
    }

    /// Not permitted to touch a resource.
    pub(crate) fn forbidden(kind: &ResourceType, name: &str, why: &str) -> Self {
        let named = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        Self::status(403, "Forbidden", format!("{}{named} is forbidden: {why}", kind.qualified()))
            .with_details(details(kind, (!name.is_empty()).then_some(name)))
    }

    /// As [`Refusal::forbidden`], in a namespace that goes.
    pub(crate) fn terminating(kind: &ResourceType, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let refused = Self::forbidden(kind, name, &why);
        let mut more = details(kind, Some(name));
        more["causes"] = json!([{
            "reason": "NamespaceTerminating", "field": "metadata.namespace",
            "message": format!("namespace {namespace} is being terminated"),
        }]);
        refused.with_details(more)
    }

    /// Not permitted to read a path.
    pub(crate) fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        Self::status(
            403,
            "Forbidden",
            format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\""),
        )
        .with_details(json!({}))
    }

    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::status(410, "Expired", message)
    }

    pub(crate) fn unsupported_patch() -> Self {
        Self::status(415, "UnsupportedMediaType", "415: Unsupported Media Type")
            .with_details(json!({}))
    }

    pub(crate) fn unsupported_body(accepted: &str) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {accepted}"
        );
        Self::status(415, "UnsupportedMediaType", message)
    }

    /// An apply whose types do not fit the schema: the real server answers 500 without a reason.
    pub(crate) fn untyped(message: impl Into<String>) -> Self {
        Self::status(500, "", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::status(500, "InternalError", message)
    }

    /// A resourceVersion that is still to come.
    pub(crate) fn too_large_version(asked: u64, current: u64) -> Self {
        Self::status(504, "Timeout", format!("Timeout: Too large resource version: {asked}, current: {current}"))
            .with_details(json!({
                "causes": [{ "reason": "ResourceVersionTooLarge", "message": "Too large resource version" }],
                "retryAfterSeconds": 1,
            }))
    }

    /// The body: a `Status` object.
    pub(crate) fn body(&self) -> Value {
        let Self::Status(failure) = self else {
            return Value::Null;
        };
        let mut body = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": failure.message, "code": failure.code,
        });
        if !failure.reason.is_empty() {
            body["reason"] = json!(failure.reason);
        }
        if let Some(details) = &failure.details {
            body["details"] = Value::Object(details.clone());
        }
        body
    }
}

fn details(kind: &ResourceType, name: Option<&str>) -> Value {
    let mut details = json!({ "kind": kind.plural });
    if let Some(name) = name {
        details["name"] = json!(name);
    }
    if !kind.group.is_empty() {
        details["group"] = json!(kind.group);
    }
    details
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (kind, body) = match &self {
            Self::Status(_) => ("application/json", self.body().to_string()),
            Self::NoSuchPath => ("text/plain; charset=utf-8", "404 page not found\n".to_owned()),
        };
        let mut response = Response::new(axum::body::Body::new(Full::from(body)));
        *response.status_mut() = code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
        headers
            .insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-cache, private"));
        if code == StatusCode::GATEWAY_TIMEOUT {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
