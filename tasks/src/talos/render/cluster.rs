//! The part `cluster` of the main document.

use serde_json::{Value, json};

use super::Plan;

pub(super) fn cluster(plan: &Plan<'_>) -> Value {
    let bundle = plan.bundle;
    let mut cluster = json!({
        "id": bundle.cluster.id,
        "secret": bundle.cluster.secret,
        "clusterName": plan.cluster,
        "controlPlane": { "endpoint": endpoint(plan) },
        "network": {
            "dnsDomain": "cluster.local",
            "podSubnets": [plan.choices.pods],
            "serviceSubnets": [plan.choices.services],
            "cni": { "name": "none" },
        },
        "token": bundle.secrets.bootstraptoken,
        "ca": plan.authority(&bundle.certs.k8s),
        "proxy": { "disabled": true },
        "discovery": {
            "enabled": true,
            "registries": { "kubernetes": { "disabled": true }, "service": {} },
        },
    });
    if plan.is_controller() {
        for (key, value) in controller(plan) {
            cluster[key] = value;
        }
    }
    cluster
}

/// The endpoint as Talos writes it: without the final slash that a URL always has.
fn endpoint(plan: &Plan<'_>) -> String {
    plan.choices.endpoint.as_str().trim_end_matches('/').to_owned()
}

/// What only controllers have.
fn controller(plan: &Plan<'_>) -> [(&'static str, Value); 7] {
    let certs = &plan.bundle.certs;
    [
        ("secretboxEncryptionSecret", json!(plan.bundle.secrets.secretboxencryptionsecret)),
        ("aggregatorCA", plan.authority(&certs.k8saggregator)),
        ("serviceAccount", json!({ "key": certs.k8sserviceaccount.key })),
        ("apiServer", api_server(plan)),
        ("controllerManager", json!({ "image": plan.image("kube-controller-manager") })),
        ("scheduler", json!({ "image": plan.image("kube-scheduler") })),
        (
            "etcd",
            json!({
                "ca": plan.authority(&certs.etcd),
                "advertisedSubnets": plan.own_subnets(),
            }),
        ),
    ]
}

fn api_server(plan: &Plan<'_>) -> Value {
    json!({
        "image": plan.image("kube-apiserver"),
        "certSANs": plan.names(),
        "admissionControl": [{
            "name": "PodSecurity",
            "configuration": {
                "apiVersion": "pod-security.admission.config.k8s.io/v1alpha1",
                "kind": "PodSecurityConfiguration",
                "defaults": {
                    "enforce": "baseline",
                    "enforce-version": "latest",
                    "audit": "restricted",
                    "audit-version": "latest",
                    "warn": "restricted",
                    "warn-version": "latest",
                },
                "exemptions": { "namespaces": ["kube-system"] },
            },
        }],
        "auditPolicy": {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "rules": [{ "level": "Metadata" }],
        },
    })
}
