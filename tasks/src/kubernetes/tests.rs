//! The kinds against a cluster of the lab.

use serde_json::{Value, json};

use super::kube_api::KubeApi;
use super::nodes_ready::NodesReady;
use super::seal_keys::SealKeys;
use crate::cilium;
use crate::conformance::{Case, conforms};
use crate::talos::tests::Ready;

#[tokio::test]
async fn kube_api_conforms() {
    conforms(&Case::new(KubeApi), async |lab| {
        let Ready { access, .. } = Ready::new(lab).await;
        json!({ "cluster": access })
    })
    .await;
}

#[tokio::test]
async fn nodes_ready_conforms() {
    conforms(&Case::new(NodesReady), async |lab| {
        let Ready { access, nodes } = cilium::tests::networked(lab).await;
        json!({ "cluster": access, "nodes": nodes, "stable": "0s" })
    })
    .await;
}

#[tokio::test]
async fn seal_keys_conforms() {
    conforms(&Case::new(SealKeys), async |lab| {
        let Ready { access, .. } = Ready::new(lab).await;
        json!({ "cluster": access, "keys": [pair(), pair()] })
    })
    .await;
}

/// A certificate with its key. The cluster does not care of which sort, and these are quick.
fn pair() -> Value {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key).unwrap();
    json!({ "certificate": certificate.pem(), "key": key.serialize_pem() })
}
