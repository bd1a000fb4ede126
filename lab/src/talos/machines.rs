//! The VMs with Talos on their disks, as Proxmox switches them.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;
use tokio::task::JoinSet;

use super::{
    boot,
    disk::{DISKS, Disk, ETCDS},
    live::{Live, Stage},
    rack::{Machine, Power, Rack},
};
use crate::{
    image::Image,
    kubernetes::Kubernetes,
    store::{Changes, StoreError},
    world::World,
};

/// All Talos machines of the world. A clone is the same machines.
#[derive(Debug, Clone)]
pub(crate) struct Machines(Arc<Rack>);

/// A VM that is switched on.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    /// Proxmox' number of the VM.
    pub(crate) vmid: u32,
    /// The VM's name; the machine is called by it in faults, counts and the call log.
    pub(crate) name: String,
    /// The SMBIOS UUID.
    pub(crate) uuid: String,
    /// The address of the only network card.
    pub(crate) mac: String,
    /// Processors.
    pub(crate) cores: u32,
    /// Memory.
    pub(crate) memory_mib: u64,
    /// The size of the disk that it boots from, in bytes.
    pub(crate) disk_size: u64,
    /// None: no bootable disk.
    pub(crate) disk: Option<Image>,
}

/// One machine, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MachineStatus {
    /// Proxmox' number of the VM.
    pub(crate) vmid: u32,
    /// The VM's name.
    pub(crate) name: String,
    /// None: no power.
    pub(crate) stage: Option<Stage>,
    /// Its name in the cluster.
    pub(crate) hostname: String,
    /// Its addresses, the shared ones that it holds last.
    pub(crate) addresses: Vec<IpAddr>,
    /// Whether it has a configuration on its disk.
    pub(crate) configured: bool,
    /// The etcd cluster that its data belong to.
    pub(crate) etcd: Option<String>,
    /// Why it does not get further.
    pub(crate) note: Option<String>,
}

impl Machines {
    /// The machines as the world's store has them, all without power.
    pub(crate) fn open(world: World, kubernetes: Kubernetes) -> Result<Self, StoreError> {
        Ok(Self(Arc::new(Rack::open(world, kubernetes)?)))
    }

    /// A VM was switched on: it boots from its disk.
    ///
    /// Must be called on the world's runtime. Nothing happens to a machine that has power.
    pub(crate) fn power_on(&self, vm: Hardware) {
        let vmid = vm.vmid;
        let rack = Arc::clone(&self.0);
        self.0.change(|fleet| {
            let known = fleet.machines.remove(&vmid);
            let (disk, power) = match known {
                Some(machine) => (Some(machine.disk), machine.power),
                None => (fleet.disks.remove(&vmid), None),
            };
            let disk = disk
                .filter(|disk| disk.is_of(vm.disk.as_ref()))
                .unwrap_or_else(|| Disk::fresh(vm.disk.as_ref()));
            let power = power.unwrap_or_else(|| {
                let mut life = JoinSet::new();
                life.spawn(boot::life(rack, vmid));
                Power::new(life)
            });
            fleet.machines.insert(vmid, Machine { hardware: vm, disk, power: Some(power) });
        });
    }

    /// A VM was switched off: everything it served is gone at once.
    pub(crate) fn power_off(&self, vmid: u32) {
        self.0.change(|fleet| {
            if let Some(machine) = fleet.machines.get_mut(&vmid) {
                machine.power = None;
            }
        });
    }

    /// Takes the power from all machines; nothing of them outlives the world then.
    pub(crate) fn cut(&self) {
        self.0.change(|fleet| {
            for machine in fleet.machines.values_mut() {
                machine.power = None;
            }
        });
    }

    /// A VM was destroyed, and with its disk all its state.
    ///
    /// It stays a member of its etcd, as the others see it, unless it was the last one.
    pub(crate) fn remove(&self, vmid: u32) {
        let changes = self.0.change(|fleet| {
            fleet.machines.remove(&vmid);
            fleet.disks.remove(&vmid);
            let mut changes = Changes::new().delete(DISKS, &vmid.to_string());
            let kept: Vec<String> = (fleet.machines.values().map(|machine| &machine.disk))
                .chain(fleet.disks.values())
                .filter_map(|disk| Some(disk.etcd.as_ref()?.cluster.clone()))
                .collect();
            let lost: Vec<String> =
                fleet.etcds.keys().filter(|id| !kept.contains(id)).cloned().collect();
            for id in lost {
                fleet.etcds.remove(&id);
                changes = changes.delete(ETCDS, &id);
            }
            changes
        });
        // Left behind, the disk would be refused by the next VM's image at the latest.
        let _ = self.0.commit(changes);
    }

    /// Every machine that has been switched on since the world was opened.
    pub(crate) fn status(&self) -> Vec<MachineStatus> {
        self.0.read(|fleet| {
            fleet
                .machines
                .iter()
                .map(|(vmid, machine)| {
                    let live = machine.power.as_ref().map(|power| &power.live);
                    MachineStatus {
                        vmid: *vmid,
                        name: machine.hardware.name.clone(),
                        stage: live.map(|live| live.stage),
                        hostname: live.map(|live| live.hostname.clone()).unwrap_or_default(),
                        addresses: live.map(Live::addresses).unwrap_or_default(),
                        configured: machine.disk.config.is_some(),
                        etcd: machine.disk.etcd.as_ref().map(|data| data.cluster.clone()),
                        note: live.and_then(|live| live.note.clone()),
                    }
                })
                .collect()
        })
    }
}
