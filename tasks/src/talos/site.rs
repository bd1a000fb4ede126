//! The parts of the site that the kinds of Talos take as their parameters.
//!
//! They are whole tables of the site, so keys that mean nothing here are left alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::failure::Machine;

/// The port of Talos' API.
pub(super) const fn api_port() -> u16 {
    50_000
}

/// Machines by their names.
pub(super) type Machines = BTreeMap<String, Node>;

/// A machine of the site.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Node {
    /// Its name: of the VM, the host and the Kubernetes node.
    pub(super) name: String,
    /// What it does.
    pub(super) role: Role,
    /// Its own address.
    pub(super) address: IpAddr,
    /// The same with the length of the network's prefix, as `10.2.1.1/16`.
    pub(super) cidr: Prefix,
}

impl Node {
    /// Where its API is dialled.
    pub(super) fn machine(&self, port: u16) -> Machine {
        Machine { name: self.name.clone(), address: SocketAddr::new(self.address, port) }
    }
}

/// What a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    /// Runs etcd and the API.
    Controller,
    /// Runs everything else.
    Worker,
}

/// The network of the machines.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Network {
    /// All addresses of the machines.
    pub(super) cidr: Prefix,
    /// The default route.
    pub(super) gateway: IpAddr,
    /// Who answers for names.
    pub(super) nameservers: Vec<IpAddr>,
    /// Who tells the time.
    pub(super) ntp: Vec<String>,
    /// The shared address of the API.
    #[serde(default)]
    pub(super) api_vip: Option<ApiVip>,
}

/// The shared address of the API.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ApiVip {
    /// The address.
    pub(super) address: IpAddr,
    /// Who holds it.
    pub(super) by: VipOwner,
}

/// Who holds the shared address of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum VipOwner {
    /// Talos, by an election in etcd.
    Talos,
    /// A static pod.
    KubeVip,
}

/// What the site says of Talos.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Talos {
    /// The version that machines boot, as `v1.13.4`.
    pub(super) version: String,
    /// The release whose configuration format the cluster was born with, as `v1.13`.
    pub(super) contract: String,
    /// The version of Kubernetes, as `v1.36.1`.
    pub(super) kubernetes: String,
}

/// A network, or an address with the length of its network's prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Prefix {
    /// The address.
    pub(super) address: IpAddr,
    /// The number of leading bits that the network has in common.
    pub(super) length: u8,
}

/// A text that is no network.
#[derive(Debug, thiserror::Error)]
#[error("it is not of the form 10.2.0.0/16")]
pub(super) struct BadPrefix;

impl Prefix {
    /// Whether an address is of this network.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let shift = 32_u32.saturating_sub(u32::from(self.length));
                let bits = |address: u32| address.checked_shr(shift).unwrap_or(0);
                bits(ours.to_bits()) == bits(theirs.to_bits())
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let shift = 128_u32.saturating_sub(u32::from(self.length));
                let bits = |address: u128| address.checked_shr(shift).unwrap_or(0);
                bits(ours.to_bits()) == bits(theirs.to_bits())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Prefix {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let (address, length) = text.split_once('/').ok_or(BadPrefix)?;
        let address: IpAddr = address.parse().map_err(|_| BadPrefix)?;
        let length: u8 = length.parse().map_err(|_| BadPrefix)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        if length <= longest { Ok(Self { address, length }) } else { Err(BadPrefix) }
    }
}

impl TryFrom<String> for Prefix {
    type Error = BadPrefix;

    fn try_from(text: String) -> Result<Self, BadPrefix> {
        text.parse()
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl JsonSchema for Prefix {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Prefix".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        String::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_knows_its_addresses() {
        let network: Prefix = "10.2.0.0/16".parse().unwrap();
        assert!(network.contains("10.2.3.1".parse().unwrap()));
        assert!(!network.contains("10.3.3.1".parse().unwrap()));
        assert!(!network.contains("::1".parse().unwrap()));
        let all: Prefix = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("192.0.2.1".parse().unwrap()));
        assert!("10.2.0.0/33".parse::<Prefix>().is_err());
        assert!("10.2.0.0".parse::<Prefix>().is_err());
    }
}
