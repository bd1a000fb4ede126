//! Talos machines, etcd and their credentials.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
