//! TLS for all clients: rustls with ring, and only the authorities that the site names.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

/// Why a certificate authority could not be used.
#[derive(Debug, thiserror::Error)]
#[error("the PEM text holds no usable certificate")]
pub(crate) struct BadAuthority;

/// The provider of all cryptography in TLS.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The certificates of a PEM text.
///
/// # Errors
///
/// There is none, or one of them is broken.
pub(crate) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, BadAuthority> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| BadAuthority)?;
    if certificates.is_empty() { Err(BadAuthority) } else { Ok(certificates) }
}

/// A client configuration that trusts exactly the authorities of a PEM text.
///
/// # Errors
///
/// The text holds no usable authority.
pub(crate) fn trusting(pem: &str) -> Result<ClientConfig, BadAuthority> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|_| BadAuthority)?;
    }
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| BadAuthority)?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// A client configuration that trusts the authorities of this machine, and those of PEM texts.
///
/// # Errors
///
/// A text holds no usable authority, or the machine's own cannot be used.
pub(crate) fn public(extra: &[String]) -> Result<ClientConfig, BadAuthority> {
    let mut roots = Vec::new();
    for pem in extra {
        roots.extend(certificates(pem)?);
    }
    let verifier = rustls_platform_verifier::Verifier::new_with_extra_roots(roots, provider())
        .map_err(|_| BadAuthority)?;
    Ok(ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| BadAuthority)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}
