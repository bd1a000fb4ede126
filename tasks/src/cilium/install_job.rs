//! The Job that installs Cilium: the pinned cilium-cli image with the values that Talos needs.
//!
//! Sources: Talos' guide "Deploying Cilium CNI" (the Job method, and the values), the Helm chart
//! of Cilium 1.19 for the names of the values.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The namespace of Cilium and of its installer.
pub(super) const NAMESPACE: &str = "kube-system";

/// The installer of one version of Cilium.
const CLI: &str = "quay.io/cilium/cilium-cli:v0.18.9";

/// Capabilities that Talos permits to the agent: the chart's own less `SYS_MODULE` and `SYSLOG`.
const AGENT: &str = "{CHOWN,KILL,NET_ADMIN,NET_RAW,IPC_LOCK,SYS_ADMIN,SYS_RESOURCE,DAC_OVERRIDE,\
                     FOWNER,SETGID,SETUID}";

/// Capabilities that Talos permits to the container that cleans up.
const CLEAN: &str = "{NET_ADMIN,SYS_ADMIN,SYS_RESOURCE}";

/// The name of the Job for this version and these values; another one for every change, since
/// the template of a Job never changes.
pub(super) fn name(version: &str, mtu: u32) -> String {
    let digest = Sha256::digest(arguments(version, mtu).join("\n"));
    format!("cilium-install-{}", &base16ct::lower::encode_string(&digest)[..8])
}

/// Everything that is applied.
pub(super) fn objects(version: &str, mtu: u32) -> Vec<Value> {
    vec![service_account(), binding(), job(version, mtu)]
}

fn service_account() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": "cilium-install", "namespace": NAMESPACE },
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": "cilium-install" },
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{
            "kind": "ServiceAccount",
            "name": "cilium-install",
            "namespace": NAMESPACE,
        }],
    })
}

fn job(version: &str, mtu: u32) -> Value {
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": { "name": name(version, mtu), "namespace": NAMESPACE },
        "spec": {
            "backoffLimit": 10,
            "template": {
                "metadata": { "labels": { "app": "cilium-install" } },
                "spec": {
                    "restartPolicy": "OnFailure",
                    "serviceAccountName": "cilium-install",
                    // There is no network yet, so no other address than the machine's own.
                    "hostNetwork": true,
                    "tolerations": [{ "operator": "Exists" }],
                    "affinity": { "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{ "matchExpressions": [{
                                "key": "node-role.kubernetes.io/control-plane",
                                "operator": "Exists",
                            }] }],
                        },
                    } },
                    "containers": [{
                        "name": "cilium-install",
                        "image": CLI,
                        "env": [
                            {
                                "name": "KUBERNETES_SERVICE_HOST",
                                "valueFrom": { "fieldRef": {
                                    "apiVersion": "v1",
                                    "fieldPath": "status.podIP",
                                } },
                            },
                            { "name": "KUBERNETES_SERVICE_PORT", "value": "6443" },
                        ],
                        "command": arguments(version, mtu),
                    }],
                },
            },
        },
    })
}

fn arguments(version: &str, mtu: u32) -> Vec<String> {
    let values = [
        ("ipam.mode", "kubernetes".to_owned()),
        ("kubeProxyReplacement", "true".to_owned()),
        ("k8sServiceHost", "localhost".to_owned()),
        ("k8sServicePort", "7445".to_owned()),
        ("securityContext.capabilities.ciliumAgent", AGENT.to_owned()),
        ("securityContext.capabilities.cleanCiliumState", CLEAN.to_owned()),
        ("cgroup.autoMount.enabled", "false".to_owned()),
        ("cgroup.hostRoot", "/sys/fs/cgroup".to_owned()),
        ("nodePort.bindProtection", "true".to_owned()),
        ("defaultLBServiceIPAM", "none".to_owned()),
        ("MTU", mtu.to_string()),
    ];
    let mut arguments =
        vec!["cilium".to_owned(), "install".to_owned(), "--version".to_owned(), version.to_owned()];
    for (key, value) in values {
        arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_version_or_value_is_another_job() {
        assert_eq!(name("1.19.8", 0), name("1.19.8", 0));
        assert_ne!(name("1.19.8", 0), name("1.19.9", 0));
        assert_ne!(name("1.19.8", 0), name("1.19.8", 1420));
    }
}
