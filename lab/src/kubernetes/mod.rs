//! The Kubernetes APIs of the world's clusters.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use serde::Serialize;

use crate::world::World;

/// All clusters.
#[derive(Debug, Clone)]
pub(crate) struct Kubernetes {
    _world: World,
}

/// One cluster: the API data of one etcd cluster.
#[derive(Debug)]
pub(crate) struct Cluster;

/// A cluster, for people.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClusterStatus {
    pub(crate) etcd: String,
}

/// An API server that listens; dropping it stops it.
#[derive(Debug)]
pub(crate) struct ApiServer;

/// A machine's kubelet; dropping it stops it.
#[derive(Debug)]
pub(crate) struct Kubelet;

/// The authority that signs for an API server and its clients.
#[derive(Debug, Clone)]
pub(crate) struct ApiPki {
    pub(crate) ca_cert_pem: String,
    pub(crate) ca_key_pem: String,
    pub(crate) sans: Vec<String>,
}

/// What a kubelet says of its machine.
#[derive(Debug, Clone)]
pub(crate) struct NodeFacts {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) controller: bool,
    pub(crate) kubernetes_version: String,
    pub(crate) talos_version: String,
    pub(crate) os_image: String,
}

impl Kubernetes {
    pub(crate) fn open(world: World) -> Self {
        Self { _world: world }
    }

    /// The API data of one etcd cluster.
    pub(crate) fn cluster(&self, _etcd: &str) -> Arc<Cluster> {
        Arc::new(Cluster)
    }

    pub(crate) fn status(&self) -> Vec<ClusterStatus> {
        Vec::new()
    }
}

impl Cluster {
    /// Serves the API.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        _at: SocketAddr,
        _machine: &str,
        _pki: &ApiPki,
    ) -> io::Result<ApiServer> {
        Ok(ApiServer)
    }

    /// A machine's kubelet.
    pub(crate) fn kubelet(self: &Arc<Self>, _facts: NodeFacts) -> Kubelet {
        Kubelet
    }
}
