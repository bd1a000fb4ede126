//! Disk images: what a factory builds, and what a machine finds on its disk.

use std::{
    collections::BTreeMap,
    io::{self, Read, Seek},
};

mod adv;
mod disk;
pub(crate) mod qcow2;
pub(crate) mod zstd;

/// What is on a bootable Talos disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The Talos version, with its `v`.
    pub(crate) version: String,
    /// The id of the schematic that it was built from.
    pub(crate) schematic: String,
    /// The values of the META partition by key.
    pub(crate) meta: BTreeMap<u8, Vec<u8>>,
}

impl Image {
    /// The raw disk: a GPT with the partitions of an amd64 image, smaller than real ones.
    ///
    /// The same image has the same bytes.
    pub(crate) fn build(&self) -> io::Result<Vec<u8>> {
        disk::build(self)
    }

    /// What is on a raw disk of any size; none if it would not boot.
    pub(crate) fn read(disk: impl Read + Seek + std::fmt::Debug) -> io::Result<Option<Self>> {
        disk::read(disk)
    }
}
