//! The configuration of one machine, as documents. Pure.

mod cluster;
mod lint;
mod machine;
mod side;

use std::net::IpAddr;

use serde_json::{Value, json};
use url::Url;

pub(super) use lint::lint;

use super::bundle::{Bundle, Pair};
use super::site::{Network, Node, Role, Talos};

/// Everything that a configuration is made of.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    /// The cluster's name.
    pub(super) cluster: &'a str,
    /// The cluster's secrets.
    pub(super) bundle: &'a Bundle,
    /// The machine.
    pub(super) node: &'a Node,
    /// Its network.
    pub(super) network: &'a Network,
    /// Versions.
    pub(super) talos: &'a Talos,
    /// What differs from site to site, or from machine to machine.
    pub(super) choices: &'a Choices,
}

/// What differs from site to site, or from machine to machine.
#[derive(Debug, Clone)]
pub(super) struct Choices {
    /// The API of Kubernetes, as all machines dial it.
    pub(super) endpoint: Url,
    /// The image that an upgrade installs.
    pub(super) installer: String,
    /// The disk that Talos is on.
    pub(super) disk: String,
    /// The machine's network interface.
    pub(super) link: String,
    /// The networks of pods and services.
    pub(super) pods: String,
    /// See `pods`.
    pub(super) services: String,
    /// How the machine joins the mesh; `None` without one.
    pub(super) mesh: Option<MeshKey>,
}

/// How a machine joins the mesh.
#[derive(Debug, Clone)]
pub(super) struct MeshKey {
    /// The coordination server.
    pub(super) url: Option<String>,
    /// The networks that the machine offers to the mesh.
    pub(super) routes: Vec<String>,
    /// The key, which is a secret.
    pub(super) key: flow_engine::Secret<String>,
}

impl Plan<'_> {
    /// All documents of the machine's configuration.
    pub(super) fn documents(&self) -> Vec<Value> {
        let main = json!({
            "version": "v1alpha1",
            "debug": false,
            "machine": machine::machine(self),
            "cluster": cluster::cluster(self),
        });
        [main].into_iter().chain(side::documents(self)).collect()
    }

    fn is_controller(&self) -> bool {
        match self.node.role {
            Role::Controller => true,
            Role::Worker => false,
        }
    }

    /// The names and addresses by which APIs are dialled, besides each machine's own.
    fn names(&self) -> Vec<String> {
        let vip = self.network.api_vip.as_ref().map(|vip| vip.address.to_string());
        let host = self.choices.endpoint.host_str().map(ToOwned::to_owned);
        let mut names: Vec<String> = vip.into_iter().chain(host).collect();
        names.sort();
        names.dedup();
        names
    }

    /// The networks that a machine's own address is of: without the shared ones.
    fn own_subnets(&self) -> Vec<String> {
        let vip = self.network.api_vip.as_ref().map(|vip| alone(vip.address));
        let shared = vip.map(|address| format!("!{address}"));
        [self.network.cidr.to_string()].into_iter().chain(shared).collect()
    }

    /// An image of Kubernetes' own.
    fn image(&self, name: &str) -> String {
        format!("registry.k8s.io/{name}:{}", self.talos.kubernetes)
    }

    /// An authority: with its key only where it must sign.
    fn authority(&self, pair: &Pair) -> Value {
        let key = if self.is_controller() { pair.key.as_str() } else { "" };
        json!({ "crt": pair.crt, "key": key })
    }
}

/// An address as a network of one.
fn alone(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 32 } else { 128 };
    format!("{address}/{length}")
}

/// The documents as a YAML stream.
pub(super) fn yaml(documents: &[Value]) -> Result<String, serde_yaml_ng::Error> {
    let texts: Result<Vec<String>, _> = documents.iter().map(serde_yaml_ng::to_string).collect();
    Ok(texts?.join("---\n"))
}
