//! The files by which people and programs reach a cluster: `kubeconfig` and `talosconfig`. Pure.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::bundle::{BadBundle, Bundle};
use super::certificates::{self, Signed, Subject, YEAR};
use super::keys;

/// When a certificate is made anew, before it ends.
const MARGIN: time::Duration = time::Duration::days(30);

/// What both files say.
pub(super) struct Access<'a> {
    /// The cluster's name.
    pub(super) cluster: &'a str,
    /// The cluster's secrets.
    pub(super) bundle: &'a Bundle,
    /// The API of Kubernetes by context: `node` first.
    pub(super) servers: Vec<(&'static str, String)>,
    /// The controllers' addresses.
    pub(super) endpoints: Vec<String>,
    /// All that there is to ask by default.
    pub(super) nodes: Vec<String>,
}

/// Why a file is not as it must be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differs(pub(super) &'static str);

impl Access<'_> {
    /// The first line of both files, by which they are known as ours.
    pub(super) fn mark(&self) -> String {
        format!("# Made by flow for the cluster {}.\n", self.cluster)
    }

    /// Makes a `kubeconfig` with a new certificate.
    pub(super) fn kubeconfig(&self, now: OffsetDateTime) -> Result<String, BadBundle> {
        let (authority, key) = self.bundle.certs.k8s.pem("certs.k8s")?;
        // What Talos itself hands out (`talosctl kubeconfig`): the user admin of system:masters.
        let subject = Subject { name: Some("admin"), organisation: "system:masters" };
        let client = certificates::client((&authority, &key), &subject, YEAR, now)?;
        let user = json!({
            "client-certificate-data": BASE64_STANDARD.encode(&client.certificate),
            "client-key-data": BASE64_STANDARD.encode(&client.key),
        });
        Ok(self.file(&json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "node",
            "clusters": self.clusters(),
            "contexts": self.contexts(),
            "users": [{ "name": self.user(), "user": user }],
        })))
    }

    /// Makes a `talosconfig` with a new certificate.
    pub(super) fn talosconfig(&self, now: OffsetDateTime) -> Result<String, BadBundle> {
        let (authority, key) = self.bundle.certs.os.pem("certs.os")?;
        let subject = Subject { name: None, organisation: "os:admin" };
        let Signed { certificate, key, .. } =
            certificates::client((&authority, &key), &subject, YEAR, now)?;
        let context = json!({
            "endpoints": self.endpoints,
            "nodes": self.nodes,
            "ca": self.bundle.certs.os.crt,
            "crt": BASE64_STANDARD.encode(certificate),
            "key": BASE64_STANDARD.encode(key),
        });
        Ok(self.file(&json!({ "context": self.cluster, "contexts": { self.cluster: context } })))
    }

    /// Judges a `kubeconfig`: when its certificate ends, or what is wrong.
    pub(super) fn judge_kubeconfig(
        &self,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, Differs> {
        let file: Value = serde_yaml_ng::from_str(text).map_err(|_| Differs("it is not YAML"))?;
        if file["clusters"] != self.clusters() {
            return Err(Differs("it has other authorities or servers"));
        }
        if file["contexts"] != self.contexts() || file["current-context"] != "node" {
            return Err(Differs("it has other contexts"));
        }
        let user = &file["users"][0]["user"];
        let pair = (&user["client-certificate-data"], &user["client-key-data"]);
        judge_client(pair, &self.bundle.certs.k8s.crt, now)
    }

    /// Judges a `talosconfig`: when its certificate ends, or what is wrong.
    pub(super) fn judge_talosconfig(
        &self,
        text: &str,
        now: OffsetDateTime,
    ) -> Result<OffsetDateTime, Differs> {
        let file: Value = serde_yaml_ng::from_str(text).map_err(|_| Differs("it is not YAML"))?;
        let context = &file["contexts"][self.cluster];
        if file["context"] != self.cluster || context["ca"] != self.bundle.certs.os.crt.as_str() {
            return Err(Differs("it has another context or authority"));
        }
        if context["endpoints"] != json!(self.endpoints) || context["nodes"] != json!(self.nodes) {
            return Err(Differs("it has other endpoints"));
        }
        judge_client((&context["crt"], &context["key"]), &self.bundle.certs.os.crt, now)
    }

    fn file(&self, content: &Value) -> String {
        // JSON values always are YAML: no map has a key that is no string.
        let yaml = serde_yaml_ng::to_string(content).expect("JSON is written as YAML");
        self.mark() + &yaml
    }

    fn user(&self) -> String {
        format!("admin@{}", self.cluster)
    }

    fn clusters(&self) -> Value {
        let clusters = self.servers.iter().map(|(context, server)| {
            json!({
                "name": self.named(context),
                "cluster": {
                    "server": server,
                    "certificate-authority-data": self.bundle.certs.k8s.crt,
                },
            })
        });
        clusters.collect()
    }

    fn contexts(&self) -> Value {
        let contexts = self.servers.iter().map(|(context, _)| {
            let inside = json!({ "cluster": self.named(context), "user": self.user() });
            json!({ "name": context, "context": inside })
        });
        contexts.collect()
    }

    fn named(&self, context: &str) -> String {
        format!("{}-{context}", self.cluster)
    }
}

/// When a client's certificate ends, if it is signed by the authority and belongs to its key.
fn judge_client(
    (certificate, key): (&Value, &Value),
    authority: &str,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, Differs> {
    const BROKEN: Differs = Differs("its certificate or key is broken");
    let pem = |text: Option<&str>| {
        let bytes = BASE64_STANDARD.decode(text.unwrap_or_default()).map_err(|_| BROKEN)?;
        String::from_utf8(bytes).map_err(|_| BROKEN)
    };
    let der = |text: Option<&str>| keys::unarmour(&pem(text)?).map_err(|_| BROKEN);
    let (certificate, authority) = (der(certificate.as_str())?, der(Some(authority))?);
    let (_, certificate) = X509Certificate::from_der(&certificate).map_err(|_| BROKEN)?;
    let (_, authority) = X509Certificate::from_der(&authority).map_err(|_| BROKEN)?;
    certificate
        .verify_signature(Some(authority.public_key()))
        .map_err(|_| Differs("its certificate is signed by another authority"))?;
    let key = keys::from_pem(&pem(key.as_str())?).map_err(|_| BROKEN)?;
    if certificate.public_key().subject_public_key.data != key.public_key_raw() {
        return Err(Differs("its key does not belong to its certificate"));
    }
    let ends = certificate.validity().not_after.to_datetime();
    if ends < now + MARGIN { Err(Differs("its certificate ends soon")) } else { Ok(ends) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> Bundle {
        Bundle::generate("v1.13", now()).unwrap()
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_786_000_000).unwrap()
    }

    fn access(bundle: &Bundle) -> Access<'_> {
        Access {
            cluster: "test-cluster",
            bundle,
            servers: vec![
                ("node", "https://10.2.1.1:6443".to_owned()),
                ("vip", "https://10.2.3.1:6443".to_owned()),
            ],
            endpoints: vec!["10.2.1.1".to_owned()],
            nodes: vec!["10.2.1.1".to_owned()],
        }
    }

    #[test]
    fn what_is_made_is_found_right_until_it_ends_soon() {
        let bundle = bundle();
        let access = access(&bundle);
        let kubeconfig = access.kubeconfig(now()).unwrap();
        let talosconfig = access.talosconfig(now()).unwrap();
        assert!(kubeconfig.starts_with("# Made by flow for the cluster test-cluster.\n"));
        let ends = now() + YEAR;
        assert_eq!(access.judge_kubeconfig(&kubeconfig, now()), Ok(ends));
        assert_eq!(access.judge_talosconfig(&talosconfig, now()), Ok(ends));
        let later = ends - MARGIN + time::Duration::SECOND;
        let soon = Err(Differs("its certificate ends soon"));
        assert_eq!(access.judge_kubeconfig(&kubeconfig, later), soon);
        assert_eq!(access.judge_talosconfig(&talosconfig, later), soon);
    }

    #[test]
    fn another_cluster_or_place_is_found() {
        let (bundle, other) = (bundle(), self::bundle());
        let (ours, theirs) = (access(&bundle), access(&other));
        let kubeconfig = theirs.kubeconfig(now()).unwrap();
        assert_eq!(
            ours.judge_kubeconfig(&kubeconfig, now()),
            Err(Differs("it has other authorities or servers"))
        );
        let mut moved = access(&bundle);
        moved.endpoints = vec!["10.2.1.9".to_owned()];
        let talosconfig = moved.talosconfig(now()).unwrap();
        assert_eq!(
            ours.judge_talosconfig(&talosconfig, now()),
            Err(Differs("it has other endpoints"))
        );
        let mut swapped = bundle.clone();
        swapped.certs.os.key = other.certs.os.key.clone();
        let forged = access(&swapped).talosconfig(now()).unwrap();
        assert_eq!(
            ours.judge_talosconfig(&forged, now()),
            Err(Differs("its certificate is signed by another authority"))
        );
        assert_eq!(ours.judge_kubeconfig("[", now()), Err(Differs("it is not YAML")));
    }
}
