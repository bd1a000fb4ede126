//! A lab with machines, and what the kinds take of the site.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flow_engine::cx::{CxParts, MemoryNotebook};
use flow_engine::{
    AnyKind, AnyVerdict, Attempt, Cx, Failure, InstanceName, RunId, Seq, SiteContext, Stop,
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::rig;
use crate::conformance::Laboratory;
use crate::talos::bundle::Bundle;

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(30);
/// How long one call may take: long enough for a busy machine, short enough to wait for.
const CALL: &str = "400ms";

/// The machines of the plan.
pub(super) const CONTROLLERS: [&str; 3] = ["controlplane0", "controlplane1", "controlplane2"];
pub(super) const WORKER: &str = "worker0";

/// A lab and the site that is built in it.
pub(super) struct Room<'a> {
    lab: &'a Laboratory,
    /// The cluster's secrets.
    pub(super) bundle: Value,
    uuids: Map<String, Value>,
    notebook: Arc<MemoryNotebook>,
}

impl<'a> Room<'a> {
    /// Makes the machines and switches them on.
    pub(super) async fn new(lab: &'a Laboratory, names: &[&str]) -> Self {
        let notebook = Arc::new(MemoryNotebook::default());
        let mut room = Self { lab, bundle: bundle(), uuids: Map::new(), notebook };
        room.uuids = rig::power_on(&room, names).await;
        for name in names {
            room.make("reach-vm", room.reach(name)).await;
        }
        room
    }

    /// The same with all controllers configured, each without waiting for the others.
    pub(super) async fn configured(lab: &'a Laboratory, names: &[&str]) -> Self {
        let room = Self::new(lab, names).await;
        for name in names {
            room.make("apply-config", room.apply(name).await).await;
        }
        room
    }

    pub(super) fn at(&self, third: u8, fourth: u8) -> String {
        self.lab.address(third, fourth)
    }

    pub(super) fn file(&self, name: &str) -> Value {
        json!({ "file": self.lab.dir().join(name) })
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.lab.dir().join("site")
    }

    pub(super) fn notes(&self) -> Vec<String> {
        self.notebook.notes()
    }

    pub(super) fn node(&self, name: &str) -> Value {
        let number = name.bytes().last().expect("a name") - b'0';
        let worker = name == WORKER;
        let address = self.at(if worker { 2 } else { 1 }, number + 1);
        json!({
            "name": name, "role": if worker { "worker" } else { "controller" },
            "address": address, "cidr": format!("{address}/16"),
            "vmid": (if worker { 2000 } else { 1500 }) + u32::from(number),
        })
    }

    pub(super) fn controllers(&self) -> Value {
        CONTROLLERS.iter().map(|name| ((*name).to_owned(), self.node(name))).collect()
    }

    fn network(&self) -> Value {
        json!({
            "cidr": self.at(0, 0) + "/16", "gateway": self.at(0, 1),
            "nameservers": [self.at(0, 1)], "ntp": [self.at(0, 1)],
            "api-vip": { "address": self.at(3, 1), "by": "talos" },
        })
    }

    pub(super) fn reach(&self, name: &str) -> Value {
        json!({
            "node": self.node(name), "network": self.network(), "talos": talos(),
            "bundle": self.bundle, "uuid": self.uuids[name], "call": CALL,
        })
    }

    /// What `render-config` takes.
    pub(super) fn render(&self, name: &str) -> Value {
        json!({
            "node": self.node(name), "network": self.network(), "talos": talos(),
            "bundle": self.bundle, "endpoint": format!("https://{}:6443", self.at(3, 1)),
            "installer": "factory.talos.dev/metal-installer/abc:v1.13.4",
        })
    }

    /// What `apply-config` takes, of the rendered configuration.
    pub(super) async fn apply(&self, name: &str) -> Value {
        self.apply_of(name, self.render(name)).await
    }

    pub(super) async fn apply_of(&self, name: &str, render: Value) -> Value {
        let (_, secrets) = self.make("render-config", render).await;
        json!({
            "node": self.node(name), "config": secrets["config"], "bundle": self.bundle,
            "uuid": self.uuids[name], "call": CALL,
        })
    }

    pub(super) fn bootstrap(&self) -> Value {
        json!({
            "node": self.node(CONTROLLERS[0]), "controllers": self.controllers(),
            "bundle": self.bundle, "call": CALL,
        })
    }

    pub(super) fn quorum(&self) -> Value {
        json!({ "controllers": self.controllers(), "bundle": self.bundle, "call": CALL })
    }

    fn cx(&self) -> Cx {
        Cx::new(CxParts {
            run: RunId(1),
            instance: InstanceName::new("test", None),
            attempt: Attempt(1),
            intent: Some(Seq(1)),
            site: Arc::new(SiteContext {
                name: "lab".to_owned(),
                cluster: "test-cluster".to_owned(),
                folder: self.folder(),
            }),
            notebook: Arc::<MemoryNotebook>::clone(&self.notebook),
            stop: watch::channel(Stop::No).1,
        })
    }

    pub(super) async fn probe(&self, kind: &str, params: &Value) -> Result<AnyVerdict, Failure> {
        of_name(kind).probe(&self.cx(), params).await
    }

    /// Runs a kind to its goal: its outputs and its secrets.
    pub(super) async fn make(&self, name: &str, params: Value) -> (Value, Value) {
        let (kind, cx) = (of_name(name), self.cx());
        let end = Instant::now() + LIMIT;
        let mut applied = false;
        loop {
            let verdict = kind.probe(&cx, &params).await;
            assert!(Instant::now() < end, "{name} does not end: {verdict:?}");
            match verdict {
                Ok(AnyVerdict::Satisfied { outputs, secrets, .. }) => {
                    let open = |(name, value): (String, flow_engine::Secret<Value>)| {
                        (name, value.into_revealed())
                    };
                    return (outputs, secrets.into_iter().map(open).collect());
                }
                Ok(AnyVerdict::Absent(_) | AnyVerdict::Drifted { .. }) if !applied => {
                    if let Err(failure) = kind.apply(&cx, &params).await {
                        panic!("{name} cannot be applied: {failure:?}");
                    }
                    applied = true;
                }
                Ok(_) | Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// The secrets of a new cluster.
pub(super) fn bundle() -> Value {
    let bundle = Bundle::generate("v1.13", OffsetDateTime::now_utc()).expect("a bundle is made");
    serde_json::to_value(bundle).expect("a bundle is JSON")
}

fn talos() -> Value {
    json!({ "version": "v1.13.4", "contract": "v1.13", "kubernetes": "v1.36.1" })
}

pub(super) fn of_name(name: &str) -> Arc<dyn AnyKind> {
    let registry = crate::registry();
    Arc::clone(registry.kind(name).unwrap_or_else(|| panic!("no kind {name}")))
}
