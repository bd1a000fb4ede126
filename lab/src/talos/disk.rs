//! What a machine keeps without power.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::credentials::hex;
use crate::{image::Image, store::Changes};

/// The collection of disks, by VM id.
pub(super) const DISKS: &str = "talos-disk";
/// The collection of etcd clusters, by id.
pub(super) const ETCDS: &str = "talos-etcd";

/// The state on one machine's disk.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Disk {
    /// What it was imported from; another image is another disk.
    image: String,
    /// The machine's identity, drawn when the disk is first booted.
    pub(super) identity: Uuid,
    /// The configuration that the next boot uses.
    pub(super) config: Option<String>,
    /// Where the data directory of etcd belongs to.
    pub(super) etcd: Option<EtcdData>,
}

/// The data directory of etcd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EtcdData {
    /// The cluster.
    pub(super) cluster: String,
    /// The member's number.
    pub(super) member: u64,
}

impl Disk {
    /// A disk as the image was written to it.
    pub(super) fn fresh(image: Option<&Image>) -> Self {
        Self { image: digest(image), identity: Uuid::new_v4(), config: None, etcd: None }
    }

    /// Whether it was imported from this image.
    pub(super) fn is_of(&self, image: Option<&Image>) -> bool {
        self.image == digest(image)
    }

    /// Adds writing it to some changes.
    pub(super) fn put(&self, vmid: u32, changes: Changes) -> Changes {
        changes.put(DISKS, &vmid.to_string(), self)
    }
}

fn digest(image: Option<&Image>) -> String {
    let Some(image) = image else { return String::new() };
    let meta: BTreeMap<u8, &[u8]> =
        image.meta.iter().map(|(key, value)| (*key, value.as_slice())).collect();
    let text = format!("{} {} {meta:?}", image.version, image.schematic);
    hex(&Sha256::digest(text))
}
