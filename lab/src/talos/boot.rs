//! One machine from power to running, as one script that ends with its power.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;

use super::{
    api, certificates,
    config::Config,
    controlplane,
    disk::Disk,
    kubelet,
    live::{Leave, Live, Part, Stage},
    network::{Interface, META_KEY, Platform},
    rack::Rack,
    service::State,
};
use crate::{
    System,
    serve::{Listener, Server, Tls},
};

/// The port of a machine's API.
pub(super) const API_PORT: u16 = 50000;
/// From power to the kernel's network, in seconds of the world.
const KERNEL: u64 = 35;
/// From the network to the API or the configuration.
const SYSTEM: u64 = 10;
/// From a configuration to the API of normal mode.
const API: u64 = 8;
/// From a configuration to the clock being set.
const CLOCK: u64 = 5;
/// From a configuration to containers.
const CONTAINERS: u64 = 10;
/// From a worker's request for a certificate to its API.
const CERTIFICATE: u64 = 3;
/// How long a reply may take to leave before its server goes.
const REPLY: Duration = Duration::from_millis(25);

/// Everything a machine does while it has power.
pub(super) async fn life(rack: Arc<Rack>, vmid: u32) {
    loop {
        let leave = tokio::select! {
            () = boot(&rack, vmid) => return,
            leave = rack.until(|fleet| fleet.live(vmid)?.leave) => leave,
        };
        match leave {
            Leave::Reboot => rack.change_live(vmid, |live| *live = Live::new()),
            Leave::Shutdown => {
                rack.change_live(vmid, |live| {
                    *live = Live::new();
                    live.stage = Stage::ShuttingDown;
                    live.note = Some("shut down".to_owned());
                });
                return;
            }
        }
    }
}

/// Goes down after the reply to whoever asked for it has left.
pub(super) fn leave(rack: &Arc<Rack>, vmid: u32, how: Leave) {
    let boot = rack.change(|fleet| {
        let live = fleet.live_mut(vmid)?;
        live.stage = match how {
            Leave::Reboot => Stage::Rebooting,
            Leave::Shutdown => Stage::ShuttingDown,
        };
        Some(live.boot)
    });
    let rack = Arc::clone(rack);
    let world = rack.world.clone();
    world.spawn(async move {
        tokio::time::sleep(REPLY).await;
        rack.sleep(2).await;
        rack.change(|fleet| {
            if let Some(live) = fleet.live_mut(vmid)
                && Some(live.boot) == boot
            {
                live.leave = Some(how);
            }
        });
    });
}

/// Boots and runs; ends only where there is nothing to boot.
async fn boot(rack: &Arc<Rack>, vmid: u32) {
    rack.sleep(KERNEL).await;
    let platform = rack.read(|fleet| {
        let image = fleet.machines.get(&vmid)?.hardware.disk.as_ref()?;
        Some(image.meta.get(&META_KEY).map(|value| Platform::parse(value)))
    });
    let stuck = |note: String| rack.change_live(vmid, |live| live.note = Some(note));
    let Some(platform) = platform else {
        return stuck("no bootable disk".to_owned());
    };
    let platform = match platform {
        None => return stuck("META has no network configuration: waits for DHCP".to_owned()),
        Some(Err(error)) => return stuck(format!("META is not understood: {error}")),
        Some(Ok(platform)) => platform,
    };
    let config = stored(rack, vmid);
    let interfaces = interfaces(rack, &platform, config.as_deref());
    if interfaces.is_empty() {
        return stuck("no address inside this world: waits for DHCP".to_owned());
    }
    rack.change(|fleet| {
        let Some(machine) = fleet.machines.get_mut(&vmid) else { return };
        let hostname = hostname(&platform, config.as_deref(), &machine.disk);
        let Some(power) = &mut machine.power else { return };
        power.live.hostname = hostname;
        power.live.interfaces = interfaces;
        power.live.note = Some("starting services".to_owned());
        for id in ["machined", "udevd", "syslogd", "auditd", "containerd", "dashboard"] {
            power.live.services.run(id);
        }
        power.live.services.check("machined", true, "");
        power.live.services.check("containerd", true, "");
        power.live.services.check("udevd", true, "");
    });
    rack.sleep(SYSTEM).await;
    if let Some(config) = config {
        rack.change_live(vmid, |live| live.config = Some(config));
    } else {
        maintenance(rack, vmid).await;
        rename(rack, vmid, &platform);
    }
    normal(rack, vmid).await;
}

/// The configuration on the disk.
fn stored(rack: &Rack, vmid: u32) -> Option<Arc<Config>> {
    rack.read(|fleet| {
        let machine = fleet.machines.get(&vmid)?;
        let text = machine.disk.config.as_ref()?;
        Config::parse(text.as_bytes(), machine.release().minor()).ok().map(Arc::new)
    })
}

/// The addresses that exist in this world, the platform's first.
fn interfaces(rack: &Rack, platform: &Platform, config: Option<&Config>) -> Vec<Interface> {
    let mut found: Vec<Interface> = Vec::new();
    let configured = config.map(Config::interfaces).unwrap_or_default();
    for one in platform.interfaces.iter().chain(&configured) {
        let known = found.iter().any(|known| known.address == one.address);
        if rack.world.address().contains(one.address) && !known {
            found.push(one.clone());
        }
    }
    found
}

/// The configured name, the platform's, or one made of the machine's identity.
fn hostname(platform: &Platform, config: Option<&Config>, disk: &Disk) -> String {
    let configured = config.and_then(Config::hostname).or_else(|| platform.hostname.clone());
    configured.unwrap_or_else(|| {
        let id = disk.identity.simple().to_string();
        format!("talos-{}-{}", &id[..3], &id[3..6])
    })
}

fn rename(rack: &Rack, vmid: u32, platform: &Platform) {
    rack.change(|fleet| {
        let config = fleet.config(vmid);
        let Some(machine) = fleet.machines.get_mut(&vmid) else { return };
        let name = hostname(platform, config.as_deref(), &machine.disk);
        if let Some(power) = &mut machine.power {
            power.live.hostname = name;
        }
    });
}

/// Serves without mTLS until there is a configuration.
async fn maintenance(rack: &Arc<Rack>, vmid: u32) {
    let tls = certificates::maintenance(rack, vmid);
    let app = api::maintenance(Arc::clone(rack), vmid);
    let servers = serve(rack, vmid, &tls, &app).await;
    rack.change_live(vmid, |live| {
        live.stage = Stage::Maintenance;
        live.services.run("apid");
        live.note = (servers.is_empty()).then(|| "its addresses are taken".to_owned());
    });
    rack.when(|fleet| fleet.config(vmid).is_some()).await;
    tokio::time::sleep(REPLY).await;
    rack.sleep(1).await;
    drop(servers);
    rack.change_live(vmid, |live| {
        live.stage = Stage::Booting;
        live.services.set("apid", State::Finished, "Service finished successfully");
    });
}

/// Listens on every address of the machine that is free.
pub(super) async fn serve(rack: &Arc<Rack>, vmid: u32, tls: &Tls, app: &Router) -> Vec<Server> {
    let addresses = rack.read(|fleet| {
        let live = fleet.live(vmid)?;
        Some(live.interfaces.iter().map(|one| one.address).collect::<Vec<_>>())
    });
    let mut servers = Vec::new();
    for address in addresses.unwrap_or_default() {
        let at = SocketAddr::new(address, API_PORT);
        servers.extend(listen(rack, vmid, at, (tls, app)).await);
    }
    servers
}

/// Listens on one address for a machine's API; none if it is taken.
pub(super) async fn listen(
    rack: &Arc<Rack>,
    vmid: u32,
    at: SocketAddr,
    (tls, app): (&Tls, &Router),
) -> Option<Server> {
    let machine = rack.read(|fleet| Some(fleet.machines.get(&vmid)?.hardware.name.clone()));
    let listener = Listener { world: rack.world.clone(), at, system: System::Talos, machine };
    let served = listener.serve(Arc::clone(tls), app.clone()).await;
    if let Err(error) = &served {
        rack.change_live(vmid, |live| live.note = Some(format!("cannot listen on {at}: {error}")));
    }
    served.ok()
}

/// Everything after the configuration; all of it goes on until the power goes.
async fn normal(rack: &Arc<Rack>, vmid: u32) {
    let controller = rack.read(|fleet| fleet.live(vmid).is_some_and(Live::is_controller));
    rack.change_live(vmid, |live| {
        live.note = None;
        for id in live.config.as_ref().map(|c| c.extension_services()).unwrap_or_default() {
            live.services.set(&format!("ext-{id}"), State::Waiting, "Waiting for service \"cri\"");
        }
        live.services.set("kubelet", State::Waiting, "Waiting for service \"cri\" to be \"up\"");
        if controller {
            live.services.set("etcd", State::Waiting, "Waiting for service \"cri\" to be \"up\"");
        }
    });
    tokio::join!(
        clock(rack, vmid),
        containers(rack, vmid),
        normal_api(rack, vmid, controller),
        kubelet::run(rack, vmid),
        stage(rack, vmid),
        async {
            if controller {
                controlplane::run(rack, vmid).await;
            }
        },
    );
}

async fn clock(rack: &Rack, vmid: u32) {
    rack.sleep(CLOCK).await;
    rack.change_live(vmid, |live| live.set(Part::Clock, true));
}

async fn containers(rack: &Rack, vmid: u32) {
    rack.sleep(CONTAINERS).await;
    rack.change_live(vmid, |live| {
        live.set(Part::Containers, true);
        live.services.run("cri");
        live.services.check("cri", true, "");
        live.services.run("ext-qemu-guest-agent");
        for id in live.config.as_ref().map(|c| c.extension_services()).unwrap_or_default() {
            live.services.run(&format!("ext-{id}"));
        }
    });
}

/// The API of normal mode: a controller signs for itself, a worker asks a controller.
async fn normal_api(rack: &Arc<Rack>, vmid: u32, controller: bool) {
    let signer = if controller {
        rack.sleep(API).await;
        vmid
    } else {
        let signer = rack.until(|fleet| certificates::signer_for(fleet, vmid)).await;
        rack.sleep(CERTIFICATE).await;
        signer
    };
    let Some(tls) = certificates::normal(rack, vmid, signer) else {
        return rack.change_live(vmid, |live| {
            live.note = Some("the machine authority cannot sign".to_owned());
        });
    };
    let app = api::normal(Arc::clone(rack), vmid);
    let _servers = serve(rack, vmid, &tls, &app).await;
    rack.change_live(vmid, |live| {
        live.api = Some(app.clone());
        live.set(Part::Trustd, controller);
        live.services.run("apid");
        live.services.check("apid", true, "");
        if controller {
            live.services.run("trustd");
            live.services.check("trustd", true, "");
        }
    });
    loop {
        let vips = rack.until(|fleet| {
            let live = fleet.live(vmid)?;
            (!live.vips.is_empty()).then(|| live.vips.clone())
        });
        let vips = vips.await;
        let mut shared = Vec::new();
        for vip in &vips {
            let at = SocketAddr::new(*vip, API_PORT);
            shared.extend(listen(rack, vmid, at, (&tls, &app)).await);
        }
        rack.when(|fleet| fleet.live(vmid).is_some_and(|live| live.vips != vips)).await;
    }
}

/// Says when all services are up.
async fn stage(rack: &Rack, vmid: u32) {
    rack.when(|fleet| {
        fleet.live(vmid).is_some_and(|live| {
            let needed: &[&str] = if live.is_controller() {
                &["apid", "kubelet", "etcd", "trustd"]
            } else {
                &["apid", "kubelet"]
            };
            live.has(Part::Clock) && needed.iter().all(|id| live.services.is_up(id))
        })
    })
    .await;
    rack.change_live(vmid, |live| {
        if live.stage == Stage::Booting {
            live.stage = Stage::Running;
        }
    });
}
