//! Manifests: several YAML documents, in the order in which a cluster can take them.

use serde::Deserialize;
use serde_json::Value;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadManifest {
    /// A document is no YAML.
    #[error("document {number} is not YAML")]
    Yaml {
        /// Which one, from 1.
        number: usize,
        /// Why.
        source: serde_yaml_ng::Error,
    },
    /// A document is no object of Kubernetes.
    #[error("document {number} has no `apiVersion`, `kind` and `metadata.name`")]
    NoObject {
        /// Which one, from 1.
        number: usize,
    },
}

/// The objects of a manifest, those first that others need.
///
/// # Errors
///
/// A document that is not an object of Kubernetes; empty ones are left out.
pub(crate) fn objects(text: &str) -> Result<Vec<Value>, BadManifest> {
    let mut objects = Vec::new();
    for (i, document) in serde_yaml_ng::Deserializer::from_str(text).enumerate() {
        let number = i + 1;
        let value =
            Value::deserialize(document).map_err(|source| BadManifest::Yaml { number, source })?;
        if value.is_null() {
            continue;
        }
        if value["kind"] == "List" {
            objects.extend(value["items"].as_array().cloned().unwrap_or_default());
            continue;
        }
        let is_text = |path: &str| value.pointer(path).is_some_and(Value::is_string);
        if !["/apiVersion", "/kind", "/metadata/name"].into_iter().all(is_text) {
            return Err(BadManifest::NoObject { number });
        }
        objects.push(value);
    }
    objects.sort_by_key(place);
    Ok(objects)
}

/// The place of an object's kind in the order of making.
fn place(object: &Value) -> u8 {
    match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" | "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding"
        | "ConfigMap" | "Secret" | "PriorityClass" | "ResourceQuota" | "LimitRange" => 2,
        "Service" => 3,
        "Deployment" | "DaemonSet" | "StatefulSet" | "Job" | "CronJob" => 4,
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" | "NetworkPolicy" => 5,
        _ => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_in_the_order_of_making_and_empty_ones_are_left_out() {
        let text = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n---\n# c\n\
                    ---\napiVersion: v1\nkind: Namespace\nmetadata: {name: n}\n";
        let kinds: Vec<_> =
            objects(text).unwrap().iter().map(|object| object["kind"].clone()).collect();
        assert_eq!(kinds, ["Namespace", "Deployment"]);
    }

    #[test]
    fn what_is_no_object_is_named_by_its_number() {
        let error = objects("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\n---\na: 1\n");
        assert!(matches!(error, Err(BadManifest::NoObject { number: 2 })));
        assert!(matches!(objects("a: [1"), Err(BadManifest::Yaml { number: 1, .. })));
    }
}
