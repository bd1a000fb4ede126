//! One cluster: the API data of one etcd cluster, the servers that serve it, its kubelets and its controllers.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;
use tokio::{
    sync::{Notify, watch},
    task::AbortHandle,
    time::Instant,
};

use super::{
    controllers, health,
    json::is_true,
    objects::{Objects, Tx, View},
    refusal::Refusal,
    seed,
    server::{self, ApiPki, ApiServer},
};
use crate::world::{World, locked};

/// What a kubelet says of its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFacts {
    /// The node's name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Whether it is a control plane node.
    pub(crate) controller: bool,
    /// The identity that its firmware tells.
    pub(crate) uuid: String,
    /// Processors.
    pub(crate) cores: u32,
    /// Memory.
    pub(crate) memory_kib: u64,
    /// Room for images, logs and volumes.
    pub(crate) storage_kib: u64,
    /// The kubelet's version, `v1.36.1`.
    pub(crate) kubernetes_version: String,
    /// The version of Talos, `v1.13.9`.
    pub(crate) talos_version: String,
    /// The operating system as nodes show it.
    pub(crate) os_image: String,
}

/// A cluster, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClusterStatus {
    /// The id of its etcd cluster.
    pub(crate) etcd: String,
    /// On how many machines the API is ready.
    pub(crate) servers: usize,
    /// How many nodes are Ready.
    pub(crate) nodes_ready: usize,
    /// How many nodes there are.
    pub(crate) nodes: usize,
    /// How many pods there are.
    pub(crate) pods: usize,
    /// The revision of the last change.
    pub(crate) revision: u64,
}

/// The servers of a cluster by machine, and the controllers that run while there are any.
#[derive(Debug, Default)]
struct Running {
    machines: BTreeMap<String, (usize, Instant)>,
    controllers: Option<AbortHandle>,
}

/// One cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    world: World,
    etcd: String,
    objects: Mutex<Objects>,
    changed: watch::Sender<u64>,
    nudge: Notify,
    kubelets: Mutex<BTreeMap<u64, NodeFacts>>,
    next_kubelet: AtomicU64,
    running: Mutex<Running>,
}

/// A machine's kubelet. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Kubelet {
    cluster: Arc<Cluster>,
    number: u64,
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        locked(&self.cluster.kubelets).remove(&self.number);
        self.cluster.nudge.notify_one();
    }
}

impl Cluster {
    pub(super) fn new(world: World, etcd: &str, objects: Objects) -> Self {
        let (changed, _) = watch::channel(objects.revision());
        Self {
            world,
            etcd: etcd.to_owned(),
            objects: Mutex::new(objects),
            changed,
            nudge: Notify::new(),
            kubelets: Mutex::default(),
            next_kubelet: AtomicU64::new(1),
            running: Mutex::default(),
        }
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Looks at the objects.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Objects) -> R) -> R {
        look(&locked(&self.objects))
    }

    /// Changes objects: all of it is on disk and seen by watches when this returns, or nothing is. With `dry`, nothing is.
    ///
    /// # Errors
    /// What `change` refuses, and 500 if the world cannot be written.
    pub(crate) fn write<R>(
        &self,
        dry: bool,
        change: impl FnOnce(&mut Tx<'_>) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        let mut objects = locked(&self.objects);
        let mut tx = objects.begin();
        let result = change(&mut tx)?;
        if dry {
            return Ok(result);
        }
        tx.commit(self.world.store(), &self.etcd)
            .map_err(|error| Refusal::internal(format!("etcdserver: {error}")))?;
        let revision = objects.revision();
        drop(objects);
        self.changed.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        Ok(result)
    }

    /// Tells of every change.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Resolves when something besides the objects has changed.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Lets the controllers look again.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// The kubelets that run, by node name.
    pub(crate) fn kubelets(&self) -> BTreeMap<String, NodeFacts> {
        locked(&self.kubelets).values().map(|f| (f.name.clone(), f.clone())).collect()
    }

    /// Serves the API at an address with a serving certificate of the cluster's authority.
    ///
    /// # Errors
    /// If the authority cannot sign or the address cannot be listened on.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        at: SocketAddr,
        machine: &str,
        pki: &ApiPki,
    ) -> io::Result<ApiServer> {
        server::serve(self, &self.world, at, machine, pki).await
    }

    /// Runs a machine's kubelet until the handle is dropped.
    pub(crate) fn kubelet(self: &Arc<Self>, facts: NodeFacts) -> Kubelet {
        let number = self.next_kubelet.fetch_add(1, Ordering::Relaxed);
        locked(&self.kubelets).insert(number, facts);
        self.nudge.notify_one();
        Kubelet { cluster: self.clone(), number }
    }

    /// Books a server of a machine; answers when the first of them started.
    pub(super) fn server_started(self: &Arc<Self>, machine: &str, ca_pem: &str) -> Instant {
        if self.read(Objects::is_new) {
            let seeded = self.write(false, |tx| {
                seed::plant(tx, ca_pem);
                Ok(())
            });
            if let Err(refusal) = seeded {
                tracing::error!(
                    etcd = self.etcd,
                    "the first objects cannot be stored: {}",
                    refusal.message()
                );
            }
        }
        let mut running = locked(&self.running);
        let (count, started) =
            running.machines.entry(machine.to_owned()).or_insert((0, Instant::now()));
        *count += 1;
        let started = *started;
        if running.controllers.is_none() {
            running.controllers = Some(self.world.spawn(controllers::run(self.clone())));
        }
        started
    }

    pub(super) fn server_stopped(&self, machine: &str) {
        let mut running = locked(&self.running);
        if let Some((count, _)) = running.machines.get_mut(machine) {
            *count -= 1;
            if *count == 0 {
                running.machines.remove(machine);
            }
        }
        if running.machines.is_empty()
            && let Some(controllers) = running.controllers.take()
        {
            controllers.abort();
        }
    }

    /// How it stands.
    pub(super) fn status(&self) -> ClusterStatus {
        let speed = self.world.clock().speed();
        let running = locked(&self.running);
        let since = running.machines.values().map(|(_, started)| started.elapsed().mul_f64(speed));
        let servers = since.filter(|up| health::is_ready(*up)).count();
        drop(running);
        self.read(|objects| {
            let nodes = objects.list("core/nodes");
            ClusterStatus {
                etcd: self.etcd.clone(),
                servers,
                nodes_ready: nodes.iter().filter(|n| is_true(n, "Ready")).count(),
                nodes: nodes.len(),
                pods: objects.list("core/pods").len(),
                revision: objects.revision(),
            }
        })
    }
}
