//! Nodes: kubelets register them, report on them, and are missed when they stop.

use serde_json::{Value, json};

use super::{Turn, pods};
use crate::kubernetes::{
    cluster::NodeFacts,
    json::{at, condition, is_true, list, map, name, now, set_condition, text},
    objects::View,
};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const CNI_MISSING: &str = "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady \
    message:Network plugin returns error: cni plugin not initialized";

/// Looks at every kubelet and every node.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    let kubelets = turn.kubelets;
    for facts in kubelets.values() {
        match turn.tx.get("core/nodes", "", &facts.name) {
            Some(node) => report(turn, &node, facts),
            None if turn.waited(&format!("register/{}", facts.name), 5.0) => register(turn, facts),
            None => {}
        }
        if facts.controller {
            static_pods(turn, facts);
        }
    }
    for node in turn.tx.list("core/nodes") {
        if !kubelets.contains_key(name(&node)) {
            miss(turn, &node);
        }
    }
}

/// The first /24 of 10.244.0.0/16 that no node has.
fn pod_cidr(turn: &Turn<'_, '_>) -> String {
    let nodes = turn.tx.list("core/nodes");
    let taken: Vec<&str> = nodes.iter().map(|n| text(n, "/spec/podCIDR")).collect();
    (0..=255_u8)
        .map(|third| format!("10.244.{third}.0/24"))
        .find(|cidr| !taken.contains(&cidr.as_str()))
        .unwrap_or_default()
}

fn register(turn: &mut Turn<'_, '_>, facts: &NodeFacts) {
    let cidr = pod_cidr(turn);
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64", "beta.kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": facts.name, "kubernetes.io/os": "linux",
    });
    let mut taints = vec![json!({ "key": NOT_READY, "effect": "NoSchedule" })];
    if facts.controller {
        labels[CONTROL_PLANE] = json!("");
        labels["node.kubernetes.io/exclude-from-external-load-balancers"] = json!("");
        taints.push(json!({ "key": CONTROL_PLANE, "effect": "NoSchedule" }));
    }
    let size = json!({
        "cpu": facts.cores.to_string(), "memory": format!("{}Ki", facts.memory_kib),
        "pods": "110", "ephemeral-storage": format!("{}Ki", facts.storage_kib),
    });
    let mut node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": facts.name, "labels": labels, "annotations": { "node.alpha.kubernetes.io/ttl": "0" },
        },
        "spec": { "podCIDR": cidr, "podCIDRs": [cidr], "taints": taints },
        "status": {
            "addresses": [
                { "type": "InternalIP", "address": facts.address.to_string() },
                { "type": "Hostname", "address": facts.name },
            ],
            "capacity": size, "allocatable": size, "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "nodeInfo": {
                "architecture": "amd64", "operatingSystem": "linux", "osImage": facts.os_image,
                "kernelVersion": "6.18.9-talos", "kubeletVersion": facts.kubernetes_version,
                "containerRuntimeVersion": "containerd://2.2.2", "machineID": uuid::Uuid::new_v4().simple().to_string(),
                "systemUUID": facts.uuid, "bootID": uuid::Uuid::new_v4().to_string(),
                "kubeProxyVersion": "",
            },
        },
    });
    for (kind, why) in [
        (
            "MemoryPressure",
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        ("DiskPressure", ("KubeletHasNoDiskPressure", "kubelet has no disk pressure")),
        ("PIDPressure", ("KubeletHasSufficientPID", "kubelet has sufficient PID available")),
    ] {
        set_condition(&mut node, kind, "False", why);
    }
    set_condition(&mut node, "Ready", "False", ("KubeletNotReady", CNI_MISSING));
    heartbeat(&mut node);
    turn.tx.make("core/nodes", node);
    if turn.tx.get("coordination.k8s.io/leases", "kube-node-lease", &facts.name).is_none() {
        turn.tx.make(
            "coordination.k8s.io/leases",
            json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": { "name": facts.name, "namespace": "kube-node-lease" },
                "spec": { "holderIdentity": facts.name, "leaseDurationSeconds": 40 },
            }),
        );
    }
}

fn heartbeat(node: &mut Value) {
    for condition in
        node.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten()
    {
        condition["lastHeartbeatTime"] = json!(now());
    }
}

/// Whether a CNI runs on a node: a ready agent of a DaemonSet that installs one.
pub(super) fn has_cni(turn: &Turn<'_, '_>, node: &str) -> bool {
    turn.tx.list_in("core/pods", "kube-system").iter().any(|pod| {
        text(pod, "/spec/nodeName") == node
            && matches!(
                crate::kubernetes::json::label(pod, "k8s-app"),
                Some("cilium" | "flannel" | "kube-flannel")
            )
            && is_true(pod, "Ready")
    })
}

fn report(turn: &mut Turn<'_, '_>, node: &Value, facts: &NodeFacts) {
    let cni = has_cni(turn, &facts.name);
    // The kubelet looks for a CNI every few seconds.
    let ready = is_true(node, "Ready");
    let status = text(condition(node, "Ready"), "/status");
    if cni && !ready && !turn.waited(&format!("cni/{}", facts.name), 3.0) {
        return;
    }
    let up = cni || (ready && at(node, "/spec/podCIDR").is_string());
    let facts = facts.clone();
    turn.change("core/nodes", node, |n| {
        if up {
            set_condition(n, "Ready", "True", ("KubeletReady", "kubelet is posting ready status"));
        } else if status != "False" {
            set_condition(n, "Ready", "False", ("KubeletNotReady", CNI_MISSING));
        }
        if status == "Unknown" {
            for kind in ["MemoryPressure", "DiskPressure", "PIDPressure"] {
                set_condition(
                    n,
                    kind,
                    "False",
                    ("KubeletHasSufficientMemory", "kubelet is posting its status again"),
                );
            }
        }
        n["status"]["nodeInfo"]["kubeletVersion"] = json!(facts.kubernetes_version);
        n["status"]["nodeInfo"]["osImage"] = json!(facts.os_image);
        n["status"]["addresses"][0]["address"] = json!(facts.address.to_string());
        set_taint(n, NOT_READY, !up);
        set_taint(n, UNREACHABLE, false);
    });
}

/// Sets or takes away a taint with both its effects.
pub(super) fn set_taint(node: &mut Value, key: &str, set: bool) {
    let mut taints: Vec<Value> =
        list(node, "/spec/taints").iter().filter(|t| text(t, "/key") != key).cloned().collect();
    if set {
        let old = list(node, "/spec/taints")
            .iter()
            .filter(|t| text(t, "/key") == key)
            .cloned()
            .collect::<Vec<_>>();
        if old.is_empty() {
            taints.push(json!({ "key": key, "effect": "NoSchedule" }));
            taints.push(json!({ "key": key, "effect": "NoExecute", "timeAdded": now() }));
        } else {
            taints.extend(old);
        }
    }
    let Some(spec) = node.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if taints.is_empty() {
        spec.remove("taints");
    } else if spec.get("taints").and_then(Value::as_array).is_none_or(|held| !same(held, &taints)) {
        spec.insert("taints".to_owned(), json!(taints));
    }
}

fn same(a: &[Value], b: &[Value]) -> bool {
    a.len() == b.len() && a.iter().all(|t| b.contains(t))
}

/// A node whose kubelet has not been heard of.
fn miss(turn: &mut Turn<'_, '_>, node: &Value) {
    let named = name(node);
    if text(condition(node, "Ready"), "/status") == "Unknown"
        || !turn.waited(&format!("missed/{named}"), 40.0)
    {
        return;
    }
    turn.change("core/nodes", node, |n| {
        for kind in ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"] {
            set_condition(
                n,
                kind,
                "Unknown",
                ("NodeStatusUnknown", "Kubelet stopped posting node status."),
            );
        }
        set_taint(n, NOT_READY, false);
        set_taint(n, UNREACHABLE, true);
    });
    for pod in turn.tx.list("core/pods") {
        if text(&pod, "/spec/nodeName") == named && is_true(&pod, "Ready") {
            turn.change("core/pods", &pod, |p| pods::set_ready(p, false));
        }
    }
}

/// The mirror pods of a control plane node.
fn static_pods(turn: &mut Turn<'_, '_>, facts: &NodeFacts) {
    if turn.tx.get("core/nodes", "", &facts.name).is_none() {
        return;
    }
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler"] {
        let named = format!("{component}-{}", facts.name);
        if turn.tx.get("core/pods", "kube-system", &named).is_some() {
            continue;
        }
        let image = format!("registry.k8s.io/{component}:{}", facts.kubernetes_version);
        let pod = turn.tx.make(
            "core/pods",
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "name": named, "namespace": "kube-system",
                    "labels": { "k8s-app": component, "tier": "control-plane" },
                    "annotations": { "kubernetes.io/config.source": "file" },
                },
                "spec": {
                    "hostNetwork": true, "nodeName": facts.name, "restartPolicy": "Always",
                    "priorityClassName": "system-cluster-critical", "containers": [{ "name": component, "image": image }],
                    "tolerations": [{ "operator": "Exists", "effect": "NoExecute" }],
                },
                "status": { "phase": "Pending" },
            }),
        );
        let address = facts.address.to_string();
        turn.change("core/pods", &pod, |p| {
            pods::set_running(p, &address, &address);
            pods::set_ready(p, true);
        });
    }
}

/// The labels of a node.
pub(super) fn labels(node: &Value) -> Option<&serde_json::Map<String, Value>> {
    map(node, "/metadata/labels")
}
