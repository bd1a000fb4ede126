//! Forwarding to other machines: `node` to one, `nodes` to many.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use http_body_util::BodyExt as _;
use prost::Message as _;
use tonic::{Code, Status};
use tower_service::Service as _;

use super::access::{is_forwarded, refused};
use crate::talos::{
    rack::Rack,
    wire::{common, google},
};

/// Length and compression flag before every message.
const PREFIX: usize = 5;
/// The largest request that is forwarded.
const LARGEST: usize = super::MESSAGE;
/// Methods that answer with a stream.
const STREAMS: [&str; 8] =
    ["Copy", "Dmesg", "EtcdSnapshot", "Events", "Kubeconfig", "List", "Logs", "Read"];

/// Which machines a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// The one that was dialled.
    Here,
    /// One other.
    One(String),
    /// Several, whose replies are put together.
    Many(Vec<String>),
}

/// Reads the headers that name machines.
pub(super) fn target(headers: &HeaderMap) -> Result<Target, Status> {
    let values = |name: &str| -> Vec<String> {
        let all = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        all.map(str::to_owned).collect()
    };
    let (one, many) = (values("node"), values("nodes"));
    if is_forwarded(headers) {
        return Ok(Target::Here);
    }
    if !many.is_empty() {
        return Ok(Target::Many(many));
    }
    match <[String; 1]>::try_from(one) {
        Ok([name]) => Ok(Target::One(name)),
        Err(none) if none.is_empty() => Ok(Target::Here),
        Err(_) => Err(Status::invalid_argument("node metadata must be single-valued")),
    }
}

/// Lets other machines answer.
pub(super) async fn forward(rack: &Arc<Rack>, request: Request, target: Target) -> Response {
    let (mut parts, body) = request.into_parts();
    let from = parts.uri.authority().map_or("unknown", |authority| authority.as_str());
    let from = HeaderValue::from_str(from).unwrap_or(HeaderValue::from_static("unknown"));
    parts.headers.insert("proxyfrom", from);
    parts.headers.remove("node");
    parts.headers.remove("nodes");
    let Ok(body) = axum::body::to_bytes(body, LARGEST).await else {
        return refused(Status::resource_exhausted("message larger than max"));
    };
    let again = || {
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.clone();
        *request.headers_mut() = parts.headers.clone();
        *request.extensions_mut() = parts.extensions.clone();
        request
    };
    let names = match target {
        Target::Here => Vec::new(),
        Target::One(name) => return ask(rack, &name, again()).await,
        Target::Many(names) => names,
    };
    let method = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let streamed = STREAMS.contains(&method);
    let mut replies = Vec::new();
    for name in names {
        let answer = collect(ask(rack, &name, again()).await).await;
        replies.extend(labelled(&name, answer, streamed));
    }
    if !streamed {
        replies = vec![Bytes::from(replies.concat())];
    }
    framed(&replies)
}

/// Asks one machine.
async fn ask(rack: &Rack, name: &str, request: Request) -> Response {
    let api = rack.read(|fleet| fleet.called(name)?.1.api.clone());
    match api {
        Some(mut api) => match api.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        None => refused(Status::unavailable(format!(
            "connection error: desc = \"transport: Error while dialing: dial tcp {name}:50000: i/o timeout\""
        ))),
    }
}

/// The messages of a reply, or how it failed.
async fn collect(response: Response) -> Result<Vec<Bytes>, Status> {
    if let Some(status) = Status::from_header_map(response.headers())
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let collected = response
        .into_body()
        .collect()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    if let Some(status) = collected.trailers().and_then(Status::from_header_map)
        && status.code() != Code::Ok
    {
        return Err(status);
    }
    let mut rest = collected.to_bytes();
    let mut messages = Vec::new();
    while rest.len() >= PREFIX {
        let length = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if rest.len() - PREFIX < length {
            break;
        }
        let mut message = rest.split_off(PREFIX);
        rest = message.split_off(length);
        messages.push(message);
    }
    Ok(messages)
}

/// Marks every message with the machine that it comes from.
///
/// Field 1 of a streamed message is its metadata; field 1 of any other is a list of messages whose
/// field 1 is. Protobuf lets the last of several win, so they are appended.
fn labelled(name: &str, answer: Result<Vec<Bytes>, Status>, streamed: bool) -> Vec<Bytes> {
    let mut label = common::Metadata { hostname: name.to_owned(), ..common::Metadata::default() };
    let messages = match answer {
        Ok(messages) => messages,
        Err(status) => {
            label.error =
                format!("rpc error: code = {:?} desc = {}", status.code(), status.message());
            label.status = Some(google::rpc::Status {
                code: i32::from(status.code()),
                message: status.message().to_owned(),
                details: Vec::new(),
            });
            // One machine of a unary call that has only metadata; of a stream, that itself.
            vec![if streamed { Bytes::new() } else { Bytes::from_static(&[0x0a, 0x00]) }]
        }
    };
    let label = field_one(&label.encode_to_vec());
    messages
        .into_iter()
        .map(|message| {
            if streamed {
                return Bytes::from([&message[..], &label].concat());
            }
            let inner = repeated(&message);
            let marked = inner.iter().map(|one| field_one(&[&one[..], &label].concat()));
            Bytes::from(marked.collect::<Vec<_>>().concat())
        })
        .collect()
}

/// The messages in field 1.
fn repeated(message: &[u8]) -> Vec<Vec<u8>> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Repeated {
        #[prost(bytes = "vec", repeated, tag = "1")]
        messages: Vec<Vec<u8>>,
    }
    Repeated::decode(message).map(|decoded| decoded.messages).unwrap_or_default()
}

/// Bytes as field 1 of a message.
fn field_one(value: &[u8]) -> Vec<u8> {
    let mut out = vec![0x0a];
    prost::encoding::encode_varint(value.len() as u64, &mut out);
    out.extend_from_slice(value);
    out
}

/// A successful reply of these messages.
fn framed(messages: &[Bytes]) -> Response {
    let mut body = Vec::new();
    for message in messages {
        body.push(0);
        body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend_from_slice(message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = http_body_util::Full::new(Bytes::from(body))
        .with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::new(body));
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}
