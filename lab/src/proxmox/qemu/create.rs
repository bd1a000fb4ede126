//! Creating a VM: its number is reserved before the answer, its disks are made in a task.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store::Changes;

use super::{
    super::{
        HOST, Proxmox,
        params::Param,
        reply::{Answer, Refused},
        route::Request,
        task::{Kind, Log},
    },
    Vm, drive, no_task, object, options, update,
};

/// The parameters beside the configuration.
pub(super) const PARAMS: &[Param] = &[
    Param::integer("vmid", 100, 999_999_999).required(),
    Param::text("pool", 64),
    Param::text("storage", 64),
    Param::boolean("start"),
    Param::boolean("unique"),
    Param::boolean("force"),
    Param::boolean("live-restore"),
    Param::boolean("ha-managed"),
    Param::text("archive", 255),
    Param::integer("bwlimit", 0, i64::MAX),
    Param::text("import-working-storage", 64),
];

/// How long the host takes to make a VM, its disks apart.
const MAKE: Duration = Duration::from_secs(1);
/// How long a creation waits for the lock.
const LOCK_WAIT: Duration = Duration::from_secs(1);

/// The placeholder of routes whose handler waits.
pub(super) fn refuse(_: &Proxmox, _: &Request) -> Answer {
    Err(Refused::died("got no worker upid - start worker failed"))
}

/// `POST /nodes/{node}/qemu`.
pub(super) async fn create(host: Proxmox, request: Request) -> Answer {
    let vmid = request.vmid();
    let path = super::acl(vmid);
    if !host.access().has_any(&request.caller, &path, &["VM.Allocate"]) {
        return Err(Refused::Forbidden("Permission check failed".to_owned()));
    }
    if let Some(pool) = request.params.get("pool") {
        return Err(Refused::Forbidden(format!("pool '{pool}' does not exist")));
    }
    if request.params.get("archive").is_some() {
        return Err(Refused::died("unable to restore: no backups on this host"));
    }
    let start = request.params.flag("start", false);
    if start {
        host.access().need(&request.caller, &path, "VM.PowerMgmt")?;
    }
    let config = update::wanted(&host, &request, PARAMS)?;
    let taken = || {
        let text =
            format!("unable to create VM {vmid} - VM {vmid} already exists on node '{HOST}'");
        Refused::Died(text)
    };
    if host.vmids().contains(&vmid) {
        return Err(taken());
    }
    let flock = host.flock(vmid, LOCK_WAIT).await?;
    if host.vmids().contains(&vmid) {
        return Err(taken());
    }
    let reserved = BTreeMap::from([("lock".to_owned(), "create".to_owned())]);
    let reserved = Vm { config: reserved, ..Vm::default() };
    host.save(vmid, reserved, Changes::new().count("proxmox", &object(vmid), "create"))?;
    let (id, caller, task_host) = (no_task(&request), request.caller.clone(), host.clone());
    let upid = host.start_task(
        Kind { name: "qmcreate", id: &id },
        &caller,
        Changes::new(),
        |log| async move {
            let made = make(&task_host, vmid, config, &log).await;
            drop(flock);
            made?;
            if start {
                super::power::switch_on(&task_host, vmid, &log).await?;
            }
            Ok(())
        },
    )?;
    Ok(json!(upid).into())
}

/// What is removed again when a task fails or is stopped; a power cut leaves it.
#[derive(Debug)]
struct Undo<'a> {
    host: &'a Proxmox,
    vmid: u32,
    volumes: Vec<String>,
}

impl Undo<'_> {
    fn undo(self) {
        for volume in &self.volumes {
            // The file may be gone already.
            let _ = self.host.free(volume);
        }
        // The reservation stays if it cannot be removed, as after a power cut.
        let _ = self.host.forget(self.vmid, Changes::new());
    }
}

async fn make(
    host: &Proxmox,
    vmid: u32,
    wanted: BTreeMap<String, String>,
    log: &Log,
) -> Result<(), String> {
    let mut undo = Undo { host, vmid, volumes: Vec::new() };
    let made = build(host, vmid, wanted, (log, &mut undo.volumes)).await;
    match made {
        Ok(vm) => host.save(vmid, vm, Changes::new()).map_err(Refused::into_text),
        Err(text) => {
            undo.undo();
            Err(format!("unable to create VM {vmid} - {text}"))
        }
    }
}

/// Makes all disks, in the order of their keys, and the whole configuration.
async fn build(
    host: &Proxmox,
    vmid: u32,
    wanted: BTreeMap<String, String>,
    (log, volumes): (&Log, &mut Vec<String>),
) -> Result<Vm, String> {
    log.takes(MAKE).await?;
    let mut vm = Vm::default();
    for (key, value) in wanted {
        let value = if drive::is_drive(&key) {
            let made = host.make_drive(vmid, (&key, &value), (log, volumes)).await?;
            made.value
        } else {
            value
        };
        vm.config.insert(key, value);
    }
    complete(&mut vm);
    Ok(vm)
}

/// Adds what the server sets by itself.
fn complete(vm: &mut Vm) {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    vm.config.insert("meta".to_owned(), format!("creation-qemu=10.1.2,ctime={now}"));
    vm.config
        .entry("smbios1".to_owned())
        .and_modify(|given| {
            if !given.contains("uuid=") {
                *given = format!("{given},uuid={}", Uuid::new_v4());
            }
        })
        .or_insert_with(|| format!("uuid={}", Uuid::new_v4()));
    vm.config.entry("vmgenid".to_owned()).or_insert_with(|| Uuid::new_v4().to_string());
    if !vm.config.contains_key("boot") {
        let is = |disc: bool| {
            vm.config
                .iter()
                .find(|(key, value)| {
                    drive::is_drive(key)
                        && !key.contains('k')
                        && !key.starts_with("tpm")
                        && drive::is_disc(value) == disc
                })
                .map(|(key, _)| key.clone())
        };
        let net = vm.config.keys().find(|key| key.starts_with("net")).cloned();
        let order: Vec<String> = [is(false), is(true), net].into_iter().flatten().collect();
        if !order.is_empty() {
            vm.config.insert("boot".to_owned(), format!("order={}", order.join(";")));
        }
    }
}

/// Refuses keys of the configuration that a caller may not set.
pub(super) fn check_needs(
    host: &Proxmox,
    request: &Request,
    key: &str,
    value: &str,
) -> Result<(), Refused> {
    let path = super::acl(request.vmid());
    match options::needs(key, value) {
        options::Needs::Any(privileges) => {
            host.access().need_any(&request.caller, &path, privileges)
        }
        options::Needs::Root if request.caller.is_root() => Ok(()),
        options::Needs::Root => Err(Refused::Died(format!("only root can set '{key}' config"))),
    }
}
