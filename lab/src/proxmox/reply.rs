//! Answers in the shape that Proxmox gives them: an envelope, and errors in the reason phrase.

use std::collections::BTreeMap;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::Response,
};
use hyper::ext::ReasonPhrase;
use serde_json::{Value, json};

use crate::{StoreError, serve::ChangedNothing};

/// What an endpoint answers.
pub(super) type Answer = Result<Reply, Refused>;

/// A successful answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reply {
    data: Value,
    total: Option<usize>,
    changed_nothing: bool,
}

impl From<Value> for Reply {
    fn from(data: Value) -> Self {
        Self { data, total: None, changed_nothing: false }
    }
}

impl Reply {
    /// The answer of calls that have nothing to say.
    pub(super) fn null() -> Self {
        Value::Null.into()
    }

    /// Adds the number of all rows to a part of them.
    pub(super) fn of(self, total: usize) -> Self {
        Self { total: Some(total), ..self }
    }

    /// Says that the call changed nothing, though its method writes.
    pub(super) fn unchanged(self) -> Self {
        Self { changed_nothing: true, ..self }
    }

    fn response(self) -> Response {
        let Self { data, total, changed_nothing } = self;
        let body = match total {
            Some(total) => json!({ "data": data, "total": total }),
            None => json!({ "data": data }),
        };
        let mut response = envelope(StatusCode::OK, &body);
        if changed_nothing {
            response.extensions_mut().insert(ChangedNothing);
        }
        response
    }
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// Not logged in: 401, late and without a body.
    Login(String),
    /// Wrong parameters: 400, a text for each.
    Parameters(BTreeMap<String, String>),
    /// A missing privilege: 403.
    Forbidden(String),
    /// Everything else that goes wrong inside: 500.
    Died(String),
    /// The HTTP server itself refuses: its own status, text as body.
    Protocol(u16, String),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Died(format!("unable to write file: {error}"))
    }
}

impl From<std::io::Error> for Refused {
    fn from(error: std::io::Error) -> Self {
        Self::Died(error.to_string())
    }
}

impl Refused {
    /// One wrong parameter.
    pub(super) fn parameter(name: &str, text: impl Into<String>) -> Self {
        Self::Parameters(BTreeMap::from([(name.to_owned(), text.into())]))
    }

    pub(super) fn died(text: impl Into<String>) -> Self {
        Self::Died(text.into())
    }

    /// A missing privilege on a path.
    pub(super) fn permission(path: &str, privilege: &str) -> Self {
        Self::Forbidden(format!("Permission check failed ({path}, {privilege})"))
    }

    /// The text alone, as a task's log has it.
    pub(super) fn into_text(self) -> String {
        match self {
            Self::Parameters(errors) => {
                let errors = errors.iter().map(|(name, error)| format!(" {name}: {error}"));
                format!("Parameter verification failed.{}", errors.collect::<String>())
            }
            Self::Login(text)
            | Self::Forbidden(text)
            | Self::Died(text)
            | Self::Protocol(_, text) => text,
        }
    }

    fn response(self) -> Response {
        match self {
            Self::Login(reason) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                with_reason(response, &reason)
            }
            Self::Parameters(errors) => {
                let errors: BTreeMap<String, String> =
                    errors.into_iter().map(|(name, text)| (name, format!("{text}\n"))).collect();
                let reason = "Parameter verification failed.";
                let body =
                    json!({ "data": null, "errors": errors, "message": format!("{reason}\n") });
                with_reason(envelope(StatusCode::BAD_REQUEST, &body), reason)
            }
            Self::Forbidden(text) => died(StatusCode::FORBIDDEN, &text),
            Self::Died(text) => died(StatusCode::INTERNAL_SERVER_ERROR, &text),
            Self::Protocol(status, text) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_IMPLEMENTED);
                let mut response = Response::new(Body::from(text.clone()));
                *response.status_mut() = status;
                with_reason(response, &text)
            }
        }
    }
}

fn died(status: StatusCode, text: &str) -> Response {
    let body = json!({ "data": null, "message": format!("{text}\n") });
    with_reason(envelope(status, &body), text.lines().next().unwrap_or_default())
}

fn envelope(status: StatusCode, body: &Value) -> Response {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let content = HeaderValue::from_static("application/json;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, content);
    response
}

fn with_reason(mut response: Response, reason: &str) -> Response {
    if let Ok(reason) = ReasonPhrase::try_from(reason.as_bytes()) {
        response.extensions_mut().insert(reason);
    }
    response
}

/// The response of an answer, with the headers that every response has.
pub(super) fn response(answer: Answer) -> Response {
    let mut response = answer.map_or_else(Refused::response, Reply::response);
    let failed = response.status().as_u16() >= 400;
    let headers: &mut HeaderMap = response.headers_mut();
    let fixed = [
        (header::SERVER, "pve-api-daemon/3.0"),
        (header::CACHE_CONTROL, "max-age=0"),
        (header::PRAGMA, "no-cache"),
        (header::CONNECTION, if failed { "close" } else { "Keep-Alive" }),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
