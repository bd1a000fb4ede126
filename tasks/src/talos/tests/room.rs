//! Machines of a lab, switched on, and what the kinds take of the site.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use flow_engine::cx::{CxParts, MemoryNotebook};
use flow_engine::{AnyKind, AnyVerdict, Attempt, Cx, InstanceName, RunId, Seq, SiteContext, Stop};
use serde_json::{Value, json};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::bundle::Bundle;
use crate::conformance::Laboratory;

/// How long anything may take here.
const LIMIT: Duration = Duration::from_secs(20);

/// Name, third and fourth byte of the address, and VMID of the machines.
pub(super) const CONTROLLERS: [&str; 3] = ["controlplane0", "controlplane1", "controlplane2"];
pub(super) const WORKER: &str = "worker0";

/// A lab and the site that is built in it.
pub(super) struct Room<'a> {
    lab: &'a Laboratory,
    pub(super) bundle: Value,
}

impl<'a> Room<'a> {
    pub(super) fn new(lab: &'a Laboratory) -> Self {
        let bundle = Bundle::generate("v1.13", OffsetDateTime::now_utc()).unwrap();
        Self { lab, bundle: serde_json::to_value(bundle).unwrap() }
    }

    fn place(name: &str) -> (u8, u8) {
        let number = name.bytes().last().unwrap() - b'0';
        (if name == WORKER { 2 } else { 1 }, number + 1)
    }

    fn address(&self, name: &str) -> String {
        let (third, fourth) = Self::place(name);
        self.lab.address(third, fourth)
    }

    pub(super) fn node(&self, name: &str) -> Value {
        let address = self.address(name);
        json!({
            "name": name,
            "role": if name == WORKER { "worker" } else { "controller" },
            "address": address,
            "cidr": format!("{address}/16"),
            "vmid": 1500,
        })
    }

    pub(super) fn controllers(&self) -> Value {
        CONTROLLERS.iter().map(|name| ((*name).to_owned(), self.node(name))).collect()
    }

    pub(super) fn uuid(name: &str) -> String {
        let (third, fourth) = Self::place(name);
        format!("00000000-0000-4000-8000-0000000{third:02}{fourth:03}")
    }

    pub(super) fn network(&self) -> Value {
        json!({
            "cidr": self.lab.address(0, 0) + "/16",
            "gateway": self.lab.address(0, 1),
            "nameservers": [self.lab.address(0, 1)],
            "ntp": [self.lab.address(0, 1)],
            "api-vip": { "address": self.lab.address(3, 1), "by": "talos" },
        })
    }

    pub(super) fn talos() -> Value {
        json!({ "version": "v1.13.4", "contract": "v1.13", "kubernetes": "v1.36.1" })
    }

    /// Switches machines on and waits until they answer.
    pub(super) async fn power_on(&self, names: &[&str]) {
        let vms: Vec<Value> = names
            .iter()
            .map(|name| {
                let (third, fourth) = Self::place(name);
                json!({
                    "name": name, "address": self.address(name), "uuid": Self::uuid(name),
                    "vmid": u32::from(third) * 1000 + u32::from(fourth),
                })
            })
            .collect();
        std::fs::write(self.lab.dir().join("rig.json"), serde_json::to_vec(&vms).unwrap()).unwrap();
        for name in names {
            let address: Ipv4Addr = self.address(name).parse().unwrap();
            let end = Instant::now() + LIMIT;
            while tokio::net::TcpStream::connect(SocketAddr::from((address, 50_000))).await.is_err()
            {
                assert!(Instant::now() < end, "{name} does not answer");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    pub(super) fn cx(&self) -> Cx {
        Cx::new(CxParts {
            run: RunId(1),
            instance: InstanceName::new("test", None),
            attempt: Attempt(1),
            intent: Some(Seq(1)),
            site: Arc::new(SiteContext {
                name: "lab".to_owned(),
                cluster: "test-cluster".to_owned(),
                folder: self.lab.dir().join("site"),
            }),
            notebook: Arc::new(MemoryNotebook::default()),
            stop: watch::channel(Stop::No).1,
        })
    }

    /// Runs a kind to its goal; its secrets are returned.
    pub(super) async fn run(&self, kind: &dyn AnyKind, params: &Value) -> (Value, Value) {
        let cx = self.cx();
        let end = Instant::now() + LIMIT;
        let mut applied = false;
        loop {
            let verdict = kind.probe(&cx, params).await;
            assert!(Instant::now() < end, "{} does not end: {verdict:?}", kind.name());
            match verdict {
                Ok(AnyVerdict::Satisfied { outputs, secrets, .. }) => {
                    let secrets =
                        secrets.into_iter().map(|(name, value)| (name, value.into_revealed()));
                    return (outputs, secrets.collect());
                }
                Ok(AnyVerdict::Absent(_) | AnyVerdict::Drifted { .. }) if !applied => {
                    kind.apply(&cx, params).await.unwrap();
                    applied = true;
                }
                Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    pub(super) fn reach(&self, name: &str) -> Value {
        json!({
            "node": self.node(name), "network": self.network(), "talos": Self::talos(),
            "bundle": self.bundle, "uuid": Self::uuid(name), "call": "1s",
        })
    }

    pub(super) async fn apply(&self, name: &str) -> Value {
        let (_, secrets) = self
            .run(
                &super::super::render_config::RenderConfig,
                &json!({
                    "node": self.node(name), "network": self.network(), "talos": Self::talos(),
                    "bundle": self.bundle,
                    "endpoint": format!("https://{}:6443", self.lab.address(3, 1)),
                    "installer": "factory.talos.dev/metal-installer/abc:v1.13.4",
                }),
            )
            .await;
        json!({
            "node": self.node(name), "config": secrets["config"], "bundle": self.bundle,
            "uuid": Self::uuid(name), "call": "1s",
        })
    }

    /// Switches machines on and configures them.
    pub(super) async fn configure(&self, names: &[&str]) {
        self.power_on(names).await;
        for name in names {
            let params = self.apply(name).await;
            self.run(&super::super::apply_config::ApplyConfig, &params).await;
        }
    }

    pub(super) fn bootstrap(&self) -> Value {
        json!({
            "node": self.node(CONTROLLERS[0]), "controllers": self.controllers(),
            "bundle": self.bundle, "call": "1s",
        })
    }
}
