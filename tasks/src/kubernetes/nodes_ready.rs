//! `nodes-ready`: every planned machine is a Ready node, under its name and address.

use std::collections::BTreeMap;
use std::time::SystemTime;

use flow_engine::{Cx, Effect, Kind, Manual, NoHandle, Presence, Settle, Verdict};
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::{Access, Cluster, ClusterError};
use super::object::{condition, is_true, name, resource};
use crate::duration::Span;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct NodesReady;

/// Which nodes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// The planned nodes by name, as `${site.nodes}`.
    nodes: BTreeMap<String, Planned>,
    /// How long each must have been Ready.
    #[serde(default)]
    stable: Span,
}

/// A planned node.
#[derive(Debug, Deserialize, JsonSchema)]
struct Planned {
    /// Its address.
    address: String,
}

/// The nodes.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Their names, in order.
    nodes: Vec<String>,
}

impl Kind for NodesReady {
    const NAME: &'static str = "nodes-ready";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Wait until every planned node is Ready",
        details: "Each planned node must be registered under its name with its address, have a \
                  pod network and be Ready for `stable`. A node that nobody planned is told.",
        example: "cluster = { kubeconfig = \"kubeconfig\" }\nstable = \"30s\"\n\
                  [nodes.worker0]\naddress = \"10.2.2.1\"\n",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(10));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = ClusterError;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, ClusterError> {
        let cluster = Cluster::open(&params.cluster).await?;
        let live = cluster.list(&resource("", "v1", "Node"), None, "").await?;
        let now = SystemTime::now();
        let waiting: Vec<String> = params
            .nodes
            .iter()
            .filter_map(|(planned, node)| {
                let live = live.iter().find(|live| name(live) == planned);
                Some(format!("{planned}: {}", obstacle(live, node, params.stable, now)?))
            })
            .collect();
        if !waiting.is_empty() {
            let (all, ready) = (params.nodes.len(), params.nodes.len() - waiting.len());
            return Ok(Verdict::Underway(format!(
                "{ready} of {all} Ready; {}",
                waiting.join("; ")
            )));
        }
        for stranger in live.iter().filter(|node| !params.nodes.contains_key(name(node))) {
            cx.note(format!("the node {} is in the cluster and not in the site", name(stranger)));
        }
        Ok(Verdict::satisfied(Outputs { nodes: params.nodes.keys().cloned().collect() }))
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, ClusterError> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), ClusterError> {
        match *handle {}
    }
}

/// What keeps a node from being as planned; `None` if nothing does.
fn obstacle(
    live: Option<&DynamicObject>,
    planned: &Planned,
    stable: Span,
    now: SystemTime,
) -> Option<String> {
    let Some(node) = live else { return Some("not registered yet".to_owned()) };
    let Some(ready) = condition(node, "Ready") else { return Some("no status yet".to_owned()) };
    if ready.status != "True" {
        return Some(format!("not Ready, {}", ready.message));
    }
    let addresses = node.data.pointer("/status/addresses").and_then(Value::as_array);
    let internal = addresses.into_iter().flatten().find(|address| address["type"] == "InternalIP");
    let internal = internal.and_then(|address| address["address"].as_str()).unwrap_or("none");
    if internal != planned.address {
        return Some(format!("its address is {internal}, planned is {}", planned.address));
    }
    if node.data.pointer("/spec/podCIDR").is_none() {
        return Some("no pod network yet".to_owned());
    }
    if is_true(node, "NetworkUnavailable") {
        return Some("its network is unavailable".to_owned());
    }
    let since = ready.since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    (since < stable.0).then(|| format!("Ready only for {} s", since.as_secs()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(ready: &str, address: &str) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "worker0" },
            "spec": { "podCIDR": "10.244.0.0/24" },
            "status": {
                "addresses": [{ "type": "InternalIP", "address": address }],
                "conditions": [{
                    "type": "Ready", "status": ready, "message": "cni plugin not initialized",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .unwrap()
    }

    #[test]
    fn each_obstacle_is_named() {
        let planned = Planned { address: "10.2.2.1".to_owned() };
        let look = |node: Option<&DynamicObject>| {
            obstacle(node, &planned, Span::default(), SystemTime::now())
        };
        assert_eq!(look(None).unwrap(), "not registered yet");
        let not_ready = look(Some(&node("False", "10.2.2.1"))).unwrap();
        assert_eq!(not_ready, "not Ready, cni plugin not initialized");
        let elsewhere = look(Some(&node("True", "10.2.2.9"))).unwrap();
        assert_eq!(elsewhere, "its address is 10.2.2.9, planned is 10.2.2.1");
        assert_eq!(look(Some(&node("True", "10.2.2.1"))), None);
    }
}
