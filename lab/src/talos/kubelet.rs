//! The kubelet: it registers its machine with the API server that its configuration names.

use std::{net::IpAddr, sync::Arc};

use super::{
    live::{Live, Part},
    rack::{Fleet, Rack},
    service::State,
};
use crate::kubernetes::{Cluster, NodeFacts, View as _};

/// From containers to the kubelet's process, in seconds of the world.
const START: u64 = 6;
/// From an answering API server to the registered node.
const REGISTER: u64 = 8;
/// The partitions that Talos keeps for itself: BOOT, META and STATE.
const SYSTEM: u64 = 2101 << 20;
/// The Kubernetes that a configuration without a version gets.
const DEFAULT_VERSION: &str = "v1.36.1";

/// Runs until the power goes.
pub(super) async fn run(rack: &Arc<Rack>, vmid: u32) {
    rack.when(|fleet| fleet.live(vmid).is_some_and(|live| live.has(Part::Containers))).await;
    rack.change_live(vmid, |live| {
        live.services.set("kubelet", State::Preparing, "Running pre state");
    });
    rack.sleep(START).await;
    rack.change_live(vmid, |live| {
        live.services.run("kubelet");
        live.services.check("kubelet", true, "");
    });
    rack.until(|fleet| cluster_for(fleet, vmid)).await;
    rack.sleep(REGISTER).await;
    let cluster = rack.until(|fleet| cluster_for(fleet, vmid)).await;
    let Some(facts) = rack.read(|fleet| facts(fleet, vmid)) else { return };
    let name = facts.name.clone();
    let cluster = rack.kubernetes.cluster(&cluster);
    let _kubelet = cluster.kubelet(facts);
    let mut changes = cluster.changes();
    loop {
        changes.mark_unchanged();
        let ready = readiness(&cluster, &name);
        let known = rack.read(|fleet| {
            let has = |part| fleet.live(vmid).is_some_and(|live| live.has(part));
            (has(Part::Node), has(Part::NodeReady))
        });
        if known != (ready.is_some(), ready == Some(true)) {
            rack.change_live(vmid, |live| {
                live.set(Part::Node, ready.is_some());
                live.set(Part::NodeReady, ready == Some(true));
            });
        }
        if changes.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Whether the machine's node is ready; none if there is no such node.
fn readiness(cluster: &Cluster, name: &str) -> Option<bool> {
    let node = cluster.read(|objects| objects.get("core/nodes", "", name))?;
    let conditions = node["status"]["conditions"].as_array();
    Some(
        conditions
            .into_iter()
            .flatten()
            .any(|one| one["type"] == "Ready" && one["status"] == "True"),
    )
}

/// The etcd cluster behind the API server that a machine's kubelet reaches and that accepts it.
fn cluster_for(fleet: &Fleet, vmid: u32) -> Option<String> {
    let own = fleet.live(vmid)?;
    let config = own.config.as_ref()?;
    let (host, _) = config.endpoint()?;
    let address = host.parse::<IpAddr>().ok();
    let authority = config.authority("cluster.ca")?.certificate;
    fleet.machines.iter().find_map(|(other, machine)| {
        let live = &machine.power.as_ref()?.live;
        let theirs = live.config.as_ref().filter(|_| live.has(Part::Kubernetes))?;
        // KubePrism reaches the machine's own API server without the endpoint.
        let reached = *other == vmid
            || match address {
                Some(address) => live.addresses().contains(&address),
                None => true,
            };
        let accepted = theirs.authority("cluster.ca")?.certificate == authority
            && theirs.text_at("cluster.token") == config.text_at("cluster.token");
        (reached && accepted).then(|| fleet.serving_etcd(*other).map(|etcd| etcd.id.clone()))?
    })
}

fn facts(fleet: &Fleet, vmid: u32) -> Option<NodeFacts> {
    let machine = fleet.machines.get(&vmid)?;
    let live: &Live = fleet.live(vmid)?;
    let config = live.config.as_ref()?;
    let talos = machine.release().tag().to_owned();
    Some(NodeFacts {
        name: live.hostname.clone(),
        address: live.address()?,
        controller: config.is_controller(),
        uuid: machine.hardware.uuid.clone(),
        cores: machine.hardware.cores,
        memory_kib: machine.hardware.memory_mib << 10,
        storage_kib: machine.hardware.disk_size.saturating_sub(SYSTEM) >> 10,
        kubernetes_version: config.kubernetes_version().unwrap_or(DEFAULT_VERSION).to_owned(),
        os_image: format!("Talos ({talos})"),
        talos_version: talos,
    })
}
