//! What every Kubernetes cluster has: its API, its machines, secrets that come before all else.

pub(crate) mod client;
mod kube_api;
pub(crate) mod manifest;
mod nodes_ready;
pub(crate) mod object;
mod seal_keys;
#[cfg(test)]
mod tests;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(kube_api::KubeApi).with(nodes_ready::NodesReady).with(seal_keys::SealKeys)
}
