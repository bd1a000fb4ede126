//! The lab's own HTTPS client, for servers of the lab that fetch from each other.

use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

use crate::pki::{PkiError, provider};

/// How long connecting may take, in real time.
const CONNECT: Duration = Duration::from_secs(5);

/// A client that trusts one authority alone and follows redirects.
pub(crate) fn client(authority_pem: &str) -> Result<reqwest::Client, PkiError> {
    let refused = |source| PkiError::Refused { source };
    let unread = || PkiError::Authority { source: rcgen::Error::CouldNotParseCertificate };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem.as_bytes()) {
        roots.add(certificate.map_err(|_| unread())?).map_err(refused)?;
    }
    let mut tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT)
        .no_proxy()
        .build()
        .map_err(|_| unread())
}
