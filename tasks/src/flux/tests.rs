//! The kinds against a cluster of the lab.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use flow_engine::{AnyVerdict, KindError as _, Retry};
use serde_json::{Value, json};

use super::flux_app::FluxApp;
use super::flux_source::FluxSource;
use super::install_flux::InstallFlux;
use super::published::{Published, PublishedError};
use crate::cilium;
use crate::conformance::{Case, Laboratory, Trial, conforms, in_a_world};
use crate::reference::Authorities;
use crate::talos::tests::Ready;

/// The tree that is shipped.
fn tree() -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../workflows/gitops");
    collect(&root, &root, &mut files);
    files
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&path).unwrap());
        }
    }
}

fn ca(lab: &Laboratory) -> Value {
    json!({ "file": lab.dir().join("ca.pem") })
}

fn manifest(lab: &Laboratory, ready: &Ready) -> Value {
    let url = lab.https(50, 8443) + "/flux2/v2.9.4/install.yaml";
    json!({ "cluster": ready.access, "manifest": { "url": url }, "ca": ca(lab) })
}

fn source(lab: &Laboratory, ready: &Ready) -> Value {
    json!({
        "cluster": ready.access, "repository": lab.https(50, 8443) + "/cluster.git",
        "branch": "main", "path": "k8s", "values": { "cluster": "test" }, "ca": ca(lab),
    })
}

/// A cluster in which Flux runs.
async fn with_flux(lab: &Laboratory) -> Ready {
    let ready = cilium::tests::networked(lab).await;
    lab.make(InstallFlux, &manifest(lab, &ready)).await;
    ready
}

#[tokio::test]
async fn install_flux_conforms() {
    conforms(&Case::new(InstallFlux).one_of_each(), async |lab| {
        manifest(lab, &cilium::tests::networked(lab).await)
    })
    .await;
}

#[tokio::test]
async fn flux_source_conforms() {
    let case = Case::new(FluxSource).tree(tree()).made_by_others("git:");
    conforms(&case, async |lab| source(lab, &with_flux(lab).await)).await;
}

#[tokio::test]
async fn flux_app_conforms() {
    let case = Case::new(FluxApp).tree(tree()).nudged();
    conforms(&case, async |lab| {
        let ready = with_flux(lab).await;
        let made = lab.make(FluxSource, &source(lab, &ready)).await;
        json!({
            "cluster": ready.access, "revision": made.output("revision"),
            "kustomizations": ["cert-manager"],
            "healthy": {
                "crds": ["issuers.cert-manager.io"],
                "deployments": ["cert-manager/cert-manager"],
            },
        })
    })
    .await;
}

#[tokio::test]
async fn a_server_that_is_not_ready_does_not_say_that_the_manifest_is_missing() {
    in_a_world(async |lab| {
        let ca: Authorities = serde_json::from_value(ca(lab)).unwrap();
        let take = async |file: &str| {
            let url = lab.https(50, 8443) + file;
            let call = Duration::from_secs(2);
            let published = Published { url: &url, sha256: None, ca: &ca, call };
            published.take(&lab.dir().join("site")).await.unwrap_err()
        };
        let missing = take("/flux2/v0.0.0/install.yaml").await;
        assert!(matches!(missing, PublishedError::Missing { status: 404, .. }), "{missing}");
        assert_eq!(missing.retry(), Retry::Never);
        lab.fault("git:GET */install.yaml:5xx");
        let unknown = take("/flux2/v2.9.4/install.yaml").await;
        assert!(matches!(unknown, PublishedError::Unavailable { status: 503, .. }), "{unknown}");
        assert_eq!(unknown.retry(), Retry::Backoff);
    })
    .await;
}

#[tokio::test]
async fn a_manifest_with_another_digest_than_the_pinned_one_needs_a_person() {
    in_a_world(async |lab| {
        let (folder, pin) = (lab.dir().join("site"), "0".repeat(64));
        let ca: Authorities = serde_json::from_value(ca(lab)).unwrap();
        let url = lab.https(50, 8443) + "/flux2/v2.9.4/install.yaml";
        let take = async |sha256| {
            let published = Published { url: &url, sha256, ca: &ca, call: Duration::from_secs(2) };
            published.take(&folder).await
        };
        let error = take(Some(&pin)).await.unwrap_err();
        assert!(matches!(&error, PublishedError::Digest { wanted, .. } if *wanted == pin));
        assert_eq!(error.retry(), Retry::Human);
        assert!(!folder.join("cache").exists(), "it is not kept");
        let first = take(None).await.unwrap();
        let again = take(Some(&first.sha256)).await.unwrap();
        assert_eq!(again.sha256, first.sha256);
        assert!(take(Some(&pin)).await.is_err(), "the cache is no way around the pin");
    })
    .await;
}

#[tokio::test]
async fn without_flux_there_is_nothing_of_it() {
    in_a_world(async |lab| {
        let ready = Ready::new(lab).await;
        let app = json!({
            "cluster": ready.access, "revision": "main@sha1:1", "kustomizations": ["app"],
        });
        let probed = Trial::new(&FluxApp, lab, &app).probe().await;
        assert!(matches!(probed, Ok(AnyVerdict::Absent(_))), "{probed:?}");
        let source = source(lab, &ready);
        let probed = Trial::new(&FluxSource, lab, &source).probe().await;
        assert!(matches!(probed, Ok(AnyVerdict::Absent(_))), "{probed:?}");
    })
    .await;
}
