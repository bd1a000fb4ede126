//! What runs on controllers only: etcd, the Kubernetes API, shared addresses.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use super::{
    credentials,
    disk::{ETCDS, EtcdData},
    etcd::{Etcd, Member},
    live::Part,
    rack::{Fleet, Rack},
    service::State,
};
use crate::{
    kubernetes::{ApiPki, ApiServer},
    store::Changes,
};

/// The port of the Kubernetes API.
pub(super) const KUBERNETES_PORT: u16 = 6443;
/// From a bootstrap to data on the disk, in seconds of the world.
const WRITE: u64 = 1;
/// From containers to a look into the data directory.
const PREPARE: u64 = 2;
/// From data on the disk to a running member.
const START: u64 = 6;
/// Between two tries to join or to be promoted.
const AGAIN: u64 = 3;
/// What a learner needs to catch up.
const CATCH_UP: u64 = 6;
/// From etcd to the static pods.
const STATIC_PODS: u64 = 15;
/// From etcd to the first election of a shared address.
const ELECTION: u64 = 4;
/// How long a lost holder keeps a shared address.
const LEASE: u64 = 15;

/// Runs until the power goes.
pub(super) async fn run(rack: &Arc<Rack>, vmid: u32) {
    rack.when(|fleet| fleet.live(vmid).is_some_and(|live| live.has(Part::Containers))).await;
    let vips = rack.read(|fleet| fleet.config(vmid).map(|config| config.vips()));
    let shared = futures_util::future::join_all(
        vips.unwrap_or_default().into_iter().map(|vip| hold(rack, vmid, vip)),
    );
    tokio::join!(etcd(rack, vmid), health(rack, vmid), kubernetes(rack, vmid), shared);
}

/// Starts the member, or waits for a bootstrap or a cluster to join.
async fn etcd(rack: &Rack, vmid: u32) {
    // With data or without: what it waits for is not told by its state.
    rack.change_live(vmid, |live| {
        live.services.set("etcd", State::Preparing, "Running pre state");
    });
    rack.sleep(PREPARE).await;
    loop {
        if rack.read(|fleet| fleet.etcd_of(vmid).is_some()) {
            member(rack, vmid).await;
        }
        let leftover = |fleet: &Fleet| fleet.machines.get(&vmid)?.disk.etcd.clone();
        if rack.read(leftover).is_some() {
            return removed(rack, vmid).await;
        }
        rack.change_live(vmid, |live| {
            live.set(Part::Etcd, false);
            live.services.set("etcd", State::Preparing, "Running pre state");
        });
        rack.when(|fleet| {
            fleet.live(vmid).is_some_and(|live| live.has(Part::Bootstrap))
                || fleet.joinable_etcd(vmid).is_some()
        })
        .await;
        if rack.read(|fleet| fleet.live(vmid).is_some_and(|live| live.has(Part::Bootstrap))) {
            rack.sleep(WRITE).await;
            rack.change(|fleet| found(rack, fleet, vmid));
        } else {
            tokio::select! {
                () = rack.sleep(AGAIN) => rack.change(|fleet| join(rack, fleet, vmid)),
                () = rack.when(|fleet| fleet.live(vmid).is_some_and(|live| live.has(Part::Bootstrap))) => {}
            }
        }
    }
}

/// The member that a machine would be.
fn own_member(fleet: &Fleet, vmid: u32) -> Option<Member> {
    let live = fleet.live(vmid)?;
    Some(Member {
        id: rand::random::<u64>() >> 1,
        vmid,
        name: live.hostname.clone(),
        address: live.address()?,
        learner: true,
    })
}

/// Writes a new cluster.
fn found(rack: &Rack, fleet: &mut Fleet, vmid: u32) {
    let authority = fleet.config(vmid).and_then(|config| config.authority("cluster.etcd.ca"));
    let (Some(first), Some(authority)) = (own_member(fleet, vmid), authority) else { return };
    let member = first.id;
    let etcd = Etcd::new(credentials::fingerprint(&authority.certificate), first);
    write(rack, fleet, (vmid, member), etcd, Some("Bootstrap"));
    if let Some(live) = fleet.live_mut(vmid) {
        live.set(Part::Bootstrap, false);
    }
}

/// Asks to become a member; refused, it asks again later.
fn join(rack: &Rack, fleet: &mut Fleet, vmid: u32) {
    let Some(mut etcd) = fleet.joinable_etcd(vmid).cloned() else { return };
    let Some(member) = own_member(fleet, vmid) else { return };
    let id = member.id;
    match etcd.add(member, |one| fleet.runs(one)) {
        Ok(()) => write(rack, fleet, (vmid, id), etcd, None),
        Err(refusal) => {
            if let Some(live) = fleet.live_mut(vmid) {
                let message = format!("Running pre state: error adding member: {refusal}");
                live.services.set("etcd", State::Preparing, &message);
            }
        }
    }
}

/// Makes a cluster and one of its members durable, and then true.
fn write(
    rack: &Rack,
    fleet: &mut Fleet,
    (vmid, member): (u32, u64),
    etcd: Etcd,
    counted: Option<&str>,
) {
    let Some(machine) = fleet.machines.get_mut(&vmid) else { return };
    let mut disk = machine.disk.clone();
    disk.etcd = Some(EtcdData { cluster: etcd.id.clone(), member });
    let mut changes = disk.put(vmid, Changes::new().put(ETCDS, &etcd.id, &etcd));
    if let Some(verb) = counted {
        changes = changes.count("talos", &machine.hardware.name, verb);
    }
    if rack.commit(changes).is_ok() {
        machine.disk = disk;
        fleet.etcds.insert(etcd.id.clone(), etcd);
    }
}

/// Runs the member that the data on the disk name, until it is removed from its cluster.
async fn member(rack: &Rack, vmid: u32) {
    rack.change_live(vmid, |live| {
        live.services.set("etcd", State::Preparing, "Creating service runner");
    });
    rack.sleep(START).await;
    rack.change_live(vmid, |live| {
        live.set(Part::Etcd, true);
        live.services.run("etcd");
    });
    while rack.read(|fleet| is_learner(fleet, vmid)) {
        rack.sleep(CATCH_UP).await;
        rack.change(|fleet| promote(rack, fleet, vmid));
        if rack.read(|fleet| is_learner(fleet, vmid)) {
            rack.sleep(AGAIN).await;
        }
    }
    rack.when(|fleet| fleet.etcd_of(vmid).is_none()).await;
}

/// Ends a member whose data no cluster knows any more: the machine must be reset.
async fn removed(rack: &Rack, vmid: u32) {
    rack.change_live(vmid, |live| {
        live.set(Part::Etcd, false);
        live.services.set("etcd", State::Finished, "the member has been permanently removed");
    });
    std::future::pending::<()>().await;
}

fn is_learner(fleet: &Fleet, vmid: u32) -> bool {
    let member = fleet.machines.get(&vmid).and_then(|machine| machine.disk.etcd.as_ref());
    let etcd = fleet.etcd_of(vmid);
    etcd.zip(member)
        .and_then(|(etcd, data)| etcd.member(data.member))
        .is_some_and(|member| member.learner)
}

fn promote(rack: &Rack, fleet: &mut Fleet, vmid: u32) {
    let Some(mut etcd) = fleet.etcd_of(vmid).cloned() else { return };
    let data = fleet.machines.get(&vmid).and_then(|machine| machine.disk.etcd.clone());
    let Some(data) = data else { return };
    if etcd.promote(data.member, |one| fleet.runs(one)).is_ok() {
        write(rack, fleet, (vmid, data.member), etcd, None);
    }
}

/// Keeps the health check of etcd, and the leader, up to date.
async fn health(rack: &Rack, vmid: u32) {
    loop {
        let (running, serving) = rack.read(|fleet| {
            let running = fleet.live(vmid).is_some_and(|live| live.has(Part::Etcd));
            (running, fleet.serving_etcd(vmid).is_some())
        });
        rack.change(|fleet| {
            elect(rack, fleet, vmid);
            if let Some(live) = fleet.live_mut(vmid).filter(|_| running) {
                let message = if serving { "" } else { "context deadline exceeded" };
                live.services.check("etcd", serving, message);
            }
        });
        rack.when(|fleet| {
            let now = fleet.live(vmid).is_some_and(|live| live.has(Part::Etcd));
            (now, fleet.serving_etcd(vmid).is_some()) != (running, serving)
                || new_leader(fleet, vmid).is_some()
        })
        .await;
    }
}

/// The leader that this machine's cluster should have and has not.
fn new_leader(fleet: &Fleet, vmid: u32) -> Option<u64> {
    let etcd = fleet.serving_etcd(vmid)?;
    etcd.leader_among(|one| fleet.runs(one)).filter(|leader| *leader != etcd.leader)
}

fn elect(rack: &Rack, fleet: &mut Fleet, vmid: u32) {
    let Some(leader) = new_leader(fleet, vmid) else { return };
    let Some(mut etcd) = fleet.serving_etcd(vmid).cloned() else { return };
    etcd.leader = leader;
    etcd.term += 1;
    if rack.commit(Changes::new().put(ETCDS, &etcd.id, &etcd)).is_ok() {
        fleet.etcds.insert(etcd.id.clone(), etcd);
    }
}

/// Serves the Kubernetes API on the machine's own address while etcd serves.
async fn kubernetes(rack: &Rack, vmid: u32) {
    loop {
        let address = rack.until(|fleet| {
            fleet.serving_etcd(vmid)?;
            fleet.live(vmid)?.address()
        });
        let address = address.await;
        rack.sleep(STATIC_PODS).await;
        if let Some(_server) = api_server(rack, vmid, address).await {
            rack.change_live(vmid, |live| live.set(Part::Kubernetes, true));
            rack.when(|fleet| fleet.serving_etcd(vmid).is_none()).await;
        } else {
            rack.sleep(AGAIN).await;
        }
        rack.change_live(vmid, |live| live.set(Part::Kubernetes, false));
    }
}

/// Listens for the Kubernetes API on one address; none if it cannot.
async fn api_server(rack: &Rack, vmid: u32, address: IpAddr) -> Option<ApiServer> {
    let (etcd, name, pki) = rack.read(|fleet| {
        let live = fleet.live(vmid)?;
        let config = live.config.as_ref()?;
        let authority = config.authority("cluster.ca")?;
        let key = credentials::private_key(authority.key.as_deref()?)?.serialize_pem();
        let mut sans = config.texts_at("cluster.apiServer.certSANs");
        sans.extend(live.addresses().iter().map(ToString::to_string));
        sans.extend(config.texts_at("machine.certSANs"));
        sans.push(live.hostname.clone());
        sans.extend(config.endpoint().map(|(host, _)| host));
        let pki = ApiPki { ca_cert_pem: authority.certificate, ca_key_pem: key, sans };
        let name = fleet.machines.get(&vmid)?.hardware.name.clone();
        Some((fleet.serving_etcd(vmid)?.id.clone(), name, pki))
    })?;
    let at = SocketAddr::new(address, KUBERNETES_PORT);
    let served = rack.kubernetes.cluster(&etcd).serve(at, &name, &pki).await;
    if let Err(error) = &served {
        rack.change_live(vmid, |live| live.note = Some(format!("cannot listen on {at}: {error}")));
    }
    served.ok()
}

/// Takes part in the election of a shared address, and holds it once elected.
async fn hold(rack: &Rack, vmid: u32, vip: IpAddr) {
    if !rack.world.address().contains(vip) {
        return;
    }
    let mut wait = ELECTION;
    loop {
        rack.when(|fleet| is_free(fleet, vmid, vip)).await;
        rack.sleep(wait).await;
        wait = LEASE;
        let won = rack.change(|fleet| {
            let won = is_free(fleet, vmid, vip);
            if let Some(live) = fleet.live_mut(vmid).filter(|_| won) {
                live.vips.push(vip);
            }
            won
        });
        if !won {
            continue;
        }
        serve_shared(rack, vmid, vip).await;
        rack.change_live(vmid, |live| live.vips.retain(|held| *held != vip));
    }
}

fn is_free(fleet: &Fleet, vmid: u32, vip: IpAddr) -> bool {
    let Some(etcd) = fleet.serving_etcd(vmid) else { return false };
    // The election runs through etcd: another cluster does not know of it.
    etcd.members
        .iter()
        .all(|member| fleet.live(member.vmid).is_none_or(|live| !live.vips.contains(&vip)))
}

/// Answers on a held address until etcd is lost.
async fn serve_shared(rack: &Rack, vmid: u32, vip: IpAddr) {
    let lost = rack.when(|fleet| fleet.serving_etcd(vmid).is_none());
    let serve = async {
        loop {
            rack.when(|fleet| fleet.live(vmid).is_some_and(|live| live.has(Part::Kubernetes)))
                .await;
            let server = api_server(rack, vmid, vip).await;
            if server.is_none() {
                rack.sleep(AGAIN).await;
                continue;
            }
            rack.when(|fleet| fleet.live(vmid).is_some_and(|live| !live.has(Part::Kubernetes)))
                .await;
        }
    };
    tokio::select! {
        () = lost => {}
        () = serve => {}
    }
}
