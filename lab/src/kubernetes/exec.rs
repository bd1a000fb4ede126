//! The subresource `exec`: a WebSocket whose messages begin with their channel (1 stdout, 2 stderr, 3 the end's status).

use std::{sync::Arc, time::Duration};

use axum::{body::Body, response::Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{StatusCode, header, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    cilium,
    json::{list, text},
    objects::View,
    refusal::Refusal,
    route::Asked,
    server::Api,
};

/// What every WebSocket server appends to a client's key (RFC 6455).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The protocols that are spoken, the best first.
const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];
/// How long a client may take to close.
const GOODBYE: Duration = Duration::from_secs(2);

/// What a command came to.
#[derive(Debug, PartialEq)]
pub(super) enum Ended {
    /// It wrote this and succeeded.
    Ok(String),
    /// It wrote this to stderr and exited with a code.
    Failed(String, u8),
    /// It could not be started.
    NotStarted(String),
}

/// Runs a command in a container.
pub(crate) fn exec(
    api: &Arc<Api>,
    asked: &Asked,
    upgrade: Option<OnUpgrade>,
) -> Result<Response, Refusal> {
    let (space, named) = (asked.place.namespace.as_str(), asked.place.name.as_str());
    let command = asked.query.all("command");
    let ended = api.cluster().read(|objects| {
        let pod = objects
            .get("core/pods", space, named)
            .ok_or_else(|| Refusal::not_found(&asked.kind, named))?;
        let containers = list(&pod, "/spec/containers");
        let container = match asked.query.text("container") {
            "" => containers.first().map_or("", |c| text(c, "/name")),
            given => given,
        };
        if !containers.iter().any(|c| text(c, "/name") == container) {
            return Err(Refusal::bad_request(format!(
                "container {container} is not valid for pod {named}"
            )));
        }
        if text(&pod, "/status/containerStatuses/0/state/running/startedAt").is_empty() {
            return Err(Refusal::internal(format!(
                "unable to upgrade connection: container not found (\"{container}\")"
            )));
        }
        Ok(run(objects, &pod, &command))
    })?;
    let header = |name: header::HeaderName| {
        asked.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (key, offered) =
        (header(header::SEC_WEBSOCKET_KEY), header(header::SEC_WEBSOCKET_PROTOCOL));
    let protocol = PROTOCOLS.into_iter().find(|p| offered.split(',').any(|o| o.trim() == *p));
    let (Some(upgrade), Some(protocol), false) = (upgrade, protocol, key.is_empty()) else {
        return Err(Refusal::bad_request("unable to upgrade: missing upgrade headers in request"));
    };
    api.cluster().world().spawn(async move {
        // A client that goes away ends its own connection only.
        let Ok(upgraded) = upgrade.await else { return };
        let _ = talk(TokioIo::new(upgraded), &ended).await;
    });
    Ok(switch(&key, protocol))
}

fn switch(key: &str, protocol: &'static str) -> Response {
    let accept = STANDARD.encode(Sha1::digest(format!("{key}{GUID}").as_bytes()));
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, header::HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, header::HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, header::HeaderValue::from_static(protocol));
    if let Ok(accept) = accept.parse() {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// A whole message of the server.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => frame.push(short),
        (_, Ok(medium)) => {
            frame.push(126);
            frame.extend(medium.to_be_bytes());
        }
        (_, Err(_)) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn message(channel: u8, content: &[u8]) -> Vec<u8> {
    frame(2, &[&[channel], content].concat())
}

fn status(ended: &Ended) -> Value {
    match ended {
        Ended::Ok(_) => json!({ "metadata": {}, "status": "Success" }),
        Ended::Failed(_, code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": { "causes": [{ "reason": "ExitCode", "message": code.to_string() }] },
        }),
        Ended::NotStarted(why) => json!({
            "metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: {why}"), "details": { "causes": [{ "message": why }] },
        }),
    }
}

async fn talk(
    mut client: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    ended: &Ended,
) -> std::io::Result<()> {
    let mut all = Vec::new();
    match ended {
        Ended::Ok(output) if !output.is_empty() => all.extend(message(1, output.as_bytes())),
        Ended::Failed(output, _) if !output.is_empty() => all.extend(message(2, output.as_bytes())),
        Ended::Ok(_) | Ended::Failed(..) | Ended::NotStarted(_) => {}
    }
    all.extend(message(3, status(ended).to_string().as_bytes()));
    all.extend(frame(8, &1000_u16.to_be_bytes()));
    client.write_all(&all).await?;
    client.flush().await?;
    let mut rest = Vec::new();
    // Who does not close in time is cut off.
    let _ = tokio::time::timeout(GOODBYE, client.read_to_end(&mut rest)).await;
    Ok(())
}

/// What a command in a running container comes to.
fn run(view: &dyn View, pod: &Value, command: &[String]) -> Ended {
    let words: Vec<&str> = command.iter().map(String::as_str).collect();
    if let Some(ended) = cilium::exec(view, pod, &words) {
        return ended;
    }
    match words.as_slice() {
        ["true"] => Ended::Ok(String::new()),
        ["false"] => Ended::Failed(String::new(), 1),
        ["echo", rest @ ..] => Ended::Ok(format!("{}\n", rest.join(" "))),
        ["hostname"] => Ended::Ok(format!("{}\n", super::json::name(pod))),
        ["cat", "/proc/sys/net/ipv4/tcp_mtu_probing"] => Ended::Ok("1\n".to_owned()),
        other => {
            let program = other.first().copied().unwrap_or_default();
            Ended::NotStarted(format!(
                "error executing command in container: failed to exec in container: failed to start exec: OCI runtime \
                 exec failed: exec failed: unable to start container process: exec: \"{program}\": executable file not \
                 found in $PATH: unknown"
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_standard() {
        // The example of RFC 6455, section 1.3.
        let response = switch("dGhlIHNhbXBsZSBub25jZQ==", "v5.channel.k8s.io");
        assert_eq!(
            response.headers()[header::SEC_WEBSOCKET_ACCEPT],
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn frames_say_their_length() {
        assert_eq!(frame(2, b"ab"), [0x82, 2, b'a', b'b']);
        assert_eq!(frame(2, &[0; 300])[..4], [0x82, 126, 1, 44]);
        assert_eq!(frame(2, &vec![0; 70_000])[..4], [0x82, 127, 0, 0]);
    }
}
