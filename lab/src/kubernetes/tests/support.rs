//! A cluster served on the test's own loopback addresses, and clients for it.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use reqwest::{Method, header};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::Value;

use crate::{
    Faults,
    address::Addresses,
    clock::Clock,
    git::Repository,
    kubernetes::{ApiPki, ApiServer, Cluster, Kubelet, Kubernetes, NodeFacts},
    pki::{Pki, provider},
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
    server: Option<ApiServer>,
    _folder: tempfile::TempDir,
    _guard: TcpListener,
}

/// A client with the certificate of one user, or none.
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
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
            server: Some(server),
            _folder: folder,
            _guard: guard,
        }
    }

    /// Stops the API server and serves the cluster again from what the store holds.
    pub(super) async fn restart(&mut self) {
        drop(self.server.take());
        self.kubernetes = Kubernetes::open(self.world.clone());
        self.cluster = self.kubernetes.cluster("etcd");
        let pki = self.pki();
        self.server = Some(self.cluster.serve(self.at, "controlplane0", &pki).await.unwrap());
    }

    fn pki(&self) -> ApiPki {
        ApiPki {
            ca_cert_pem: self.authority.certificate.clone(),
            ca_key_pem: self.authority.key.clone(),
            sans: Vec::new(),
        }
    }

    /// A client of `system:masters`.
    pub(super) fn admin(&self) -> Client {
        self.client(Some(self.authority.client("admin", Some("system:masters"))))
    }

    /// A client with a certificate and key, or without.
    pub(super) fn client(&self, identity: Option<(String, String)>) -> Client {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.authority.certificate.as_bytes()).unwrap())
            .unwrap();
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let tls = match identity {
            Some((certificate, key)) => {
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(Duration::from_secs(20))
            .build()
            .unwrap();
        Client { http, base: format!("https://{}", self.at) }
    }

    /// Waits until an object is as wanted, at most twenty seconds.
    pub(super) async fn until(
        &self,
        resource: &str,
        at: (&str, &str),
        wanted: impl Fn(&Value) -> bool,
    ) -> Arc<Value> {
        use crate::kubernetes::objects::View;
        let mut changes = self.cluster.changes();
        let look = async {
            loop {
                let held = self.cluster.read(|objects| objects.get(resource, at.0, at.1));
                if let Some(held) = held.filter(|o| wanted(o)) {
                    return held;
                }
                changes.changed().await.unwrap();
            }
        };
        if let Ok(held) = tokio::time::timeout(Duration::from_secs(20), look).await {
            return held;
        }
        let held = self.cluster.read(|objects| objects.get(resource, at.0, at.1));
        panic!("{resource} {at:?} did not become as wanted: {held:#?}");
    }

    /// A kubelet of a node.
    pub(super) fn kubelet(&self, name: &str, controller: bool, address: IpAddr) -> Kubelet {
        self.cluster.kubelet(NodeFacts {
            name: name.to_owned(),
            address,
            controller,
            uuid: "00000000-0000-0000-0000-000000000001".to_owned(),
            cores: 8,
            memory_kib: 16 << 20,
            storage_kib: 200 << 20,
            kubernetes_version: "v1.36.1".to_owned(),
            talos_version: "v1.13.9".to_owned(),
            os_image: "Talos (v1.13.9)".to_owned(),
        })
    }
}

impl Client {
    /// Sends JSON; answers the status and the body, text as a string.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: &Value,
    ) -> (u16, Value) {
        let response = self
            .http
            .request(method, format!("{}{path}", self.base))
            .header(header::CONTENT_TYPE, kind)
            .body(body.to_string())
            .send()
            .await
            .unwrap();
        read(response).await
    }

    pub(super) async fn get(&self, path: &str) -> (u16, Value) {
        self.get_as(path, "application/json").await
    }

    pub(super) async fn get_as(&self, path: &str, accept: &str) -> (u16, Value) {
        let url = format!("{}{path}", self.base);
        read(self.http.get(url).header(header::ACCEPT, accept).send().await.unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, "application/json", body).await
    }

    pub(super) async fn merge(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::PATCH, path, "application/merge-patch+json", body).await
    }

    pub(super) async fn apply(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::PATCH, path, "application/apply-patch+yaml", body).await
    }

    pub(super) async fn delete(&self, path: &str) -> (u16, Value) {
        self.send(Method::DELETE, path, "application/json", &serde_json::json!({})).await
    }

    /// Applies every object of a manifest as manager `flow`, waiting for CRDs where their objects follow.
    pub(super) async fn apply_all(&self, manifest: &str) {
        use serde::Deserialize as _;
        for document in serde_yaml_ng::Deserializer::from_str(manifest) {
            let object = Value::deserialize(document).unwrap();
            let path = format!("{}?fieldManager=flow&force=true", path_of(&object));
            let mut answer = self.apply(&path, &object).await;
            for _ in 0..100 {
                if answer.0 != 404 {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                answer = self.apply(&path, &object).await;
            }
            assert!(answer.0 < 300, "{path}: {}", answer.1);
        }
    }

    /// The lines of a watch until it ends.
    pub(super) async fn watch(&self, path: &str) -> Vec<Value> {
        let body = self
            .http
            .get(format!("{}{path}", self.base))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

async fn read(response: reqwest::Response) -> (u16, Value) {
    let code = response.status().as_u16();
    let text = response.text().await.unwrap();
    (code, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

/// The URL path of an object, by the plain plural of its kind.
pub(super) fn path_of(object: &Value) -> String {
    let (version, kind) =
        (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let root =
        if version.contains('/') { format!("/apis/{version}") } else { format!("/api/{version}") };
    let plural = match kind.to_lowercase() {
        plural if plural.ends_with('y') => format!("{}ies", plural.trim_end_matches('y')),
        plural => format!("{plural}s"),
    };
    let space = object["metadata"]["namespace"]
        .as_str()
        .map_or(String::new(), |ns| format!("/namespaces/{ns}"));
    format!("{root}{space}/{plural}/{}", object["metadata"]["name"].as_str().unwrap())
}
