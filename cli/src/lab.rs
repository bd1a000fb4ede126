//! The embedded lab beside a run, for a site that is one.

use std::time::Duration;

use flow_lab::{Lab, Options, OwnerError};
use serde_json::Value;

use crate::abort::Abort;
use crate::args::LabOptions;
use crate::assets;
use crate::exit::Exit;
use crate::site::SiteAt;

/// How fast the lab's time runs where neither site nor flag say.
const SPEED: f64 = 60.0;

/// Who plays the world of a lab site.
pub(crate) enum Beside {
    /// The site is not a lab.
    Nobody,
    /// This process.
    Ours(Lab),
    /// A process of its own (`flow lab serve`).
    Another,
}

impl Beside {
    /// The line that a run on a lab starts with.
    pub(crate) fn banner(&self, site: &SiteAt, options: &LabOptions) -> Option<String> {
        let Self::Ours(lab) = self else {
            let cidr = site.site.value.pointer("/network/cidr").and_then(Value::as_str);
            return matches!(self, Self::Another).then(|| {
                let cidr = cidr.unwrap_or("127.0.0.0/8");
                format!("lab        loopback only ({cidr}), served by a process of its own")
            });
        };
        let (octet, speed) = (lab.octet(), speed(site, options));
        Some(format!(
            "lab        loopback only (127.{octet}.0.0/16), time runs {speed}x; \
             nothing outside this machine is touched"
        ))
    }
}

/// How long a world may take to be up again after a power cut.
const BOOT: Duration = Duration::from_secs(30);

impl Beside {
    /// Waits until what was switched on has booted, if the lab is ours; at most half a minute.
    pub(crate) async fn until_up(&self) {
        let Self::Ours(lab) = self else { return };
        let up = async {
            while !lab.status().is_ok_and(|status| is_up(&status)) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        // Whoever asks a world that does not come up sees that for himself.
        let _ = tokio::time::timeout(BOOT, up).await;
    }
}

/// Whether every running machine has booted, and every cluster has all its nodes and APIs.
fn is_up(status: &flow_lab::Status) -> bool {
    let running = status.vms.iter().filter(|vm| vm["status"] == "running").count();
    let booted =
        |machine: &&Value| machine["stage"] == "running" || machine["stage"] == "maintenance";
    let booted = status.machines.iter().filter(booted).count();
    let etcd = status.machines.iter().any(|machine| !machine["etcd"].is_null());
    let ready = |cluster: &Value| {
        let controllers =
            status.machines.iter().filter(|machine| machine["etcd"] == cluster["etcd"]).count();
        cluster["servers"] == controllers && cluster["nodes"] == cluster["nodes_ready"]
    };
    booted == running && status.clusters.is_empty() != etcd && status.clusters.iter().all(ready)
}

/// Starts the lab of a site, unless the site is none or another process serves it.
///
/// # Errors
///
/// It cannot be started, or is served already and was to behave in a special way.
pub(crate) fn start(site: &SiteAt, options: &LabOptions) -> Result<Beside, Abort> {
    if !site.site.is_lab {
        return refuse_options(options);
    }
    match Lab::start(world(site, options)?) {
        Ok(lab) => Ok(Beside::Ours(lab)),
        Err(flow_lab::Error::Owner(OwnerError::Running { .. })) if is_plain(options) => {
            Ok(Beside::Another)
        }
        Err(error) => Err(Abort::new(Exit::NeedsHuman, error)),
    }
}

fn is_plain(options: &LabOptions) -> bool {
    let LabOptions { lab_speed, lab_fault } = options;
    lab_speed.is_none() && lab_fault.is_empty()
}

fn refuse_options(options: &LabOptions) -> Result<Beside, Abort> {
    let LabOptions { lab_speed, lab_fault } = options;
    let given = [(lab_speed.is_some(), "--lab-speed"), (!lab_fault.is_empty(), "--lab-fault")];
    let given: Vec<_> = given.iter().filter(|(is, _)| *is).map(|(_, flag)| *flag).collect();
    if given.is_empty() {
        return Ok(Beside::Nobody);
    }
    let message = format!("`{}` was given, and the site is not a lab", given.join("` and `"));
    let help = "leave it out, or choose a lab: --site lab";
    Err(Abort::words(Exit::Usage, "site::no-lab", message, help))
}

fn speed(site: &SiteAt, options: &LabOptions) -> f64 {
    let said = site.site.value.pointer("/lab/speed").and_then(Value::as_f64);
    options.lab_speed.or(said).unwrap_or(SPEED)
}

/// How much faster than real machines the world of a site is.
pub(crate) fn pace(site: &SiteAt, options: &LabOptions) -> f64 {
    let speed = if site.site.is_lab { speed(site, options) } else { 1.0 };
    if speed.is_finite() && speed > 0.0 { speed } else { 1.0 }
}

/// The world as site and flags describe it.
fn world(site: &SiteAt, options: &LabOptions) -> Result<Options, Abort> {
    let value = &site.site.value;
    let mut world = Options::new(site.world());
    world.octet = octet(value)?;
    world.speed = speed(site, options);
    if !(world.speed.is_finite() && world.speed > 0.0) {
        let help = "60 is the default; 1 is as slow as real machines are";
        let message = format!("a lab cannot run at the speed {}", world.speed);
        return Err(Abort::words(Exit::Usage, "lab::speed", message, help));
    }
    world.seed = value.pointer("/lab/seed").and_then(Value::as_u64).unwrap_or(world.seed);
    let listed = value.pointer("/lab/faults").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(Value::as_str);
    for fault in listed.chain(options.lab_fault.iter().map(String::as_str)) {
        let nodes = value.pointer("/nodes").and_then(Value::as_object).into_iter();
        let machines = nodes.flat_map(|nodes| nodes.keys().map(String::as_str));
        let fault = fault.parse().and_then(|fault: flow_lab::Fault| fault.among(machines));
        world.faults.push(fault.map_err(|error| Abort::new(Exit::Usage, error))?);
    }
    world.tree = assets::tree();
    Ok(world)
}

/// The second octet of the lab's network.
fn octet(site: &Value) -> Result<u8, Abort> {
    let cidr = site.pointer("/network/cidr").and_then(Value::as_str).unwrap_or_default();
    let mut parts = cidr.split('.');
    let octet = match (parts.next(), parts.next().and_then(|part| part.parse().ok())) {
        (Some("127"), Some(octet)) if cidr.ends_with(".0.0/16") => Some(octet),
        (_, _) => None,
    };
    octet.ok_or_else(|| {
        let message = format!("a lab needs a network 127.N.0.0/16, not {cidr}");
        let help = "write `cidr = \"127.2.0.0/16\"` under [network]";
        Abort::words(Exit::InvalidFile, "site::lab-address", message, help)
    })
}
