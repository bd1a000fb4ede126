//! Getting and listing objects.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::{
    json::{name, namespace},
    objects::{Objects, View},
    refusal::Refusal,
    registry::ResourceType,
    request::Query,
    selector::Selector,
};

/// What a client is told whose `continue` is of a forgotten revision.
const STALE_TOKEN: &str = "The provided continue parameter is too old to display a consistent list result. You can start a \
    new list without the continue parameter, or use the continue token in this response to retrieve the remainder of \
    the results. Continuing with the provided token results in an inconsistent list - objects that were created, \
    modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Page {
    /// Its objects.
    pub(crate) objects: Vec<Arc<Value>>,
    /// The revision it is of.
    pub(crate) revision: u64,
    /// `continue` and `remainingItemCount`, if there is more.
    pub(crate) more: Value,
}

/// One object.
pub(crate) fn get(
    objects: &Objects,
    kind: &ResourceType,
    at: (&str, &str),
) -> Result<Arc<Value>, Refusal> {
    objects.get(&kind.resource(), at.0, at.1).ok_or_else(|| Refusal::not_found(kind, at.1))
}

/// The objects of a type, in one namespace or all, that a selector picks.
pub(crate) fn select(
    view: &dyn View,
    kind: &ResourceType,
    space: &str,
    selector: &Selector,
) -> Vec<Arc<Value>> {
    let resource = kind.resource();
    let all = if space.is_empty() { view.list(&resource) } else { view.list_in(&resource, space) };
    all.into_iter().filter(|o| selector.matches(o)).collect()
}

/// A list, or a page of it.
pub(crate) fn list(
    objects: &Objects,
    kind: &ResourceType,
    space: &str,
    query: &Query,
) -> Result<Page, Refusal> {
    let selector = Selector::parse(kind, query.text("labelSelector"), query.text("fieldSelector"))?;
    let revision = objects.revision();
    match (query.version()?, query.text("resourceVersionMatch")) {
        (Some(asked), "Exact") if asked != revision => {
            return Err(Refusal::expired("The resourceVersion for the provided list is too old."));
        }
        (Some(asked), _) if asked > revision => {
            return Err(Refusal::too_large_version(asked, revision));
        }
        _ => {}
    }
    let mut all = select(objects, kind, space, &selector);
    let (mut shown, start) = (revision, query.text("continue"));
    if !start.is_empty() {
        let (version, after) = read_token(start)?;
        if version < objects.floor() {
            return Err(Refusal::expired(STALE_TOKEN));
        }
        shown = version;
        all.retain(|o| (namespace(o), name(o)) > (after.0.as_str(), after.1.as_str()));
    }
    let limit = query.number("limit")?.and_then(|l| usize::try_from(l).ok()).unwrap_or(usize::MAX);
    let mut more = json!({});
    if all.len() > limit {
        let left = all.len() - limit;
        all.truncate(limit);
        if let Some(last) = all.last() {
            more = json!({ "continue": token(shown, last), "remainingItemCount": left });
        }
    }
    Ok(Page { objects: all, revision: shown, more })
}

fn token(revision: u64, last: &Value) -> String {
    let start = format!("{}/{}", namespace(last), name(last));
    URL_SAFE_NO_PAD
        .encode(json!({ "v": "meta.k8s.io/v1", "rv": revision, "start": start }).to_string())
}

fn read_token(token: &str) -> Result<(u64, (String, String)), Refusal> {
    let bad = || Refusal::bad_request("invalid continue token: continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| bad())?;
    let revision = value["rv"].as_u64().ok_or_else(bad)?;
    let (space, named) = value["start"].as_str().and_then(|s| s.split_once('/')).ok_or_else(bad)?;
    Ok((revision, (space.to_owned(), named.to_owned())))
}
