//! The secrets of a Talos cluster, in the form that `talosctl gen secrets` writes.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use flow_engine::{KindError, Retry};
use rand::{Rng, RngExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::certificates::{self, BadCertificate, Signed};
use super::keys::{self, Algorithm, BadKey};

/// The random bytes of an id or a secret.
const RANDOM: usize = 32;
/// The letters of a token.
const LETTERS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The secrets of a cluster. Written as JSON it is a `secrets.yaml` that `talosctl` reads.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Bundle {
    /// The contract that it was made for, as `v1.13`; not there in an adopted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contract: Option<String>,
    /// The cluster's identity.
    pub(super) cluster: ClusterIdentity,
    /// Secrets of Kubernetes.
    pub(super) secrets: Tokens,
    /// How workers ask for their certificates.
    pub(super) trustdinfo: Trustd,
    /// Authorities and keys.
    pub(super) certs: Authorities,
}

/// The cluster's identity for discovery.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct ClusterIdentity {
    /// Its name.
    pub(super) id: String,
    /// Its key.
    pub(super) secret: String,
}

/// Secrets of Kubernetes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Tokens {
    /// How nodes join.
    pub(super) bootstraptoken: String,
    /// How etcd's contents are encrypted.
    pub(super) secretboxencryptionsecret: String,
}

/// How workers ask for their certificates.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Trustd {
    /// The token.
    pub(super) token: String,
}

/// Authorities and keys.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Authorities {
    /// etcd's authority.
    pub(super) etcd: Pair,
    /// The API's authority.
    pub(super) k8s: Pair,
    /// The authority of the API's extensions.
    pub(super) k8saggregator: Pair,
    /// What signs the tokens of service accounts.
    pub(super) k8sserviceaccount: KeyOnly,
    /// Talos' own authority.
    pub(super) os: Pair,
}

/// A certificate and its key, each the base64 of a PEM text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct Pair {
    /// The certificate.
    pub(super) crt: String,
    /// The key.
    pub(super) key: String,
}

/// A key without a certificate, as the base64 of a PEM text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(super) struct KeyOnly {
    /// The key.
    pub(super) key: String,
}

/// Why a bundle could not be made or used.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[diagnostic(
    code(talos::bundle),
    help("the secrets of the cluster are in the vault: restore it from its backup")
)]
pub(super) enum BadBundle {
    /// A certificate could not be made.
    #[error("a certificate could not be made")]
    Make(#[from] BadCertificate),
    /// A part of it cannot be read.
    #[error("`{part}` cannot be read")]
    Part {
        /// The part, as in the file.
        part: &'static str,
    },
    /// A key is not the one of its certificate.
    #[error("the key of `{part}` does not belong to its certificate")]
    Strangers {
        /// The part, as in the file.
        part: &'static str,
    },
}

impl KindError for BadBundle {
    fn retry(&self) -> Retry {
        match self {
            Self::Make(_) | Self::Part { .. } | Self::Strangers { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        true
    }
}

impl fmt::Debug for Bundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bundle({})", self.cluster.id)
    }
}

impl Bundle {
    /// Makes the secrets of a new cluster. Takes milliseconds: no key of it is RSA.
    pub(super) fn generate(contract: &str, now: OffsetDateTime) -> Result<Self, BadBundle> {
        let authority = |organisation, algorithm| {
            certificates::authority(organisation, algorithm, now).map(|signed| Pair::new(&signed))
        };
        let account = Algorithm::EcdsaP256.generate().map_err(BadCertificate::Key)?;
        Ok(Self {
            contract: Some(contract.to_owned()),
            cluster: ClusterIdentity { id: random(), secret: random() },
            secrets: Tokens { bootstraptoken: token(), secretboxencryptionsecret: random() },
            trustdinfo: Trustd { token: token() },
            certs: Authorities {
                etcd: authority("etcd", Algorithm::EcdsaP256)?,
                k8s: authority("kubernetes", Algorithm::EcdsaP256)?,
                k8saggregator: authority("", Algorithm::EcdsaP256)?,
                k8sserviceaccount: KeyOnly {
                    key: BASE64_STANDARD
                        .encode(keys::to_pem(&account).map_err(BadCertificate::Key)?),
                },
                os: authority("talos", Algorithm::Ed25519)?,
            },
        })
    }

    /// Tests that every part can be read and every key belongs to its certificate.
    ///
    /// # Errors
    ///
    /// The first part that is not so.
    pub(super) fn check(&self) -> Result<(), BadBundle> {
        let Authorities { etcd, k8s, k8saggregator, k8sserviceaccount, os } = &self.certs;
        let pairs = [
            ("certs.etcd", etcd),
            ("certs.k8s", k8s),
            ("certs.k8saggregator", k8saggregator),
            ("certs.os", os),
        ];
        for (part, pair) in pairs {
            pair.check(part)?;
        }
        // It may be RSA in any of two forms, which nobody here has to use.
        text(&k8sserviceaccount.key, "certs.k8sserviceaccount").and_then(|pem| {
            keys::unarmour(&pem).map_err(|_| unreadable("certs.k8sserviceaccount"))
        })?;
        let secret = BASE64_STANDARD.decode(&self.cluster.secret);
        if !secret.is_ok_and(|bytes| bytes.len() == RANDOM) {
            return Err(unreadable("cluster.secret"));
        }
        if self.cluster.id.is_empty() { Err(unreadable("cluster.id")) } else { Ok(()) }
    }
}

impl Pair {
    fn new(signed: &Signed) -> Self {
        Self {
            crt: BASE64_STANDARD.encode(&signed.certificate),
            key: BASE64_STANDARD.encode(&signed.key),
        }
    }

    /// Certificate and key as PEM.
    pub(super) fn pem(&self, part: &'static str) -> Result<(String, String), BadBundle> {
        Ok((text(&self.crt, part)?, text(&self.key, part)?))
    }

    fn check(&self, part: &'static str) -> Result<(), BadBundle> {
        let (certificate, key) = self.pem(part)?;
        let broken = |_: BadKey| unreadable(part);
        let der = keys::unarmour(&certificate).map_err(broken)?;
        let (_, seen) = x509_parser::parse_x509_certificate(&der).map_err(|_| unreadable(part))?;
        let key = keys::from_pem(&key).map_err(broken)?;
        if seen.public_key().subject_public_key.data == key.public_key_raw() {
            Ok(())
        } else {
            Err(BadBundle::Strangers { part })
        }
    }
}

const fn unreadable(part: &'static str) -> BadBundle {
    BadBundle::Part { part }
}

fn text(base64: &str, part: &'static str) -> Result<String, BadBundle> {
    let bytes = BASE64_STANDARD.decode(base64).map_err(|_| unreadable(part))?;
    String::from_utf8(bytes).map_err(|_| unreadable(part))
}

fn random() -> String {
    let mut bytes = [0; RANDOM];
    rand::rng().fill_bytes(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

/// A token as kubeadm's: six letters, a full stop, sixteen letters.
fn token() -> String {
    let mut source = rand::rng();
    let mut letters = |count: usize| -> String {
        (0..count).map(|_| char::from(LETTERS[source.random_range(0..LETTERS.len())])).collect()
    };
    format!("{}.{}", letters(6), letters(16))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> Bundle {
        Bundle::generate("v1.13", OffsetDateTime::now_utc()).unwrap()
    }

    #[test]
    fn a_new_bundle_is_whole_and_survives_its_file() {
        let bundle = made();
        bundle.check().unwrap();
        let file = serde_json::to_string(&bundle).unwrap();
        // `talosctl` reads YAML, of which JSON is a part.
        assert_eq!(serde_yaml_ng::from_str::<Bundle>(&file).unwrap(), bundle);
        assert_ne!(made().cluster.secret, bundle.cluster.secret);
        assert!(!format!("{bundle:?}").contains(&bundle.trustdinfo.token));
    }

    #[test]
    fn tokens_have_the_form_of_kubeadm() {
        let token = made().secrets.bootstraptoken;
        let (id, secret) = token.split_once('.').unwrap();
        assert_eq!((id.len(), secret.len()), (6, 16));
        assert!(token.bytes().all(|letter| letter == b'.' || LETTERS.contains(&letter)));
    }

    #[test]
    fn a_key_of_another_certificate_is_found() {
        let mut bundle = made();
        bundle.certs.os.key = made().certs.os.key;
        let error = bundle.check().unwrap_err();
        assert_eq!(error.to_string(), "the key of `certs.os` does not belong to its certificate");
        bundle.certs.os.key = "AAAA".to_owned();
        assert_eq!(bundle.check().unwrap_err().to_string(), "`certs.os` cannot be read");
    }
}
