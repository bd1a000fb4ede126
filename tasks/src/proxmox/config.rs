//! The configuration of a VM as the API shows it, made comparable.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::lenient::{is_yes, list, text};
use super::mark::{self, Line};
use super::size::proxmox_bytes;

/// A VM's configuration: every value as text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Config(BTreeMap<String, String>);

/// Keys of disks by their bus; `unused0` is none.
const BUSES: [&str; 6] = ["scsi", "virtio", "sata", "ide", "efidisk", "tpmstate"];

impl Config {
    /// Takes the answer of `GET …/config`; `None` if it is not one.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        let fields = answer.as_object()?;
        let texts = fields.iter().filter_map(|(key, value)| Some((key.clone(), text(value)?)));
        Some(Self(texts.collect()))
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The digest that a change made on this state of things must name.
    pub(super) fn digest(&self) -> Option<String> {
        self.get("digest").map(str::to_owned)
    }

    pub(super) fn lock(&self) -> Option<&str> {
        self.get("lock")
    }

    /// The uuid that its machine sees.
    pub(super) fn uuid(&self) -> Option<Uuid> {
        let smbios = properties(self.get("smbios1")?, "");
        smbios.get("uuid")?.parse().ok()
    }

    /// The marking line of its description; empty if it has none.
    pub(super) fn mark(&self) -> Line {
        self.get("description").map(mark::line).unwrap_or_default()
    }

    /// Whether all is there that a create writes first, and nothing else: a create was cut short.
    pub(super) fn is_reserved_only(&self) -> bool {
        self.lock() == Some("create") && self.get("smbios1").is_none()
    }

    /// Its tags, as a set of lower-case words.
    pub(super) fn tags(&self) -> Vec<String> {
        let tags = self.get("tags").unwrap_or_default();
        let mut tags: Vec<_> = list(tags).map(str::to_lowercase).collect();
        tags.sort();
        tags.dedup();
        tags
    }

    /// A disk: its storage, its volume and its size.
    pub(super) fn disk(&self, key: &str) -> Option<Disk> {
        let fields = properties(self.get(key)?, "file");
        let volume = fields.get("file")?.clone();
        let store = volume.split_once(':')?.0.to_owned();
        let size = fields.get("size").and_then(|size| proxmox_bytes(size)).unwrap_or(0);
        Some(Disk { volume, store, size })
    }

    /// The volumes that anything in it refers to, used or not.
    pub(super) fn volumes(&self) -> Vec<String> {
        let disks = self.0.iter().filter(|(key, _)| {
            let bus = key.trim_end_matches(|c: char| c.is_ascii_digit());
            bus != key.as_str() && (BUSES.contains(&bus) || bus == "unused")
        });
        let files = disks.filter_map(|(_, value)| properties(value, "file").remove("file"));
        files.filter(|file| file.contains(':')).collect()
    }

    /// The network card: MAC in upper case, bridge, VLAN.
    pub(super) fn net0(&self) -> Option<BTreeMap<String, String>> {
        let mut fields = properties(self.get("net0")?, "model");
        // `virtio=MAC` is short for `model=virtio,macaddr=MAC`.
        if let Some(mac) = fields.remove("virtio") {
            fields.insert("model".to_owned(), "virtio".to_owned());
            fields.insert("macaddr".to_owned(), mac);
        }
        if let Some(mac) = fields.get_mut("macaddr") {
            mac.make_ascii_uppercase();
        }
        Some(fields)
    }

    /// The devices that it boots from, in order.
    pub(super) fn boot_order(&self) -> Vec<String> {
        let boot = properties(self.get("boot").unwrap_or_default(), "legacy");
        let order = boot.get("order").map(String::as_str).unwrap_or_default();
        order.split(';').filter(|device| !device.is_empty()).map(str::to_owned).collect()
    }

    /// Whether a boolean is set.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(is_yes)
    }
}

/// A disk of a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) volume: String,
    pub(super) store: String,
    pub(super) size: u64,
}

/// A property string as a map; the part without a name gets the name of the default key.
pub(super) fn properties(text: &str, default: &str) -> BTreeMap<String, String> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let pairs = parts.map(|part| part.split_once('=').unwrap_or((default, part)));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Config {
        Config::read(&json!({
            "smbios1": "uuid=9f3c2f0e-0b6b-5c68-8f2a-0d5c8c1a0f11",
            "scsi0": "local-zfs:vm-1500-disk-1,discard=on,iothread=1,size=40G,ssd=1",
            "efidisk0": "local-zfs:vm-1500-disk-0,efitype=4m,size=1M",
            "unused0": "local-zfs:vm-1500-disk-7",
            "ide2": "none,media=cdrom",
            "net0": "virtio=bc:24:11:00:00:01,bridge=vmbr4,tag=4",
            "boot": "order=scsi0;net0",
            "memory": 8192,
            "tags": "b;A,b",
            "onboot": 1,
        }))
        .unwrap()
    }

    #[test]
    fn values_are_read_whatever_their_type() {
        let config = config();
        assert_eq!(config.get("memory"), Some("8192"));
        assert!(config.is_on("onboot"));
        assert_eq!(config.tags(), ["a", "b"]);
        assert_eq!(config.boot_order(), ["scsi0", "net0"]);
        assert_eq!(config.uuid().unwrap().get_version_num(), 5);
    }

    #[test]
    fn disks_are_known_by_storage_and_size() {
        let disk = config().disk("scsi0").unwrap();
        assert_eq!(disk.store, "local-zfs");
        assert_eq!(disk.size, 40 << 30);
        assert_eq!(config().disk("scsi1"), None);
        assert_eq!(
            config().volumes(),
            ["local-zfs:vm-1500-disk-0", "local-zfs:vm-1500-disk-1", "local-zfs:vm-1500-disk-7"]
        );
    }

    #[test]
    fn a_network_card_is_compared_without_case() {
        let net = config().net0().unwrap();
        assert_eq!(net["macaddr"], "BC:24:11:00:00:01");
        assert_eq!(net["tag"], "4");
        assert_eq!(net["model"], "virtio");
    }

    #[test]
    fn a_create_that_was_cut_short_is_recognised() {
        let bare = Config::read(&json!({ "lock": "create", "digest": "x" })).unwrap();
        assert!(bare.is_reserved_only());
        assert!(!config().is_reserved_only());
    }
}
