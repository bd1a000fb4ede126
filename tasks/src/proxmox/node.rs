//! A node of the site, as `each.value` of `for-each = "${site.nodes}"` has it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::size::Size;

/// A planned machine. Keys that its readers do not need are let through.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Node {
    /// Its name: of the VM, of the host, of the instance.
    pub(crate) name: String,
    /// Its address with the length of the network's prefix.
    pub(crate) cidr: String,
    /// The id of its VM.
    pub(crate) vmid: u32,
    /// The Proxmox host that it is made on.
    pub(crate) host: String,
    /// What it is made of.
    pub(crate) machine: Machine,
    /// What it is in the cluster.
    pub(crate) role: String,
}

/// What a machine is made of.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Machine {
    /// Virtual cores.
    pub(crate) cores: u32,
    /// Memory.
    pub(crate) memory: Size,
    /// The system disk.
    pub(crate) disk: Size,
    /// The CPU type; Talos needs at least `x86-64-v2`.
    pub(crate) cpu: String,
}

/// A bridge of the host's network.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Bridge {
    /// Its name, as `vmbr0`.
    pub(crate) name: String,
    /// The VLAN that machines are put in.
    pub(crate) vlan: Option<u16>,
}
