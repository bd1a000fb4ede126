//! `talos-secrets`: the authorities, keys and tokens of one cluster.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NotRecorded, OnDrift, Presence, Retry, Secret,
    Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use super::bundle::{BadBundle, Bundle};
use crate::reference::{Reference, ReferenceError};

/// The entry of the vault.
const ENTRY: &str = "bundle";
/// How many bytes of a digest name an archived entry.
const SHORT: usize = 6;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct TalosSecrets;

/// Which cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The site's table `talos`.
    talos: Table,
    /// Machines of ours that another cluster's secrets configured: then ours are lost.
    #[serde(default)]
    foreign: Vec<String>,
}

/// What is read of the site's table `talos`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
struct Table {
    /// The release whose configuration format the cluster is born with, as `v1.13`.
    contract: String,
    /// Where the secrets come from.
    #[serde(default)]
    secrets: Source,
}

/// Where the secrets come from.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Source {
    /// They are made.
    #[default]
    #[serde(skip)]
    Made,
    /// `"generate"`: they are made.
    Word(Word),
    /// A file that `talosctl gen secrets` wrote, or another reference: a cluster is adopted.
    Elsewhere(Reference),
}

/// A word in place of a reference.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Word {
    /// They are made.
    Generate,
}

/// What is no secret of them.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outputs {
    /// The cluster's identity for discovery.
    cluster_id: String,
    /// The release whose configuration format the cluster was born with.
    contract: String,
}

/// What is.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// All secrets of the cluster: a `secrets.yaml` for `talosctl`.
    bundle: Bundle,
}

/// Which bundle it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Handle {
    cluster_id: String,
}

/// Why there are no secrets.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// Machines of ours were configured with secrets that are not here.
    #[error("the secrets of the cluster are lost: {} answer with another authority", machines.join(", "))]
    #[diagnostic(
        code("talos::secrets-lost"),
        help(
            "import them, `flow state import talos-secrets --key secrets.yaml`, or destroy these \
             machines"
        )
    )]
    Lost {
        /// The machines.
        machines: Vec<String>,
    },
    /// The vault's entry or the adopted file is damaged.
    #[error("the secrets of the cluster cannot be used")]
    #[diagnostic(
        code("talos::secrets-damaged"),
        help("restore the vault from its backup, or import the secrets; they are never replaced")
    )]
    Damaged {
        /// What is wrong.
        source: BadBundle,
    },
    /// The text is no bundle at all. It is not quoted.
    #[error("the secrets of the cluster are not in the form of `talosctl gen secrets`")]
    #[diagnostic(
        code("talos::secrets-form"),
        help("the file must be what `talosctl gen secrets` wrote, for Talos 1.3 or later")
    )]
    Form,
    /// They could not be read from where the site says.
    #[error("the secrets of the cluster cannot be read from where the site says")]
    #[diagnostic(code("talos::secrets-reference"), help("see `talos.secrets` in the site file"))]
    Reference {
        /// Why not.
        source: ReferenceError,
    },
    /// The vault does not work.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vault(#[from] NotRecorded),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Lost { .. } | Self::Damaged { .. } | Self::Reference { .. } => Retry::Human,
            Self::Form => Retry::Never,
            Self::Vault(_) => Retry::Backoff,
        }
    }

    // All that is done is one entry of the vault, which is there whole or not at all.
    fn refused(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Damaged { .. } | Self::Form | Self::Reference { .. } => true,
            Self::Vault(_) => false,
        }
    }
}

impl Kind for TalosSecrets {
    const NAME: &'static str = "talos-secrets";
    const EFFECT: Effect = Effect::Once;
    const MANUAL: Manual = Manual {
        summary: "Make the secrets of a Talos cluster, once, in the vault",
        details: "Makes the authorities of Talos, Kubernetes, etcd and the aggregator, the key \
                  for service accounts, the tokens and the cluster's identity, or takes them from \
                  a file of `talosctl gen secrets`. They live in the vault and nowhere else. They \
                  are never made a second time for the same cluster: where machines of ours \
                  answer with another authority, the task stops. A changed contract is reported \
                  and never raised in place. Removed, they are archived in the vault.",
        example: r#"talos = { contract = "v1.13", secrets = "generate" }"#,
    };
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let Some(bundle) = kept(cx)? else {
            if params.foreign.is_empty() {
                return Ok(Verdict::Absent(Mark::Nowhere));
            }
            return Err(Error::Lost { machines: params.foreign.clone() });
        };
        bundle.check().map_err(|source| Error::Damaged { source })?;
        let wanted = &params.talos.contract;
        let contract = bundle.contract.clone().unwrap_or_else(|| wanted.clone());
        let mark = Mark::Ours(Handle { cluster_id: bundle.cluster.id.clone() });
        if contract != *wanted {
            let diff = format!("the cluster was born with {contract}, the site says {wanted}");
            return Ok(Verdict::Drifted { diff, mark });
        }
        let outputs = Outputs { cluster_id: bundle.cluster.id.clone(), contract };
        let secrets = Secrets { bundle };
        Ok(Verdict::Satisfied(flow_engine::Found { outputs, secrets, mark }))
    }

    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        if kept(cx)?.is_some() {
            // Kept by an attempt whose outcome was lost.
            return Ok(());
        }
        let bundle = match &params.talos.secrets {
            Source::Made | Source::Word(Word::Generate) => {
                let contract = params.talos.contract.clone();
                cx.blocking(move || Bundle::generate(&contract, OffsetDateTime::now_utc()))
                    .await
                    .map_err(|source| Error::Damaged { source })?
            }
            Source::Elsewhere(reference) => adopt(reference).await?,
        };
        let value = serde_json::to_value(&bundle).map_err(|_| Error::Form)?;
        Ok(cx.keep(ENTRY, Secret::new(value)).await?)
    }

    async fn exists(&self, cx: &Cx, handle: &Handle) -> Result<Presence, Error> {
        Ok(match kept(cx)? {
            None => Presence::Gone,
            Some(bundle) if bundle.cluster.id == handle.cluster_id => Presence::Ours,
            Some(_) => Presence::Foreign,
        })
    }

    async fn destroy(&self, cx: &Cx, handle: &Handle) -> Result<(), Error> {
        let Some(bundle) = kept(cx)? else { return Ok(()) };
        if bundle.cluster.id != handle.cluster_id {
            return Ok(());
        }
        let value = serde_json::to_value(&bundle).map_err(|_| Error::Form)?;
        cx.keep(&archived(&bundle.cluster.id), Secret::new(value)).await?;
        Ok(cx.keep(ENTRY, Secret::new(Value::Null)).await?)
    }
}

/// The vault's bundle. `null` is what destroying leaves.
fn kept(cx: &Cx) -> Result<Option<Bundle>, Error> {
    match cx.kept(ENTRY)?.map(Secret::into_revealed) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|_| Error::Form),
    }
}

async fn adopt(reference: &Reference) -> Result<Bundle, Error> {
    let text = reference.read().await.map_err(|source| Error::Reference { source })?;
    let bundle: Bundle = serde_yaml_ng::from_str(text.reveal()).map_err(|_| Error::Form)?;
    bundle.check().map_err(|source| Error::Damaged { source })?;
    Ok(bundle)
}

/// The name under which a bundle stays in the vault when its cluster is gone.
fn archived(cluster_id: &str) -> String {
    let digest = Sha256::digest(cluster_id.as_bytes());
    format!("{ENTRY}-{}", base16ct::lower::encode_string(&digest[..SHORT]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(contract: &str) -> Params {
        let talos = serde_json::json!({ "contract": contract, "version": "v1.13.4" });
        serde_json::from_value(serde_json::json!({ "talos": talos })).unwrap()
    }

    async fn satisfied(cx: &Cx) -> (Outputs, Secrets, Mark<Handle>) {
        match TalosSecrets.probe(cx, &params("v1.13")).await.unwrap() {
            Verdict::Satisfied(found) => (found.outputs, found.secrets, found.mark),
            Verdict::Absent(_) | Verdict::Drifted { .. } | Verdict::Underway(_) => {
                panic!("not satisfied")
            }
        }
    }

    #[tokio::test]
    async fn secrets_are_made_once_and_archived_in_the_end() {
        let cx = Cx::default();
        let absent = TalosSecrets.probe(&cx, &params("v1.13")).await.unwrap();
        assert!(matches!(absent, Verdict::Absent(Mark::Nowhere)));
        TalosSecrets.apply(&cx, &params("v1.13")).await.unwrap();
        let (outputs, secrets, mark) = satisfied(&cx).await;
        assert_eq!(outputs.contract, "v1.13");
        TalosSecrets.apply(&cx, &params("v1.13")).await.unwrap();
        assert!(satisfied(&cx).await.1 == secrets);
        let drifted = TalosSecrets.probe(&cx, &params("v1.14")).await.unwrap();
        assert!(matches!(drifted, Verdict::Drifted { diff, .. }
            if diff == "the cluster was born with v1.13, the site says v1.14"));
        let Mark::Ours(handle) = mark else { panic!("not ours") };
        for expected in [Presence::Ours, Presence::Gone] {
            assert_eq!(TalosSecrets.exists(&cx, &handle).await.unwrap(), expected);
            TalosSecrets.destroy(&cx, &handle).await.unwrap();
        }
        assert!(cx.kept(&archived(&handle.cluster_id)).unwrap().is_some());
    }

    #[tokio::test]
    async fn secrets_that_the_machines_know_and_we_do_not_are_lost() {
        let mut params = params("v1.13");
        params.foreign = vec!["controlplane0".to_owned()];
        let Err(error) = TalosSecrets.probe(&Cx::default(), &params).await else {
            panic!("no verdict is possible");
        };
        assert_eq!(error.retry(), Retry::Human);
        assert_eq!(
            error.to_string(),
            "the secrets of the cluster are lost: controlplane0 answer with another authority"
        );
    }

    #[tokio::test]
    async fn a_cluster_is_adopted_by_its_file() {
        let bundle = Bundle::generate("v1.12", OffsetDateTime::now_utc()).unwrap();
        let mut value = serde_json::to_value(&bundle).unwrap();
        value.as_object_mut().unwrap().remove("contract");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secrets.yaml");
        std::fs::write(&file, serde_yaml_ng::to_string(&value).unwrap()).unwrap();
        let params: Params = serde_json::from_value(serde_json::json!({
            "talos": { "contract": "v1.13", "secrets": { "file": file } },
        }))
        .unwrap();
        let cx = Cx::default();
        TalosSecrets.apply(&cx, &params).await.unwrap();
        let (outputs, secrets, _) = satisfied(&cx).await;
        assert_eq!(outputs.cluster_id, bundle.cluster.id);
        assert!(secrets.bundle.certs == bundle.certs);
    }
}
