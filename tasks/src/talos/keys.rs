//! Private keys in the forms that Talos' own tools write.
//!
//! These wrap them in labels of their own (`ED25519 PRIVATE KEY`, `EC PRIVATE KEY`), while rcgen
//! and rustls speak PKCS#8. Keys of an adopted cluster may be in either form.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use rustls::pki_types::PrivatePkcs8KeyDer;

/// Why a key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(super) struct BadKey {
    what: &'static str,
}

const fn bad(what: &'static str) -> BadKey {
    BadKey { what }
}

/// The length of a line of base64 in PEM (RFC 7468).
const PEM_LINE: usize = 64;

/// PKCS#8 version 1 of an Ed25519 key up to its 32 bytes (RFC 8410).
const ED25519_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// PKCS#8 of a P-256 key as ring writes it, up to its 32 bytes.
const P256_PKCS8_PREFIX: [u8; 36] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02,
    0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02,
    0x01, 0x01, 0x04, 0x20,
];
/// The same, from the 32 bytes to the 65 of the public key.
const P256_PKCS8_MIDDLE: [u8; 5] = [0xa1, 0x44, 0x03, 0x42, 0x00];
/// `ECPrivateKey` (RFC 5915) of a P-256 key up to its 32 bytes.
const P256_SEC1_PREFIX: [u8; 7] = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
/// The same, from the 32 bytes to the 65 of the public key: the curve, which Go demands.
const P256_SEC1_MIDDLE: [u8; 17] = [
    0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42,
    0x00,
];
/// The lengths of a private key and of an uncompressed point of P-256.
const SCALAR: usize = 32;
const POINT: usize = 65;

/// What a key is used for decides its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Talos' own authority and its clients.
    Ed25519,
    /// Everything of Kubernetes and etcd.
    EcdsaP256,
}

impl Algorithm {
    fn of_rcgen(self) -> &'static SignatureAlgorithm {
        match self {
            Self::Ed25519 => &PKCS_ED25519,
            Self::EcdsaP256 => &PKCS_ECDSA_P256_SHA256,
        }
    }

    /// Makes a key.
    pub(super) fn generate(self) -> Result<KeyPair, BadKey> {
        KeyPair::generate_for(self.of_rcgen()).map_err(|_| bad("the system gave no random numbers"))
    }
}

/// The key as PEM, with the label that Talos' tools use.
pub(super) fn to_pem(key: &KeyPair) -> Result<String, BadKey> {
    let der = key.serialized_der();
    if key.algorithm() == &PKCS_ED25519 {
        // rcgen writes version 2, which some tools refuse; the seed lies at the same place.
        let seed = der.get(16..16 + SCALAR).ok_or(bad("an Ed25519 key is cut short"))?;
        Ok(armour("ED25519 PRIVATE KEY", &[&ED25519_PREFIX, seed].concat()))
    } else if key.algorithm() == &PKCS_ECDSA_P256_SHA256 {
        Ok(armour("EC PRIVATE KEY", &sec1(der)?))
    } else {
        Ok(armour("PRIVATE KEY", der))
    }
}

/// Reads a key from PEM, whichever label it bears.
///
/// # Errors
///
/// It is no PEM, or no Ed25519 or P-256 key.
pub(super) fn from_pem(pem: &str) -> Result<KeyPair, BadKey> {
    let der = unarmour(pem)?;
    let der = if pem.contains("BEGIN EC PRIVATE KEY") { pkcs8(&der)? } else { der };
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der))
        .map_err(|_| bad("the key is neither Ed25519 nor ECDSA nor RSA"))
}

/// From ring's PKCS#8 to `ECPrivateKey`.
fn sec1(pkcs8: &[u8]) -> Result<Vec<u8>, BadKey> {
    let (scalar, point) = split(pkcs8, &P256_PKCS8_PREFIX, &P256_PKCS8_MIDDLE)?;
    Ok([&P256_SEC1_PREFIX, scalar, &P256_SEC1_MIDDLE, point].concat())
}

/// From `ECPrivateKey`, as Go writes it, to PKCS#8.
fn pkcs8(sec1: &[u8]) -> Result<Vec<u8>, BadKey> {
    let (scalar, point) = split(sec1, &P256_SEC1_PREFIX, &P256_SEC1_MIDDLE)?;
    Ok([&P256_PKCS8_PREFIX, scalar, &P256_PKCS8_MIDDLE, point].concat())
}

fn split<'a>(der: &'a [u8], prefix: &[u8], middle: &[u8]) -> Result<(&'a [u8], &'a [u8]), BadKey> {
    const SHAPE: BadKey = bad("an EC key is not of the curve P-256 or has no public half");
    let rest = der.strip_prefix(prefix).ok_or(SHAPE)?;
    let (scalar, rest) = rest.split_at_checked(SCALAR).ok_or(SHAPE)?;
    let point = rest.strip_prefix(middle).ok_or(SHAPE)?;
    if point.len() == POINT { Ok((scalar, point)) } else { Err(SHAPE) }
}

/// Wraps DER as PEM.
pub(super) fn armour(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem + &format!("-----END {label}-----\n")
}

/// The DER of the first PEM block, whichever label it bears.
///
/// # Errors
///
/// There is none.
pub(super) fn unarmour(pem: &str) -> Result<Vec<u8>, BadKey> {
    let body: String = pem
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("-----BEGIN "))
        .skip(1)
        .take_while(|line| !line.starts_with("-----END "))
        .collect();
    if body.is_empty() {
        return Err(bad("it holds no PEM block"));
    }
    BASE64_STANDARD.decode(body).map_err(|_| bad("its PEM block is broken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_forms_of_talos() {
        for (algorithm, label, length) in [
            (Algorithm::Ed25519, "ED25519 PRIVATE KEY", 48),
            (Algorithm::EcdsaP256, "EC PRIVATE KEY", 121),
        ] {
            let key = algorithm.generate().unwrap();
            let pem = to_pem(&key).unwrap();
            assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")), "{pem}");
            assert!(pem.ends_with(&format!("-----END {label}-----\n")), "{pem}");
            assert_eq!(unarmour(&pem).unwrap().len(), length);
            assert_eq!(from_pem(&pem).unwrap().public_key_raw(), key.public_key_raw());
            // What rcgen writes is read too.
            let plain = key.serialize_pem();
            assert_eq!(from_pem(&plain).unwrap().public_key_raw(), key.public_key_raw());
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        assert!(from_pem("").is_err());
        assert!(
            from_pem("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----").is_err()
        );
    }
}
