//! What a machine is while it has power.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use axum::Router;
use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{config::Config, network::Interface, service::Services};

/// How far a machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Stage {
    /// Firmware, kernel, services.
    Booting,
    /// Waits for a configuration.
    Maintenance,
    /// All services run.
    Running,
    /// Goes down to come back.
    Rebooting,
    /// Goes down.
    ShuttingDown,
}

impl Stage {
    /// Its number in Talos' API.
    pub(super) fn number(self) -> i32 {
        match self {
            Self::Booting => 1,
            Self::Maintenance => 3,
            Self::Running => 4,
            Self::Rebooting => 5,
            Self::ShuttingDown => 6,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Booting => "booting",
            Self::Maintenance => "maintenance",
            Self::Running => "running",
            Self::Rebooting => "rebooting",
            Self::ShuttingDown => "shutting down",
        })
    }
}

/// Something that a machine has reached since it booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Containers can run.
    Containers,
    /// The clock was set.
    Clock,
    /// It signs certificates for workers.
    Trustd,
    /// A bootstrap was asked for and has not been written yet.
    Bootstrap,
    /// Its etcd member runs.
    Etcd,
    /// Its API server serves.
    Kubernetes,
    /// Its kubelet has registered it.
    Node,
    /// Its node is ready.
    NodeReady,
}

/// How a machine goes down by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// And boots again.
    Reboot,
    /// And stays off.
    Shutdown,
}

/// A machine that has power.
#[derive(Debug)]
pub(super) struct Live {
    /// See [`Stage`].
    pub(super) stage: Stage,
    /// Why it does not get further, for people.
    pub(super) note: Option<String>,
    /// Changes with each boot.
    pub(super) boot: Uuid,
    /// When it began to boot.
    pub(super) since: OffsetDateTime,
    /// Its addresses, shared ones apart.
    pub(super) interfaces: Vec<Interface>,
    /// Its name; empty until it is known.
    pub(super) hostname: String,
    /// The configuration in force.
    pub(super) config: Option<Arc<Config>>,
    /// The services that were started.
    pub(super) services: Services,
    /// What has been reached.
    parts: BTreeSet<Part>,
    /// The API of normal mode, for requests that other machines forward.
    pub(super) api: Option<Router>,
    /// The shared addresses that it holds.
    pub(super) vips: Vec<IpAddr>,
    /// Goes down.
    pub(super) leave: Option<Leave>,
    /// Counts the configurations that are only being tried.
    pub(super) trials: u64,
    /// The last seen form of each resource, with its version.
    pub(super) seen: BTreeMap<(String, String), (String, u64)>,
}

impl Live {
    /// A machine at the moment its power comes.
    pub(super) fn new() -> Self {
        Self {
            stage: Stage::Booting,
            note: Some("firmware and kernel".to_owned()),
            boot: Uuid::new_v4(),
            since: OffsetDateTime::now_utc(),
            interfaces: Vec::new(),
            hostname: String::new(),
            config: None,
            services: Services::default(),
            parts: BTreeSet::new(),
            api: None,
            vips: Vec::new(),
            leave: None,
            trials: 0,
            seen: BTreeMap::new(),
        }
    }

    /// Whether it has reached something.
    pub(super) fn has(&self, part: Part) -> bool {
        self.parts.contains(&part)
    }

    /// It has reached something, or lost it.
    pub(super) fn set(&mut self, part: Part, reached: bool) {
        if reached {
            self.parts.insert(part);
        } else {
            self.parts.remove(&part);
        }
    }

    /// All its addresses, the shared ones that it holds last.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let own = self.interfaces.iter().map(|one| one.address);
        own.chain(self.vips.iter().copied()).collect()
    }

    /// The address that others know it by.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.interfaces.first().map(|one| one.address)
    }

    /// Whether a target of a forwarded request is this machine.
    pub(super) fn is_called(&self, target: &str) -> bool {
        match target.parse::<IpAddr>() {
            Ok(address) => self.addresses().contains(&address),
            Err(_) => !target.is_empty() && self.hostname == target,
        }
    }

    /// Whether it is configured as a controller.
    pub(super) fn is_controller(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.is_controller())
    }
}
