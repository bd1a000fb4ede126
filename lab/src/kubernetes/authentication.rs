//! Who a client is: client certificates of the cluster's authority.

use std::sync::Arc;

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::refusal::Refusal;
use crate::pki::provider;

/// An authenticated user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// Name, a certificate's CN.
    pub(crate) name: String,
    /// Groups, a certificate's O.
    pub(crate) groups: Vec<String>,
}

impl User {
    /// Nobody in particular.
    pub(crate) fn anonymous() -> Self {
        Self {
            name: "system:anonymous".to_owned(),
            groups: vec!["system:unauthenticated".to_owned()],
        }
    }

    /// A service account.
    pub(crate) fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            name: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec![
                "system:serviceaccounts".to_owned(),
                format!("system:serviceaccounts:{namespace}"),
                "system:authenticated".to_owned(),
            ],
        }
    }
}

/// Takes any client certificate in the handshake, as the real server does: whether it is believed shows in a 401.
#[derive(Debug)]
pub(crate) struct AnyCertificate(Arc<CryptoProvider>);

impl AnyCertificate {
    pub(crate) fn new() -> Self {
        Self(provider())
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// The authority that client certificates must come from.
#[derive(Debug, Clone)]
pub(crate) struct Authority(Arc<dyn ClientCertVerifier>);

impl Authority {
    /// Reads the authority's certificate.
    pub(crate) fn new(ca_pem: &str) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|e| Error::General(e.to_string()))?;
            roots.add(certificate)?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|e| Error::General(e.to_string()))?;
        Ok(Self(verifier))
    }

    /// The user of a connection and an `Authorization` header.
    ///
    /// # Errors
    /// 401 for certificates of others, expired ones, and for every token.
    pub(crate) fn authenticate(
        &self,
        certificates: &[CertificateDer<'_>],
        token: Option<&str>,
    ) -> Result<User, Refusal> {
        let Some((leaf, chain)) = certificates.split_first() else {
            return if token.is_some() {
                Err(Refusal::unauthorized())
            } else {
                Ok(User::anonymous())
            };
        };
        self.0
            .verify_client_cert(leaf, chain, UnixTime::now())
            .map_err(|_| Refusal::unauthorized())?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| Refusal::unauthorized())?;
        let subject = parsed.subject();
        let name =
            subject.iter_common_name().next().and_then(|n| n.as_str().ok()).unwrap_or_default();
        let mut groups: Vec<String> = subject
            .iter_organization()
            .filter_map(|o| o.as_str().ok())
            .map(str::to_owned)
            .collect();
        if name.is_empty() {
            return Err(Refusal::unauthorized());
        }
        groups.push("system:authenticated".to_owned());
        Ok(User { name: name.to_owned(), groups })
    }
}
