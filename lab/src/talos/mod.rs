//! The Talos machines of the world.

use serde::Serialize;

use crate::{image::Image, kubernetes::Kubernetes, world::World};

/// All Talos machines.
#[derive(Debug, Clone)]
pub(crate) struct Machines {
    _world: World,
    _kubernetes: Kubernetes,
}

/// A VM that is switched on.
#[derive(Debug, Clone)]
pub(crate) struct Hardware {
    pub(crate) vmid: u32,
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) mac: String,
    pub(crate) cores: u32,
    pub(crate) memory_mib: u64,
    /// None: no bootable disk.
    pub(crate) disk: Option<Image>,
}

/// One machine, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MachineStatus {
    pub(crate) vmid: u32,
}

impl Machines {
    pub(crate) fn open(world: World, kubernetes: Kubernetes) -> Self {
        Self { _world: world, _kubernetes: kubernetes }
    }

    /// A VM was switched on: it boots from its disk.
    pub(crate) fn power_on(&self, _vm: Hardware) {}

    /// A VM was switched off at once.
    pub(crate) fn power_off(&self, _vmid: u32) {}

    /// A VM was destroyed, and with its disk all its state.
    pub(crate) fn remove(&self, _vmid: u32) {}

    pub(crate) fn status(&self) -> Vec<MachineStatus> {
        Vec::new()
    }
}
