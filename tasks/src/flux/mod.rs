//! Flux and what it brings into the cluster.

mod flux_app;
mod flux_source;
mod install_flux;
mod published;
#[cfg(test)]
mod tests;

use flow_engine::Registry;
use kube::core::ApiResource;

use crate::kubernetes::object::resource;

/// The namespace of Flux and of its objects.
const NAMESPACE: &str = "flux-system";

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(install_flux::InstallFlux).with(flux_source::FluxSource).with(flux_app::FluxApp)
}

fn git_repositories() -> ApiResource {
    let mut resource = resource("source.toolkit.fluxcd.io", "v1", "GitRepository");
    // Not regular enough for every way of making plurals.
    "gitrepositories".clone_into(&mut resource.plural);
    resource
}

fn kustomizations() -> ApiResource {
    resource("kustomize.toolkit.fluxcd.io", "v1", "Kustomization")
}
