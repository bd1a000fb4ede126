//! Talos machines, etcd and their credentials.

mod access;
mod apply_config;
mod bootstrap_talos;
mod bundle;
mod certificates;
mod client;
mod connect;
mod cosi;
mod credentials;
mod documents;
mod etcd_quorum;
mod failure;
mod files;
mod keys;
mod proto;
mod reach_vm;
mod render;
mod render_config;
mod site;
mod talos_secrets;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
        .with(apply_config::ApplyConfig)
        .with(bootstrap_talos::BootstrapTalos)
        .with(credentials::Credentials)
        .with(etcd_quorum::EtcdQuorum)
        .with(reach_vm::ReachVm)
        .with(render_config::RenderConfig)
        .with(talos_secrets::TalosSecrets)
}

#[cfg(test)]
pub(crate) mod tests;
