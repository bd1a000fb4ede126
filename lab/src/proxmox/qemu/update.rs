//! Changing a VM's configuration, and growing its disks.

use std::{collections::BTreeMap, fs::File, time::Duration};

use serde_json::json;

use crate::store::Changes;

use super::{
    super::{
        Proxmox, network,
        params::Param,
        reply::{Answer, Refused, Reply},
        route::Request,
        task::{Kind, Log},
    },
    Flock, LOCK_WAIT, Vm, check_lock, create, drive,
    drive::{Drive, Source},
    no_task, object, options, properties,
};

/// The parameters beside the configuration.
pub(super) const PARAMS: &[Param] = &[
    Param::list("delete"),
    Param::list("revert"),
    Param::text("digest", 40),
    Param::boolean("force"),
    Param::boolean("skiplock"),
    Param::integer("background_delay", 1, 30),
    Param::text("import-working-storage", 64),
];

/// The parameters of growing a disk.
pub(super) const RESIZE: &[Param] = &[
    Param::text("disk", 16).required(),
    Param::text("size", 32).required(),
    Param::text("digest", 40),
    Param::boolean("skiplock"),
];

/// How long a change without disks takes.
const CHANGE: Duration = Duration::from_millis(300);
/// How long growing a disk takes.
const GROW: Duration = Duration::from_secs(1);

const CONFIG_PRIVILEGES: &[&str] = &[
    "VM.Config.Disk",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.HWType",
    "VM.Config.Options",
    "VM.Config.Cloudinit",
];

pub(super) fn may_configure(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    host.access().need_any(&request.caller, &path, CONFIG_PRIVILEGES)
}

pub(super) fn may_resize(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/vms/{}", request.path("vmid"));
    host.access().need(&request.caller, &path, "VM.Config.Disk")
}

/// The configuration that a call asks for: written as the server does, and allowed to the caller.
pub(super) fn wanted(
    host: &Proxmox,
    request: &Request,
    other: &[Param],
) -> Result<BTreeMap<String, String>, Refused> {
    let mut config = BTreeMap::new();
    let mut errors = BTreeMap::new();
    let is_other = |name: &str| {
        matches!(name, "node" | "vmid") || other.iter().any(|param| param.name() == name)
    };
    for (key, value) in request.params.texts().filter(|(name, _)| !is_other(name)) {
        match options::normal(key, value) {
            Ok(value) => {
                config.insert(key.to_owned(), value);
            }
            Err(text) => {
                errors.insert(key.to_owned(), text);
            }
        }
    }
    if !errors.is_empty() {
        return Err(Refused::Parameters(errors));
    }
    for (key, value) in &config {
        create::check_needs(host, request, key, value)?;
        check_places(host, request, key, value)?;
    }
    Ok(config)
}

/// Refuses stores and bridges that a caller may not use.
fn check_places(host: &Proxmox, request: &Request, key: &str, value: &str) -> Result<(), Refused> {
    let access = host.access();
    let caller = &request.caller;
    if key.starts_with("net") && key != "nameserver" {
        let part = |name: &str| {
            value.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        return match part("bridge") {
            Some(bridge) => {
                access.need(caller, &network::zone_path(bridge, part("tag")), "SDN.Use")
            }
            None => Ok(()),
        };
    }
    if !drive::is_drive(key) {
        return Ok(());
    }
    let drive = Drive::parse(key, value).map_err(|text| Refused::parameter(key, text))?;
    drop(access);
    let need = |store: &str, wanted: &[&str]| {
        host.access().need_any(caller, &format!("/storage/{store}"), wanted)
    };
    match &drive.source {
        Source::Allocate { store, .. } => need(store, &["Datastore.AllocateSpace"])?,
        Source::Import { store, from } => {
            need(store, &["Datastore.AllocateSpace"])?;
            check_import(request, key, from)?;
            let source = from.split(':').next().unwrap_or_default();
            need(source, &["Datastore.AllocateSpace", "Datastore.Audit"])?;
        }
        Source::Volume(id) => {
            let own = id.contains(&format!("vm-{}-", request.vmid()));
            if !own {
                let store = id.split(':').next().unwrap_or_default();
                need(store, &["Datastore.Allocate"])?;
            }
        }
        Source::Disc(_) => return Ok(()),
    }
    let store = match &drive.source {
        Source::Allocate { store, .. } | Source::Import { store, .. } => store.as_str(),
        Source::Volume(id) | Source::Disc(id) => id.split(':').next().unwrap_or_default(),
    };
    host.store(store).map(drop)
}

fn check_import(request: &Request, key: &str, from: &str) -> Result<(), Refused> {
    if from.starts_with('/') {
        if request.caller.is_root() {
            return Err(Refused::died(format!("failed to stat '{from}'")));
        }
        return Err(Refused::died("Only root can pass arbitrary filesystem paths."));
    }
    let Some((_, name)) = from.split_once(':') else {
        return Err(Refused::parameter(key, format!("unable to parse volume ID '{from}'")));
    };
    let kind = name.split_once('/').map_or("images", |(kind, _)| kind);
    if matches!(kind, "iso" | "vztmpl" | "backup" | "snippets") {
        let text = format!("{from} has wrong type '{kind}' - needs to be 'images' or 'import'");
        return Err(Refused::parameter(key, text));
    }
    Ok(())
}

/// What a call changes.
#[derive(Debug)]
struct Change {
    config: BTreeMap<String, String>,
    delete: Vec<String>,
    revert: Vec<String>,
    force: bool,
}

impl Change {
    fn of(host: &Proxmox, request: &Request) -> Result<Self, Refused> {
        let config = wanted(host, request, PARAMS)?;
        let delete = request.params.list("delete");
        if let Some(key) = delete.iter().find(|key| config.contains_key(*key)) {
            let text = format!("you can't use '-{key}' and -delete {key} at the same time");
            return Err(Refused::parameter("delete", text));
        }
        for key in &delete {
            create::check_needs(host, request, key, "socket")?;
        }
        if config.is_empty() && delete.is_empty() && request.params.list("revert").is_empty() {
            return Err(Refused::died("no options specified"));
        }
        let force = request.params.flag("force", false);
        Ok(Self { config, delete, revert: request.params.list("revert"), force })
    }
}

/// What both ways of changing have in front: the VM's file, locked and as the caller knew it.
async fn prepare(host: &Proxmox, request: &Request) -> Result<(Change, Flock), Refused> {
    let vmid = request.vmid();
    host.vm(vmid)?;
    let change = Change::of(host, request)?;
    let skip = request.params.flag("skiplock", false);
    if skip && !request.caller.is_root() {
        return Err(Refused::parameter("skiplock", "Only root may use this option."));
    }
    let flock = host.flock(vmid, LOCK_WAIT).await?;
    let vm = host.vm(vmid)?;
    check_digest(&vm, request)?;
    if !skip {
        check_lock(&vm)?;
    }
    Ok((change, flock))
}

fn check_digest(vm: &Vm, request: &Request) -> Result<(), Refused> {
    match request.params.get("digest") {
        Some(digest) if digest != vm.digest() => {
            Err(Refused::died("checksum mismatch (file change by other user?)"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Starts the task of a change.
fn begin(
    host: &Proxmox,
    request: &Request,
    (change, flock): (Change, Flock),
) -> Result<String, Refused> {
    let (vmid, id, task_host) = (request.vmid(), no_task(request), host.clone());
    let kind = Kind { name: "qmconfig", id: &id };
    host.start_task(kind, &request.caller, Changes::new(), |log| async move {
        let changed = apply(&task_host, vmid, change, &log).await;
        drop(flock);
        changed
    })
}

/// `POST …/config`: the work goes on in a task.
pub(super) async fn post(host: Proxmox, request: Request) -> Answer {
    let prepared = prepare(&host, &request).await?;
    let upid = begin(&host, &request, prepared)?;
    let delay = request.params.integer("background_delay").and_then(|delay| delay.try_into().ok());
    let ended = match delay {
        Some(delay) => host.await_task(&upid, Duration::from_secs(delay)).await,
        None => None,
    };
    match ended {
        None => Ok(json!(upid).into()),
        Some(exit) if exit == "OK" => Ok(Reply::null()),
        Some(exit) => Err(Refused::Died(format!("failed to update VM {}: {exit}", request.vmid()))),
    }
}

/// `PUT …/config`: the answer waits for the work, at most as long as the proxy does.
pub(super) async fn put(host: Proxmox, request: Request) -> Answer {
    const PROXY: Duration = Duration::from_secs(30);
    let prepared = prepare(&host, &request).await?;
    let upid = begin(&host, &request, prepared)?;
    match host.await_task(&upid, PROXY).await {
        None => Err(Refused::Protocol(596, "Connection timed out".to_owned())),
        Some(exit) if exit == "OK" => Ok(Reply::null()),
        Some(exit) => Err(Refused::Died(exit)),
    }
}

/// Makes a change key by key; each is written by itself.
async fn apply(host: &Proxmox, vmid: u32, change: Change, log: &Log) -> Result<(), String> {
    let text = Refused::into_text;
    log.takes(CHANGE).await?;
    let mut counted = Some(Changes::new().count("proxmox", &object(vmid), "config"));
    let mut changes = move || counted.take().unwrap_or_default();
    let running = host.running(vmid).is_some();
    for key in &change.revert {
        let mut vm = host.vm(vmid).map_err(text)?;
        vm.pending.remove(key);
        vm.deleting.remove(key);
        host.save(vmid, vm, changes()).map_err(text)?;
    }
    for key in &change.delete {
        let vm = delete_key(host, vmid, (key, change.force), running)?;
        host.save(vmid, vm, changes()).map_err(text)?;
    }
    let (drives, others): (Vec<_>, Vec<_>) =
        change.config.into_iter().partition(|(key, _)| drive::is_drive(key));
    for (key, value) in drives {
        set_drive(host, vmid, (&key, &value), (log, running, &mut changes)).await?;
    }
    for (key, value) in others {
        let mut vm = host.vm(vmid).map_err(text)?;
        if key == "boot" {
            check_boot(&vm, &value)?;
        }
        set(&mut vm, &key, value, running);
        host.save(vmid, vm, changes()).map_err(text)?;
    }
    Ok(())
}

/// Sets a key, now or at the next start.
fn set(vm: &mut Vm, key: &str, value: String, running: bool) {
    let same = vm.get(key) == Some(value.as_str());
    let hot = options::is_hot(key, !vm.config.contains_key(key));
    vm.deleting.remove(key);
    if !running || hot || same {
        vm.pending.remove(key);
        vm.config.insert(key.to_owned(), value);
    } else {
        vm.pending.insert(key.to_owned(), value);
    }
}

fn check_boot(vm: &Vm, value: &str) -> Result<(), String> {
    let order = value.split(',').find_map(|part| part.strip_prefix("order=")).unwrap_or_default();
    let known = vm.merged();
    match order.split(';').find(|device| !device.is_empty() && !known.contains_key(*device)) {
        Some(device) => Err(format!("invalid bootorder: device '{device}' does not exist'")),
        None => Ok(()),
    }
}

/// Makes a drive and puts it into the configuration; what the key held before becomes unused.
async fn set_drive(
    host: &Proxmox,
    vmid: u32,
    (key, value): (&str, &str),
    (log, running, changes): (&Log, bool, &mut (dyn FnMut() -> Changes + Send)),
) -> Result<(), String> {
    let mut volumes = Vec::new();
    let made = host.make_drive(vmid, (key, value), (log, &mut volumes)).await;
    let made = match made {
        Ok(made) => made,
        Err(text) => {
            for volume in &volumes {
                // What cannot be removed stays as an orphan, as on the real system.
                let _ = host.free(volume);
            }
            return Err(text);
        }
    };
    let mut vm = host.vm(vmid).map_err(Refused::into_text)?;
    let old = vm.get(key).filter(|old| !drive::is_disc(old)).and_then(drive::volume);
    let old = old.map(str::to_owned).filter(|old| drive::volume(&made.value) != Some(old));
    if let Some(old) = old {
        if running {
            return Err(format!("hotplug problem - error unplugging {key}: drive is in use"));
        }
        park(&mut vm, &old);
    }
    vm.config.retain(|key, kept| {
        !key.starts_with("unused") || drive::volume(kept) != drive::volume(&made.value)
    });
    set(&mut vm, key, made.value, running);
    let mut changes = changes();
    let boots = super::power::boot_drive(&vm).is_none_or(|(boots, _)| boots == key);
    if made.imported {
        changes = changes.count("proxmox", &object(vmid), "import");
    }
    host.save(vmid, vm, changes).map_err(Refused::into_text)?;
    if made.imported && boots {
        // Whatever the machine had written lay on the disk that this one replaces.
        host.machines().remove(vmid);
    }
    Ok(())
}

/// Keeps a volume that no drive uses any more.
fn park(vm: &mut Vm, volume: &str) {
    let free = (0..255).map(|at| format!("unused{at}")).find(|key| !vm.config.contains_key(key));
    if let Some(key) = free {
        vm.config.insert(key, volume.to_owned());
    }
}

fn delete_key(
    host: &Proxmox,
    vmid: u32,
    (key, force): (&str, bool),
    running: bool,
) -> Result<Vm, String> {
    let mut vm = host.vm(vmid).map_err(Refused::into_text)?;
    let Some(value) = vm.get(key).map(str::to_owned) else {
        vm.pending.remove(key);
        return Ok(vm);
    };
    let is_drive = drive::is_drive(key);
    if is_drive && running {
        return Err(format!("hotplug problem - error unplugging {key}: drive is in use"));
    }
    if vm.get("protection") == Some("1") && (is_drive || key.starts_with("unused")) {
        return Err(format!("can't remove drive {key} - protection mode enabled"));
    }
    if running && !options::is_hot(key, false) {
        vm.deleting.insert(key.to_owned());
        vm.pending.remove(key);
        return Ok(vm);
    }
    vm.config.remove(key);
    let volume = drive::volume(&value).filter(|_| !drive::is_disc(&value)).map(str::to_owned);
    match volume {
        Some(volume) if key.starts_with("unused") || (is_drive && force) => host.free(&volume)?,
        Some(volume) if is_drive => park(&mut vm, &volume),
        Some(_) | None => {}
    }
    Ok(vm)
}

/// `PUT …/resize`.
pub(super) async fn resize(host: Proxmox, request: Request) -> Answer {
    let (vmid, id) = (request.vmid(), no_task(&request));
    let key = request.params.get("disk").unwrap_or_default().to_owned();
    let size = request.params.get("size").unwrap_or_default().to_owned();
    let (relative, number) = size.strip_prefix('+').map_or((false, &*size), |rest| (true, rest));
    let number = properties::bytes(number)
        .ok_or_else(|| Refused::parameter("size", "value does not match the regex pattern"))?;
    if !drive::is_drive(&key) {
        return Err(Refused::parameter(
            "disk",
            format!("value '{key}' does not have a value in the enumeration"),
        ));
    }
    host.vm(vmid)?;
    let flock = host.flock(vmid, LOCK_WAIT).await?;
    let vm = host.vm(vmid)?;
    check_digest(&vm, &request)?;
    check_lock(&vm)?;
    let value = vm.get(&key).filter(|value| !drive::is_disc(value)).and_then(drive::volume);
    let volume = value.map(str::to_owned);
    let volume = volume.ok_or_else(|| Refused::Died(format!("disk '{key}' does not exist")))?;
    let store = volume.split(':').next().unwrap_or_default();
    let path = format!("/storage/{store}");
    host.access().need(&request.caller, &path, "Datastore.AllocateSpace")?;
    let task_host = host.clone();
    let kind = Kind { name: "resize", id: &id };
    let upid = host.start_task(kind, &request.caller, Changes::new(), |log| async move {
        let grown = grow(&task_host, vmid, (&key, &volume), (relative, number), &log).await;
        drop(flock);
        grown
    })?;
    Ok(json!(upid).into())
}

async fn grow(
    host: &Proxmox,
    vmid: u32,
    (key, volume): (&str, &str),
    (relative, number): (bool, u64),
    log: &Log,
) -> Result<(), String> {
    let text = Refused::into_text;
    let found = host.volume(volume).map_err(text)?;
    let found = found.ok_or_else(|| format!("volume '{volume}' does not exist"))?;
    let size = if relative { found.size + number } else { number };
    if size < found.size {
        return Err("shrinking disks is not supported".to_owned());
    }
    if size == found.size {
        return Ok(());
    }
    log.takes(GROW).await?;
    let store = host.store(volume.split(':').next().unwrap_or_default()).map_err(text)?;
    store.need_room(size - found.size, volume)?;
    let grown = File::options().write(true).open(&found.path).and_then(|file| file.set_len(size));
    grown.map_err(|error| error.to_string())?;
    let mut vm = host.vm(vmid).map_err(text)?;
    let value = vm.get(key).unwrap_or_default();
    let drive = Drive::parse(key, value)?;
    vm.config.insert(key.to_owned(), drive.value(volume, Some(size)));
    host.save(vmid, vm, Changes::new().count("proxmox", &object(vmid), "resize")).map_err(text)
}
