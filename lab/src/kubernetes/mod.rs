//! The Kubernetes APIs of the world's clusters.
//!
//! One cluster belongs to one etcd cluster: its objects are durable under that id, whichever machines serve them. An
//! API server answers as the real one does, down to the texts of its refusals; controllers make things ready for
//! reasons, with delays of the world's clock, while at least one API server of the cluster listens.

mod admission;
mod apply;
mod authentication;
mod authorization;
mod cilium;
mod cluster;
mod controllers;
mod defaults;
mod discovery;
mod eviction;
mod exec;
mod fields;
mod flux;
mod health;
mod json;
mod jsonpath;
mod known;
mod objects;
mod patch;
mod protobuf;
mod read;
mod refusal;
mod registry;
mod render;
mod request;
mod reviews;
mod route;
mod scale;
mod schema;
mod seed;
mod selector;
mod server;
mod shape;
mod table;
#[cfg(test)]
mod tests;
mod validation;
mod watch;
mod write;
mod writing;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

#[cfg(test)]
pub(crate) use cluster::Kubelet;
pub(crate) use cluster::{Cluster, ClusterStatus, NodeFacts};
pub(crate) use objects::View;
pub(crate) use server::{ApiPki, ApiServer};

use crate::world::{World, locked};
use objects::Objects;

/// The hidden resource that holds what containers wrote.
const LOGS: &str = "lab/logs";

/// All clusters. A clone is the same.
#[derive(Debug, Clone)]
pub(crate) struct Kubernetes {
    world: World,
    clusters: Arc<Mutex<BTreeMap<String, Arc<Cluster>>>>,
}

impl Kubernetes {
    pub(crate) fn open(world: World) -> Self {
        Self { world, clusters: Arc::default() }
    }

    /// The API data of one etcd cluster; made on first use.
    ///
    /// # Panics
    /// If the world's store holds objects that this version cannot read.
    pub(crate) fn cluster(&self, etcd: &str) -> Arc<Cluster> {
        let mut clusters = locked(&self.clusters);
        let made = clusters.entry(etcd.to_owned()).or_insert_with(|| {
            let objects = Objects::load(self.world.store(), etcd)
                .expect("a store that was opened holds objects of this version");
            Arc::new(Cluster::new(self.world.clone(), etcd, objects))
        });
        made.clone()
    }

    /// How the clusters in use stand.
    pub(crate) fn status(&self) -> Vec<ClusterStatus> {
        let clusters: Vec<_> = locked(&self.clusters).values().cloned().collect();
        clusters.iter().map(|c| c.status()).collect()
    }
}
