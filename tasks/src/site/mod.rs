//! The site file: one cluster, and where it is built.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
