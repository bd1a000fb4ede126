//! Controllers.
use std::sync::Arc;
use super::cluster::Cluster;
pub(super) async fn run(_cluster: Arc<Cluster>) {}
