//! `install-flux`: the controllers of the pinned manifest run.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::NAMESPACE;
use super::published::{Pinned, Published, PublishedError};
use crate::kubernetes::client::{Access, Cluster, ClusterError};
use crate::kubernetes::object::{annotation, is_available, is_true, resource};
use crate::reference::Authorities;

/// Where the digest of the applied manifest stands: on the namespace, which is applied last.
const DIGEST: &str = "flow/manifest-sha256";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct InstallFlux;

/// What to install.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// The manifest.
    manifest: Manifest,
    /// Authorities beside those of the system, for the download.
    #[serde(default)]
    ca: Authorities,
}

/// Which manifest: a release of Flux, or any URL.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// A release, as `v2.9.4`.
    version: Option<String>,
    /// A URL.
    url: Option<String>,
    /// Its SHA-256; without it the first sight is pinned.
    sha256: Option<String>,
}

/// What runs.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Version, as the namespace's label says.
    version: String,
    /// SHA-256 of the manifest.
    digest: String,
}

/// Why Flux does not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The cluster did not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// The manifest could not be taken.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Published(#[from] PublishedError),
    /// Neither version nor URL, or both.
    #[error("`manifest` says neither `version` nor `url`, or both")]
    #[diagnostic(
        code("flux::which-manifest"),
        help("write `manifest = {{ version = \"v2.9.4\" }}`")
    )]
    Which,
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Cluster(error) => error.retry(),
            Self::Published(error) => error.retry(),
            Self::Which => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Cluster(error) => error.refused(),
            Self::Published(error) => error.refused(),
            Self::Which => true,
        }
    }
}

impl Kind for InstallFlux {
    const NAME: &'static str = "install-flux";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Install Flux from its published manifest, pinned by its digest",
        details: "Downloads the manifest once, applies all of it by server-side apply and notes \
                  its digest on the namespace. Satisfied when that digest is there, every CRD of \
                  it is Established and every Deployment of it Available.",
        example: "manifest = { version = \"v2.9.4\" }\ncluster = { kubeconfig = \"kubeconfig\" }\n",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(3));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let namespaces = resource("", "v1", "Namespace");
        let Some(namespace) = cluster.get(&namespaces, None, NAMESPACE).await? else {
            return Ok(Verdict::Absent(Mark::Nowhere));
        };
        let pinned = params.manifest(cx).await?;
        match annotation(&namespace, DIGEST) {
            Some(live) if live == pinned.sha256 => {}
            Some(live) => {
                let diff = format!("manifest {live} is applied, {} is wanted", pinned.sha256);
                return Ok(Verdict::Drifted { diff, mark: Mark::Nowhere });
            }
            // Half made by us, or by somebody else without a digest: applying it all is safe.
            None => return Ok(Verdict::Absent(Mark::Nowhere)),
        }
        if let Some(verdict) = not_running(&cluster, &pinned.objects).await? {
            return Ok(verdict);
        }
        let version = namespace.metadata.labels.as_ref();
        let version = version.and_then(|labels| labels.get("app.kubernetes.io/version"));
        let version = version.cloned().unwrap_or_else(|| "unknown".to_owned());
        Ok(Verdict::satisfied(Outputs { version, digest: pinned.sha256 }))
    }

    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let Pinned { mut objects, sha256 } = params.manifest(cx).await?;
        cluster.apply(&objects).await?;
        // The digest says that all before it was applied, so it comes last.
        objects.retain(|object| object["kind"] == "Namespace");
        for namespace in &mut objects {
            namespace["metadata"]["annotations"][DIGEST] = Value::String(sha256.clone());
        }
        Ok(cluster.apply(&objects).await?)
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

impl Params {
    fn url(&self) -> Result<String, Error> {
        match (&self.manifest.version, &self.manifest.url) {
            (Some(version), None) => Ok(format!(
                "https://github.com/fluxcd/flux2/releases/download/{version}/install.yaml"
            )),
            (None, Some(url)) => Ok(url.clone()),
            (Some(_), Some(_)) | (None, None) => Err(Error::Which),
        }
    }

    async fn manifest(&self, cx: &Cx) -> Result<Pinned, Error> {
        let url = self.url()?;
        let sha256 = self.manifest.sha256.as_deref();
        let (ca, call) = (&self.ca, self.cluster.call.0);
        Ok(Published { url: &url, sha256, ca, call }.take(cx.folder()).await?)
    }
}

/// What of the manifest does not run yet: missing (to be made), or underway.
async fn not_running(
    cluster: &Cluster,
    objects: &[Value],
) -> Result<Option<Verdict<InstallFlux>>, Error> {
    let definitions = resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
    let deployments = resource("apps", "v1", "Deployment");
    let mut waiting = Vec::new();
    for object in objects {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str);
        let name = text("/metadata/name").unwrap_or_default();
        let (live, runs) = match text("/kind") {
            Some("CustomResourceDefinition") => {
                let live = cluster.get(&definitions, None, name).await?;
                let runs = live.as_ref().is_some_and(|live| is_true(live, "Established"));
                (live, runs)
            }
            Some("Deployment") => {
                let live = cluster.get(&deployments, text("/metadata/namespace"), name).await?;
                let runs = live.as_ref().is_some_and(is_available);
                (live, runs)
            }
            Some(_) | None => continue,
        };
        if live.is_none() {
            return Ok(Some(Verdict::Absent(Mark::Nowhere)));
        }
        if !runs {
            waiting.push(name);
        }
    }
    let verdict = || Verdict::Underway(format!("not yet available: {}", waiting.join(", ")));
    Ok((!waiting.is_empty()).then(verdict))
}
