//! Destroying VMs.

use std::{collections::BTreeSet, time::Duration};

use serde_json::json;

use crate::{store::Changes, world::locked};

use super::{
    super::{
        Proxmox,
        params::Param,
        reply::{Answer, Refused},
        route::Request,
        task::{Kind, Log},
    },
    LOCK_WAIT, Vm, check_lock, no_task, object,
};

pub(super) const PARAMS: &[Param] = &[
    Param::boolean("purge"),
    Param::boolean("destroy-unreferenced-disks"),
    Param::boolean("skiplock"),
];

/// How long destroying takes.
const DESTROY: Duration = Duration::from_secs(3);

pub(super) fn may_remove(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    host.access().need(&request.caller, &path, "VM.Allocate")
}

pub(super) fn remove(host: &Proxmox, request: &Request) -> Answer {
    let vmid = request.vmid();
    let skip = request.params.flag("skiplock", false);
    if skip && !request.caller.is_root() {
        return Err(Refused::parameter("skiplock", "Only root may use this option."));
    }
    let vm = host.vm(vmid)?;
    if vm.get("protection") == Some("1") {
        return Err(Refused::Died(format!("can't remove VM {vmid} - protection mode enabled")));
    }
    if host.running(vmid).is_some() {
        return Err(Refused::Died(format!("VM {vmid} is running - destroy failed")));
    }
    let all = request.params.flag("destroy-unreferenced-disks", false);
    let (id, task_host) = (no_task(request), host.clone());
    let kind = Kind { name: "qmdestroy", id: &id };
    let upid = host.start_task(kind, &request.caller, Changes::new(), |log| async move {
        destroy(&task_host, vmid, (skip, all), &log).await
    })?;
    Ok(json!(upid).into())
}

async fn destroy(
    host: &Proxmox,
    vmid: u32,
    (skip, all): (bool, bool),
    log: &Log,
) -> Result<(), String> {
    let text = Refused::into_text;
    let _flock = host.flock(vmid, LOCK_WAIT).await.map_err(text)?;
    let mut vm = host.vm(vmid).map_err(text)?;
    if !skip {
        check_lock(&vm).map_err(text)?;
    }
    if host.running(vmid).is_some() {
        return Err(format!("VM {vmid} is running - destroy failed"));
    }
    vm.config.insert("lock".to_owned(), "destroyed".to_owned());
    host.save(vmid, vm.clone(), Changes::new()).map_err(text)?;
    log.takes(DESTROY).await?;
    for volume in owned(host, vmid, &vm, all)? {
        host.free(&volume)?;
        log.line(format!("Removed volume '{volume}'"));
    }
    let mut access = host.access();
    let forgotten = access.forget_vm(vmid).unwrap_or_default();
    drop(access);
    let counted = forgotten.count("proxmox", &object(vmid), "delete");
    host.forget(vmid, counted).map_err(text)?;
    locked(&host.vms().locks).remove(&vmid);
    host.machines().remove(vmid);
    Ok(())
}

/// The VM's own volumes: those that its file names, or all that bear its number.
fn owned(host: &Proxmox, vmid: u32, vm: &Vm, all: bool) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    let named = vm.volumes();
    for store in ["local", "local-zfs"] {
        let store = host.store(store).map_err(Refused::into_text)?;
        let volumes = store.volumes().map_err(|error| error.to_string())?;
        let own = volumes.into_iter().filter(|volume| volume.vmid == Some(vmid));
        found.extend(own.map(|volume| volume.id).filter(|id| all || named.contains(id)));
    }
    Ok(found)
}
