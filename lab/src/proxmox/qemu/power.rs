//! Switching VMs on and off.

use std::{collections::BTreeMap, fs::File, time::Duration};

use serde_json::json;

use crate::{image::Image, store::Changes, talos::Hardware, world::locked};

use super::{
    super::{
        Proxmox,
        cluster::MEMORY,
        network,
        params::Param,
        reply::{Answer, Refused},
        route::Request,
        storage::Volume,
        task::{Kind, Log},
    },
    LOCK_WAIT, Running, Vm, check_lock, drive, no_task, object, show,
};

pub(super) const START: &[Param] = &[
    Param::integer("timeout", 0, i64::MAX),
    Param::text("machine", 40),
    Param::boolean("skiplock"),
];
pub(super) const STOP: &[Param] = &[
    Param::integer("timeout", 0, i64::MAX),
    Param::boolean("skiplock"),
    Param::boolean("keepActive"),
    Param::boolean("overrule-shutdown"),
];
pub(super) const SHUTDOWN: &[Param] = &[
    Param::integer("timeout", 0, i64::MAX),
    Param::boolean("forceStop"),
    Param::boolean("skiplock"),
    Param::boolean("keepActive"),
];

const SWITCH_ON: Duration = Duration::from_secs(5);
const SWITCH_OFF: Duration = Duration::from_secs(2);
/// How long a guest takes to shut down.
const GUEST: Duration = Duration::from_secs(10);
/// How long a guest takes from power to a running agent.
const AGENT: Duration = Duration::from_secs(20);

pub(super) fn may_power(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    host.access().need(&request.caller, &path, "VM.PowerMgmt")
}

pub(super) fn may_ask_agent(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    let wanted = ["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"];
    host.access().need_any(&request.caller, &path, &wanted)
}

/// The first drive of the boot order that is no CD-ROM.
pub(super) fn boot_drive(vm: &Vm) -> Option<(&str, &str)> {
    let order = vm.get("boot")?.split(',').find_map(|part| part.strip_prefix("order="))?;
    order.split(';').find_map(|key| {
        let value = vm.get(key)?;
        (drive::is_drive(key) && !drive::is_disc(value)).then_some((key, value))
    })
}

/// A power task on a VM: its type, and how often it counts.
fn task<F>(
    host: &Proxmox,
    request: &Request,
    name: &'static str,
    work: impl FnOnce(Proxmox, u32, Log) -> F,
) -> Answer
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let vmid = request.vmid();
    host.need_vm(vmid)?;
    if request.params.flag("skiplock", false) && !request.caller.is_root() {
        return Err(Refused::parameter("skiplock", "Only root may use this option."));
    }
    let id = no_task(request);
    let kind = Kind { name, id: &id };
    let task_host = host.clone();
    let begun = |log| work(task_host, vmid, log);
    Ok(json!(host.start_task(kind, &request.caller, Changes::new(), begun)?).into())
}

pub(super) fn start(host: &Proxmox, request: &Request) -> Answer {
    task(host, request, "qmstart", async |host, vmid, log| switch_on(&host, vmid, &log).await)
}

/// Switches a VM on.
pub(super) async fn switch_on(host: &Proxmox, vmid: u32, log: &Log) -> Result<(), String> {
    let text = Refused::into_text;
    let _flock = host.flock(vmid, LOCK_WAIT).await.map_err(text)?;
    let mut vm = host.vm(vmid).map_err(text)?;
    check_lock(&vm).map_err(text)?;
    if host.running(vmid).is_some() {
        return Err(format!("VM {vmid} already running"));
    }
    vm.settle();
    check_parts(host, &vm)?;
    log.takes(SWITCH_ON).await?;
    let counted = Changes::new().count("proxmox", &object(vmid), "start");
    host.save(vmid, vm.clone(), counted).map_err(text)?;
    host.run(vmid, &vm)
}

/// Refuses a VM whose parts the host does not have.
fn check_parts(host: &Proxmox, vm: &Vm) -> Result<(), String> {
    for (_, value) in show::drives(vm) {
        let volume = drive::volume(value).unwrap_or_default();
        if host.volume(volume).map_err(Refused::into_text)?.is_none() {
            return Err(format!("volume '{volume}' does not exist"));
        }
    }
    let nets = vm.config.iter().filter(|(key, _)| key.starts_with("net"));
    for (_, value) in nets {
        let bridge = value.split(',').find_map(|part| part.strip_prefix("bridge="));
        if let Some(bridge) = bridge.filter(|bridge| !network::has_bridge(bridge)) {
            return Err(format!("bridge '{bridge}' does not exist"));
        }
    }
    let memory = number(vm, "memory", 512) << 20;
    if host.memory_in_use() + memory > MEMORY {
        return Err("start failed: QEMU exited with code 1".to_owned());
    }
    Ok(())
}

fn number(vm: &Vm, key: &str, default: u64) -> u64 {
    vm.get(key).and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Whether Talos starts on a processor of this model.
fn is_modern(cpu: Option<&str>) -> bool {
    let model = cpu.and_then(|cpu| cpu.split(',').next()).unwrap_or("kvm64");
    !matches!(model, "kvm64" | "kvm32" | "qemu64" | "qemu32" | "486" | "pentium" | "x86-64-v1")
}

/// Whether the firmware refuses what Microsoft has not signed.
fn is_secure(vm: &Vm) -> bool {
    let keys = vm.get("efidisk0").is_some_and(|disk| disk.contains("pre-enrolled-keys=1"));
    vm.get("bios") == Some("ovmf") && keys
}

/// What a VM finds on its disk and can start.
fn boot_image(vm: &Vm, volume: &Volume) -> Result<Option<Image>, String> {
    if is_secure(vm) || !is_modern(vm.get("cpu")) {
        return Ok(None);
    }
    let disk = File::open(&volume.path).map_err(|error| error.to_string())?;
    Image::read(disk).map_err(|error| error.to_string())
}

impl Proxmox {
    /// Lets a VM run: whatever is on its boot disk starts.
    fn run(&self, vmid: u32, vm: &Vm) -> Result<(), String> {
        let volume = self.boot_volume(vm)?;
        let disk_size = volume.as_ref().map_or(0, |volume| volume.size);
        let image = volume.map_or(Ok(None), |volume| boot_image(vm, &volume))?;
        let part = |key: &str, name: &str| {
            let parts = vm.get(key)?.split(',');
            parts.into_iter().find_map(|part| part.strip_prefix(name)).map(str::to_owned)
        };
        let memory = number(vm, "memory", 512);
        let running = Running {
            since: tokio::time::Instant::now(),
            pid: self.world().draw(10_000..4_000_000),
            memory: memory << 20,
            booted: image.is_some(),
            agent: image.as_ref().is_some_and(|image| self.has_agent(image)),
        };
        locked(&self.vms().running).insert(vmid, running);
        let cores = number(vm, "cores", 1) * number(vm, "sockets", 1);
        self.machines().power_on(Hardware {
            vmid,
            name: vm.get("name").unwrap_or_default().to_owned(),
            uuid: part("smbios1", "uuid=").unwrap_or_default(),
            mac: part("net0", "virtio=").unwrap_or_default(),
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            memory_mib: memory,
            disk_size,
            disk: image,
        });
        Ok(())
    }

    /// The first disk that a VM is to boot from.
    fn boot_volume(&self, vm: &Vm) -> Result<Option<Volume>, String> {
        let Some((_, value)) = boot_drive(vm) else { return Ok(None) };
        let id = drive::volume(value).unwrap_or_default();
        let volume = self.volume(id).map_err(Refused::into_text)?;
        volume.map(Some).ok_or_else(|| format!("volume '{id}' does not exist"))
    }

    /// Whether an image's schematic has the guest agent.
    fn has_agent(&self, image: &Image) -> bool {
        let schematics = self.world().store().load::<String>(crate::factory::SCHEMATICS);
        let text = schematics.ok().and_then(|mut all| all.remove(&image.schematic));
        text.is_some_and(|text| text.contains("siderolabs/qemu-guest-agent"))
    }

    /// Takes a VM's power away.
    fn cut_power(&self, vmid: u32) {
        locked(&self.vms().running).remove(&vmid);
        self.machines().power_off(vmid);
    }

    /// Starts the VMs that start with the host, before anybody can look: the power came back long ago.
    pub(crate) fn power_up(&self) {
        let starting: BTreeMap<u32, Vm> = locked(&self.vms().all)
            .iter()
            .filter(|(_, vm)| vm.get("onboot") == Some("1") && vm.get("lock").is_none())
            .map(|(vmid, vm)| (*vmid, vm.clone()))
            .collect();
        for (vmid, mut vm) in starting {
            vm.settle();
            let started = check_parts(self, &vm).and_then(|()| {
                self.save(vmid, vm.clone(), Changes::new()).map_err(Refused::into_text)?;
                self.run(vmid, &vm)
            });
            if let Err(text) = started {
                // A VM that does not start stays off, and its next start says why.
                tracing::warn!(vmid, text, "a VM did not start with its host");
            }
        }
    }
}

pub(super) fn stop(host: &Proxmox, request: &Request) -> Answer {
    task(host, request, "qmstop", async |host, vmid, log| {
        let _flock = host.flock(vmid, LOCK_WAIT).await.map_err(Refused::into_text)?;
        check_lock(&host.vm(vmid).map_err(Refused::into_text)?).map_err(Refused::into_text)?;
        if host.running(vmid).is_none() {
            return Ok(());
        }
        log.takes(SWITCH_OFF).await?;
        host.switch_off(vmid, "stop")
    })
}

impl Proxmox {
    /// Switches a VM off, takes over what was pending, and counts it.
    fn switch_off(&self, vmid: u32, verb: &str) -> Result<(), String> {
        self.cut_power(vmid);
        let mut vm = self.vm(vmid).map_err(Refused::into_text)?;
        vm.settle();
        let counted = Changes::new().count("proxmox", &object(vmid), verb);
        self.save(vmid, vm, counted).map_err(Refused::into_text)
    }
}

pub(super) fn shutdown(host: &Proxmox, request: &Request) -> Answer {
    let timeout = request.params.integer("timeout").and_then(|timeout| timeout.try_into().ok());
    let timeout = Duration::from_secs(timeout.unwrap_or(60));
    let force = request.params.flag("forceStop", false);
    task(host, request, "qmshutdown", async move |host, vmid, log| {
        shut_down(&host, vmid, (timeout, force), &log).await
    })
}

async fn shut_down(
    host: &Proxmox,
    vmid: u32,
    (timeout, force): (Duration, bool),
    log: &Log,
) -> Result<(), String> {
    let _flock = host.flock(vmid, LOCK_WAIT).await.map_err(Refused::into_text)?;
    check_lock(&host.vm(vmid).map_err(Refused::into_text)?).map_err(Refused::into_text)?;
    let Some(running) = host.running(vmid) else { return Ok(()) };
    if running.booted && timeout >= GUEST {
        log.takes(GUEST).await?;
        return host.switch_off(vmid, "shutdown");
    }
    log.takes(timeout).await?;
    if force {
        log.line("VM still running - terminating now with SIGTERM");
        return host.switch_off(vmid, "shutdown");
    }
    Err("VM quit/powerdown failed - got timeout".to_owned())
}

pub(super) fn reboot(host: &Proxmox, request: &Request) -> Answer {
    if host.running(request.vmid()).is_none() {
        return Err(Refused::Died(format!("VM {} not running", request.vmid())));
    }
    task(host, request, "qmreboot", async |host, vmid, log| {
        shut_down(&host, vmid, (GUEST * 6, false), &log).await?;
        switch_on(&host, vmid, &log).await
    })
}

pub(super) fn reset(host: &Proxmox, request: &Request) -> Answer {
    if host.running(request.vmid()).is_none() {
        return Err(Refused::Died(format!("VM {} not running", request.vmid())));
    }
    task(host, request, "qmreset", async |host, vmid, _log| {
        host.cut_power(vmid);
        let vm = host.vm(vmid).map_err(Refused::into_text)?;
        let counted = Changes::new().count("proxmox", &object(vmid), "reset");
        host.save(vmid, vm.clone(), counted).map_err(Refused::into_text)?;
        host.run(vmid, &vm)
    })
}

pub(super) fn ping(host: &Proxmox, request: &Request) -> Answer {
    let vmid = request.vmid();
    let vm = host.vm(vmid)?;
    if !vm.get("agent").is_some_and(|agent| agent.starts_with('1')) {
        return Err(Refused::died("No QEMU guest agent configured"));
    }
    let Some(running) = host.running(vmid) else {
        return Err(Refused::Died(format!("VM {vmid} is not running")));
    };
    let up = running.since.elapsed() >= host.world().clock().scaled(AGENT);
    if running.agent && up {
        let none: BTreeMap<String, String> = BTreeMap::new();
        return Ok(crate::proxmox::reply::Reply::from(json!({ "result": none })).unchanged());
    }
    Err(Refused::died("QEMU guest agent is not running"))
}
