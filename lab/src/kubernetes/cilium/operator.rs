//! What Cilium's operator and agents do while they run: CRDs, `CiliumNode`s, node conditions.

use serde_json::{Value, json};

use super::NAMESPACE;
use crate::kubernetes::{
    controllers::Turn,
    json::{at, is_true, label, list, name, set_condition, text},
    objects::View,
    registry::CRDS,
};

const NODES: &str = "cilium.io/ciliumnodes";
/// Plural, kind, whether namespaced, short name.
const KINDS: &[(&str, &str, bool, &str)] = &[
    ("ciliumnodes", "CiliumNode", false, "cn"),
    ("ciliumidentities", "CiliumIdentity", false, "ciliumid"),
    ("ciliumendpoints", "CiliumEndpoint", true, "cep"),
    ("ciliumnetworkpolicies", "CiliumNetworkPolicy", true, "cnp"),
    ("ciliumclusterwidenetworkpolicies", "CiliumClusterwideNetworkPolicy", false, "ccnp"),
    ("ciliumloadbalancerippools", "CiliumLoadBalancerIPPool", false, "ippools"),
];

/// Why an agent cannot run, if so.
pub(in crate::kubernetes) fn agent_fails(turn: &Turn<'_, '_>, pod: &Value) -> Option<String> {
    if label(pod, "k8s-app") != Some("cilium") {
        return None;
    }
    let forbidden = ["/spec/containers", "/spec/initContainers"]
        .into_iter()
        .flat_map(|p| list(pod, p))
        .any(|c| list(c, "/securityContext/capabilities/add").contains(&json!("SYS_MODULE")));
    if forbidden {
        return Some(
            "unable to apply caps: can't apply capabilities: operation not permitted".to_owned(),
        );
    }
    let config = turn.tx.get("core/configmaps", NAMESPACE, "cilium-config")?;
    let told = list(pod, "/spec/containers/0/env")
        .iter()
        .any(|e| text(e, "/name") == "KUBERNETES_SERVICE_HOST");
    if text(&config, "/data/kube-proxy-replacement") == "true" && !told {
        return Some(
            "Unable to contact k8s api-server: dial tcp 10.96.0.1:443: i/o timeout".to_owned(),
        );
    }
    None
}

/// One look at everything that Cilium does at run time.
pub(in crate::kubernetes) fn run(turn: &mut Turn<'_, '_>) {
    let pods = turn.tx.list_in("core/pods", NAMESPACE);
    let operates =
        pods.iter().any(|p| label(p, "name") == Some("cilium-operator") && is_true(p, "Ready"));
    if !operates {
        return;
    }
    if KINDS.iter().any(|k| turn.tx.get(CRDS, "", &format!("{}.cilium.io", k.0)).is_none())
        && turn.waited("cilium/crds", 2.0)
    {
        for kind in KINDS {
            register(turn, *kind);
        }
    }
    let established =
        turn.tx.get(CRDS, "", "ciliumnodes.cilium.io").is_some_and(|c| is_true(&c, "Established"));
    for node in turn.tx.list("core/nodes") {
        let agent = pods.iter().any(|p| {
            label(p, "k8s-app") == Some("cilium")
                && text(p, "/spec/nodeName") == name(&node)
                && is_true(p, "Ready")
        });
        if agent && established {
            announce(turn, &node);
        }
    }
    if established {
        for known in turn.tx.list(NODES) {
            if turn.tx.get("core/nodes", "", name(&known)).is_none() {
                turn.tx.remove(NODES, "", name(&known));
            }
        }
    }
}

fn register(turn: &mut Turn<'_, '_>, (plural, kind, namespaced, short): (&str, &str, bool, &str)) {
    let named = format!("{plural}.cilium.io");
    if turn.tx.get(CRDS, "", &named).is_some() {
        return;
    }
    turn.tx.make(
        CRDS,
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": { "name": named, "labels": { "io.cilium.k8s.crd.schema.version": "1.32.3" } },
            "spec": {
                "group": "cilium.io", "scope": if namespaced { "Namespaced" } else { "Cluster" },
                "names": {
                    "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
                    "shortNames": [short], "categories": ["cilium"],
                },
                "conversion": { "strategy": "None" },
                "versions": [{
                    "name": "v2", "served": true, "storage": true, "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": {
                        "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    } },
                }],
            },
            "status": { "conditions": null, "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": ["v2"] },
        }),
    );
}

/// A node's agent makes its CiliumNode, and the operator marks the node's network as up.
fn announce(turn: &mut Turn<'_, '_>, node: &Value) {
    if turn.tx.get(NODES, "", name(node)).is_none() {
        let addresses: Vec<Value> = list(node, "/status/addresses")
            .iter()
            .filter(|a| text(a, "/type") == "InternalIP")
            .map(|a| json!({ "type": "InternalIP", "ip": a["address"] }))
            .collect();
        turn.tx.make(
            NODES,
            json!({
                "apiVersion": "cilium.io/v2", "kind": "CiliumNode",
                "metadata": { "name": name(node), "labels": node["metadata"]["labels"] },
                "spec": { "addresses": addresses, "ipam": { "podCIDRs": at(node, "/spec/podCIDRs") } },
                "status": { "ipam": {} },
            }),
        );
    }
    turn.change("core/nodes", node, |n| {
        set_condition(
            n,
            "NetworkUnavailable",
            "False",
            ("CiliumIsUp", "Cilium is running on this node"),
        );
        let kept: Vec<Value> = list(n, "/spec/taints")
            .iter()
            .filter(|t| text(t, "/key") != "node.cilium.io/agent-not-ready")
            .cloned()
            .collect();
        if kept.len() != list(n, "/spec/taints").len() {
            n["spec"]["taints"] = json!(kept);
        }
    });
}
