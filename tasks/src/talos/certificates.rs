//! Authorities, and the client certificates that they sign.

use rand::Rng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

use super::keys::{self, Algorithm, BadKey};

/// How long an authority lives: what Talos' own generator gives it.
const AUTHORITY: Duration = Duration::hours(87_600);
/// How long a client certificate of a person lives: what Talos' own tools give it.
pub(super) const YEAR: Duration = Duration::hours(8_760);
/// How far the clock of a machine may be behind ours.
const SKEW: Duration = Duration::minutes(5);
/// The bytes of a serial number.
const SERIAL: usize = 16;

/// Why a certificate could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadCertificate {
    /// The key is unusable.
    #[error("a key is unusable")]
    Key(#[from] BadKey),
    /// rcgen refused.
    #[error("a certificate could not be signed")]
    Sign(#[from] rcgen::Error),
}

/// A certificate and its key, both PEM.
pub(super) struct Signed {
    /// The certificate.
    pub(super) certificate: String,
    /// The same as DER.
    pub(super) der: CertificateDer<'static>,
    /// Its key.
    pub(super) key: String,
    /// The same as PKCS#8.
    pub(super) key_der: Vec<u8>,
}

impl Signed {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Result<Self, BadCertificate> {
        Ok(Self {
            certificate: certificate.pem(),
            der: certificate.der().clone(),
            key: keys::to_pem(key)?,
            key_der: key.serialize_der(),
        })
    }
}

/// Who a client says to be.
pub(super) struct Subject<'a> {
    /// The name: none for Talos, the user for Kubernetes.
    pub(super) name: Option<&'a str>,
    /// The role or group.
    pub(super) organisation: &'a str,
}

/// Makes an authority that signs itself, valid for ten years.
///
/// An empty organisation gives an empty subject, as Talos' generator does for the aggregator.
pub(super) fn authority(
    organisation: &str,
    algorithm: Algorithm,
    now: OffsetDateTime,
) -> Result<Signed, BadCertificate> {
    let key = algorithm.generate()?;
    let mut params = blank(now, AUTHORITY);
    if !organisation.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organisation);
    }
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    Signed::new(&params.self_signed(&key)?, &key)
}

/// Makes a certificate that proves a client, and nothing else: Talos refuses any other usage.
///
/// Its key is of the authority's family.
pub(super) fn client(
    authority: (&str, &str),
    subject: &Subject<'_>,
    life: Duration,
    now: OffsetDateTime,
) -> Result<Signed, BadCertificate> {
    let (certificate, key) = authority;
    let signer = keys::from_pem(key)?;
    let algorithm = if signer.algorithm() == &rcgen::PKCS_ED25519 {
        Algorithm::Ed25519
    } else {
        Algorithm::EcdsaP256
    };
    let issuer = Issuer::from_ca_cert_pem(certificate, signer)?;
    let key = algorithm.generate()?;
    let mut params = blank(now, life);
    params.distinguished_name.push(DnType::OrganizationName, subject.organisation);
    if let Some(name) = subject.name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params.is_ca = IsCa::NoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Signed::new(&params.signed_by(&key, &issuer)?, &key)
}

fn blank(now: OffsetDateTime, life: Duration) -> CertificateParams {
    let mut serial = [0; SERIAL];
    rand::rng().fill_bytes(&mut serial);
    // Positive and of full length, as DER wants it.
    serial[0] = serial[0] & 0x7f | 0x40;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params
}

#[cfg(test)]
mod tests {
    use x509_parser::parse_x509_certificate;

    use super::*;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_786_000_000).unwrap()
    }

    #[test]
    fn an_authority_is_as_talos_makes_it() {
        let os = authority("talos", Algorithm::Ed25519, now()).unwrap();
        let (_, seen) = parse_x509_certificate(&os.der).unwrap();
        assert_eq!(seen.subject().to_string(), "O=talos");
        assert_eq!(seen.signature_algorithm.algorithm.to_id_string(), "1.3.101.112");
        let basic = seen.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint.is_none());
        let usage = seen.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_cert_sign() && !usage.crl_sign());
        let extended = seen.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && extended.client_auth);
        assert!(seen.subject_alternative_name().unwrap().is_none());
        let life = seen.validity().not_after.timestamp() - now().unix_timestamp();
        assert_eq!(life, 87_600 * 3600);
        seen.verify_signature(None).unwrap();
        let aggregator = authority("", Algorithm::EcdsaP256, now()).unwrap();
        let (_, seen) = parse_x509_certificate(&aggregator.der).unwrap();
        assert_eq!(seen.subject().to_string(), "");
    }

    #[test]
    fn a_client_proves_itself_and_nothing_else() {
        let ca = authority("talos", Algorithm::Ed25519, now()).unwrap();
        let subject = Subject { name: None, organisation: "os:admin" };
        let made = client((&ca.certificate, &ca.key), &subject, YEAR, now()).unwrap();
        let (_, seen) = parse_x509_certificate(&made.der).unwrap();
        let (_, issuer) = parse_x509_certificate(&ca.der).unwrap();
        seen.verify_signature(Some(issuer.public_key())).unwrap();
        assert_eq!(seen.subject().to_string(), "O=os:admin");
        assert_eq!(seen.issuer().to_string(), "O=talos");
        let usage = seen.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.client_auth && !usage.server_auth && !usage.any);
        assert!(seen.basic_constraints().unwrap().is_none());
        assert!(made.key.starts_with("-----BEGIN ED25519 PRIVATE KEY-----"));
    }
}
