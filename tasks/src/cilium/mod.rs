//! Cilium, the cluster's network.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
