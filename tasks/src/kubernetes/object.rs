//! Reading objects without knowing their types: resources by name, conditions, rollouts.

use std::time::SystemTime;

use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

/// The resource of a group, version and kind whose plural is regular.
pub(crate) fn resource(group: &str, version: &str, kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// One entry of `status.conditions`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Condition<'a> {
    /// `True`, `False` or `Unknown`.
    pub(crate) status: &'a str,
    /// A word.
    pub(crate) reason: &'a str,
    /// A sentence.
    pub(crate) message: &'a str,
    /// When the status last changed.
    pub(crate) since: Option<SystemTime>,
}

/// A condition of an object, if it has one of this type.
pub(crate) fn condition<'a>(object: &'a DynamicObject, name: &str) -> Option<Condition<'a>> {
    let conditions = object.data.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    let text = |key: &str| found[key].as_str().unwrap_or_default();
    let since = time::OffsetDateTime::parse(
        text("lastTransitionTime"),
        &time::format_description::well_known::Rfc3339,
    );
    Some(Condition {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        since: since.ok().map(SystemTime::from),
    })
}

/// Whether a condition is `True`.
pub(crate) fn is_true(object: &DynamicObject, name: &str) -> bool {
    condition(object, name).is_some_and(|condition| condition.status == "True")
}

/// A number at a path of an object; 0 where there is none, as the API leaves zeros out.
pub(crate) fn number(object: &DynamicObject, path: &str) -> i64 {
    object.data.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether the controller of an object has seen its newest form.
pub(crate) fn is_observed(object: &DynamicObject) -> bool {
    number(object, "/status/observedGeneration") == object.metadata.generation.unwrap_or(0)
}

/// Whether a Deployment runs as it says, in full.
pub(crate) fn is_available(deployment: &DynamicObject) -> bool {
    let wanted = deployment.data.pointer("/spec/replicas").and_then(Value::as_i64).unwrap_or(1);
    is_observed(deployment)
        && number(deployment, "/status/updatedReplicas") >= wanted
        && number(deployment, "/status/availableReplicas") >= wanted
}

/// How far a DaemonSet is: ready pods and wanted ones; `None` before it was looked at.
pub(crate) fn rollout(daemon_set: &DynamicObject) -> Option<(i64, i64)> {
    let wanted = number(daemon_set, "/status/desiredNumberScheduled");
    let updated = number(daemon_set, "/status/updatedNumberScheduled");
    let ready = number(daemon_set, "/status/numberReady");
    (is_observed(daemon_set) && wanted > 0).then(|| (ready.min(updated), wanted))
}

/// The name of an object.
pub(crate) fn name(object: &DynamicObject) -> &str {
    object.metadata.name.as_deref().unwrap_or_default()
}

/// An annotation of an object.
pub(crate) fn annotation<'a>(object: &'a DynamicObject, key: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A text as `data` of a Secret holds it.
pub(crate) fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
