//! The network configuration of the platform `metal`: META key 10.

use std::net::IpAddr;

use serde::Deserialize;

/// The META key of the network configuration.
pub(super) const META_KEY: u8 = 10;

/// An address on a link.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Interface {
    /// The link's name.
    pub(super) link: String,
    /// The address.
    pub(super) address: IpAddr,
    /// The length of the network's prefix.
    pub(super) prefix: u8,
}

impl Interface {
    /// Reads `ADDRESS/PREFIX` or `ADDRESS`; none if it is neither.
    pub(super) fn parse(link: &str, text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= most)?,
            None => most,
        };
        Some(Self { link: link.to_owned(), address, prefix })
    }

    /// The address in the notation `ADDRESS/PREFIX`.
    pub(super) fn cidr(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

/// What the platform says of the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Platform {
    /// The addresses.
    pub(super) interfaces: Vec<Interface>,
    /// The machine's name.
    pub(super) hostname: Option<String>,
}

/// Only what the lab acts on; the real machine ignores unknown keys as well.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    addresses: Vec<RawAddress>,
    hostnames: Vec<RawHostname>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawAddress {
    address: String,
    link_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawHostname {
    hostname: String,
}

impl Platform {
    /// Reads the value of META key 10; the error says what is wrong with it.
    pub(super) fn parse(value: &[u8]) -> Result<Self, String> {
        let raw: Option<Raw> = serde_yaml_ng::from_slice(value).map_err(|e| e.to_string())?;
        let raw = raw.unwrap_or_default();
        let interfaces = raw
            .addresses
            .iter()
            .map(|one| {
                Interface::parse(&one.link_name, &one.address)
                    .ok_or_else(|| format!("netip.ParsePrefix(\"{}\"): no '/'", one.address))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let hostname = raw.hostnames.into_iter().map(|one| one.hostname).find(|n| !n.is_empty());
        Ok(Self { interfaces, hostname })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_and_json_are_read_and_unknown_keys_ignored() {
        let yaml = b"addresses:\n  - {address: 127.2.1.1/16, linkName: eth0, family: inet4, layer: platform}\nhostnames: [{hostname: cp}]\nfuture: 1\n";
        let json = br#"{"addresses":[{"address":"127.2.1.1/16","linkName":"eth0"}],"hostnames":[{"hostname":"cp"}]}"#;
        let read = Platform::parse(yaml).unwrap();
        assert_eq!(read, Platform::parse(json).unwrap());
        assert_eq!(read.interfaces[0].cidr(), "127.2.1.1/16");
        assert_eq!(read.hostname.as_deref(), Some("cp"));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(Platform::parse(b"{").is_err());
        assert!(Platform::parse(b"addresses: [{address: nowhere}]").is_err());
        assert_eq!(Platform::parse(b"").unwrap(), Platform::default());
    }
}
