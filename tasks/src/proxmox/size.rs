//! Sizes of memory and disks, as `"8GiB"` in a site file.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

const MIB: u64 = 1 << 20;

/// A number of bytes, a whole number of MiB: `512MiB`, `8GiB`, `1TiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }

    pub(crate) fn mib(self) -> u64 {
        self.0 / MIB
    }

    /// As Proxmox writes sizes of disks: in the largest unit that is exact.
    pub(super) fn proxmox(self) -> String {
        let units = [("T", MIB << 20), ("G", MIB << 10), ("M", MIB)];
        let exact = units.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        exact.map_or_else(
            || format!("{}K", self.0 >> 10),
            |(name, unit)| format!("{}{name}", self.0 / unit),
        )
    }
}

/// Bytes of a size as Proxmox writes it: `40G`, `528K`, `1048576`.
pub(super) fn proxmox_bytes(text: &str) -> Option<u64> {
    let units = [("K", 10), ("M", 20), ("G", 30), ("T", 40)];
    let (number, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))
        .unwrap_or((text, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

fn parse(text: &str) -> Option<u64> {
    let units = [("MiB", MIB), ("GiB", MIB << 10), ("TiB", MIB << 20)];
    let (number, unit) =
        units.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)))?;
    number.trim().parse::<u64>().ok()?.checked_mul(*unit).filter(|bytes| *bytes > 0)
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse(&text).map(Self).ok_or_else(|| {
            serde::de::Error::custom("a size is a number with MiB, GiB or TiB, as `8GiB`")
        })
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+ ?(MiB|GiB|TiB)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_exactly() {
        assert_eq!(parse("8GiB"), Some(8 << 30));
        assert_eq!(parse("512MiB"), Some(512 << 20));
        assert_eq!(parse("8GB"), None);
        assert_eq!(parse("0GiB"), None);
        assert_eq!(Size(40 << 30).proxmox(), "40G");
        assert_eq!(Size(1536 << 20).proxmox(), "1536M");
        assert_eq!(proxmox_bytes("40G"), Some(40 << 30));
        assert_eq!(proxmox_bytes("528K"), Some(528 << 10));
        assert_eq!(proxmox_bytes("1048576"), Some(1 << 20));
        assert_eq!(proxmox_bytes("x"), None);
    }
}
