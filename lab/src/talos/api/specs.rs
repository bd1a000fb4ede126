//! Resources as protobuf, for clients that do not read the YAML.
//!
//! Source: `api/resource/definitions` of Talos 1.13.

use std::net::IpAddr;

/// A type.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Definition {
    #[prost(string, tag = "1")]
    pub(super) resource_type: String,
    #[prost(string, tag = "2")]
    pub(super) display_type: String,
    #[prost(string, tag = "3")]
    pub(super) default_namespace: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) aliases: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(super) all_aliases: Vec<String>,
    #[prost(message, repeated, tag = "6")]
    pub(super) print_columns: Vec<Column>,
    #[prost(int32, tag = "7")]
    pub(super) sensitivity: i32,
}

/// A column of `talosctl get`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Column {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) json_path: String,
}

/// `HostnameStatusSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hostname {
    #[prost(string, tag = "1")]
    pub(super) hostname: String,
}

/// `time.StatusSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Time {
    #[prost(bool, tag = "1")]
    pub(super) synced: bool,
}

/// `SystemInformationSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct System {
    #[prost(string, tag = "1")]
    pub(super) manufacturer: String,
    #[prost(string, tag = "2")]
    pub(super) product_name: String,
    #[prost(string, tag = "3")]
    pub(super) version: String,
    #[prost(string, tag = "5")]
    pub(super) uuid: String,
}

/// `AddressStatusSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct AddressStatus {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Network>,
    #[prost(uint32, tag = "6")]
    pub(super) link_index: u32,
    #[prost(string, tag = "7")]
    pub(super) link_name: String,
    #[prost(int32, tag = "8")]
    pub(super) family: i32,
    #[prost(int32, tag = "9")]
    pub(super) scope: i32,
    #[prost(uint32, tag = "10")]
    pub(super) flags: u32,
}

/// The kernel's number of IPv4.
pub(super) const INET4: i32 = 2;
/// The kernel's number of the scope of loopback addresses.
pub(super) const HOST: i32 = 254;
/// The kernel's flag of an address without an end.
pub(super) const PERMANENT: u32 = 128;

/// `network.StatusSpec`.
#[allow(clippy::struct_excessive_bools, reason = "the message has four")]
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NetworkStatus {
    #[prost(bool, tag = "1")]
    pub(super) address: bool,
    #[prost(bool, tag = "2")]
    pub(super) connectivity: bool,
    #[prost(bool, tag = "3")]
    pub(super) hostname: bool,
    #[prost(bool, tag = "4")]
    pub(super) files: bool,
}

/// `v1alpha1.ServiceSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Service {
    #[prost(bool, tag = "1")]
    pub(super) running: bool,
    #[prost(bool, tag = "2")]
    pub(super) healthy: bool,
    #[prost(bool, tag = "3")]
    pub(super) unknown: bool,
}

/// `MetaKeySpec`, and etcd's `MemberSpec`, which looks the same.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Meta {
    #[prost(string, tag = "1")]
    pub(super) value: String,
}

/// `MachineTypeSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Type {
    #[prost(int32, tag = "1")]
    pub(super) number: i32,
}

/// `MachineConfigSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Text {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) yaml: Vec<u8>,
}

/// `MachineStatusSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) stage: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) status: Option<Readiness>,
}

/// `MachineStatusStatus`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Readiness {
    #[prost(bool, tag = "1")]
    pub(super) ready: bool,
    #[prost(message, repeated, tag = "2")]
    pub(super) unmet: Vec<Condition>,
}

/// `UnmetCondition`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Condition {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) reason: String,
}

/// `common.NetIP`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Address {
    #[prost(bytes = "vec", tag = "1")]
    ip: Vec<u8>,
}

impl Address {
    pub(super) fn of(address: IpAddr) -> Self {
        Self { ip: bytes(address) }
    }
}

/// `NodeAddressSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Addresses {
    #[prost(message, repeated, tag = "1")]
    addresses: Vec<Network>,
}

impl Addresses {
    pub(super) fn of(cidrs: &[String]) -> Self {
        Self { addresses: cidrs.iter().filter_map(|cidr| Network::of(cidr)).collect() }
    }
}

/// `common.NetIPPrefix`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Network {
    #[prost(bytes = "vec", tag = "1")]
    ip: Vec<u8>,
    #[prost(int32, tag = "2")]
    prefix_length: i32,
}

impl Network {
    pub(super) fn of(cidr: &str) -> Option<Self> {
        let (address, prefix) = cidr.split_once('/')?;
        Some(Self { ip: bytes(address.parse().ok()?), prefix_length: prefix.parse().ok()? })
    }
}

/// `cluster.MemberSpec`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Member {
    #[prost(string, tag = "1")]
    pub(super) node_id: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) addresses: Vec<Address>,
    #[prost(string, tag = "3")]
    pub(super) hostname: String,
    #[prost(int32, tag = "4")]
    pub(super) machine_type: i32,
    #[prost(string, tag = "5")]
    pub(super) operating_system: String,
    #[prost(message, optional, tag = "6")]
    pub(super) control_plane: Option<ControlPlane>,
}

/// `cluster.ControlPlane`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct ControlPlane {
    #[prost(int64, tag = "1")]
    pub(super) port: i64,
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}
