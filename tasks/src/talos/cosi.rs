//! The resources of a machine that the kinds read, as YAML.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::failure::CallError;

/// Where a resource is found.
struct Place {
    namespace: &'static str,
    kind: &'static str,
    id: &'static str,
}

const STATUS: Place =
    Place { namespace: "runtime", kind: "MachineStatuses.runtime.talos.dev", id: "machine" };
const SYSTEM: Place = Place {
    namespace: "hardware",
    kind: "SystemInformations.hardware.talos.dev",
    id: "systeminformation",
};
const ADDRESSES: Place =
    Place { namespace: "network", kind: "NodeAddresses.net.talos.dev", id: "current" };
const TIME: Place =
    Place { namespace: "runtime", kind: "TimeStatuses.v1alpha1.talos.dev", id: "node" };
const CONFIG: Place =
    Place { namespace: "config", kind: "MachineConfigs.config.talos.dev", id: "v1alpha1" };

/// What a machine is busy with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing yet: it waits for a configuration.
    Maintenance,
    /// It starts with its configuration. A controller stays here until etcd runs.
    Booting,
    /// It has started.
    Running,
    /// Anything else passes by itself; Talos' own word.
    Busy(String),
}

impl Stage {
    /// Talos' word for it.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Maintenance => "maintenance",
            Self::Booting => "booting",
            Self::Running => "running",
            Self::Busy(word) => word,
        }
    }
}

#[derive(Deserialize)]
struct Status {
    stage: String,
}

#[derive(Deserialize)]
struct System {
    uuid: String,
}

#[derive(Deserialize)]
struct Addresses {
    #[serde(default)]
    addresses: Vec<String>,
}

#[derive(Deserialize)]
struct Time {
    synced: bool,
}

/// What the machine is busy with; `None` before it knows.
pub(super) async fn stage(client: &Client) -> Result<Option<Stage>, CallError> {
    let status: Option<Status> = read(client, &STATUS).await?;
    Ok(status.map(|status| match status.stage.as_str() {
        "maintenance" => Stage::Maintenance,
        "booting" => Stage::Booting,
        "running" => Stage::Running,
        _ => Stage::Busy(status.stage),
    }))
}

/// The UUID that the machine's firmware tells; `None` before it was read.
pub(super) async fn uuid(client: &Client) -> Result<Option<String>, CallError> {
    let system: Option<System> = read(client, &SYSTEM).await?;
    Ok(system.map(|system| system.uuid.to_lowercase()))
}

/// All addresses of the machine, with their prefixes.
pub(super) async fn addresses(client: &Client) -> Result<Vec<String>, CallError> {
    let addresses: Option<Addresses> = read(client, &ADDRESSES).await?;
    Ok(addresses.map(|found| found.addresses).unwrap_or_default())
}

/// Whether the clock was set by a time server.
pub(super) async fn clock_synced(client: &Client) -> Result<bool, CallError> {
    let time: Option<Time> = read(client, &TIME).await?;
    Ok(time.is_some_and(|time| time.synced))
}

/// The configuration that is in force, as YAML; `None` without one.
pub(super) async fn config(client: &Client) -> Result<Option<String>, CallError> {
    client.resource(CONFIG.namespace, CONFIG.kind, CONFIG.id).await
}

async fn read<T: DeserializeOwned>(client: &Client, place: &Place) -> Result<Option<T>, CallError> {
    let Some(yaml) = client.resource(place.namespace, place.kind, place.id).await? else {
        return Ok(None);
    };
    serde_yaml_ng::from_str(&yaml).map(Some).map_err(|error| {
        client.malformed("Get", &format!("{} is not as expected: {error}", place.kind))
    })
}
