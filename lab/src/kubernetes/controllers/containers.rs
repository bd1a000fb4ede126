//! What containers that end have done when they end.

use serde_json::Value;

use super::Turn;
use crate::kubernetes::{
    cilium,
    json::{is_true, list, text},
    objects::View,
};

/// The command and arguments of a pod's first container.
pub(in crate::kubernetes) fn command(pod: &Value) -> Vec<String> {
    ["/spec/containers/0/command", "/spec/containers/0/args"]
        .into_iter()
        .flat_map(|p| list(pod, p))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Ends a pod's container: what it wrote, as an error if it failed.
pub(super) fn end(turn: &mut Turn<'_, '_>, pod: &Value) -> Result<String, String> {
    let image = text(pod, "/spec/containers/0/image");
    if image.starts_with("quay.io/cilium/cilium-cli") {
        return cilium::cli(turn, pod, &command(pod));
    }
    if command(pod).iter().any(|word| word.contains("kubernetes.default")) {
        return reach_api(turn, pod);
    }
    Ok(String::new())
}

/// A look at the API through its cluster address by name: needs a name server.
fn reach_api(turn: &Turn<'_, '_>, pod: &Value) -> Result<String, String> {
    let dns = turn.tx.get("apps/deployments", "kube-system", "coredns");
    if dns.as_deref().is_some_and(|d| is_true(d, "Available")) {
        return Ok("ok\n".to_owned());
    }
    let node = text(pod, "/spec/nodeName");
    Err(format!(
        "lookup kubernetes.default.svc.cluster.local on 10.96.0.10:53 from {node}: read udp: i/o timeout\n"
    ))
}
