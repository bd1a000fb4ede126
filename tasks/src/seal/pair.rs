//! A key of Sealed Secrets with its certificate.

use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_RSA_SHA256, SerialNumber,
};
use rsa::PrivateKey;
use rsa::pkcs1::{DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _, LineEnding};
use rsa::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::traits::PublicKeyParts as _;
use rustls::pki_types::PrivatePkcs8KeyDer;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::tls;

/// The bits of a key: what the controller makes itself.
const BITS: usize = 4096;
/// How long a certificate lives: what the controller gives it.
const LIFE: Duration = Duration::hours(87_600);
/// The bytes of a serial number.
const SERIAL: usize = 16;

/// A key of Sealed Secrets with its certificate, both PEM.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Pair {
    /// The certificate.
    pub(super) certificate: String,
    /// The key, as PKCS#1.
    pub(super) key: String,
}

/// Why a pair cannot be made or used. A malformed one would crash the controller.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadPair {
    /// It is no pair at all.
    #[error("it is no list of certificates with keys")]
    Form,
    /// No key could be made.
    #[error("no RSA key could be made")]
    Generate,
    /// No certificate could be made.
    #[error("no certificate could be made")]
    Sign(#[from] rcgen::Error),
    /// The key is not RSA, or broken.
    #[error("its key is no RSA key in PEM")]
    Key,
    /// The certificate is broken.
    #[error("its certificate is broken")]
    Certificate,
    /// They do not belong together.
    #[error("its key does not belong to its certificate")]
    Strangers,
}

impl Pair {
    /// Makes a pair. Takes seconds.
    pub(super) fn generate() -> Result<Self, BadPair> {
        let key = PrivateKey::new(&mut rand::rng(), BITS).map_err(|_| BadPair::Generate)?;
        let pem = key.to_pkcs1_pem(LineEnding::LF).map_err(|_| BadPair::Generate)?;
        Ok(Self { certificate: certificate(&key)?, key: pem.to_string() })
    }

    /// Tests that the controller can use it.
    pub(super) fn check(&self) -> Result<(), BadPair> {
        let key = PrivateKey::from_pkcs1_pem(&self.key)
            .or_else(|_| PrivateKey::from_pkcs8_pem(&self.key))
            .map_err(|_| BadPair::Key)?;
        let certificates =
            tls::certificates(&self.certificate).map_err(|_| BadPair::Certificate)?;
        let first = certificates.first().ok_or(BadPair::Certificate)?;
        let (_, seen) = X509Certificate::from_der(first).map_err(|_| BadPair::Certificate)?;
        match seen.public_key().parsed() {
            Ok(PublicKey::RSA(public)) if modulus(public.modulus) == modulus(&key.n_bytes()) => {
                Ok(())
            }
            Ok(_) => Err(BadPair::Strangers),
            Err(_) => Err(BadPair::Certificate),
        }
    }

    /// See [`fingerprint`].
    pub(super) fn fingerprint(&self) -> Result<String, BadPair> {
        fingerprint(&self.certificate)
    }

    /// As the vault keeps it.
    pub(super) fn to_json(&self) -> Value {
        json!({ "certificate": self.certificate, "key": self.key })
    }
}

/// The SHA-256 of a certificate's DER, as hexadecimal digits.
pub(super) fn fingerprint(pem: &str) -> Result<String, BadPair> {
    let certificates = tls::certificates(pem).map_err(|_| BadPair::Certificate)?;
    let first = certificates.first().ok_or(BadPair::Certificate)?;
    Ok(base16ct::lower::encode_string(&Sha256::digest(first)))
}

/// A number without the zeros that DER puts in front of it.
fn modulus(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.get(zeros..).unwrap_or_default()
}

/// A certificate as the controller makes it: no name, an authority, signed by itself.
fn certificate(key: &PrivateKey) -> Result<String, BadPair> {
    let der = key.to_pkcs8_der().map_err(|_| BadPair::Generate)?;
    let key = KeyPair::from_pkcs8_der_and_sign_algo(
        &PrivatePkcs8KeyDer::from(der.as_bytes()),
        &PKCS_RSA_SHA256,
    )?;
    let mut serial = [0; SERIAL];
    rand::rng().fill_bytes(&mut serial);
    serial[0] = serial[0] & 0x7f | 0x40;
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now;
    params.not_after = now + LIFE;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::EncipherOnly];
    Ok(params.self_signed(&key)?.pem())
}
