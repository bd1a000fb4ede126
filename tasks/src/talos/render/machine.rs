//! The part `machine` of the main document.

use serde_json::{Value, json};

use super::Plan;

/// Local port of the balancer that Cilium and the kubelet reach the API by.
pub(super) const KUBE_PRISM: u16 = 7445;
/// Keeps load balancers from sending traffic to controllers; Talos' generator sets it too.
const NO_BALANCING: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

pub(super) fn machine(plan: &Plan<'_>) -> Value {
    let certs = &plan.bundle.certs;
    let mut machine = json!({
        "type": if plan.is_controller() { "controlplane" } else { "worker" },
        "token": plan.bundle.trustdinfo.token,
        "ca": plan.authority(&certs.os),
        "certSANs": plan.names(),
        "kubelet": {
            "image": format!("ghcr.io/siderolabs/kubelet:{}", plan.talos.kubernetes),
            "defaultRuntimeSeccompProfileEnabled": true,
            "disableManifestsDirectory": true,
            "nodeIP": { "validSubnets": plan.own_subnets() },
        },
        "install": {
            "disk": plan.choices.disk,
            "image": plan.choices.installer,
            "wipe": false,
            "grubUseUKICmdline": true,
        },
        "features": {
            "diskQuotaSupport": true,
            "kubePrism": { "enabled": true, "port": KUBE_PRISM },
            "hostDNS": { "enabled": true, "forwardKubeDNSToHost": true },
        },
    });
    if plan.is_controller() {
        machine["nodeLabels"] = json!({ NO_BALANCING: "" });
    }
    machine
}
