//! Looking at VMs.

use serde_json::{Value, json};

use crate::{StoreError, store::Store};

use super::{
    super::{
        HOST, Proxmox,
        access::Caller,
        params::Param,
        reply::{Answer, Refused},
        route::Request,
    },
    Vm, acl, drive, missing, properties,
};
use crate::world::locked;

pub(super) const LIST: &[Param] = &[Param::boolean("full")];
pub(super) const CONFIG: &[Param] = &[Param::boolean("current"), Param::text("snapshot", 40)];

pub(super) fn may_audit(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    host.access().need(&request.caller, &path, "VM.Audit")
}

/// A configuration value as the API gives it: numbers as numbers, but memory, which is a text.
fn value(key: &str, text: &str) -> Value {
    let numbers = [
        "balloon",
        "cores",
        "sockets",
        "vcpus",
        "onboot",
        "numa",
        "protection",
        "shares",
        "tablet",
        "kvm",
        "acpi",
        "cpuunits",
        "template",
    ];
    match text.parse::<i64>() {
        Ok(number) if numbers.contains(&key) => json!(number),
        Ok(_) | Err(_) => json!(text),
    }
}

pub(super) fn config(host: &Proxmox, request: &Request) -> Answer {
    let vm = host.vm(request.vmid())?;
    if let Some(snapshot) = request.params.get("snapshot") {
        return Err(Refused::Died(format!("snapshot '{snapshot}' does not exist")));
    }
    let current = request.params.flag("current", false);
    let shown = if current { vm.config.clone() } else { vm.merged() };
    let mut object: serde_json::Map<String, Value> = shown
        .iter()
        .map(|(key, text)| {
            let hidden = key == "cipassword";
            (key.clone(), if hidden { json!("**********") } else { value(key, text) })
        })
        .collect();
    object.insert("digest".to_owned(), json!(vm.digest()));
    Ok(Value::Object(object).into())
}

pub(super) fn pending(host: &Proxmox, request: &Request) -> Answer {
    let vm = host.vm(request.vmid())?;
    let mut rows = Vec::new();
    for (key, text) in &vm.config {
        let mut row = json!({ "key": key, "value": value(key, text) });
        if let Some(text) = vm.pending.get(key) {
            row["pending"] = value(key, text);
        }
        if vm.deleting.contains(key) {
            row["delete"] = json!(1);
        }
        rows.push(row);
    }
    let new = vm.pending.iter().filter(|(key, _)| !vm.config.contains_key(*key));
    rows.extend(new.map(|(key, text)| json!({ "key": key, "pending": value(key, text) })));
    Ok(json!(rows).into())
}

/// A VM's number of processors, its memory and the size of the disk that it boots from.
fn sizes(vm: &Vm) -> (u64, u64, u64) {
    let number =
        |key: &str, default: u64| vm.get(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let boot = super::power::boot_drive(vm);
    let disk = boot.and_then(|(_, value)| {
        properties::bytes(value.split(',').find_map(|part| part.strip_prefix("size="))?)
    });
    let cores = number("cores", 1) * number("sockets", 1);
    (cores, number("memory", 512) << 20, disk.unwrap_or(0))
}

fn row(host: &Proxmox, vmid: u32, vm: &Vm) -> Value {
    let (cores, memory, disk) = sizes(vm);
    let running = host.running(vmid);
    let mut row = json!({
        "vmid": vmid,
        "name": vm.get("name").map_or_else(|| format!("VM {vmid}"), str::to_owned),
        "status": if running.is_some() { "running" } else { "stopped" },
        "cpus": cores,
        "maxmem": memory,
        "maxdisk": disk,
        "cpu": 0,
        "mem": running.as_ref().map_or(0, |running| running.memory / 2),
        "disk": 0,
        "uptime": running.as_ref().map_or(0, |running| host.world_seconds(running.since)),
    });
    for key in ["lock", "tags"] {
        if let Some(text) = vm.get(key) {
            row[key] = json!(text);
        }
    }
    if let Some(running) = running {
        row["pid"] = json!(running.pid);
    }
    row
}

pub(super) fn status(host: &Proxmox, request: &Request) -> Answer {
    let vmid = request.vmid();
    let vm = host.vm(vmid)?;
    let mut row = row(host, vmid, &vm);
    let running = host.running(vmid).is_some();
    row["qmpstatus"] = json!(if running { "running" } else { "stopped" });
    row["ha"] = json!({ "managed": 0 });
    if vm.get("agent").is_some_and(|agent| agent.starts_with('1')) {
        row["agent"] = json!(1);
    }
    if running {
        row["running-machine"] = json!("pc-q35-10.1+pve0");
        row["running-qemu"] = json!("10.1.2");
    }
    Ok(row.into())
}

pub(super) fn list(host: &Proxmox, request: &Request) -> Answer {
    let access = host.access();
    let all = locked(&host.vms().all).clone();
    let visible =
        all.iter().filter(|(vmid, _)| access.has_any(&request.caller, &acl(**vmid), &["VM.Audit"]));
    let rows: Vec<_> = visible.map(|(vmid, vm)| row(host, *vmid, vm)).collect();
    Ok(json!(rows).into())
}

impl Proxmox {
    /// The rows of `GET /cluster/resources` for VMs.
    pub(in super::super) fn vm_resources(&self, caller: &Caller) -> Result<Vec<Value>, Refused> {
        let access = self.access();
        let all = locked(&self.vms().all).clone();
        let visible =
            all.iter().filter(|(vmid, _)| access.has_any(caller, &acl(**vmid), &["VM.Audit"]));
        let rows = visible.map(|(vmid, vm)| {
            let mut row = row(self, *vmid, vm);
            row["id"] = json!(format!("qemu/{vmid}"));
            row["type"] = json!("qemu");
            row["node"] = json!(HOST);
            row["template"] = json!(0);
            row
        });
        Ok(rows.collect())
    }

    /// All VMs, for people.
    pub(crate) fn status(&self) -> Vec<Value> {
        let all = locked(&self.vms().all).clone();
        all.iter().map(|(vmid, vm)| row(self, *vmid, vm)).collect()
    }

    /// All VMs of a world that nothing runs, for people.
    pub(crate) fn stored(store: &Store) -> Result<Vec<Value>, StoreError> {
        let rows = super::stored(store)?.into_iter().map(|(vmid, vm)| {
            json!({ "vmid": vmid, "name": vm.get("name"), "status": "stopped", "lock": vm.get("lock") })
        });
        Ok(rows.collect())
    }

    /// Whether there is a VM of this number.
    pub(super) fn need_vm(&self, vmid: u32) -> Result<(), Refused> {
        if locked(&self.vms().all).contains_key(&vmid) { Ok(()) } else { Err(missing(vmid)) }
    }
}

/// The drives of a VM that hold volumes.
pub(super) fn drives(vm: &Vm) -> impl Iterator<Item = (&str, &str)> {
    let drives =
        vm.config.iter().filter(|(key, value)| drive::is_drive(key) && !drive::is_disc(value));
    drives.map(|(key, value)| (key.as_str(), value.as_str()))
}
