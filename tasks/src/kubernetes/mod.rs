//! What every Kubernetes cluster has: its API, its machines.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
