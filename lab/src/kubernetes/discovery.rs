//! Discovery: which groups, versions and resources there are, and the little of `OpenAPI` that kubectl asks for.

use std::collections::BTreeMap;

use axum::response::Response;
use hyper::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::{
    objects::View,
    refusal::Refusal,
    registry::{self, ResourceType},
    render::answer,
    request::wants_aggregated,
};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The types of a group by version.
type Versions = Vec<(String, Vec<ResourceType>)>;

/// The types by group and version, in the order of the registry.
fn groups(view: &dyn View) -> Vec<(String, Versions)> {
    let mut order: Vec<(String, Versions)> = Vec::new();
    for kind in registry::all(view) {
        if !order.iter().any(|(group, _)| *group == kind.group) {
            order.push((kind.group.clone(), Vec::new()));
        }
        let place = order.iter().position(|(group, _)| *group == kind.group).unwrap_or_default();
        let versions = &mut order[place].1;
        match versions.iter_mut().find(|(v, _)| *v == kind.version) {
            Some((_, kinds)) => kinds.push(kind),
            None => versions.push((kind.version.clone(), vec![kind])),
        }
    }
    order
}

fn subresources(kind: &ResourceType) -> Vec<(&'static str, Value, &'static [&'static str])> {
    let own = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
    let mut all = Vec::new();
    if kind.group.is_empty() && kind.plural == "pods" {
        let core = |kind: &str| json!({ "group": "", "version": "v1", "kind": kind });
        all.push((
            "eviction",
            json!({ "group": "policy", "version": "v1", "kind": "Eviction" }),
            &["create"][..],
        ));
        all.push(("exec", core("PodExecOptions"), &["create", "get"][..]));
        all.push(("log", core("Pod"), &["get"][..]));
    }
    if kind.scale {
        let scale = json!({ "group": "autoscaling", "version": "v1", "kind": "Scale" });
        all.push(("scale", scale, &["get", "patch", "update"][..]));
    }
    if kind.status {
        all.push(("status", own, &["get", "patch", "update"][..]));
    }
    all
}

fn aggregated_resource(kind: &ResourceType) -> Value {
    let mut resource = json!({
        "resource": kind.plural, "responseKind": { "group": kind.group, "version": kind.version, "kind": kind.kind },
        "scope": if kind.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": kind.singular,
        "verbs": kind.verbs(),
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = json!(kind.short_names);
    }
    if !kind.categories.is_empty() {
        resource["categories"] = json!(kind.categories);
    }
    let subs: Vec<Value> = subresources(kind)
        .into_iter()
        .map(|(name, of, verbs)| json!({ "subresource": name, "responseKind": of, "verbs": verbs }))
        .collect();
    if !subs.is_empty() {
        resource["subresources"] = json!(subs);
    }
    resource
}

fn aggregated(view: &dyn View, core: bool, headers: &HeaderMap) -> Response {
    let items: Vec<Value> = groups(view)
        .into_iter()
        .filter(|(group, _)| group.is_empty() == core)
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|(version, kinds)| {
                    let resources: Vec<Value> = kinds.iter().map(aggregated_resource).collect();
                    json!({ "version": version, "resources": resources, "freshness": "Current" })
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({ "name": group }) };
            json!({ "metadata": metadata, "versions": versions })
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
    .to_string();
    let tag = format!("\"{}\"", hash(&body));
    let known =
        headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok()) == Some(tag.as_str());
    let mut response = if known {
        answer(StatusCode::NOT_MODIFIED, AGGREGATED, String::new())
    } else {
        answer(StatusCode::OK, AGGREGATED, body)
    };
    let set = response.headers_mut();
    set.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("public"));
    set.insert(header::VARY, header::HeaderValue::from_static("Accept"));
    if let Ok(tag) = tag.parse() {
        set.insert(header::ETAG, tag);
    }
    response
}

fn hash(body: &str) -> String {
    Sha512::digest(body.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02X}");
        text
    })
}

fn json_answer(body: &Value) -> Response {
    answer(StatusCode::OK, "application/json", body.to_string())
}

fn group_json(group: &str, versions: &[(String, Vec<ResourceType>)]) -> Value {
    let all: Vec<Value> = versions
        .iter()
        .map(|(version, _)| json!({ "groupVersion": format!("{group}/{version}"), "version": version }))
        .collect();
    json!({ "name": group, "versions": all, "preferredVersion": all.first() })
}

fn resource_list(group_version: &str, kinds: &[ResourceType]) -> Value {
    let mut resources = Vec::new();
    for kind in kinds {
        let mut one = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": kind.verbs(),
        });
        if !kind.short_names.is_empty() {
            one["shortNames"] = json!(kind.short_names);
        }
        if !kind.categories.is_empty() {
            one["categories"] = json!(kind.categories);
        }
        resources.push(one);
        for (name, of, verbs) in subresources(kind) {
            let mut sub = json!({
                "name": format!("{}/{name}", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": of["kind"], "verbs": verbs,
            });
            if of["group"] != json!(kind.group) {
                sub["group"] = of["group"].clone();
                sub["version"] = of["version"].clone();
            }
            resources.push(sub);
        }
    }
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources })
}

/// Answers `/api…` and `/apis…` above resources; `address` is the server's own.
pub(crate) fn discover(
    view: &dyn View,
    path: &[String],
    headers: &HeaderMap,
    address: &str,
) -> Result<Response, Refusal> {
    let parts: Vec<&str> = path.iter().map(String::as_str).collect();
    match parts.as_slice() {
        ["api"] if wants_aggregated(headers) => Ok(aggregated(view, true, headers)),
        ["apis"] if wants_aggregated(headers) => Ok(aggregated(view, false, headers)),
        ["api"] => Ok(json_answer(&json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
        }))),
        ["apis"] => {
            let all: Vec<Value> = groups(view)
                .iter()
                .filter(|(g, _)| !g.is_empty())
                .map(|(g, versions)| group_json(g, versions))
                .collect();
            Ok(json_answer(&json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": all })))
        }
        ["apis", group] => {
            let found =
                groups(view).into_iter().find(|(g, _)| g == group).ok_or(Refusal::NoSuchPath)?;
            let mut body = group_json(group, &found.1);
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            Ok(json_answer(&body))
        }
        ["api", version] => version_list(view, "", version),
        ["apis", group, version] => version_list(view, group, version),
        _ => Err(Refusal::NoSuchPath),
    }
}

fn version_list(view: &dyn View, group: &str, version: &str) -> Result<Response, Refusal> {
    let (_, versions) =
        groups(view).into_iter().find(|(g, _)| g == group).ok_or(Refusal::NoSuchPath)?;
    let (_, kinds) =
        versions.into_iter().find(|(v, _)| v == version).ok_or_else(Refusal::no_such_resource)?;
    let full = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    Ok(json_answer(&resource_list(&full, &kinds)))
}

/// One `OpenAPI` document: what kubectl's check of `fieldValidation` and `dryRun` reads.
fn document(kinds: &[ResourceType]) -> Value {
    let parameter =
        |name: &str| json!({ "name": name, "in": "query", "schema": { "type": "string" } });
    let parameters: Vec<Value> =
        ["dryRun", "fieldManager", "fieldValidation", "force"].map(parameter).to_vec();
    let mut paths = BTreeMap::new();
    for kind in kinds {
        let root = if kind.group.is_empty() {
            format!("/api/{}", kind.version)
        } else {
            format!("/apis/{}/{}", kind.group, kind.version)
        };
        let space = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
        let gvk = json!({ "group": kind.group, "version": kind.version, "kind": kind.kind });
        let operation = |action: &str, given: &[Value]| {
            json!({
                "operationId": format!("{action}{}", kind.kind), "parameters": given,
                "responses": { "200": { "description": "OK" } }, "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk,
            })
        };
        let collection = format!("{root}{space}/{}", kind.plural);
        paths.insert(collection.clone(), json!({ "post": operation("post", &parameters[..3]) }));
        let one = json!({
            "get": operation("get", &[]), "patch": operation("patch", &parameters),
            "put": operation("put", &parameters[..3]), "delete": operation("delete", &parameters[..1]),
        });
        paths.insert(format!("{collection}/{{name}}"), one);
    }
    let schemas: serde_json::Map<String, Value> = kinds
        .iter()
        .map(|kind| {
            let mut schema = kind.schema().cloned().unwrap_or_else(|| json!({ "type": "object" }));
            schema["x-kubernetes-group-version-kind"] =
                json!([{ "group": kind.group, "version": kind.version, "kind": kind.kind }]);
            (format!("lab.{}.{}.{}", kind.group, kind.version, kind.kind), schema)
        })
        .collect();
    json!({
        "openapi": "3.0.0", "info": { "title": "Kubernetes", "version": "1.36" }, "paths": paths,
        "components": { "schemas": schemas },
    })
}

/// Answers `/openapi/v3…`.
pub(crate) fn openapi(view: &dyn View, path: &[String], asked: &str) -> Result<Response, Refusal> {
    let mut documents = BTreeMap::new();
    for (group, versions) in groups(view) {
        for (version, kinds) in versions {
            let key = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            documents.insert(key, kinds);
        }
    }
    let key = path.get(2..).unwrap_or_default().join("/");
    if path.get(1).map(String::as_str) != Some("v3") {
        return Err(Refusal::NoSuchPath);
    }
    if key.is_empty() {
        let paths: BTreeMap<&String, Value> = documents
            .iter()
            .map(|(key, kinds)| {
                let url = format!("/openapi/v3/{key}?hash={}", hash(&document(kinds).to_string()));
                (key, json!({ "serverRelativeURL": url }))
            })
            .collect();
        return Ok(json_answer(&json!({ "paths": paths })));
    }
    let kinds = documents.get(&key).ok_or(Refusal::NoSuchPath)?;
    let body = document(kinds).to_string();
    let current = hash(&body);
    if !asked.is_empty() && asked != current {
        let mut moved = answer(StatusCode::MOVED_PERMANENTLY, "application/json", String::new());
        if let Ok(to) = format!("/openapi/v3/{key}?hash={current}").parse() {
            moved.headers_mut().insert(header::LOCATION, to);
        }
        return Ok(moved);
    }
    Ok(answer(StatusCode::OK, "application/json", body))
}
