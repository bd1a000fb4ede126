//! Proxmox VE: access, tokens, virtual machines.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
