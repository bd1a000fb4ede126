//! A cluster served on the test's own loopback addresses, and clients for it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::{
    Faults,
    address::Addresses,
    clock::Clock,
    git::Repository,
    kubernetes::{ApiPki, ApiServer, Cluster, Kubelet, Kubernetes, NodeFacts},
    pki::Pki,
    store::Store,
    world::{Calls, Shared, World},
};

/// A cluster with one API server.
pub(super) struct Served {
    pub(super) world: World,
    pub(super) kubernetes: Kubernetes,
    pub(super) cluster: Arc<Cluster>,
    pub(super) at: SocketAddr,
    pub(super) authority: Authority,
    _server: ApiServer,
    _folder: tempfile::TempDir,
    _guard: TcpListener,
}

/// A certificate authority.
pub(super) struct Authority {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "kubernetes");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A client's certificate and key.
    pub(super) fn client(&self, user: &str, group: Option<&str>) -> (String, String) {
        let issuer =
            Issuer::from_ca_cert_pem(&self.certificate, KeyPair::from_pem(&self.key).unwrap())
                .unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &issuer).unwrap().pem(), key.serialize_pem())
    }
}

fn world(
    folder: &std::path::Path,
    tree: BTreeMap<String, Vec<u8>>,
    speed: f64,
) -> (World, TcpListener) {
    let (octet, guard) = (3..=250)
        .rev()
        .find_map(|octet| {
            TcpListener::bind(Addresses::new(octet).control()).ok().map(|g| (octet, g))
        })
        .expect("an octet is free");
    let world = World::new(Shared {
        pki: Pki::open(folder).unwrap(),
        store: Store::open(&folder.join("world.redb")).unwrap(),
        dir: folder.to_owned(),
        seed: 1,
        clock: Clock::new(speed),
        faults: Faults::new(Vec::new()),
        calls: Calls::default(),
        addresses: Addresses::new(octet),
        git: Repository::new(tree),
        activities: Mutex::default(),
    });
    (world, guard)
}

impl Served {
    /// Serves a new cluster.
    pub(super) async fn new(tree: BTreeMap<String, Vec<u8>>, speed: f64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (world, guard) = world(folder.path(), tree, speed);
        let kubernetes = Kubernetes::open(world.clone());
        let cluster = kubernetes.cluster("etcd");
        let authority = Authority::new();
        let at = SocketAddr::new(world.address().at(1, 1), 6443);
        let pki = ApiPki {
            ca_cert_pem: authority.certificate.clone(),
            ca_key_pem: authority.key.clone(),
            sans: Vec::new(),
        };
        let server = cluster.serve(at, "controlplane0", &pki).await.unwrap();
        Self {
            world,
            kubernetes,
            cluster,
            at,
            authority,
            _server: server,
            _folder: folder,
            _guard: guard,
        }
    }

    /// A kubelet of a node.
    pub(super) fn kubelet(&self, name: &str, controller: bool, address: IpAddr) -> Kubelet {
        self.cluster.kubelet(NodeFacts {
            name: name.to_owned(),
            address,
            controller,
            kubernetes_version: "v1.36.1".to_owned(),
            talos_version: "v1.13.9".to_owned(),
            os_image: "Talos (v1.13.9)".to_owned(),
        })
    }
}
