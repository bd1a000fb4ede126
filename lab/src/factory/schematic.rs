//! Schematics: what an image is made of, and the id that its canonical text has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex;

use super::yaml::Node;

/// A schematic as clients post it. Unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Schematic {
    owner: String,
    overlay: Overlay,
    pub(super) customization: Customization,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Overlay {
    image: String,
    name: String,
    options: BTreeMap<String, serde_yaml_ng::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct Customization {
    embedded_machine_configuration: String,
    extra_kernel_args: Vec<String>,
    pub(super) meta: Vec<Meta>,
    pub(super) system_extensions: SystemExtensions,
    bootloader: String,
    secureboot: SecureBoot,
    disk_image: DiskImage,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Meta {
    pub(super) key: u8,
    pub(super) value: String,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(super) struct SystemExtensions {
    pub(super) official_extensions: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct SecureBoot {
    enroll_keys: String,
    include_well_known_certificates: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
struct DiskImage {
    sector_size: u32,
}

/// A posted schematic: its id and its canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Posted {
    pub(super) id: String,
    pub(super) schematic: String,
}

impl Schematic {
    /// Reads YAML, of which JSON is a part.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("EOF".to_owned());
        }
        let schematic: Self = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
        let bootloaders = ["", "auto", "dual-boot", "grub", "sd-boot"];
        let loader = &schematic.customization.bootloader;
        if !bootloaders.contains(&loader.as_str()) {
            return Err(format!("{loader} does not belong to BootloaderKind values"));
        }
        Ok(schematic)
    }

    /// Its id and canonical text.
    pub(super) fn canonical(&self) -> Posted {
        let schematic = self.node().document();
        let id = hex::encode(&Sha256::digest(schematic.as_bytes()));
        Posted { id, schematic }
    }

    fn node(&self) -> Node {
        let Self { owner, overlay, customization } = self;
        let mut map = Vec::new();
        text(&mut map, "owner", owner);
        if *overlay != Overlay::default() {
            map.push(("overlay", overlay.node()));
        }
        map.push(("customization", customization.node()));
        Node::map(map)
    }
}

impl Overlay {
    fn node(&self) -> Node {
        let Self { image, name, options } = self;
        let mut map = vec![("image", Node::text(image)), ("name", Node::text(name))];
        if !options.is_empty() {
            let options = options.iter().map(|(key, value)| (key.clone(), Node::value(value)));
            map.push(("options", Node::Map(options.collect())));
        }
        Node::map(map)
    }
}

impl Customization {
    fn node(&self) -> Node {
        let Self {
            embedded_machine_configuration,
            extra_kernel_args,
            meta,
            system_extensions: SystemExtensions { official_extensions },
            bootloader,
            secureboot: SecureBoot { enroll_keys, include_well_known_certificates },
            disk_image: DiskImage { sector_size },
        } = self;
        let mut map = Vec::new();
        text(&mut map, "embeddedMachineConfiguration", embedded_machine_configuration);
        if !extra_kernel_args.is_empty() {
            map.push(("extraKernelArgs", Node::texts(extra_kernel_args)));
        }
        if !meta.is_empty() {
            map.push(("meta", Node::Sequence(meta.iter().map(Meta::node).collect())));
        }
        if !official_extensions.is_empty() {
            let list = vec![("officialExtensions", Node::texts(official_extensions))];
            map.push(("systemExtensions", Node::map(list)));
        }
        text(&mut map, "bootloader", bootloader);
        let mut secureboot = Vec::new();
        text(&mut secureboot, "enrollKeys", enroll_keys);
        if *include_well_known_certificates {
            secureboot.push(("includeWellKnownCertificates", Node::Plain("true".to_owned())));
        }
        if !secureboot.is_empty() {
            map.push(("secureboot", Node::map(secureboot)));
        }
        if *sector_size != 0 {
            let size = vec![("sectorSize", Node::Plain(sector_size.to_string()))];
            map.push(("diskImage", Node::map(size)));
        }
        Node::map(map)
    }
}

impl Meta {
    fn node(&self) -> Node {
        let Self { key, value } = self;
        let mut map = Vec::new();
        if *key != 0 {
            map.push(("key", Node::Plain(key.to_string())));
        }
        text(&mut map, "value", value);
        Node::map(map)
    }
}

/// Adds a string unless it is empty.
fn text(map: &mut Vec<(&'static str, Node)>, key: &'static str, value: &str) {
    if !value.is_empty() {
        map.push((key, Node::text(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> String {
        Schematic::parse(text).unwrap().canonical().id
    }

    #[test]
    fn ids_equal_the_vectors() {
        for (text, expected) in [
            ("{}", "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"),
            (
                "customization: { extraKernelArgs: [noapic, nolapic] }",
                "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c",
            ),
            (
                "customization: { meta: [{ key: 0xa, value: foo }] }",
                "d308a2a5ee2277bed5fbaa104fcbc8d59122abfa737df987a95b4ca763459a7f",
            ),
            (
                r#"customization: { meta: [{ key: 10, value: '{"externalIPs": ["1.2.3.4"]}' }] }"#,
                "d8765b7ef6a1d510ae66d2fa8430e70924d11ab7f0e9a2eb28f8129a4a3b7425",
            ),
            (
                "customization: { secureboot: { includeWellKnownCertificates: true } }",
                "fa8e05f142a851d3ee568eb0a8e5841eaf6b0ebc8df9a63df16ac5ed2c04f3e6",
            ),
            (
                "customization: { diskImage: { sectorSize: 4096 } }",
                "92833e9ddd9bb9e11b2464fa5525429f01866306d52ebd882ee08d7918f6d1ea",
            ),
            (
                "overlay: { name: rpi_generic, image: siderolabs/sbc-raspberrypi }",
                "ee21ef4a5ef808a9b7484cc0dda0f25075021691c8c09a276591eedb638ea1f9",
            ),
            (
                "customization: { extraKernelArgs: [hello, hihi], systemExtensions: \
                 { officialExtensions: [siderolabs/amd-ucode, siderolabs/nvidia-fabricmanager] } }",
                "647a0a54bff662aa12051bc0312097f29d3562107d8e6a8e87ab85b643e25bc0",
            ),
        ] {
            assert_eq!(id(text), expected, "{text}");
        }
    }

    #[test]
    fn a_schematic_of_a_machine_has_its_vector() {
        let text = r#"
customization:
  systemExtensions: { officialExtensions: [siderolabs/qemu-guest-agent, siderolabs/tailscale] }
  extraKernelArgs: [net.ifnames=0]
  meta:
    - key: 10
      value: '{"addresses":[{"address":"10.2.1.1/16","linkName":"eth0"}],"links":[{"name":"eth0","up":true}]}'
"#;
        let expected = "46cd117437b7de8841ff4f2401fb373665b27e2d06f255a7ac5e115d03a5fb65";
        assert_eq!(id(text), expected);
    }

    #[test]
    fn unknown_keys_and_nothing_are_refused() {
        assert!(Schematic::parse("customisation: {}").unwrap_err().contains("customisation"));
        assert_eq!(Schematic::parse("\n").unwrap_err(), "EOF");
    }
}
