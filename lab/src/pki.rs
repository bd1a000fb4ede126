//! The lab's certificate authority, which signs for the servers that are no cluster's.

use std::{fs, io, net::IpAddr, os::unix::fs::OpenOptionsExt, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::{ServerConfig, crypto::CryptoProvider};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use time::{Duration, OffsetDateTime};

/// File name of the authority's certificate in the world's folder.
const CERTIFICATE: &str = "ca.pem";
/// File name of the authority's key in the world's folder.
const KEY: &str = "ca-key.pem";

/// A certificate could not be made or read.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("{path} cannot be read or written")]
    #[diagnostic(code("lab::ca-file"), help("check the folder's owner and mode"))]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The authority's files hold no certificate and key.
    #[error("the lab's certificate authority cannot be used")]
    #[diagnostic(code("lab::ca-damaged"), help("`flow lab reset` makes a new one"))]
    Authority {
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The TLS library refuses a certificate.
    #[error("a certificate of the lab is refused")]
    #[diagnostic(code("lab::certificate-refused"), help("`flow lab reset` makes new ones"))]
    Refused {
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The authority of one world.
#[derive(Debug)]
pub(crate) struct Pki {
    certificate_pem: String,
    key_pem: String,
}

/// The crypto provider of every TLS connection of the lab.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use io::Write as _;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

impl Pki {
    /// Reads the authority from the world's folder, or makes it there.
    pub(crate) fn open(folder: &Path) -> Result<Self, PkiError> {
        let at = |name: &str| folder.join(name);
        let failed = |name: &str| {
            let path = at(name).display().to_string();
            move |source| PkiError::File { path, source }
        };
        // The certificate is written last: without it the authority was never complete.
        if !at(CERTIFICATE).exists() {
            let made = Self::make().map_err(|source| PkiError::Authority { source })?;
            if at(KEY).exists() {
                fs::remove_file(at(KEY)).map_err(failed(KEY))?;
            }
            write_private(&at(KEY), made.key_pem.as_bytes()).map_err(failed(KEY))?;
            let part = at("ca.pem.part");
            fs::write(&part, &made.certificate_pem).map_err(failed(CERTIFICATE))?;
            fs::rename(&part, at(CERTIFICATE)).map_err(failed(CERTIFICATE))?;
            return Ok(made);
        }
        Ok(Self {
            certificate_pem: fs::read_to_string(at(CERTIFICATE)).map_err(failed(CERTIFICATE))?,
            key_pem: fs::read_to_string(at(KEY)).map_err(failed(KEY))?,
        })
    }

    fn make() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name.push(DnType::OrganizationName, "flow lab");
        params.distinguished_name.push(DnType::CommonName, "flow lab CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(3650);
        Ok(Self { certificate_pem: params.self_signed(&key)?.pem(), key_pem: key.serialize_pem() })
    }

    /// The authority's certificate.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// A TLS server's configuration with a fresh certificate for these names.
    pub(crate) fn server(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
        alpn: &[&[u8]],
    ) -> Result<Arc<ServerConfig>, PkiError> {
        Ok(self.server_with_leaf(names, addresses, alpn)?.0)
    }

    /// As [`Pki::server`], with the certificate.
    pub(crate) fn server_with_leaf(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
        alpn: &[&[u8]],
    ) -> Result<(Arc<ServerConfig>, CertificateDer<'static>), PkiError> {
        let (certificate, key) =
            self.leaf(names, addresses).map_err(|source| PkiError::Authority { source })?;
        let refused = |source| PkiError::Refused { source };
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| PkiError::Authority { source: rcgen::Error::CouldNotParseKeyPair })?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .map_err(refused)?;
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok((Arc::new(config), certificate))
    }

    fn leaf(
        &self,
        names: &[&str],
        addresses: &[IpAddr],
    ) -> Result<(CertificateDer<'static>, String), rcgen::Error> {
        let authority = KeyPair::from_pem(&self.key_pem)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate_pem, authority)?;
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone())?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        if let Some(name) = names.first() {
            params.distinguished_name.push(DnType::CommonName, name.as_str());
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::days(1);
        params.not_after = now + Duration::days(700);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        Ok((certificate.der().clone(), key.serialize_pem()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_authority_is_made_once_and_its_key_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let first = Pki::open(folder.path()).unwrap();
        let again = Pki::open(folder.path()).unwrap();
        assert_eq!(first.certificate_pem(), again.certificate_pem());
        let mode = fs::metadata(folder.path().join(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(again.server(&["lab-pve"], &[IpAddr::from([127, 2, 0, 10])], &[]).is_ok());
    }
}
