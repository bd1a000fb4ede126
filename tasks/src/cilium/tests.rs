//! The kind against a cluster of the lab.

use serde_json::{Value, json};

use super::install_cilium::InstallCilium;
use crate::conformance::{Case, Laboratory, conforms};
use crate::talos::tests::Ready;

/// A cluster with its network.
pub(crate) async fn networked(lab: &Laboratory) -> Ready {
    let ready = Ready::new(lab).await;
    lab.make(InstallCilium, &wanted(&ready)).await;
    ready
}

fn wanted(ready: &Ready) -> Value {
    json!({ "cluster": ready.access, "version": "1.19.8" })
}

#[tokio::test]
async fn install_cilium_conforms() {
    conforms(&Case::new(InstallCilium), async |lab| wanted(&Ready::new(lab).await)).await;
}
