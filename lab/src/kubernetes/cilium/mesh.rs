//! What commands in an agent's container say: who reaches whom.

use serde_json::{Value, json};

use crate::kubernetes::{
    exec::Ended,
    json::{is_true, label, list, name, now, text},
    objects::View,
};

/// Runs a command in an agent's container; none if the pod is no agent or has no such program.
pub(in crate::kubernetes) fn exec(view: &dyn View, pod: &Value, words: &[&str]) -> Option<Ended> {
    if label(pod, "k8s-app") != Some("cilium") {
        return None;
    }
    match words {
        ["cilium-health", "status", rest @ ..] => {
            let json =
                rest.windows(2).any(|pair| pair == ["-o", "json"]) || rest.contains(&"-ojson");
            let health = health(view, pod);
            Some(Ended::Ok(if json { format!("{health}\n") } else { summary(&health) }))
        }
        ["cilium-dbg" | "cilium", "status", rest @ ..] if rest.contains(&"--brief") => {
            Some(if is_true(pod, "Ready") {
                Ended::Ok("OK\n".to_owned())
            } else {
                Ended::Failed("error: cilium: daemon is not ready\n".to_owned(), 1)
            })
        }
        _ => None,
    }
}

/// One probe: an empty status is a good one.
fn probe(ip: &str, up: bool, probed: &str) -> Value {
    let outcome = if up {
        json!({ "latency": 412_000, "lastProbed": probed, "status": "" })
    } else {
        json!({ "latency": 0, "lastProbed": probed, "status": "Connection timed out" })
    };
    json!({ "ip": ip, "icmp": outcome, "http": outcome })
}

fn health(view: &dyn View, pod: &Value) -> Value {
    let agents = view.list_in("core/pods", "kube-system");
    let probed = now();
    let nodes: Vec<Value> = view
        .list("core/nodes")
        .iter()
        .filter_map(|node| {
            let agent = agents.iter().find(|p| {
                label(p, "k8s-app") == Some("cilium") && text(p, "/spec/nodeName") == name(node)
            })?;
            let up = is_true(agent, "Ready") && is_true(node, "Ready");
            let address = list(node, "/status/addresses")
                .iter()
                .find(|a| text(a, "/type") == "InternalIP")
                .map_or("", |a| text(a, "/address"));
            let inside = text(node, "/spec/podCIDR").replace(".0/24", ".254");
            let host = json!({ "primary-address": probe(address, up, &probed), "secondary-addresses": [] });
            let endpoint = json!({ "primary-address": probe(&inside, up, &probed), "secondary-addresses": [] });
            Some(json!({
                "name": format!("lab/{}", name(node)), "host": host, "health-endpoint": endpoint,
                "endpoint": probe(&inside, up, &probed),
            }))
        })
        .collect();
    json!({
        "local": { "name": format!("lab/{}", text(pod, "/spec/nodeName")) }, "timestamp": probed,
        "probeInterval": "1m36.566274746s", "nodes": nodes,
    })
}

fn summary(health: &Value) -> String {
    let nodes = list(health, "/nodes");
    let reachable =
        nodes.iter().filter(|n| text(n, "/host/primary-address/icmp/status").is_empty()).count();
    format!(
        "Probe time:   {}\nNodes:\n  {reachable}/{} reachable\n",
        text(health, "/timestamp"),
        nodes.len()
    )
}
