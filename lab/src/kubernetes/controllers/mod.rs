//! Controllers: they look at what is there, and move it a step towards what is wanted.
//!
//! All of them run in turns: one transaction, committed at once, in which each looks at everything it is about. A turn
//! comes when something has changed or a timer is due, never otherwise. What a controller waits for is a level ("this
//! has been so for ten seconds"), so a power cut in between only begins the wait anew.

mod containers;
mod crds;
mod daemonsets;
mod deployments;
mod garbage;
mod images;
mod jobs;
mod kubelet;
mod namespaces;
mod nodes;
mod pods;
mod replicas;
mod scheduler;
mod services;
mod statefulsets;
mod timers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    cilium,
    cluster::{Cluster, NodeFacts},
    flux::{self, Flux},
    json::{name, namespace},
    objects::{Tx, View, record},
    refusal::Refusal,
};
pub(super) use timers::Timers;

/// How often all controllers look in one turn before the turn is committed.
const ROUNDS: usize = 6;

/// What a controller works with in one turn.
pub(super) struct Turn<'a, 'b> {
    /// The objects.
    pub(super) tx: &'a mut Tx<'b>,
    /// What is waited for.
    pub(super) timers: &'a mut Timers,
    /// The kubelets that run, by node name.
    pub(super) kubelets: &'a BTreeMap<String, NodeFacts>,
    /// The cluster.
    pub(super) cluster: &'a Arc<Cluster>,
}

impl Turn<'_, '_> {
    /// Whether something has been asked for this long, in seconds of the world, in every turn since.
    pub(super) fn waited(&mut self, key: &str, seconds: f64) -> bool {
        self.timers.waited(key, Duration::from_secs_f64(seconds))
    }

    /// Changes an object; answers whether it changed.
    pub(super) fn change(
        &mut self,
        resource: &str,
        object: &Value,
        with: impl FnOnce(&mut Value),
    ) -> bool {
        self.tx.change(resource, (namespace(object), name(object)), with)
    }

    /// Records an event about an object.
    pub(super) fn event(&mut self, about: &Value, kind: &str, why: (&str, &str), source: &str) {
        record(self.tx, about, kind, why, source);
    }

    /// Deletes an object as a client would: its finalizers and its kubelet are waited for.
    pub(super) fn delete(&mut self, resource: &str, object: &Value) {
        let Some(kind) = super::registry::find_resource(self.tx, resource) else { return };
        let target = super::write::Target {
            kind: &kind,
            namespace: namespace(object),
            name: name(object),
            status: false,
        };
        let how = super::write::How {
            manager: "kube-controller-manager",
            unknown: super::write::Unknown::Ignore,
            counted: false,
        };
        // Somebody else has deleted it, or may not: the next turn looks again.
        let _ = super::write::delete(self.tx, target, &json!({}), &how);
    }

    /// The pods that an object controls.
    pub(super) fn pods_of(&self, owner: &Value) -> Vec<Arc<Value>> {
        let uid = super::json::uid(owner);
        let mut pods = self.tx.list_in("core/pods", namespace(owner));
        pods.retain(|p| super::json::text(super::json::controller_of(p), "/uid") == uid);
        pods
    }
}

/// Runs all controllers until dropped.
pub(super) async fn run(cluster: Arc<Cluster>) {
    let mut changes = cluster.changes();
    let mut timers = Timers::new(cluster.world().clock());
    let mut flux = Flux::default();
    loop {
        changes.mark_unchanged();
        let kubelets = cluster.kubelets();
        let stored = cluster.write(false, |tx| {
            look(
                &mut Turn { tx, timers: &mut timers, kubelets: &kubelets, cluster: &cluster },
                &mut flux,
            );
            Ok::<_, Refusal>(())
        });
        let mut next = timers.next();
        if let Err(refusal) = stored {
            tracing::error!("a turn of the controllers cannot be stored: {}", refusal.message());
            next = Some(Instant::now() + Duration::from_secs(1));
        }
        // Clients come first, however much there is to do.
        tokio::task::yield_now().await;
        let wake = next.unwrap_or_else(|| Instant::now() + Duration::from_mins(1));
        tokio::select! {
            news = changes.changed() => if news.is_err() { return },
            () = cluster.nudged() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

fn look(turn: &mut Turn<'_, '_>, flux: &mut Flux) {
    turn.timers.begin();
    for _ in 0..ROUNDS {
        let before = turn.tx.revision();
        namespaces::run(turn);
        crds::run(turn);
        nodes::run(turn);
        deployments::run(turn);
        statefulsets::run(turn);
        replicas::run(turn);
        daemonsets::run(turn);
        jobs::run(turn);
        scheduler::run(turn);
        kubelet::run(turn);
        services::run(turn);
        cilium::run(turn);
        flux::run(turn, flux);
        garbage::run(turn);
        if turn.tx.revision() == before {
            break;
        }
    }
    turn.timers.end();
}
