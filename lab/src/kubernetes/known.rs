//! Which fields the built-in types have, as far as the lab knows them.

use serde_json::Value;

use super::{
    json::{at, list},
    registry::ResourceType,
};

/// Fields of a pod's `spec`.
const POD: &str = "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig \
    dnsPolicy enableServiceLinks ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers \
    hostname hostnameOverride imagePullSecrets initContainers nodeName nodeSelector os overhead \
    preemptionPolicy priority priorityClassName readinessGates resourceClaims resources restartPolicy \
    runtimeClassName schedulerName schedulingGates securityContext serviceAccount serviceAccountName \
    setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds tolerations \
    topologySpreadConstraints volumes";
/// Fields of every object's metadata.
const METADATA: &str = "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp \
    finalizers generateName generation labels managedFields name namespace ownerReferences \
    resourceVersion selfLink uid";
/// Fields of a container.
const CONTAINER: &str = "args command env envFrom image imagePullPolicy lifecycle livenessProbe name \
    ports readinessProbe resizePolicy resources restartPolicy restartPolicyRules securityContext \
    startupProbe stdin stdinOnce terminationMessagePath terminationMessagePolicy tty volumeDevices \
    volumeMounts workingDir";
/// Group, plural, fields of the root, fields of `spec`.
const TYPES: &[(&str, &str, &str, &str)] = &[
    ("", "configmaps", "data binaryData immutable", ""),
    ("", "secrets", "data stringData immutable type", ""),
    ("", "pods", "spec status", POD),
    (
        "apps",
        "deployments",
        "spec status",
        "minReadySeconds paused progressDeadlineSeconds replicas revisionHistoryLimit selector strategy \
         template",
    ),
    (
        "apps",
        "daemonsets",
        "spec status",
        "minReadySeconds revisionHistoryLimit selector template updateStrategy",
    ),
    (
        "batch",
        "jobs",
        "spec status",
        "activeDeadlineSeconds backoffLimit backoffLimitPerIndex completionMode completions managedBy \
         manualSelector maxFailedIndexes parallelism podFailurePolicy podReplacementPolicy selector \
         successPolicy suspend template ttlSecondsAfterFinished",
    ),
];

/// The members of a value that are not among the known ones, as paths.
fn others(value: &Value, path: &str, known: &str) -> Vec<String> {
    value
        .as_object()
        .into_iter()
        .flat_map(|object| object.keys())
        .filter(|key| !known.split(' ').any(|k| k == key.as_str()))
        .map(|key| if path.is_empty() { key.clone() } else { format!("{path}.{key}") })
        .collect()
}

/// The fields that an object has and its built-in type has not; none for types that the lab does not know.
pub(super) fn unknown(kind: &ResourceType, object: &Value) -> Vec<String> {
    let found =
        TYPES.iter().find(|(group, plural, ..)| *group == kind.group && *plural == kind.plural);
    let Some((_, plural, root, spec)) = found else {
        return Vec::new();
    };
    let mut all = others(at(object, "/metadata"), "metadata", METADATA);
    all.extend(others(object, "", &format!("apiVersion kind metadata {root}")));
    if spec.is_empty() {
        return all;
    }
    all.extend(others(at(object, "/spec"), "spec", spec));
    let path = if *plural == "pods" { "spec" } else { "spec.template.spec" };
    let pod = at(object, &format!("/{}", path.replace('.', "/")));
    if *plural != "pods" {
        all.extend(others(pod, path, POD));
    }
    for (index, container) in list(pod, "/containers").iter().enumerate() {
        all.extend(others(container, &format!("{path}.containers[{index}]"), CONTAINER));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::{objects::Objects, registry::find};
    use serde_json::json;

    #[test]
    fn a_misspelt_field_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = crate::store::Store::open(&folder.path().join("world.redb")).unwrap();
        let objects = Objects::load(&store, "e").unwrap();
        let kind = find(&objects, "apps", "v1", "deployments").unwrap();
        let object = json!({ "metadata": {}, "spec": {
            "replicaz": 1, "template": { "spec": { "containers": [{ "name": "a", "imagee": "b" }] } },
        } });
        assert_eq!(
            unknown(&kind, &object),
            ["spec.replicaz", "spec.template.spec.containers[0].imagee"]
        );
    }
}
