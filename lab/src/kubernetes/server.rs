//! One API server: TLS with a certificate of the cluster's authority, client certificates, one router.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::{
    authentication::{AnyCertificate, Authority},
    cluster::Cluster,
    route,
};
use crate::{
    System,
    pki::provider,
    serve::{Listener, Server},
    world::World,
};

/// The authority that signs for an API server and its clients.
#[derive(Debug, Clone)]
pub(crate) struct ApiPki {
    /// The authority's certificate.
    pub(crate) ca_cert_pem: String,
    /// Its key, PKCS#8 or SEC 1.
    pub(crate) ca_key_pem: String,
    /// Names and addresses of the server.
    pub(crate) sans: Vec<String>,
}

/// An API server that listens. Dropping it closes it and its connections.
#[derive(Debug)]
pub(crate) struct ApiServer {
    _server: Server,
    cluster: Arc<Cluster>,
    machine: String,
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.cluster.server_stopped(&self.machine);
    }
}

/// What the handlers of one server share.
#[derive(Debug)]
pub(crate) struct Api {
    cluster: Arc<Cluster>,
    authority: Authority,
    address: String,
    started: Instant,
    speed: f64,
}

impl Api {
    pub(crate) fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    pub(crate) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Where it listens, `ADDRESS:PORT`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// How long it has run, in time of the world.
    pub(crate) fn up(&self) -> Duration {
        self.started.elapsed().mul_f64(self.speed)
    }
}

/// Listens at an address with a fresh certificate.
pub(super) async fn serve(
    cluster: &Arc<Cluster>,
    world: &World,
    at: SocketAddr,
    machine: &str,
    pki: &ApiPki,
) -> io::Result<ApiServer> {
    let config = Arc::new(tls(at.ip(), pki).map_err(io::Error::other)?);
    let authority = Authority::new(&pki.ca_cert_pem).map_err(io::Error::other)?;
    let api = Api {
        cluster: cluster.clone(),
        authority,
        address: at.to_string(),
        started: cluster.server_started(machine, &pki.ca_cert_pem),
        speed: world.clock().speed(),
    };
    let app = Router::new().fallback(route::handle).with_state(Arc::new(api));
    let listener = Listener {
        world: world.clone(),
        at,
        system: System::Kubernetes,
        machine: Some(machine.to_owned()),
    };
    match listener.serve(Arc::new(move || config.clone()), app).await {
        Ok(server) => {
            Ok(ApiServer { _server: server, cluster: cluster.clone(), machine: machine.to_owned() })
        }
        Err(error) => {
            cluster.server_stopped(machine);
            Err(error)
        }
    }
}

/// A certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("the cluster's authority cannot sign")]
    Authority(#[source] rcgen::Error),
    #[error("the TLS library refuses the server's certificate")]
    Refused(#[source] rustls::Error),
    #[error("the server's key cannot be read")]
    Key,
}

fn tls(at: IpAddr, pki: &ApiPki) -> Result<ServerConfig, TlsError> {
    let authority = KeyPair::from_pem(&pkcs8(&pki.ca_key_pem)).map_err(TlsError::Authority)?;
    let issuer =
        Issuer::from_ca_cert_pem(&pki.ca_cert_pem, authority).map_err(TlsError::Authority)?;
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(TlsError::Authority)?;
    params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
    params.distinguished_name.push(DnType::OrganizationName, "kube-master");
    let mut addresses = vec![at, IpAddr::from([127, 0, 0, 1]), IpAddr::from([10, 96, 0, 1])];
    let mut names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"]
        .map(str::to_owned)
        .to_vec();
    for san in &pki.sans {
        match san.parse() {
            Ok(address) => addresses.push(address),
            Err(_) => names.push(san.clone()),
        }
    }
    for name in names {
        params
            .subject_alt_names
            .push(SanType::DnsName(name.try_into().map_err(TlsError::Authority)?));
    }
    params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = OffsetDateTime::now_utc() - time::Duration::hours(1);
    params.not_after = OffsetDateTime::now_utc() + time::Duration::days(365);
    let key = KeyPair::generate().map_err(TlsError::Authority)?;
    let certificate = params.signed_by(&key, &issuer).map_err(TlsError::Authority)?;
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(|_| TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Refused)?
        .with_client_cert_verifier(Arc::new(AnyCertificate::new()))
        .with_single_cert(vec![certificate.der().clone()], key)
        .map_err(TlsError::Refused)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// A P-256 key as Talos writes it (SEC 1), wrapped as the TLS library wants it (PKCS#8). Other keys stay as they are.
fn pkcs8(pem: &str) -> String {
    const HEAD: &str = "-----BEGIN EC PRIVATE KEY-----";
    let Some((_, rest)) = pem.split_once(HEAD) else {
        return pem.to_owned();
    };
    let body: String =
        rest.split("-----END").next().unwrap_or_default().split_whitespace().collect();
    let Ok(inner) = STANDARD.decode(body) else {
        return pem.to_owned();
    };
    // SEQUENCE { 0, SEQUENCE { ecPublicKey, prime256v1 }, OCTET STRING { the SEC 1 key } } (RFC 5208, RFC 5915)
    let mut content = vec![0x02, 0x01, 0x00, 0x30, 0x13];
    content.extend([0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
    content.extend([0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]);
    content.push(0x04);
    content.extend(der_length(inner.len()));
    content.extend(inner);
    let mut outer = vec![0x30];
    outer.extend(der_length(content.len()));
    outer.extend(content);
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(outer))
}

fn der_length(length: usize) -> Vec<u8> {
    let bytes = length.to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
    match significant.as_slice() {
        [] => vec![0],
        [one] if *one < 0x80 => vec![*one],
        many => {
            let count = u8::try_from(many.len()).expect("a length has at most eight bytes");
            [&[0x80 | count], many].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ecparam -genkey -name prime256v1 -noout`.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIOWRF4xN1xAwwGtsUPoNnII1trKccVqTMLXjvN8tvcbCoAoGCCqGSM49
AwEHoUQDQgAEhfx99d0/H3zIwyTdIMlvi2X01776KmbK4a1eeA/B1ip+zQtDsqV5
yZ5L3AY9bhLg2rnhyOhAGWxdJ1qytFKUWw==
-----END EC PRIVATE KEY-----";

    #[test]
    fn lengths_are_der() {
        assert_eq!(der_length(5), [5]);
        assert_eq!(der_length(200), [0x81, 200]);
        assert_eq!(der_length(300), [0x82, 1, 44]);
    }

    #[test]
    fn a_key_of_talos_is_wrapped() {
        KeyPair::from_pem(&pkcs8(SEC1)).unwrap();
        assert_eq!(pkcs8("other"), "other");
    }
}
