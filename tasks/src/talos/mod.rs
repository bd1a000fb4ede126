//! Talos machines, etcd and their credentials.

mod apply_config;
mod bundle;
mod certificates;
mod client;
mod connect;
mod cosi;
mod documents;
mod failure;
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
        .with(reach_vm::ReachVm)
        .with(render_config::RenderConfig)
        .with(talos_secrets::TalosSecrets)
}
