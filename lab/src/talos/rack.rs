//! All machines of the world, and the waking of whatever waits for one to change.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{sync::watch, task::JoinSet};

use super::{
    config::Config,
    credentials,
    disk::{DISKS, Disk, ETCDS},
    etcd::{Etcd, Member},
    live::{Live, Part},
    machines::Hardware,
    release::Release,
};
use crate::{
    kubernetes::Kubernetes,
    store::{Changes, StoreError},
    world::{World, locked},
};

/// The machines with everything around them.
#[derive(Debug)]
pub(super) struct Rack {
    pub(super) world: World,
    pub(super) kubernetes: Kubernetes,
    fleet: Mutex<Fleet>,
    turn: watch::Sender<()>,
}

/// The machines and the etcd clusters that they form.
#[derive(Debug, Default)]
pub(super) struct Fleet {
    pub(super) machines: BTreeMap<u32, Machine>,
    pub(super) etcds: BTreeMap<String, Etcd>,
    /// Disks of machines that have not been switched on since the world was opened.
    pub(super) disks: BTreeMap<u32, Disk>,
}

/// A machine that has been switched on once.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) hardware: Hardware,
    pub(super) disk: Disk,
    pub(super) power: Option<Power>,
}

/// Power: what lives while it is there.
#[derive(Debug)]
pub(super) struct Power {
    pub(super) live: Live,
    /// The machine's own activity; dropped with the power.
    _life: JoinSet<()>,
}

impl Power {
    /// A machine that begins to boot.
    pub(super) fn new(life: JoinSet<()>) -> Self {
        Self { live: Live::new(), _life: life }
    }
}

impl Machine {
    /// The release on its disk.
    pub(super) fn release(&self) -> Release {
        Release::new(self.hardware.disk.as_ref().map_or("", |image| image.version.as_str()))
    }
}

impl Fleet {
    /// A machine that has power.
    pub(super) fn live(&self, vmid: u32) -> Option<&Live> {
        self.machines.get(&vmid)?.power.as_ref().map(|power| &power.live)
    }

    /// As [`Fleet::live`], to change it.
    pub(super) fn live_mut(&mut self, vmid: u32) -> Option<&mut Live> {
        self.machines.get_mut(&vmid)?.power.as_mut().map(|power| &mut power.live)
    }

    /// The configuration in force on a machine.
    pub(super) fn config(&self, vmid: u32) -> Option<Arc<Config>> {
        self.live(vmid)?.config.clone()
    }

    /// Whether a member's process runs.
    pub(super) fn runs(&self, member: &Member) -> bool {
        self.live(member.vmid).is_some_and(|live| live.has(Part::Etcd))
            && self
                .machines
                .get(&member.vmid)
                .and_then(|machine| machine.disk.etcd.as_ref())
                .is_some_and(|data| data.member == member.id)
    }

    /// The etcd cluster that a machine's data belong to.
    pub(super) fn etcd_of(&self, vmid: u32) -> Option<&Etcd> {
        let data = self.machines.get(&vmid)?.disk.etcd.as_ref()?;
        self.etcds.get(&data.cluster).filter(|etcd| etcd.member(data.member).is_some())
    }

    /// The etcd cluster of a machine if it serves: the member runs and there is a quorum.
    pub(super) fn serving_etcd(&self, vmid: u32) -> Option<&Etcd> {
        let etcd = self.etcd_of(vmid)?;
        let runs = self.live(vmid).is_some_and(|live| live.has(Part::Etcd));
        (runs && etcd.has_quorum(|member| self.runs(member))).then_some(etcd)
    }

    /// The etcd cluster that a controller without data finds and may join.
    pub(super) fn joinable_etcd(&self, vmid: u32) -> Option<&Etcd> {
        let authority = self.config(vmid)?.authority("cluster.etcd.ca")?;
        let authority = credentials::fingerprint(&authority.certificate);
        self.etcds
            .values()
            .filter(|etcd| etcd.authority == authority)
            .filter(|etcd| etcd.has_quorum(|member| self.runs(member)))
            .min_by_key(|etcd| (std::cmp::Reverse(etcd.members.len()), etcd.since))
    }

    /// A machine with power and a configuration that has this address or name.
    pub(super) fn called(&self, target: &str) -> Option<(u32, &Live)> {
        self.machines.iter().find_map(|(vmid, machine)| {
            let live = &machine.power.as_ref()?.live;
            (live.config.is_some() && live.is_called(target)).then_some((*vmid, live))
        })
    }
}

impl Rack {
    /// All machines, as the store has them.
    pub(super) fn open(world: World, kubernetes: Kubernetes) -> Result<Self, StoreError> {
        let disks: BTreeMap<String, Disk> = world.store().load(DISKS)?;
        let disks =
            disks.into_iter().filter_map(|(vmid, disk)| Some((vmid.parse().ok()?, disk))).collect();
        let etcds = world.store().load(ETCDS)?;
        let fleet = Mutex::new(Fleet { machines: BTreeMap::new(), etcds, disks });
        Ok(Self { world, kubernetes, fleet, turn: watch::Sender::new(()) })
    }

    /// Looks at the machines.
    pub(super) fn read<T>(&self, look: impl FnOnce(&Fleet) -> T) -> T {
        look(&locked(&self.fleet))
    }

    /// Changes the machines and wakes whoever waits.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Fleet) -> T) -> T {
        let result = change(&mut locked(&self.fleet));
        self.turn.send_replace(());
        result
    }

    /// Looks at the machines and remembers what was seen; nobody is woken.
    pub(super) fn look_mut<T>(&self, look: impl FnOnce(&mut Fleet) -> T) -> T {
        look(&mut locked(&self.fleet))
    }

    /// Changes one machine that has power.
    pub(super) fn change_live(&self, vmid: u32, change: impl FnOnce(&mut Live)) {
        self.change(|fleet| {
            if let Some(live) = fleet.live_mut(vmid) {
                change(live);
            }
        });
    }

    /// Writes changes to the store; a failure is told to whoever asked.
    pub(super) fn commit(&self, changes: Changes) -> Result<(), tonic::Status> {
        self.world.store().commit(changes).map_err(|error| {
            tonic::Status::unknown(format!("write /system/state: input/output error: {error}"))
        })
    }

    /// Waits until something can be said of the machines.
    pub(super) async fn until<T>(&self, look: impl Fn(&Fleet) -> Option<T>) -> T {
        let mut turns = self.turn.subscribe();
        loop {
            turns.mark_unchanged();
            if let Some(found) = self.read(&look) {
                return found;
            }
            if turns.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until something holds.
    pub(super) async fn when(&self, holds: impl Fn(&Fleet) -> bool) {
        self.until(|fleet| holds(fleet).then_some(())).await;
    }

    /// Hears of every later change.
    pub(super) fn turns(&self) -> watch::Receiver<()> {
        self.turn.subscribe()
    }

    /// Waits for seconds of the world.
    pub(super) async fn sleep(&self, seconds: u64) {
        self.world.clock().sleep(std::time::Duration::from_secs(seconds)).await;
    }
}
