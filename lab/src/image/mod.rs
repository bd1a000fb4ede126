//! What is on an imported disk.

use std::collections::BTreeMap;

/// A bootable Talos disk image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    /// The Talos version, with its `v`.
    pub(crate) version: String,
    /// The id of the schematic it was built from.
    pub(crate) schematic: String,
    /// The values of the META partition by key.
    pub(crate) meta: BTreeMap<u8, Vec<u8>>,
}
