//! The kinds: everything that a task of a workflow can `use`, by the system that it speaks to.

mod cilium;
mod duration;
mod flux;
mod image;
mod kubernetes;
mod proxmox;
mod reference;
mod seal;
mod shell;
pub mod site;
mod talos;
mod tls;

#[cfg(test)]
mod conformance;

use flow_engine::Registry;

/// All kinds of this release.
#[must_use]
pub fn registry() -> Registry {
    let registry = shell::register(Registry::default());
    let registry = site::register(registry);
    let registry = proxmox::register(registry);
    let registry = image::register(registry);
    let registry = talos::register(registry);
    let registry = seal::register(registry);
    let registry = kubernetes::register(registry);
    let registry = cilium::register(registry);
    flux::register(registry)
}
