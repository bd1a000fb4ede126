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
    #[prost(string, tag = "5")]
    pub(super) uuid: String,
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
        let addresses = cidrs.iter().filter_map(|cidr| {
            let (address, prefix) = cidr.split_once('/')?;
            Some(Network { ip: bytes(address.parse().ok()?), prefix_length: prefix.parse().ok()? })
        });
        Self { addresses: addresses.collect() }
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
