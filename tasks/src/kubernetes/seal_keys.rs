//! `seal-keys`: the sealing keys are in the cluster before the controller that reads them.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, NoHandle, OnDrift, Presence, Retry, Secret, Verdict,
};
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::client::{Access, Cluster, ClusterError};
use super::object::{base64, resource};
use crate::tls;

/// The label by which the controller finds its keys (sealed-secrets, `pkg/controller/keys.go`).
const LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct SealKeys;

/// Which keys, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// The pairs, as `${tasks.sealing-key.keys}`.
    keys: Secret<Vec<Pair>>,
    /// The controller's namespace.
    #[serde(default = "kube_system")]
    namespace: String,
}

/// A certificate with its private key.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
pub(super) struct Pair {
    /// PEM of the certificate.
    certificate: String,
    /// PEM of the private key.
    key: String,
}

fn kube_system() -> String {
    "kube-system".to_owned()
}

/// What is in the cluster.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// SHA-256 of each certificate, as hexadecimal digits.
    fingerprints: Vec<String>,
}

/// Why the keys are not there.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The cluster did not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// A pair is broken; in the cluster it would crash the controller.
    #[error("a sealing key of the vault is not a certificate with its key")]
    #[diagnostic(
        code("seal::broken-key"),
        help("put back an earlier vault, or import the pair: `flow state import sealing-key`")
    )]
    Broken,
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Cluster(error) => error.retry(),
            Self::Broken => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Cluster(error) => error.refused(),
            Self::Broken => true,
        }
    }
}

impl Kind for SealKeys {
    const NAME: &'static str = "seal-keys";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Put the sealing keys into the cluster before their controller",
        details: "Each pair becomes a labelled Secret of type kubernetes.io/tls, outside of \
                  Flux's inventory. The controller reads its keys when it starts. A foreign key \
                  in the cluster is told and left alone.",
        example: "namespace = \"kube-system\"\ncluster = { kubeconfig = \"kubeconfig\" }\n\
                  [[keys]]\ncertificate = \"-----BEGIN CERTIFICATE-----\"\n\
                  key = \"-----BEGIN RSA PRIVATE KEY-----\"\n",
    };
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let secrets = resource("", "v1", "Secret");
        let namespace = Some(params.namespace.as_str());
        let live = cluster.list(&secrets, namespace, &format!("{LABEL}=active")).await?;
        let wanted = wanted(params)?;
        let missing = wanted.iter().any(|secret| !live.iter().any(|live| holds(live, secret)));
        if missing {
            return Ok(Verdict::Absent(flow_engine::Mark::Nowhere));
        }
        let foreign = live.iter().filter(|live| !wanted.iter().any(|secret| holds(live, secret)));
        let foreign = foreign.count();
        if foreign > 0 {
            cx.note(format!("{foreign} sealing keys in the cluster are not of this vault"));
        }
        let fingerprints =
            params.keys.reveal().iter().map(fingerprint).collect::<Result<_, _>>()?;
        Ok(Verdict::satisfied(Outputs { fingerprints }))
    }

    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        Ok(cluster.apply(&wanted(params)?).await?)
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// The Secrets as they must be, each pair checked.
fn wanted(params: &Params) -> Result<Vec<Value>, Error> {
    let pairs = params.keys.reveal().iter();
    pairs
        .map(|pair| {
            let name = format!("sealed-secrets-key-{}", &fingerprint(pair)?[..10]);
            Ok(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/tls",
                "metadata": {
                    "name": name,
                    "namespace": params.namespace,
                    "labels": { LABEL: "active" },
                },
                "data": { "tls.crt": base64(&pair.certificate), "tls.key": base64(&pair.key) },
            }))
        })
        .collect()
}

fn holds(live: &DynamicObject, wanted: &Value) -> bool {
    live.data.get("data").is_some_and(|data| {
        data["tls.crt"] == wanted["data"]["tls.crt"] && data["tls.key"] == wanted["data"]["tls.key"]
    })
}

fn fingerprint(pair: &Pair) -> Result<String, Error> {
    if !pair.key.contains("PRIVATE KEY-----") {
        return Err(Error::Broken);
    }
    let certificates = tls::certificates(&pair.certificate).map_err(|_| Error::Broken)?;
    Ok(base16ct::lower::encode_string(&Sha256::digest(&certificates[0])))
}
