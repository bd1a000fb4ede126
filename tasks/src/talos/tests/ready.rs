//! A cluster without a network, as what comes after Talos finds it.

use serde_json::{Value, json};

use super::room::{CONTROLLERS, Room, WORKER};
use crate::conformance::Laboratory;

/// How long one call of a later kind may take: its server is in this process.
const CALL: &str = "300ms";

/// A running cluster of a controller and a worker.
pub(crate) struct Ready {
    /// The parameter `cluster` of the kinds that speak to it.
    pub(crate) access: Value,
    /// The planned machines, as `${site.nodes}`.
    pub(crate) nodes: Value,
}

impl Ready {
    /// Makes the machines and waits until the Kubernetes API answers.
    pub(crate) async fn new(lab: &Laboratory) -> Self {
        let first = CONTROLLERS[0];
        let room = Room::configured(lab, &[first, WORKER]).await;
        let alone = json!({ first: room.node(first) });
        let mut bootstrap = room.bootstrap();
        bootstrap["controllers"] = alone.clone();
        room.make("bootstrap-talos", bootstrap).await;
        let credentials = json!({
            "bundle": room.bundle, "controllers": alone,
            "endpoint": format!("https://{}:6443", room.at(1, 1)),
            "vip": format!("https://{}:6443", room.at(3, 1)),
        });
        let (credentials, _) = room.make("credentials", credentials).await;
        let access = json!({ "kubeconfig": credentials["kubeconfig"], "call": CALL });
        room.make("kube-api", json!({ "cluster": access })).await;
        let nodes = json!({ first: room.node(first), WORKER: room.node(WORKER) });
        Self { access, nodes }
    }
}
