//! The administrator's kubeconfig that a controller makes.

use std::io::Write as _;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use time::{Duration, OffsetDateTime};
use tonic::Status;

use crate::talos::{config::Config, credentials};

/// How long the certificate holds.
const VALIDITY: Duration = Duration::hours(8760);
/// Size of a header in a tar archive.
const HEADER: usize = 512;

/// A kubeconfig with a new key; it needs the authority's key and nothing that runs.
pub(super) fn make(config: &Config) -> Result<String, Status> {
    let authority = config
        .authority("cluster.ca")
        .ok_or_else(|| Status::failed_precondition("Kubernetes CA is not configured"))?;
    let (certificate, key) = credentials::client(&authority, "admin", "system:masters", VALIDITY)
        .ok_or_else(|| Status::unknown("failed to sign a certificate"))?;
    let cluster = config.text_at("cluster.clusterName");
    let user = format!("admin@{cluster}");
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": {
            "server": config.text_at("cluster.controlPlane.endpoint"),
            "certificate-authority-data": encode(&authority.certificate),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": encode(&certificate),
            "client-key-data": encode(&key),
        }}],
        "contexts": [{"name": user, "context": {
            "cluster": cluster, "namespace": "default", "user": user,
        }}],
        "current-context": user,
    });
    serde_yaml_ng::to_string(&document).map_err(|error| Status::unknown(error.to_string()))
}

/// The file in a gzipped tar, which the real server leaves unpadded and without an end.
pub(super) fn archive(text: &str) -> Result<Vec<u8>, Status> {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
    zipped
        .write_all(&header(text.len()))
        .and_then(|()| zipped.write_all(text.as_bytes()))
        .and_then(|()| zipped.finish())
        .map_err(|error| Status::unknown(error.to_string()))
}

/// The tar header of the only file.
fn header(size: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let mut put = |at: usize, text: &str| {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    };
    put(0, "kubeconfig");
    put(100, "0000600\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, &format!("{:011o}\0", OffsetDateTime::now_utc().unix_timestamp()));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}
