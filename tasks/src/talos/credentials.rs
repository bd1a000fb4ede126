//! `credentials`: the files by which people and programs reach the cluster.

use std::io;
use std::path::{Path, PathBuf};

use flow_engine::{Cx, Effect, Kind, KindError, Manual, Mark, Presence, Retry, Secret, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::access::{Access, Differs};
use super::bundle::{BadBundle, Bundle};
use super::files;
use super::site::Machines;

/// The names of the files in the site's folder.
const KUBECONFIG: &str = "kubeconfig";
const TALOSCONFIG: &str = "talosconfig";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct Credentials;

/// Which cluster.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The secrets of the cluster.
    bundle: Secret<Bundle>,
    /// All controllers.
    controllers: Machines,
    /// The API of Kubernetes on one controller, as `https://10.2.1.1:6443`.
    endpoint: String,
    /// The same at the shared address; `null` without one.
    #[serde(default)]
    vip: Option<String>,
}

/// Where the files are.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The path of the `kubeconfig`; its contexts are `node` (in use) and `vip`.
    kubeconfig: PathBuf,
    /// The path of the `talosconfig`.
    talosconfig: PathBuf,
    /// When the first of their certificates ends, as RFC 3339.
    expires: String,
}

/// Which files, and what is in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    /// Their names in the site's folder.
    paths: Vec<PathBuf>,
    /// The SHA-256 of their contents, one after the other.
    hash: String,
}

/// Why there are no files.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A file cannot be read or written.
    #[error("{} cannot be read or written", path.display())]
    #[diagnostic(code(talos::file), help("check the permissions and the space of its folder"))]
    File {
        /// Its path.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The secrets cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BadBundle),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::File { .. } => Retry::Human,
            Self::Bundle(error) => error.retry(),
        }
    }
}

impl Kind for Credentials {
    const NAME: &'static str = "credentials";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Write kubeconfig and talosconfig into the site's folder",
        details: "Both are made from the cluster's own authorities, valid for a year, readable \
                  by their owner only and replaced as a whole: when they are missing, of another \
                  cluster, of other addresses, or end within 30 days. The kubeconfig has the \
                  contexts `node`, which is in use, and `vip`. No machine is asked.",
        example: r#"
bundle = "${tasks.talos-secrets.bundle}"
controllers = "${site.controllers}"
endpoint = "${site.api.first}"
vip = "${site.api.vip}"
"#,
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let access = access(cx, params);
        let (kubeconfig, talosconfig) =
            (cx.folder().join(KUBECONFIG), cx.folder().join(TALOSCONFIG));
        let (kube, talos) = (read(&kubeconfig)?, read(&talosconfig)?);
        let (Some((kube, kube_private)), Some((talos, talos_private))) = (&kube, &talos) else {
            return Ok(Verdict::Absent(Mark::Nowhere));
        };
        let handle = handle([kube, talos]);
        let ours = [kube, talos].iter().all(|text| text.starts_with(&access.mark()));
        let mark = if ours { Mark::Ours(handle) } else { Mark::Missing(handle) };
        let now = OffsetDateTime::now_utc();
        let judged = [
            (&kubeconfig, access.judge_kubeconfig(kube, now), *kube_private),
            (&talosconfig, access.judge_talosconfig(talos, now), *talos_private),
        ];
        match earliest_end(judged) {
            Ok(ends) => {
                let expires = ends.format(&Rfc3339).unwrap_or_else(|_| ends.to_string());
                Ok(Verdict::found(Outputs { kubeconfig, talosconfig, expires }, mark))
            }
            Err(diff) => Ok(Verdict::Drifted { diff, mark }),
        }
    }

    /// # Cancel safety
    ///
    /// Each file is the old or the new one, whole; a missing second one is made by the next try.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let access = access(cx, params);
        let now = OffsetDateTime::now_utc();
        let made = [
            (cx.folder().join(KUBECONFIG), access.kubeconfig(now)?),
            (cx.folder().join(TALOSCONFIG), access.talosconfig(now)?),
        ];
        for (path, text) in made {
            let target = path.clone();
            cx.blocking(move || files::replace(&target, &text))
                .await
                .map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }

    async fn exists(&self, cx: &Cx, handle: &Handle) -> Result<Presence, Error> {
        let mut texts = Vec::new();
        for path in &handle.paths {
            texts.extend(read(&cx.folder().join(path))?.map(|(text, _)| text));
        }
        Ok(if texts.is_empty() {
            Presence::Gone
        } else if hash(&texts) == handle.hash {
            Presence::Ours
        } else {
            Presence::Foreign
        })
    }

    async fn destroy(&self, cx: &Cx, handle: &Handle) -> Result<(), Error> {
        for path in &handle.paths {
            let path = cx.folder().join(path);
            files::remove(&path).map_err(|source| Error::File { path, source })?;
        }
        Ok(())
    }
}

fn access<'a>(cx: &'a Cx, params: &'a Params) -> Access<'a> {
    let vip = params.vip.clone().map(|vip| ("vip", vip));
    let addresses: Vec<String> =
        params.controllers.values().map(|node| node.address.to_string()).collect();
    Access {
        cluster: cx.cluster(),
        bundle: params.bundle.reveal(),
        servers: [("node", params.endpoint.clone())].into_iter().chain(vip).collect(),
        endpoints: addresses.clone(),
        nodes: addresses,
    }
}

fn read(path: &Path) -> Result<Option<(String, bool)>, Error> {
    files::read(path).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// When the first certificate ends, or the first thing that is wrong.
fn earliest_end(
    judged: [(&PathBuf, Result<OffsetDateTime, Differs>, bool); 2],
) -> Result<OffsetDateTime, String> {
    let mut earliest = None;
    for (path, ends, private) in judged {
        let ends = ends.map_err(|Differs(what)| format!("{}: {what}", path.display()))?;
        if !private {
            return Err(format!("{}: others may read it", path.display()));
        }
        earliest = Some(earliest.map_or(ends, |earlier: OffsetDateTime| earlier.min(ends)));
    }
    Ok(earliest.expect("two files were judged"))
}

fn handle(texts: [&String; 2]) -> Handle {
    let paths = [KUBECONFIG, TALOSCONFIG].map(PathBuf::from).to_vec();
    Handle { paths, hash: hash(&texts) }
}

fn hash(texts: &[impl AsRef<str>]) -> String {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.as_ref().as_bytes());
    }
    base16ct::lower::encode_string(&hasher.finalize())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use flow_engine::cx::{CxParts, MemoryNotebook};
    use flow_engine::{Attempt, InstanceName, RunId, SiteContext, Stop};
    use tokio::sync::watch;

    use super::*;

    fn cx(folder: &Path) -> Cx {
        Cx::new(CxParts {
            run: RunId(1),
            instance: InstanceName::new("credentials", None),
            attempt: Attempt(1),
            intent: None,
            site: Arc::new(SiteContext {
                name: "test".to_owned(),
                cluster: "test-cluster".to_owned(),
                folder: folder.to_owned(),
            }),
            notebook: Arc::new(MemoryNotebook::default()),
            stop: watch::channel(Stop::No).1,
        })
    }

    fn params(bundle: &Bundle) -> Params {
        serde_json::from_value(serde_json::json!({
            "bundle": bundle,
            "controllers": { "controlplane0": {
                "name": "controlplane0", "role": "controller", "address": "10.2.1.1",
                "cidr": "10.2.1.1/16",
            } },
            "endpoint": "https://10.2.1.1:6443",
            "vip": "https://10.2.3.1:6443",
        }))
        .unwrap()
    }

    #[tokio::test]
    async fn files_are_made_found_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cx = cx(folder.path());
        let bundle = Bundle::generate("v1.13", OffsetDateTime::now_utc()).unwrap();
        let params = params(&bundle);
        assert!(matches!(Credentials.probe(&cx, &params).await.unwrap(), Verdict::Absent(_)));
        Credentials.apply(&cx, &params).await.unwrap();
        let Verdict::Satisfied(found) = Credentials.probe(&cx, &params).await.unwrap() else {
            panic!("not satisfied");
        };
        assert_eq!(found.outputs.kubeconfig, folder.path().join("kubeconfig"));
        let Mark::Ours(handle) = found.mark else { panic!("not ours") };
        assert_eq!(Credentials.exists(&cx, &handle).await.unwrap(), Presence::Ours);
        std::fs::write(folder.path().join("talosconfig"), "context: mine").unwrap();
        assert_eq!(Credentials.exists(&cx, &handle).await.unwrap(), Presence::Foreign);
        let changed = Credentials.probe(&cx, &params).await.unwrap();
        assert!(matches!(changed, Verdict::Drifted { mark: Mark::Missing(_), .. }));
        Credentials.destroy(&cx, &handle).await.unwrap();
        Credentials.destroy(&cx, &handle).await.unwrap();
        assert_eq!(Credentials.exists(&cx, &handle).await.unwrap(), Presence::Gone);
    }

    #[tokio::test]
    async fn the_files_of_another_cluster_are_drift() {
        let folder = tempfile::tempdir().unwrap();
        let cx = cx(folder.path());
        let [one, two] =
            [(); 2].map(|()| Bundle::generate("v1.13", OffsetDateTime::now_utc()).unwrap());
        Credentials.apply(&cx, &params(&one)).await.unwrap();
        let Verdict::Drifted { diff, .. } = Credentials.probe(&cx, &params(&two)).await.unwrap()
        else {
            panic!("no drift");
        };
        assert!(diff.ends_with("kubeconfig: it has other authorities or servers"), "{diff}");
    }
}
