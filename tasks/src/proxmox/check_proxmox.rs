//! `check-proxmox`: whether the hosts can take the planned machines. Tells all reasons at once.

use std::collections::BTreeMap;

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, NoHandle, Presence, Retry, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admin::{AdminDoor, AdminError};
use super::client::{ApiError, Client};
use super::lenient::{list, number, text, yes};
use super::mark::Mark;
use super::node::{Bridge, Node};
use super::privileges::{MACHINES, known};

/// A storage that is fuller than this is too full for disks that grow.
const FULL_PERCENT: u64 = 80;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct CheckProxmox;

/// What is planned.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The administrator's way into Proxmox.
    #[serde(flatten)]
    door: AdminDoor,
    /// The hosts that machines are made on.
    hosts: Vec<String>,
    /// The storage of images; it must hold the content type `import`.
    image_store: String,
    /// The storage of disks; it must hold the content type `images`.
    disk_store: String,
    /// The bridge of the machines' network cards.
    bridge: Bridge,
    /// The planned machines.
    nodes: BTreeMap<String, Node>,
    /// The image factory that hosts download from; left out, their way to it is not looked at.
    factory: Option<String>,
}

/// What later tasks need to know of this Proxmox.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Its version, as `9.1.1`.
    version: String,
    /// The privileges that it knows of those that are wanted.
    privileges: Vec<String>,
}

/// Why the hosts cannot take the planned machines.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Admin(#[from] AdminError),
    /// Something is not as the plan needs it.
    #[error("Proxmox cannot take the planned machines: {}", reasons.join("; "))]
    #[diagnostic(
        code(proxmox::unfit),
        help(
            "change the host (`pvesm set STORE --content …,import` adds a content type) or the site file"
        )
    )]
    Unfit {
        /// Everything that is wrong.
        reasons: Vec<String>,
    },
    /// All is as the plan needs it, but a host gets nothing from the factory.
    #[error("{host} cannot download from {factory}: {reason}")]
    #[diagnostic(
        code("proxmox::no-download"),
        help("check the host's name server, gateway and `http_proxy`, and the factory itself")
    )]
    NoDownload {
        /// The host.
        host: String,
        /// The factory.
        factory: String,
        /// What the host says.
        reason: String,
    },
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Admin(error.into())
    }
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Admin(error) => error.retry(),
            Self::NoDownload { .. } => Retry::Backoff,
            Self::Unfit { .. } => Retry::Human,
        }
    }
}

impl Kind for CheckProxmox {
    const NAME: &'static str = "check-proxmox";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Check that Proxmox can take the planned machines",
        details: "Looks at versions, privileges, storages and their room, memory, the bridge, the \
                  planned ids and the host's way to the image factory, and tells everything that \
                  is wrong in one report. It changes nothing.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            admin = { user = "root@pam", password = { env = "PROXMOX_PASSWORD" } }
            call = "30s"
            hosts = ["atlas"]
            image-store = "local"
            disk-store = "local-zfs"
            bridge = { name = "vmbr4", vlan = 4 }
            factory = "https://factory.talos.dev"

            [nodes.worker0]
            name = "worker0"
            role = "worker"
            cidr = "10.2.2.1/16"
            vmid = 2000
            host = "atlas"
            machine = { cores = 8, memory = "16GiB", disk = "200GiB", cpu = "host" }
        "#,
    };
    // A reply that failed is asked for again; what is wrong with a host is told at once.
    const SETTLE: Settle = Settle::within(std::time::Duration::from_secs(30));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let admin = params.door.open().await?;
        let version = admin.get(&["version"], &[]).await?;
        let valid = admin.get(&["access", "roles", "Administrator"], &[]).await?;
        let mut reasons = Vec::new();
        let online = params.online(&admin, &mut reasons).await?;
        for host in &online {
            params.check_host(&admin, host, &mut reasons).await?;
        }
        params.check_ids(cx, &admin, &mut reasons).await?;
        let privileges = known(|name| valid.get(name).is_some_and(yes), &MACHINES);
        if privileges.is_empty() {
            reasons.push("the role Administrator has none of the wanted privileges".to_owned());
        }
        if !reasons.is_empty() {
            return Err(Error::Unfit { reasons });
        }
        for host in &online {
            params.check_download(&admin, host).await?;
        }
        let version = version.get("version").and_then(text).unwrap_or_default();
        let privileges = privileges.into_iter().map(str::to_owned).collect();
        Ok(Verdict::satisfied(Outputs { version, privileges }))
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

fn rows(answer: &Value) -> &[Value] {
    answer.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn field(row: &Value, name: &str) -> String {
    row.get(name).and_then(text).unwrap_or_default()
}

fn find<'a>(rows: &'a [Value], name: &str, value: &str) -> Option<&'a Value> {
    rows.iter().find(|row| field(row, name) == value)
}

fn gib(bytes: u64) -> u64 {
    bytes >> 30
}

/// Why a storage cannot take what is put there.
fn check_store(stores: &[Value], host: &str, name: &str, content: &str) -> Option<String> {
    let Some(store) = find(stores, "storage", name) else {
        return Some(format!("{host} has no storage {name}"));
    };
    let on = |field: &str| store.get(field).is_none_or(yes);
    if !on("enabled") || !on("active") {
        return Some(format!("the storage {name} of {host} is not active"));
    }
    let held = field(store, "content");
    let holds = list(&held).any(|held| held == content);
    (!holds).then(|| format!("the storage {name} does not hold `{content}` (only {held})"))
}

impl Params {
    /// The planned hosts that are up.
    async fn online(
        &self,
        admin: &Client,
        reasons: &mut Vec<String>,
    ) -> Result<Vec<&str>, ApiError> {
        let nodes = admin.get(&["nodes"], &[]).await?;
        let mut online = Vec::new();
        for host in &self.hosts {
            match find(rows(&nodes), "node", host).map(|row| field(row, "status")) {
                Some(status) if status == "online" => online.push(host.as_str()),
                Some(status) => reasons.push(format!("the host {host} is {status}")),
                None => reasons.push(format!("there is no host {host}")),
            }
        }
        for node in self.nodes.values().filter(|node| !self.hosts.contains(&node.host)) {
            reasons.push(format!("{} is planned on {}, which is no host", node.name, node.host));
        }
        Ok(online)
    }

    fn planned_on(&self, host: &str) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(move |node| node.host == host)
    }

    async fn check_host(
        &self,
        admin: &Client,
        host: &str,
        reasons: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let stores = admin.get(&["nodes", host, "storage"], &[]).await?;
        for (store, content) in [(&self.image_store, "import"), (&self.disk_store, "images")] {
            reasons.extend(check_store(rows(&stores), host, store, content));
        }
        reasons.extend(self.check_room(rows(&stores), host));
        let status = admin.get(&["nodes", host, "status"], &[]).await?;
        reasons.extend(self.check_memory(&status, host));
        let query = [("type", "any_bridge".to_owned())];
        let bridges = admin.get(&["nodes", host, "network"], &query).await?;
        if find(rows(&bridges), "iface", &self.bridge.name).is_none() {
            reasons.push(format!("{host} has no bridge {}", self.bridge.name));
        }
        Ok(())
    }

    async fn check_download(&self, admin: &Client, host: &str) -> Result<(), Error> {
        let Some(factory) = &self.factory else { return Ok(()) };
        let url = format!("{}/healthz", factory.trim_end_matches('/'));
        match admin.get(&["nodes", host, "query-url-metadata"], &[("url", url)]).await {
            Ok(_) => Ok(()),
            // The host answered: it is the host that gets no answer.
            Err(ApiError::Refused { reason, .. }) => {
                let (host, factory) = (host.to_owned(), factory.clone());
                Err(Error::NoDownload { host, factory, reason })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Machines that exist have their disks already, so only missing room for all is no reason.
    fn check_room(&self, stores: &[Value], host: &str) -> Option<String> {
        let store = find(stores, "storage", &self.disk_store)?;
        let bytes = |name: &str| store.get(name).and_then(number).unwrap_or(0);
        let (total, used) = (bytes("total"), bytes("used"));
        let planned: u64 = self.planned_on(host).map(|node| node.machine.disk.bytes()).sum();
        let name = &self.disk_store;
        if planned > total {
            let (planned, total) = (gib(planned), gib(total));
            return Some(format!("{name} has {total} GiB, {planned} GiB are planned on {host}"));
        }
        let percent = used.saturating_mul(100).checked_div(total).unwrap_or(0);
        (percent >= FULL_PERCENT).then(|| format!("{name} of {host} is {percent} % full"))
    }

    fn check_memory(&self, status: &Value, host: &str) -> Option<String> {
        let total = status.get("memory").and_then(|memory| memory.get("total"));
        let total = total.and_then(number)?;
        let planned: u64 = self.planned_on(host).map(|node| node.machine.memory.bytes()).sum();
        (planned > total).then(|| {
            let (planned, total) = (gib(planned), gib(total));
            format!("{host} has {total} GiB of memory, {planned} GiB are planned")
        })
    }

    /// Every planned id is free, or a VM of ours.
    async fn check_ids(
        &self,
        cx: &Cx,
        admin: &Client,
        reasons: &mut Vec<String>,
    ) -> Result<(), ApiError> {
        let resources = admin.get(&["cluster", "resources"], &[("type", "vm".to_owned())]).await?;
        for node in self.nodes.values() {
            let vmid = node.vmid.to_string();
            let Some(row) = find(rows(&resources), "vmid", &vmid) else { continue };
            let host = field(row, "node");
            let Some(config) = admin.config(&host, node.vmid).await? else { continue };
            let mark = Mark::new(cx, &node.name);
            let ours = config.uuid() == Some(mark.uuid) && mark.describes(&config.mark());
            // What a create of ours may have left is for `create-vm` to judge.
            if !ours && !config.is_reserved_only() {
                let name = config.get("name").unwrap_or("no name");
                reasons.push(format!("VM {vmid} on {host} (`{name}`) is not ours"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params() -> Params {
        let node = |vmid: u32| {
            json!({
                "name": "a", "role": "worker", "cidr": "10.2.2.1/16", "vmid": vmid, "host": "atlas",
                "machine": { "cores": 2, "memory": "4GiB", "disk": "40GiB", "cpu": "host" },
            })
        };
        serde_json::from_value(json!({
            "api": "https://a:8006", "ca": { "file": "ca" }, "admin": { "ssh": "root@a" },
            "hosts": ["atlas"], "image-store": "local", "disk-store": "zfs",
            "bridge": { "name": "vmbr4" }, "nodes": { "a": node(1), "b": node(2) },
        }))
        .unwrap()
    }

    #[test]
    fn a_storage_must_hold_what_is_put_there() {
        let stores = [json!({ "storage": "local", "content": "iso,vztmpl", "active": 1 })];
        let check = |name| check_store(&stores, "atlas", name, "import");
        assert_eq!(
            check("local").as_deref(),
            Some("the storage local does not hold `import` (only iso,vztmpl)")
        );
        assert_eq!(check("nfs").as_deref(), Some("atlas has no storage nfs"));
    }

    #[test]
    fn room_is_that_of_all_planned_machines() {
        let store = |total: u64, used: u64| {
            [json!({ "storage": "zfs", "total": total << 30, "used": (used << 30).to_string() })]
        };
        let check = |total, used| params().check_room(&store(total, used), "atlas");
        assert_eq!(check(100, 10), None);
        assert_eq!(check(70, 0).as_deref(), Some("zfs has 70 GiB, 80 GiB are planned on atlas"));
        assert_eq!(check(100, 90).as_deref(), Some("zfs of atlas is 90 % full"));
        let status = json!({ "memory": { "total": 4u64 << 30 } });
        assert_eq!(
            params().check_memory(&status, "atlas").as_deref(),
            Some("atlas has 4 GiB of memory, 8 GiB are planned")
        );
    }

    #[tokio::test]
    async fn conforms_to_the_contract() {
        use crate::conformance::{Case, conforms};
        conforms(&Case::new(CheckProxmox), async |world| super::super::planned::check(world)).await;
    }
}
