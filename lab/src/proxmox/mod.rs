//! The Proxmox API of one host.

use std::{io, sync::Arc};

use axum::Router;

use crate::{
    PkiError, StoreError, System,
    serve::{Listener, Server},
    store::Store,
    talos::Machines,
    world::World,
};

/// The name of the only host.
pub(crate) const HOST: &str = "lab-pve";

/// The Proxmox host.
#[derive(Debug, Clone)]
pub(crate) struct Proxmox {
    world: World,
    machines: Machines,
    tls: Arc<rustls::ServerConfig>,
}

impl Proxmox {
    pub(crate) fn open(world: World, machines: Machines) -> Result<Self, PkiError> {
        let at = world.address();
        let names = [HOST, "localhost"];
        let tls = world.pki().server(&names, &[at.proxmox().ip()], &[b"http/1.1"])?;
        Ok(Self { world, machines, tls })
    }

    pub(crate) async fn serve(&self) -> io::Result<Server> {
        let listener = Listener {
            world: self.world.clone(),
            at: self.world.address().proxmox(),
            system: System::Proxmox,
            machine: None,
        };
        let tls = Arc::clone(&self.tls);
        listener.serve(Arc::new(move || Arc::clone(&tls)), Router::new()).await
    }

    pub(crate) fn power_up(&self) {}

    pub(crate) fn status(&self) -> Vec<serde_json::Value> {
        Vec::new()
    }

    pub(crate) fn stored(_store: &Store) -> Result<Vec<serde_json::Value>, StoreError> {
        Ok(Vec::new())
    }
}
