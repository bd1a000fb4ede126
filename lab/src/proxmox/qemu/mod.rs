//! Virtual machines: their configurations, and what may be done with them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};
use tokio::sync::OwnedMutexGuard;

use crate::{
    StoreError, hex,
    store::{Changes, Store},
    world::{World, locked},
};

use super::{
    HOST, Proxmox,
    reply::Refused,
    route::{Request, Route},
};

mod create;
mod drive;
mod make;
mod options;
mod power;
mod properties;
mod remove;
mod show;
mod update;

/// The collection of VMs by their numbers.
const COLLECTION: &str = "proxmox-vms";
/// How long a call waits for another one's work on the same VM.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The endpoints.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/qemu", show::LIST, show::list),
    Route::post("/nodes/{node}/qemu", create::PARAMS, create::refuse)
        .with(options::CONFIG)
        .later(|host, request| Box::pin(create::create(host, request))),
    Route::get("/nodes/{node}/qemu/{vmid}/config", show::CONFIG, show::config)
        .checked(show::may_audit),
    Route::get("/nodes/{node}/qemu/{vmid}/pending", &[], show::pending).checked(show::may_audit),
    Route::put("/nodes/{node}/qemu/{vmid}/config", update::PARAMS, create::refuse)
        .with(options::CONFIG)
        .later(|host, request| Box::pin(update::put(host, request)))
        .checked(update::may_configure),
    Route::post("/nodes/{node}/qemu/{vmid}/config", update::PARAMS, create::refuse)
        .with(options::CONFIG)
        .later(|host, request| Box::pin(update::post(host, request)))
        .checked(update::may_configure),
    Route::put("/nodes/{node}/qemu/{vmid}/resize", update::RESIZE, create::refuse)
        .later(|host, request| Box::pin(update::resize(host, request)))
        .checked(update::may_resize),
    Route::get("/nodes/{node}/qemu/{vmid}/status/current", &[], show::status)
        .checked(show::may_audit),
    Route::post("/nodes/{node}/qemu/{vmid}/status/start", power::START, power::start)
        .checked(power::may_power),
    Route::post("/nodes/{node}/qemu/{vmid}/status/stop", power::STOP, power::stop)
        .checked(power::may_power),
    Route::post("/nodes/{node}/qemu/{vmid}/status/shutdown", power::SHUTDOWN, power::shutdown)
        .checked(power::may_power),
    Route::post("/nodes/{node}/qemu/{vmid}/status/reboot", power::START, power::reboot)
        .checked(power::may_power),
    Route::post("/nodes/{node}/qemu/{vmid}/status/reset", &[], power::reset)
        .checked(power::may_power),
    Route::post("/nodes/{node}/qemu/{vmid}/agent/ping", &[], power::ping)
        .checked(power::may_ask_agent),
    Route::delete("/nodes/{node}/qemu/{vmid}", remove::PARAMS, remove::remove)
        .checked(remove::may_remove),
];

/// A VM's configuration file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Vm {
    config: BTreeMap<String, String>,
    /// Values that hold from the next start on.
    pending: BTreeMap<String, String>,
    /// Keys that are gone from the next start on.
    deleting: BTreeSet<String>,
}

impl Vm {
    /// The file's text.
    fn text(&self) -> String {
        let mut text = String::new();
        for line in self.config.get("description").map(String::as_str).unwrap_or_default().lines() {
            let _ = writeln!(text, "#{}", line.replace('%', "%25").replace(':', "%3A"));
        }
        for (key, value) in self.config.iter().filter(|(key, _)| *key != "description") {
            let _ = writeln!(text, "{key}: {value}");
        }
        if !self.pending.is_empty() || !self.deleting.is_empty() {
            text.push_str("\n[PENDING]\n");
            let deleting: Vec<&str> = self.deleting.iter().map(String::as_str).collect();
            if !deleting.is_empty() {
                let _ = writeln!(text, "delete: {}", deleting.join(","));
            }
            for (key, value) in &self.pending {
                let _ = writeln!(text, "{key}: {value}");
            }
        }
        text
    }

    /// What tells one state of the file from another.
    fn digest(&self) -> String {
        hex::encode(&Sha1::digest(self.text().as_bytes()))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    /// The configuration with what is pending.
    fn merged(&self) -> BTreeMap<String, String> {
        let mut merged = self.config.clone();
        merged.retain(|key, _| !self.deleting.contains(key));
        merged.extend(self.pending.clone());
        merged
    }

    /// Takes over what is pending.
    fn settle(&mut self) {
        self.config = self.merged();
        self.pending.clear();
        self.deleting.clear();
    }

    /// All volumes that the file names.
    fn volumes(&self) -> BTreeSet<String> {
        let all = self.config.iter().chain(&self.pending);
        let drives = all.filter(|(key, value)| {
            (drive::is_drive(key) || key.starts_with("unused")) && !drive::is_disc(value)
        });
        drives.filter_map(|(_, value)| drive::volume(value)).map(str::to_owned).collect()
    }
}

/// A VM that is switched on.
#[derive(Debug, Clone)]
struct Running {
    since: tokio::time::Instant,
    pid: u32,
    memory: u64,
    /// Whether it booted something that answers ACPI.
    booted: bool,
    /// Whether the image has the guest agent.
    agent: bool,
}

/// All VMs of the host.
#[derive(Debug, Default)]
pub(super) struct Vms {
    all: Mutex<BTreeMap<u32, Vm>>,
    running: Mutex<BTreeMap<u32, Running>>,
    locks: Mutex<BTreeMap<u32, Arc<tokio::sync::Mutex<()>>>>,
}

impl Vms {
    /// Reads the VMs of the world; all are off.
    pub(super) fn open(world: &World) -> Result<Self, StoreError> {
        Ok(Self { all: Mutex::new(stored(world.store())?), ..Self::default() })
    }
}

fn stored(store: &Store) -> Result<BTreeMap<u32, Vm>, StoreError> {
    let documents: BTreeMap<String, Vm> = store.load(COLLECTION)?;
    let vms = documents.into_iter();
    Ok(vms.filter_map(|(vmid, vm)| Some((vmid.parse().ok()?, vm))).collect())
}

/// The lock on a VM's configuration file, held until dropped.
#[derive(Debug)]
struct Flock {
    _held: OwnedMutexGuard<()>,
}

/// The counted object of a VM.
fn object(vmid: u32) -> String {
    format!("vm/{vmid}")
}

/// Where privileges on a VM are granted.
fn acl(vmid: u32) -> String {
    format!("/vms/{vmid}")
}

impl Proxmox {
    /// A VM as its file stands.
    fn vm(&self, vmid: u32) -> Result<Vm, Refused> {
        locked(&self.vms().all).get(&vmid).cloned().ok_or_else(|| missing(vmid))
    }

    /// All numbers in use.
    pub(super) fn vmids(&self) -> BTreeSet<u32> {
        locked(&self.vms().all).keys().copied().collect()
    }

    fn running(&self, vmid: u32) -> Option<Running> {
        locked(&self.vms().running).get(&vmid).cloned()
    }

    /// Memory of all VMs that are switched on.
    pub(super) fn memory_in_use(&self) -> u64 {
        locked(&self.vms().running).values().map(|running| running.memory).sum()
    }

    /// Waits for the lock on a VM's file, as long as the real server does.
    async fn flock(&self, vmid: u32, longest: Duration) -> Result<Flock, Refused> {
        let lock = Arc::clone(locked(&self.vms().locks).entry(vmid).or_default());
        let longest = self.world().clock().scaled(longest);
        match tokio::time::timeout(longest, lock.lock_owned()).await {
            Ok(held) => Ok(Flock { _held: held }),
            Err(_) => Err(Refused::Died(format!(
                "can't lock file '/var/lock/qemu-server/lock-{vmid}.conf' - got timeout"
            ))),
        }
    }

    /// Writes a VM's file, durable when this returns.
    fn save(&self, vmid: u32, vm: Vm, changes: Changes) -> Result<(), Refused> {
        let mut all = locked(&self.vms().all);
        self.world().store().commit(changes.put(COLLECTION, &vmid.to_string(), &vm))?;
        all.insert(vmid, vm);
        Ok(())
    }

    /// Removes a VM's file.
    fn forget(&self, vmid: u32, changes: Changes) -> Result<(), Refused> {
        let mut all = locked(&self.vms().all);
        self.world().store().commit(changes.delete(COLLECTION, &vmid.to_string()))?;
        all.remove(&vmid);
        Ok(())
    }
}

fn missing(vmid: u32) -> Refused {
    Refused::Died(format!(
        "Configuration file 'nodes/{HOST}/qemu-server/{vmid}.conf' does not exist"
    ))
}

/// Refuses a VM that is locked.
fn check_lock(vm: &Vm) -> Result<(), Refused> {
    match vm.get("lock") {
        Some(lock) => Err(Refused::Died(format!("VM is locked ({lock})"))),
        None => Ok(()),
    }
}

fn no_task(request: &Request) -> String {
    request.vmid().to_string()
}
