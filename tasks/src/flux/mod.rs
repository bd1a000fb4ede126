//! Flux and what it brings into the cluster.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
