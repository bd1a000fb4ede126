//! What a request asks for: path, query, accepted format, body.

use std::collections::HashMap;

use axum::http::{HeaderMap, Method, Uri, header};
use serde_json::Value;

use super::refusal::Refusal;

/// The parameters of a query.
#[derive(Debug, Clone, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a URI's query.
    pub(crate) fn of(uri: &Uri) -> Self {
        let pairs = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self(pairs.into_owned().collect())
    }

    /// A parameter, empty where it is missing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.iter().rev().find(|(k, _)| k == key).map_or("", |(_, v)| v)
    }

    /// Whether a parameter is there, with or without a value.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// Every value of a parameter, in order.
    pub(crate) fn all(&self, key: &str) -> Vec<String> {
        self.0.iter().filter(|(k, _)| k == key).map(|(_, v)| v.clone()).collect()
    }

    /// Whether a parameter is true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        matches!(self.text(key), "true" | "1")
    }

    /// A number, none where it is missing or 0.
    pub(crate) fn number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let parsed = text.parse::<u64>().map_err(|_| {
            Refusal::bad_request(format!("strconv.ParseInt: parsing \"{text}\": invalid syntax"))
        })?;
        Ok((parsed > 0).then_some(parsed))
    }

    /// The resource version asked for; none if any will do.
    pub(crate) fn version(&self) -> Result<Option<u64>, Refusal> {
        let text = self.text("resourceVersion");
        if text.is_empty() {
            return Ok(None);
        }
        text.parse::<u64>().map(Some).map_err(|_| {
            Refusal::bad_request(format!(
                "invalid resource version: resourceVersion: Invalid value: \"{text}\": strconv.ParseUint: parsing \
                 \"{text}\": invalid syntax"
            ))
        })
    }

    /// Whether nothing is to be stored.
    pub(crate) fn dry_run(&self) -> bool {
        self.text("dryRun") == "All"
    }
}

/// A resource in a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The group, empty for the core group.
    pub(crate) group: String,
    /// The version.
    pub(crate) version: String,
    /// The plural.
    pub(crate) plural: String,
    /// The namespace, empty for all or none.
    pub(crate) namespace: String,
    /// The object's name, empty for the collection.
    pub(crate) name: String,
    /// The subresource, empty for none.
    pub(crate) subresource: String,
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Path {
    /// A resource or an object.
    Resource(Place),
    /// Anything else: discovery, health, version.
    Other(Vec<String>),
}

impl Path {
    /// Takes a path apart.
    pub(crate) fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let (group, version, rest) = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => ("", *version, rest),
            ["apis", group, version, rest @ ..] if !rest.is_empty() => (*group, *version, rest),
            other => return Self::Other(other.iter().map(|p| (*p).to_owned()).collect()),
        };
        let (namespace, plural, name, subresource) = match rest {
            ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
                ("", "namespaces", *name, *sub)
            }
            ["namespaces", space, plural] => (*space, *plural, "", ""),
            ["namespaces", space, plural, name] => (*space, *plural, *name, ""),
            ["namespaces", space, plural, name, sub, ..] => (*space, *plural, *name, *sub),
            [plural] => ("", *plural, "", ""),
            [plural, name] => ("", *plural, *name, ""),
            [plural, name, sub, ..] => ("", *plural, *name, *sub),
            [] => ("", "", "", ""),
        };
        Self::Resource(Place {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: plural.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            subresource: subresource.to_owned(),
        })
    }
}

/// The verb of a request on a resource.
pub(crate) fn verb(method: &Method, place: &Place, query: &Query) -> &'static str {
    let one = !place.name.is_empty();
    match (method.as_str(), one) {
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        (_, _) if query.flag("watch") => "watch",
        (_, true) => "get",
        (_, false) => "list",
    }
}

/// The form in which a client wants objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// A table, of this version of `meta.k8s.io`.
    Table(String),
    /// Their metadata.
    Partial,
}

/// The form and whether it is written as YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The form.
    pub(crate) form: Form,
    /// YAML in place of JSON.
    pub(crate) yaml: bool,
}

fn media(part: &str) -> (String, HashMap<String, String>) {
    let mut pieces = part.split(';').map(str::trim);
    let kind = pieces.next().unwrap_or_default().to_owned();
    let parameters = pieces
        .filter_map(|p| p.split_once('='))
        .map(|(k, v)| (k.trim().to_owned(), v.trim().to_owned()))
        .collect();
    (kind, parameters)
}

/// Reads `Accept`: the first form in it that the server has.
pub(crate) fn accepted(headers: &HeaderMap) -> Result<Accepted, Refusal> {
    let text = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*");
    for part in text.split(',') {
        let (kind, parameters) = media(part.trim());
        let yaml = kind == "application/yaml";
        if !yaml && !matches!(kind.as_str(), "application/json" | "*/*" | "application/*" | "") {
            continue;
        }
        let version = parameters.get("v").cloned().unwrap_or_else(|| "v1".to_owned());
        let form = match parameters.get("as").map(String::as_str) {
            None => Form::Object,
            Some("Table") => Form::Table(version),
            Some("PartialObjectMetadata" | "PartialObjectMetadataList") => Form::Partial,
            Some(_) => continue,
        };
        return Ok(Accepted { form, yaml });
    }
    Err(Refusal::not_acceptable())
}

/// Whether the client asks for aggregated discovery.
pub(crate) fn wants_aggregated(headers: &HeaderMap) -> bool {
    let text = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(',').any(|part| {
        let (_, parameters) = media(part.trim());
        parameters.get("as").is_some_and(|a| a == "APIGroupDiscoveryList")
            && parameters.get("v").is_some_and(|v| v == "v2")
    })
}

/// The media type of the body, without parameters.
pub(crate) fn content_type(headers: &HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media(text).0
}

/// Reads a body as JSON, or else as YAML where that is permitted.
pub(crate) fn parse_body(bytes: &[u8], kind: &str, yaml: bool) -> Result<Value, Refusal> {
    let error = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if yaml && let Ok(value) = serde_yaml_ng::from_slice::<Value>(bytes) {
        return Ok(value);
    }
    let shown = if bytes.is_empty() { "<empty>".into() } else { String::from_utf8_lossy(bytes) };
    let why =
        if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
    Err(Refusal::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; json parse error: \
         {why} ({shown})"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        match Path::of(path) {
            Path::Resource(place) => place,
            Path::Other(parts) => panic!("{parts:?} is no resource"),
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        let pod = place("/api/v1/namespaces/lab/pods/web/log");
        assert_eq!(
            (pod.namespace.as_str(), pod.name.as_str(), pod.subresource.as_str()),
            ("lab", "web", "log")
        );
        let space = place("/api/v1/namespaces/lab");
        assert_eq!((space.plural.as_str(), space.name.as_str()), ("namespaces", "lab"));
        let status = place("/api/v1/namespaces/lab/status");
        assert_eq!((status.name.as_str(), status.subresource.as_str()), ("lab", "status"));
        let deployments = place("/apis/apps/v1/deployments");
        assert_eq!(
            (deployments.group.as_str(), deployments.plural.as_str()),
            ("apps", "deployments")
        );
        assert!(matches!(Path::of("/apis/apps/v1"), Path::Other(_)));
    }

    #[test]
    fn the_first_form_that_the_server_has_is_taken() {
        let mut headers = HeaderMap::new();
        let accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,\
                      application/json";
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(accepted(&headers).unwrap().form, Form::Table("v1".to_owned()));
        headers.insert(
            header::ACCEPT,
            "application/vnd.kubernetes.protobuf,application/json".parse().unwrap(),
        );
        assert_eq!(accepted(&headers).unwrap().form, Form::Object);
        headers.insert(header::ACCEPT, "image/png".parse().unwrap());
        assert_eq!(accepted(&headers).unwrap_err().code(), 406);
    }
}
