//! Certificates of Talos machines, and the roles that client certificates carry.

use std::{fmt::Write as _, net::IpAddr};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject};
use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::config::Authority;

/// The common name of the certificate in maintenance mode.
const MAINTENANCE_NAME: &str = "maintenance-service.talos.dev";
/// How long a server's certificate holds.
const SERVER_VALIDITY: Duration = Duration::hours(24);
/// What a key of each kind is labelled as, and what every parser of PKCS #8 knows.
const LABELS: [(&str, &str); 1] = [("ED25519 PRIVATE KEY", "PRIVATE KEY")];
/// DER of the algorithm of an ECDSA key on P-256, in PKCS #8.
const P256: [u8; 21] = [
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Identity {
    /// The certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// The key.
    pub(super) key: PrivateKeyDer<'static>,
}

/// A key as PKCS #8, from any label that Talos' tools write.
pub(super) fn private_key(pem: &str) -> Option<KeyPair> {
    let mut pem = pem.to_owned();
    for (label, known) in LABELS {
        pem = pem.replace(label, known);
    }
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let der = match key {
        PrivateKeyDer::Sec1(key) => pkcs8(key.secret_sec1_der()),
        PrivateKeyDer::Pkcs8(key) => key.secret_pkcs8_der().to_vec(),
        // RSA keys, and what later versions of the enum may hold, sign for no authority of Talos.
        PrivateKeyDer::Pkcs1(_) | _ => return None,
    };
    KeyPair::try_from(der).ok()
}

/// Wraps a SEC 1 key on P-256 into PKCS #8.
fn pkcs8(sec1: &[u8]) -> Vec<u8> {
    let key = tagged(0x04, sec1);
    let body = [&[0x02, 0x01, 0x00][..], &P256, &key].concat();
    tagged(0x30, &body)
}

fn tagged(tag: u8, value: &[u8]) -> Vec<u8> {
    let length = value.len();
    let mut out = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        Ok(one) => out.extend([0x81, one]),
        Err(_) => {
            out.push(0x82);
            out.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    out.extend_from_slice(value);
    out
}

/// The certificate's DER.
pub(super) fn certificate(pem: &str) -> Option<CertificateDer<'static>> {
    CertificateDer::from_pem_slice(pem.as_bytes()).ok()
}

/// A short name for an authority: the hex of its certificate's SHA-256.
pub(super) fn fingerprint(pem: &str) -> String {
    let der = certificate(pem).map(|der| der.to_vec()).unwrap_or_default();
    hex(&Sha256::digest(der))
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn parameters(names: &[String], validity: Duration) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        let name = match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.as_str().try_into()?),
        };
        params.subject_alt_names.push(name);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // A machine whose clock is a little ahead must not lock its clients out.
    let now = OffsetDateTime::now_utc();
    params.not_before = now - Duration::minutes(1);
    params.not_after = now + validity;
    Ok(params)
}

fn identity(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
    Identity {
        certificate: certificate.der().clone(),
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    }
}

/// A server's certificate for maintenance mode, signed by an authority that nobody knows.
pub(super) fn maintenance(names: &[String]) -> Result<Identity, rcgen::Error> {
    let authority_key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    let mut authority = parameters(&[], SERVER_VALIDITY)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::from_params(&authority, authority_key);
    let mut params = parameters(names, SERVER_VALIDITY)?;
    params.distinguished_name.push(DnType::CommonName, MAINTENANCE_NAME);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519)?;
    Ok(identity(&params.signed_by(&key, &issuer)?, &key))
}

/// A certificate for the API of a configured machine, signed by the machine authority.
///
/// None if the authority cannot sign.
pub(super) fn server(authority: &Authority, names: &[String]) -> Option<Identity> {
    let issuer = issuer(authority)?;
    let mut params = parameters(names, SERVER_VALIDITY).ok()?;
    let name = names.iter().find(|name| name.parse::<IpAddr>().is_err())?;
    params.distinguished_name.push(DnType::CommonName, name.as_str());
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(issuer.key().algorithm()).ok()?;
    Some(identity(&params.signed_by(&key, &issuer).ok()?, &key))
}

/// A client's certificate and key as PEM, for this name and these groups.
pub(super) fn client(
    authority: &Authority,
    name: &str,
    group: &str,
    validity: Duration,
) -> Option<(String, String)> {
    let issuer = issuer(authority)?;
    let mut params = parameters(&[], validity).ok()?;
    params.distinguished_name.push(DnType::OrganizationName, group);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(issuer.key().algorithm()).ok()?;
    let certificate = params.signed_by(&key, &issuer).ok()?;
    Some((certificate.pem(), key.serialize_pem()))
}

fn issuer(authority: &Authority) -> Option<Issuer<'static, KeyPair>> {
    let key = private_key(authority.key.as_deref()?)?;
    Issuer::from_ca_cert_pem(&authority.certificate, key).ok()
}

/// The roles of a client: the organizations of its certificate.
pub(super) fn roles(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let organizations = certificate.subject().iter_organization();
    organizations.filter_map(|one| one.as_str().ok()).map(str::to_owned).collect()
}

/// Whether a certificate may be used by clients and for nothing else, as Talos demands.
pub(super) fn is_for_clients_only(leaf: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return false };
    let Ok(Some(usage)) = certificate.extended_key_usage() else { return false };
    let usage = usage.value;
    usage.client_auth
        && !usage.any
        && !usage.server_auth
        && !usage.code_signing
        && !usage.email_protection
        && !usage.time_stamping
        && !usage.ocsp_signing
        && usage.other.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `openssl ecparam -name prime256v1 -genkey -noout`.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIPIpet2Rk4d9iTVBw0nUvJhYCPQnz3wrrSKJJYW9mHFCoAoGCCqGSM49\n\
        AwEHoUQDQgAEsU4NVZ5lpgUdlca1HkJZbZPZWCKciRjV/X3Ww7xGFckO2Fn0j/Ca\n\
        DqSK9nh7Q3VO5GbcKCJtU92Q8dIh5RIFiA==\n\
        -----END EC PRIVATE KEY-----\n";

    #[test]
    fn keys_are_read_under_every_label() {
        assert!(private_key(SEC1).is_some());
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let pem = key.serialize_pem().replace("PRIVATE KEY", "ED25519 PRIVATE KEY");
        let read = private_key(&pem).unwrap();
        assert_eq!(read.public_key_raw(), key.public_key_raw());
        assert!(private_key("nothing").is_none());
    }

    #[test]
    fn roles_are_organizations_and_purposes_are_exact() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let mut params = parameters(&[], SERVER_VALIDITY).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        let authority = Authority {
            certificate: params.self_signed(&key).unwrap().pem(),
            key: Some(key.serialize_pem()),
        };
        let (pem, _) = client(&authority, "me", "os:reader", SERVER_VALIDITY).unwrap();
        let leaf = certificate(&pem).unwrap();
        assert_eq!(roles(&leaf), ["os:reader"]);
        assert!(is_for_clients_only(&leaf));
        let server = server(&authority, &["cp".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        assert!(!is_for_clients_only(&server.certificate));
        assert!(roles(&server.certificate).is_empty());
    }
}
