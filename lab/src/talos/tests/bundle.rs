//! The secrets of a cluster, and configurations made of them.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::talos::{config::Authority, credentials};

/// What all machines of one cluster share.
pub(super) struct Bundle {
    pub(super) octet: u8,
    pub(super) os: Authority,
    etcd: Authority,
    pub(super) kubernetes: Authority,
    token: String,
}

fn authority(organization: &str, algorithm: &'static SignatureAlgorithm) -> Authority {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key).unwrap().pem();
    // Talos' own tools label this key in a way of theirs.
    let key = key.serialize_pem();
    let key = if organization == "talos" {
        key.replace("PRIVATE KEY", "ED25519 PRIVATE KEY")
    } else {
        key
    };
    Authority { certificate, key: Some(key) }
}

impl Bundle {
    pub(super) fn new(octet: u8) -> Self {
        Self {
            octet,
            os: authority("talos", &rcgen::PKCS_ED25519),
            etcd: authority("etcd", &rcgen::PKCS_ECDSA_P256_SHA256),
            kubernetes: authority("kubernetes", &rcgen::PKCS_ECDSA_P256_SHA256),
            token: format!("{:06x}.abcdefghij012345", rand::random::<u32>() & 0x00ff_ffff),
        }
    }

    /// A client's certificate with this role.
    pub(super) fn client(&self, role: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let year = time::Duration::days(365);
        let (certificate, key) = credentials::client(&self.os, "", role, year).unwrap();
        (
            CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap(),
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
    }

    /// An administrator of Kubernetes.
    pub(super) fn administrator(&self) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let year = time::Duration::days(365);
        let made = credentials::client(&self.kubernetes, "admin", "system:masters", year);
        let (certificate, key) = made.unwrap();
        (
            CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap(),
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
    }

    pub(super) fn controller(&self, name: &str) -> String {
        let pair = |authority: &Authority| {
            format!(
                "{{crt: {}, key: {}}}",
                BASE64_STANDARD.encode(&authority.certificate),
                BASE64_STANDARD.encode(authority.key.as_deref().unwrap_or_default())
            )
        };
        let vip = format!("127.{}.3.1", self.octet);
        format!(
            "version: v1alpha1\npersist: true\nmachine:\n  type: controlplane\n  token: {token}\n  ca: {os}\n  certSANs: [{vip}]\n  kubelet: {{image: 'ghcr.io/siderolabs/kubelet:v1.36.1'}}\n  network:\n    hostname: {name}\n    interfaces:\n      - {{interface: eth0, dhcp: false, vip: {{ip: {vip}}}}}\n  install: {{disk: /dev/sda}}\ncluster:\n  id: id\n  secret: secret\n  clusterName: demo\n  token: abcdef.0123456789abcdef\n  secretboxEncryptionSecret: c2VjcmV0\n  controlPlane: {{endpoint: 'https://{vip}:6443'}}\n  ca: {kubernetes}\n  etcd: {{ca: {etcd}}}\n",
            token = self.token,
            os = pair(&self.os),
            kubernetes = pair(&self.kubernetes),
            etcd = pair(&self.etcd),
        )
    }

    pub(super) fn worker(&self, name: &str) -> String {
        let certificate = |authority: &Authority| BASE64_STANDARD.encode(&authority.certificate);
        format!(
            "version: v1alpha1\nmachine:\n  type: worker\n  token: {token}\n  ca: {{crt: {os}, key: ''}}\n  network: {{hostname: {name}}}\n  install: {{disk: /dev/sda}}\ncluster:\n  id: id\n  secret: secret\n  token: abcdef.0123456789abcdef\n  controlPlane: {{endpoint: 'https://127.{octet}.3.1:6443'}}\n  ca: {{crt: {kubernetes}, key: ''}}\n",
            token = self.token,
            octet = self.octet,
            os = certificate(&self.os),
            kubernetes = certificate(&self.kubernetes),
        )
    }
}
