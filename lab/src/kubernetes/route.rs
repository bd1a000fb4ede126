//! One request after the other: who asks, may they, what for.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, Limited};
use hyper::{HeaderMap, Method, StatusCode, header, upgrade::OnUpgrade};
use serde_json::{Value, json};

use super::{
    authentication::User,
    authorization::{Wish, permits},
    discovery, eviction, exec, health, read,
    refusal::Refusal,
    registry::{self, ResourceType},
    render::{Renderer, answer},
    request::{self, Path, Place, Query, accepted, verb},
    reviews, scale,
    server::Api,
    watch, writing,
};
use crate::serve::Peer;

/// The largest body that is read.
const LARGEST: usize = 3 << 20;
/// How long a client may take to send its body.
const BODY: Duration = Duration::from_mins(1);

/// A request on a resource that was permitted.
pub(crate) struct Asked {
    pub(crate) kind: ResourceType,
    pub(crate) place: Place,
    pub(crate) verb: &'static str,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) user: User,
    pub(crate) method: Method,
    pub(crate) upgrade: Option<OnUpgrade>,
}

/// Handles every request of an API server.
pub(crate) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    answer_to(&api, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer_to(api: &Arc<Api>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, body) = request.into_parts();
    let upgrade = parts.extensions.remove::<OnUpgrade>();
    let certificates =
        parts.extensions.get::<Peer>().map(|p| p.certificates.clone()).unwrap_or_default();
    let token = parts.headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    let user = api.authority().authenticate(&certificates, token)?;
    let query = Query::of(&parts.uri);
    let path = parts.uri.path();
    match Path::of(path) {
        Path::Other(segments) => {
            let verb = parts.method.as_str().to_lowercase();
            let wish = Wish::Path { verb: &verb, path };
            if !api.cluster().read(|o| permits(o, &user, wish)) {
                return Err(Refusal::forbidden_path(&user.name, &verb, path));
            }
            other(api, &segments, &query, &parts.headers)
        }
        Path::Resource(place) => {
            let verb = verb(&parts.method, &place, &query);
            let kind = find(api, &place, verb, &user)?;
            let asked = Asked {
                kind,
                place,
                verb,
                query,
                headers: parts.headers,
                user,
                method: parts.method,
                upgrade,
            };
            resource(api, asked, body).await
        }
    }
}

/// Finds the type, and refuses what the user may not do; who may do nothing does not learn what there is.
fn find(api: &Api, place: &Place, verb: &str, user: &User) -> Result<ResourceType, Refusal> {
    let full = if place.subresource.is_empty() {
        place.plural.clone()
    } else {
        format!("{}/{}", place.plural, place.subresource)
    };
    let (permitted, kind) = api.cluster().read(|objects| {
        let wish = Wish::Resource {
            verb,
            group: &place.group,
            resource: &full,
            namespace: &place.namespace,
            name: &place.name,
        };
        let kind = registry::find(objects, &place.group, &place.version, &place.plural);
        (permits(objects, user, wish), kind)
    });
    if !permitted {
        let shown = kind.unwrap_or_else(|| unknown(place));
        let scope = if place.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", place.namespace)
        };
        let why = format!(
            "User \"{}\" cannot {verb} resource \"{full}\" in API group \"{}\" {scope}",
            user.name, place.group
        );
        return Err(Refusal::forbidden(&shown, &place.name, &why));
    }
    if let Some(kind) = kind {
        return Ok(kind);
    }
    // Only the groups that are compiled in know their own unknown resources.
    if registry::is_built_in_group(&place.group) {
        Err(Refusal::no_such_resource())
    } else {
        Err(Refusal::NoSuchPath)
    }
}

fn unknown(place: &Place) -> ResourceType {
    ResourceType {
        group: place.group.clone(),
        version: place.version.clone(),
        plural: place.plural.clone(),
        singular: String::new(),
        kind: String::new(),
        namespaced: !place.namespace.is_empty(),
        short_names: Vec::new(),
        categories: Vec::new(),
        status: false,
        scale: false,
        virtual_only: false,
        custom: None,
    }
}

fn other(
    api: &Api,
    segments: &[String],
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    match segments.first().map(String::as_str) {
        Some("healthz" | "livez" | "readyz") => {
            health::health(segments, query.has("verbose"), api.up())
        }
        Some("version") => Ok(answer(StatusCode::OK, "application/json", version().to_string())),
        Some("api" | "apis") => {
            api.cluster().read(|o| discovery::discover(o, segments, headers, api.address()))
        }
        Some("openapi") => {
            api.cluster().read(|o| discovery::openapi(o, segments, query.text("hash")))
        }
        None => {
            let paths = json!({ "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"] });
            Ok(answer(StatusCode::OK, "application/json", paths.to_string()))
        }
        Some(_) => Err(Refusal::NoSuchPath),
    }
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36", "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35", "gitVersion": "v1.36.1", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
    })
}

/// Reads a body, within a time and a size.
async fn read_body(body: Body) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, LARGEST).collect();
    match tokio::time::timeout(BODY, limited).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err(Refusal::status(
            413,
            "RequestEntityTooLarge",
            "Request entity too large: limit is 3145728",
        )),
        Err(_) => Err(Refusal::bad_request("the body did not arrive in time")),
    }
}

async fn resource(api: &Arc<Api>, asked: Asked, body: Body) -> Result<Response, Refusal> {
    let body = read_body(body).await?;
    if asked.kind.virtual_only {
        return reviews::review(api, &asked, &body);
    }
    match asked.place.subresource.as_str() {
        "" => {}
        "status" if asked.kind.status => {}
        "scale" if asked.kind.scale => return scale::scale(api, &asked, &body),
        "eviction" if asked.kind.plural == "pods" => return eviction::evict(api, &asked, &body),
        "exec" if asked.kind.plural == "pods" => {
            return exec::exec(api, &asked, asked.upgrade.clone());
        }
        "log" if asked.kind.plural == "pods" => return log(api, &asked),
        "finalize" if asked.kind.plural == "namespaces" => {}
        _ => return Err(Refusal::no_such_resource()),
    }
    let one = !asked.place.name.is_empty();
    match (asked.method.as_str(), one) {
        ("GET" | "HEAD", _) => reading(api, &asked),
        ("POST", false) => writing::create(api, &asked, &body),
        ("POST", true) if asked.kind.custom.is_some() => writing::create(api, &asked, &body),
        ("PUT", true) => writing::update(api, &asked, &body),
        ("PATCH", true) => writing::patch(api, &asked, &body),
        ("DELETE", true) => writing::delete(api, &asked, &body),
        ("DELETE", false) => writing::delete_collection(api, &asked, &body),
        _ => Err(Refusal::method_not_allowed()),
    }
}

fn reading(api: &Arc<Api>, asked: &Asked) -> Result<Response, Refusal> {
    let Asked { kind, place, query, .. } = asked;
    let renderer = Renderer::new(kind.clone(), accepted(&asked.headers)?, query)?;
    if asked.verb == "watch" {
        return watch::watch(api.cluster(), renderer, &place.namespace, query);
    }
    let shown = api.cluster().read(|objects| {
        if asked.verb == "get" {
            let object = read::get(objects, kind, (&place.namespace, &place.name))?;
            return Ok(renderer.one(&object));
        }
        let page = read::list(objects, kind, &place.namespace, query)?;
        Ok(renderer.list(&page.objects, page.revision, &page.more))
    })?;
    Ok(renderer.respond(StatusCode::OK, &shown))
}

/// What a pod's container wrote.
fn log(api: &Api, asked: &Asked) -> Result<Response, Refusal> {
    let Place { namespace, name, .. } = &asked.place;
    let text = api.cluster().read(|objects| {
        read::get(objects, &asked.kind, (namespace, name))?;
        let held = super::objects::View::get(objects, super::LOGS, namespace, name);
        Ok::<_, Refusal>(
            held.map(|log| super::json::text(&log, "/text").to_owned()).unwrap_or_default(),
        )
    })?;
    let lines: Vec<&str> = text.lines().collect();
    let tail = asked
        .query
        .number("tailLines")?
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(lines.len());
    let shown: String =
        lines.iter().skip(lines.len().saturating_sub(tail)).flat_map(|l| [*l, "\n"]).collect();
    Ok(answer(StatusCode::OK, "text/plain", shown))
}

/// The media type of a request's body.
pub(crate) fn body_type(asked: &Asked) -> String {
    request::content_type(&asked.headers)
}
