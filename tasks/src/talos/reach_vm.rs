//! `reach-vm`: the planned machine answers at the planned address.

use std::net::IpAddr;

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, NoHandle, Presence, Retry, Secret, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bundle::{BadBundle, Bundle};
use super::client::{self, Client, Door};
use super::connect::Identity;
use super::cosi;
use super::failure::{CallError, Machine, OtherMachine};
use super::site::{Network, Node, Talos, api_port};
use crate::duration::Span;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct ReachVm;

/// Which machine.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The machine.
    node: Node,
    /// The site's network.
    network: Network,
    /// The site's table `talos`.
    talos: Talos,
    /// The secrets of the cluster.
    bundle: Secret<Bundle>,
    /// The UUID of the VM that must answer.
    uuid: String,
    /// The port of Talos' API.
    #[serde(default = "api_port")]
    port: u16,
    /// How long one call may take.
    #[serde(default)]
    call: Span,
}

/// What answered.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// What the machine is busy with: `maintenance` before it has a configuration.
    stage: String,
    /// The version of Talos that runs.
    version: String,
}

/// Why the machine cannot be used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// Another machine has the address.
    #[error(transparent)]
    #[diagnostic(transparent)]
    OtherMachine(#[from] OtherMachine),
    /// It did not take the addresses that its image carries.
    #[error("machine {machine} has the addresses {}", found.join(", "))]
    #[diagnostic(
        code("talos::other-addresses"),
        help("exactly the planned one is wanted: is there a DHCP server in its network?")
    )]
    OtherAddresses {
        /// The machine.
        machine: Machine,
        /// Its addresses in the network.
        found: Vec<String>,
    },
    /// The machine did not do what it was asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Call(#[from] CallError),
    /// The secrets cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BadBundle),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::OtherMachine(_) | Self::OtherAddresses { .. } => Retry::Human,
            Self::Call(error) => error.retry(),
            Self::Bundle(error) => error.retry(),
        }
    }
}

impl Kind for ReachVm {
    const NAME: &'static str = "reach-vm";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Wait until the planned machine answers Talos' API",
        details: "Dials the machine's own address: with the cluster's secrets, or without where \
                  it has no configuration yet. It must be the planned VM by its uuid, run the \
                  wanted version, have exactly its planned address in the network (so it took \
                  what its image carries) and a clock that a time server has set. A silent \
                  machine is waited for; another machine, or one of another cluster, ends the \
                  task at once.",
        example: r#"
node = { name = "worker0", role = "worker", address = "10.2.2.1", cidr = "10.2.2.1/16" }
network = { cidr = "10.2.0.0/16", gateway = "10.2.0.1", nameservers = ["10.2.0.1"], ntp = ["10.2.0.1"] }
talos = { version = "v1.13.4", contract = "v1.13", kubernetes = "v1.36.1" }
bundle = "${tasks.talos-secrets.bundle}"
uuid = "${tasks.create-vm[each.key].uuid}"
"#,
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(5));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let machine = params.node.machine(params.port);
        let identity = Identity::new(params.bundle.reveal())?;
        let client = match client::knock(&machine, &identity, params.call.0).await {
            Ok(Door::Configured(client) | Door::Maintenance(client)) => client,
            Err(CallError::Unreachable { .. }) => {
                return Ok(Verdict::Underway(format!("{machine} does not answer yet")));
            }
            Err(error) => return Err(error.into()),
        };
        look(&machine, &client, params).await
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), Error> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

async fn look(
    machine: &Machine,
    client: &Client,
    params: &Params,
) -> Result<Verdict<ReachVm>, Error> {
    let underway = |what: &str| Ok(Verdict::Underway(format!("{machine} {what}")));
    match cosi::uuid(client).await? {
        None => return underway("does not know its uuid yet"),
        Some(uuid) if uuid == params.uuid.to_lowercase() => {}
        Some(uuid) => return Err(OtherMachine { machine: machine.clone(), uuid }.into()),
    }
    let version = client.version().await?;
    if version != params.talos.version {
        return Ok(Verdict::Drifted {
            diff: format!("{machine} runs {version}, the site says {}", params.talos.version),
            mark: flow_engine::Mark::Nowhere,
        });
    }
    let found = in_network(&cosi::addresses(client).await?, &params.network);
    if found.is_empty() {
        return underway("has no address yet");
    }
    if found != [params.node.address] {
        let found = found.iter().map(ToString::to_string).collect();
        return Err(Error::OtherAddresses { machine: machine.clone(), found });
    }
    if !cosi::clock_synced(client).await? {
        return underway("has not set its clock yet");
    }
    match cosi::stage(client).await? {
        None => underway("does not know its stage yet"),
        Some(stage) => {
            Ok(Verdict::satisfied(Outputs { stage: stage.as_str().to_owned(), version }))
        }
    }
}

/// A machine's addresses that are of the network and not shared.
fn in_network(addresses: &[String], network: &Network) -> Vec<IpAddr> {
    let vip = network.api_vip.as_ref().map(|vip| vip.address);
    let bare = addresses.iter().filter_map(|text| text.split('/').next()?.parse().ok());
    bare.filter(|address| network.cidr.contains(*address) && Some(*address) != vip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_addresses_of_the_network_count() {
        let network: Network = serde_json::from_value(serde_json::json!({
            "cidr": "10.2.0.0/16", "gateway": "10.2.0.1", "nameservers": [], "ntp": [],
            "api-vip": { "address": "10.2.3.1", "by": "talos" }, "manage": false,
        }))
        .unwrap();
        let found = ["127.0.0.1/8", "10.2.1.1/16", "10.2.3.1/32", "fe80::1/64"].map(String::from);
        assert_eq!(in_network(&found, &network), ["10.2.1.1".parse::<IpAddr>().unwrap()]);
    }
}
