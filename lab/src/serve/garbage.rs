//! Replies that no handler gave.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// What is sent in place of a body: broken as JSON, YAML, PEM and disk image.
const GARBAGE: &str = "{\"data\":[{\"\u{fffd}";
/// A gRPC frame whose length fits and whose message does not decode.
const GARBAGE_FRAME: [u8; 9] = [0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff];

/// gRPC's UNAVAILABLE.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// The reply of an overloaded server.
pub(super) fn unavailable(grpc: bool) -> Response {
    if !grpc {
        return (StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n").into_response();
    }
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", UNAVAILABLE);
    headers.insert("grpc-message", HeaderValue::from_static("injected fault"));
    response
}

/// A reply with its body, but nothing else, made unreadable.
pub(super) fn malformed(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    let grpc = parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"));
    let body = if grpc { Body::from(&GARBAGE_FRAME[..]) } else { Body::from(GARBAGE) };
    Response::from_parts(parts, body)
}
