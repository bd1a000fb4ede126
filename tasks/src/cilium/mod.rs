//! Cilium, the cluster's network.

mod install_cilium;
mod install_job;
#[cfg(test)]
pub(crate) mod tests;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(install_cilium::InstallCilium)
}
