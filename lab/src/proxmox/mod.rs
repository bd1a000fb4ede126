//! The Proxmox API of one host.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have the signature that routes name")]

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{Router, extract::State};
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError, System,
    lab::Error,
    serve::{Listener, Server},
    store::Changes,
    talos::Machines,
    world::{World, locked},
};

mod access;
mod cluster;
mod content;
mod network;
mod params;
mod privileges;
mod qemu;
mod reply;
mod route;
mod storage;
mod task;

use access::Access;
use reply::Refused;

/// The collection, and the document, of the key that signs tickets.
const KEY: &str = "proxmox-key";
/// The name of the only host.
pub(crate) const HOST: &str = "lab-pve";
/// The version of the host's software.
const VERSION: &str = "9.1.1";
const RELEASE: &str = "9.1";
/// How long a failed login waits for its answer.
const LOGIN_DELAY: std::time::Duration = std::time::Duration::from_secs(3);

/// The Proxmox host. A clone is the same host.
#[derive(Debug, Clone)]
pub(crate) struct Proxmox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    world: World,
    machines: Machines,
    tls: Arc<rustls::ServerConfig>,
    fingerprint: String,
    /// Signs tickets.
    key: [u8; 32],
    root_password: String,
    access: Mutex<Access>,
    tasks: task::Tasks,
    vms: qemu::Vms,
    /// The lock of the store for disks.
    storage: Arc<tokio::sync::Mutex<()>>,
    since: tokio::time::Instant,
}

impl Proxmox {
    /// Reads the host of the world; tasks that ran are dead, VMs are off.
    pub(crate) fn open(world: World, machines: Machines) -> Result<Self, Error> {
        let at = world.address().proxmox().ip();
        let names = [HOST, "localhost"];
        let addresses = [at, [127, 0, 0, 1].into()];
        let (tls, leaf) = world.pki().server_with_leaf(&names, &addresses, &[b"http/1.1"])?;
        let root_password = std::fs::read_to_string(world.dir().join("root-password"))
            .map_err(|source| Error::System { what: "read root's password", source })?;
        let shared = Shared {
            fingerprint: fingerprint(&leaf),
            key: ticket_key(&world)?,
            root_password: root_password.trim().to_owned(),
            access: Mutex::new(Access::open(&world)?),
            tasks: task::Tasks::open(&world)?,
            vms: qemu::Vms::open(&world)?,
            storage: Arc::default(),
            since: tokio::time::Instant::now(),
            world,
            machines,
            tls,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Listens on the API's address.
    pub(crate) async fn serve(&self) -> io::Result<Server> {
        let listener = Listener {
            world: self.world().clone(),
            at: self.world().address().proxmox(),
            system: System::Proxmox,
            machine: None,
        };
        let tls = Arc::clone(&self.0.tls);
        let app = Router::new()
            .fallback(async |State(host): State<Self>, request| host.answer(request).await)
            .with_state(self.clone());
        listener.serve(Arc::new(move || Arc::clone(&tls)), app).await
    }

    fn world(&self) -> &World {
        &self.0.world
    }

    fn machines(&self) -> &Machines {
        &self.0.machines
    }

    fn key(&self) -> &[u8] {
        &self.0.key
    }

    fn root_password(&self) -> &str {
        &self.0.root_password
    }

    fn fingerprint(&self) -> &str {
        &self.0.fingerprint
    }

    fn tasks(&self) -> &task::Tasks {
        &self.0.tasks
    }

    fn vms(&self) -> &qemu::Vms {
        &self.0.vms
    }

    fn storage_lock(&self) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(&self.0.storage)
    }

    /// Seconds of the world since a real instant.
    fn world_seconds(&self, since: tokio::time::Instant) -> u64 {
        since.elapsed().mul_f64(self.world().clock().speed().min(1.0e6)).as_secs()
    }

    fn uptime(&self) -> u64 {
        self.world_seconds(self.0.since)
    }

    /// The access configuration.
    fn access(&self) -> MutexGuard<'_, Access> {
        locked(&self.0.access)
    }

    /// Changes the access configuration, durable when this returns; what changes nothing is counted apart.
    fn change_access(
        &self,
        object: &str,
        verb: &str,
        change: impl FnOnce(&mut Access) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        let mut access = self.access();
        let mut after = access.clone();
        change(&mut after)?;
        if after == *access {
            let unchanged = format!("{verb}-unchanged");
            let counted = Changes::new().count("proxmox", object, &unchanged);
            return Ok(self.world().store().commit(counted)?);
        }
        let changes = after.changes().count("proxmox", object, verb);
        self.world().store().commit(changes)?;
        *access = after;
        Ok(())
    }
}

/// The key that signs tickets, made once for a world.
fn ticket_key(world: &World) -> Result<[u8; 32], StoreError> {
    let mut keys: BTreeMap<String, [u8; 32]> = world.store().load(KEY)?;
    if let Some(key) = keys.remove(KEY) {
        return Ok(key);
    }
    let key: [u8; 32] = rand::random();
    world.store().commit(Changes::new().put(KEY, KEY, &key))?;
    Ok(key)
}

/// A certificate's SHA-256 as the API prints it.
fn fingerprint(certificate: &[u8]) -> String {
    let digest = Sha256::digest(certificate);
    let bytes: Vec<String> = digest.iter().map(|byte| format!("{byte:02X}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests;
