//! The objects of the chart, and the release that records it.

use std::io::{Read as _, Write as _};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde_json::{Value, json};

use super::NAMESPACE;
use crate::kubernetes::{
    controllers::Turn,
    json::{at, child, list, name, number, set_meta, text},
    objects::{Tx, View},
};

/// Linux capabilities that the chart gives the agent by default.
const AGENT: &[&str] = &[
    "CHOWN",
    "KILL",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "SYS_MODULE",
    "SYS_ADMIN",
    "SYS_RESOURCE",
    "DAC_OVERRIDE",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SYSLOG",
];
const CLEAN: &[&str] = &["NET_ADMIN", "SYS_MODULE", "SYS_ADMIN", "SYS_RESOURCE"];

/// A deployed release.
pub(super) struct Release {
    pub(super) revision: i64,
    pub(super) values: Value,
}

/// The newest release.
pub(super) fn release(tx: &Tx<'_>) -> Option<Release> {
    let secrets = tx.list_in("core/secrets", NAMESPACE);
    let newest = secrets
        .iter()
        .filter(|s| {
            text(s, "/type") == "helm.sh/release.v1"
                && name(s).starts_with("sh.helm.release.v1.cilium.")
        })
        .max_by_key(|s| revision(s))?;
    let values =
        unpack(text(newest, "/data/release")).map(|r| r["config"].clone()).unwrap_or_default();
    Some(Release { revision: revision(newest), values })
}

fn revision(secret: &Value) -> i64 {
    text(secret, "/metadata/labels/version").parse().unwrap_or_default()
}

/// A release as Helm stores it: JSON, gzipped, base64; and once more base64 as all data of Secrets.
fn pack(release: &Value) -> String {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let written = packed.write_all(release.to_string().as_bytes()).and_then(|()| packed.finish());
    let bytes = written.expect("writing to memory does not fail");
    STANDARD.encode(STANDARD.encode(bytes))
}

fn unpack(text: &str) -> Option<Value> {
    let bytes = STANDARD.decode(STANDARD.decode(text).ok()?).ok()?;
    let mut plain = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut plain).ok()?;
    serde_json::from_str(&plain).ok()
}

/// Makes or changes the chart's objects.
pub(super) fn deploy(turn: &mut Turn<'_, '_>, version: &str, values: &Value, revision: i64) {
    let mut objects = accounts();
    objects.push(("core/configmaps", config(values)));
    objects.push(("apps/daemonsets", agent(version, values)));
    if at(values, "/envoy/enabled") != &json!(false) {
        objects.push(("apps/daemonsets", envoy(version)));
    }
    objects.push(("apps/deployments", operator(version, values)));
    for (resource, object) in objects {
        put(turn, resource, object);
    }
    for old in turn.tx.list_in("core/secrets", NAMESPACE) {
        if text(&old, "/type") == "helm.sh/release.v1"
            && text(&old, "/metadata/labels/name") == "cilium"
        {
            turn.change("core/secrets", &old, |s| {
                s["metadata"]["labels"]["status"] = json!("superseded");
            });
        }
    }
    let release = json!({
        "name": "cilium", "namespace": NAMESPACE, "version": revision, "config": values, "manifest": "",
        "info": { "status": "deployed", "description": "Install complete", "last_deployed": crate::kubernetes::json::now() },
        "chart": { "metadata": { "name": "cilium", "version": version, "appVersion": version, "apiVersion": "v2" } },
    });
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "helm.sh/release.v1",
        "metadata": {
            "name": format!("sh.helm.release.v1.cilium.v{revision}"), "namespace": NAMESPACE,
            "labels": {
                "name": "cilium", "owner": "helm", "status": "deployed", "version": revision.to_string(),
            },
        },
        "data": { "release": pack(&release) },
    });
    turn.tx.make("core/secrets", secret);
}

/// Makes an object of the chart, or lays it over the one that is there.
fn put(turn: &mut Turn<'_, '_>, resource: &str, mut object: Value) {
    object["metadata"]["labels"]["app.kubernetes.io/managed-by"] = json!("Helm");
    object["metadata"]["annotations"] = json!({ "meta.helm.sh/release-name": "cilium", "meta.helm.sh/release-namespace": NAMESPACE });
    let namespace = text(&object, "/metadata/namespace").to_owned();
    let Some(held) = turn.tx.get(resource, &namespace, name(&object)) else {
        turn.tx.make(resource, object);
        return;
    };
    turn.change(resource, &held, |h| {
        if h["spec"] != object["spec"] {
            let generation = number(h, "/metadata/generation") + 1;
            set_meta(h, "generation", generation);
        }
        for key in ["spec", "data", "rules", "subjects"] {
            if let Some(new) = object.get(key) {
                h[key] = new.clone();
            }
        }
        child(h, "metadata").insert("labels".to_owned(), object["metadata"]["labels"].clone());
    });
}

fn accounts() -> Vec<(&'static str, Value)> {
    let mut all = Vec::new();
    for named in ["cilium", "cilium-operator"] {
        all.push((
            "core/serviceaccounts",
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": named, "namespace": NAMESPACE } }),
        ));
        all.push((
            "rbac.authorization.k8s.io/clusterroles",
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": { "name": named },
                "rules": [{ "apiGroups": ["cilium.io"], "resources": ["*"], "verbs": ["*"] }],
            }),
        ));
        all.push((
            "rbac.authorization.k8s.io/clusterrolebindings",
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
                "metadata": { "name": named },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": named },
                "subjects": [{ "kind": "ServiceAccount", "name": named, "namespace": NAMESPACE }],
            }),
        ));
    }
    all
}

/// A value as the agent's configuration writes it.
fn word(value: &Value, default: &str) -> Value {
    match value {
        Value::Null => json!(default),
        Value::String(text) => json!(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            json!(value.to_string())
        }
    }
}

fn config(values: &Value) -> Value {
    let mut data = json!({});
    for (key, pointer, default) in [
        ("ipam", "/ipam/mode", "cluster-pool"),
        ("kube-proxy-replacement", "/kubeProxyReplacement", "false"),
        ("routing-mode", "/routingMode", "tunnel"),
        ("tunnel-protocol", "/tunnelProtocol", "vxlan"),
        ("auto-direct-node-routes", "/autoDirectNodeRoutes", "false"),
        ("node-port-bind-protection", "/nodePort/bindProtection", "true"),
        ("enable-l2-announcements", "/l2announcements/enabled", "false"),
        ("default-lb-service-ipam", "/defaultLBServiceIPAM", "lbipam"),
        ("enable-hubble", "/hubble/enabled", "true"),
        ("cluster-name", "/cluster/name", "default"),
        ("cluster-id", "/cluster/id", "0"),
        ("cgroup-root", "/cgroup/hostRoot", "/run/cilium/cgroupv2"),
        (
            "packetization-layer-pmtud-mode",
            "/pmtuDiscovery/packetizationLayerPMTUDMode",
            "blackhole",
        ),
        ("enable-ipv4", "/ipv4/enabled", "true"),
        ("identity-allocation-mode", "/identityAllocationMode", "crd"),
    ] {
        data[key] = word(at(values, pointer), default);
    }
    // Only the upper-case key is the chart's; 0 is automatic.
    if let Some(mtu) = values["MTU"].as_i64().filter(|m| *m > 0) {
        data["mtu"] = json!(mtu.to_string());
    }
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "cilium-config", "namespace": NAMESPACE },
        "data": data,
    })
}

/// Where the agent finds the API, if the values say so.
fn api_environment(values: &Value) -> Vec<Value> {
    let mut environment = vec![json!({
        "name": "K8S_NODE_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "spec.nodeName" } },
    })];
    for (key, variable) in [
        ("k8sServiceHost", "KUBERNETES_SERVICE_HOST"),
        ("k8sServicePort", "KUBERNETES_SERVICE_PORT"),
    ] {
        let held = word(&values[key], "");
        if held != json!("") {
            environment.push(json!({ "name": variable, "value": held }));
        }
    }
    environment
}

fn capabilities(values: &Value, key: &str, default: &[&str]) -> Value {
    let given = list(values, &format!("/securityContext/capabilities/{key}"));
    if given.is_empty() { json!(default) } else { json!(given) }
}

fn workload(kind: &str, named: &str, labels: &Value, spec: Value) -> Value {
    let mut all = spec;
    all["selector"] = json!({ "matchLabels": labels });
    all["template"]["metadata"] = json!({ "labels": labels });
    let pod = &mut all["template"]["spec"];
    for (key, value) in [
        ("restartPolicy", json!("Always")),
        ("terminationGracePeriodSeconds", json!(1)),
        ("dnsPolicy", json!("ClusterFirst")),
        ("schedulerName", json!("default-scheduler")),
        ("securityContext", json!({})),
        ("hostNetwork", json!(true)),
        ("nodeSelector", json!({ "kubernetes.io/os": "linux" })),
        ("tolerations", json!([{ "operator": "Exists" }])),
    ] {
        pod[key] = value;
    }
    let mut meta_labels = labels.clone();
    meta_labels["app.kubernetes.io/part-of"] = json!("cilium");
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": { "name": named, "namespace": NAMESPACE, "labels": meta_labels }, "spec": all, "status": {},
    })
}

fn container(named: &str, image: &str) -> Value {
    json!({
        "name": named, "image": image, "imagePullPolicy": "IfNotPresent", "resources": {},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn agent(version: &str, values: &Value) -> Value {
    let image = format!("quay.io/cilium/cilium:v{version}");
    let mut main = container("cilium-agent", &image);
    main["command"] = json!(["cilium-agent"]);
    main["args"] = json!(["--config-dir=/tmp/cilium/config-map"]);
    main["env"] = json!(api_environment(values));
    main["securityContext"] = json!({
        "capabilities": { "add": capabilities(values, "ciliumAgent", AGENT), "drop": ["ALL"] },
    });
    let mut clean = container("clean-cilium-state", &image);
    clean["command"] = json!(["/init-container.sh"]);
    clean["securityContext"] = json!({
        "capabilities": { "add": capabilities(values, "cleanCiliumState", CLEAN), "drop": ["ALL"] },
    });
    let spec = json!({
        "revisionHistoryLimit": 10,
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 2, "maxSurge": 0 } },
        "template": { "spec": {
            "serviceAccountName": "cilium", "priorityClassName": "system-node-critical", "initContainers": [clean],
            "containers": [main],
        } },
    });
    workload("DaemonSet", "cilium", &json!({ "k8s-app": "cilium" }), spec)
}

fn envoy(version: &str) -> Value {
    let image = format!("quay.io/cilium/cilium-envoy:v{version}");
    let spec = json!({
        "revisionHistoryLimit": 10,
        "updateStrategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 2, "maxSurge": 0 } },
        "template": { "spec": {
            "serviceAccountName": "cilium", "priorityClassName": "system-node-critical",
            "containers": [container("cilium-envoy", &image)],
        } },
    });
    workload("DaemonSet", "cilium-envoy", &json!({ "k8s-app": "cilium-envoy" }), spec)
}

fn operator(version: &str, values: &Value) -> Value {
    let replicas = values.pointer("/operator/replicas").and_then(Value::as_i64).unwrap_or(2);
    let labels = json!({ "io.cilium/app": "operator", "name": "cilium-operator" });
    let mut main =
        container("cilium-operator", &format!("quay.io/cilium/operator-generic:v{version}"));
    main["command"] = json!(["cilium-operator-generic"]);
    main["env"] = json!(api_environment(values));
    let spec = json!({
        "replicas": replicas, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
        "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": "50%", "maxSurge": "25%" } },
        "template": { "spec": {
            "serviceAccountName": "cilium-operator", "priorityClassName": "system-cluster-critical",
            "containers": [main],
            "affinity": { "podAntiAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": { "matchLabels": { "io.cilium/app": "operator" } },
                "topologyKey": "kubernetes.io/hostname",
            }] } },
        } },
    });
    workload("Deployment", "cilium-operator", &labels, spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_read_back() {
        let release = json!({ "config": { "MTU": 1400 } });
        assert_eq!(unpack(&pack(&release)), Some(release));
    }

    #[test]
    fn only_the_upper_case_key_sets_the_mtu() {
        assert_eq!(config(&json!({ "MTU": 1400 }))["data"]["mtu"], "1400");
        assert_eq!(config(&json!({ "mtu": 1400 }))["data"].get("mtu"), None);
    }
}
