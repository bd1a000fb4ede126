//! The only place that speaks to a Kubernetes API: deadlines, errors, server-side apply.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_engine::{KindError, Retry};
use kube::api::{ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, Status};
use kube::discovery::Scope;
use kube::{Api, Client, Config};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::duration::Span;

/// The field manager under which everything is applied.
const MANAGER: &str = "flow";
/// The reason that kube gives to a refusal that is no `Status` (kube-client, `client/mod.rs`).
const NO_STATUS: &str = "Failed to parse error data";
/// What an API server says of a path that it does not serve (apiserver, `util/notfoundhandler`).
const NO_PATH: &str = "404 page not found";

/// How to reach a cluster; part of the parameters of every kind that does.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Access {
    /// Path of the kubeconfig; its current context is used.
    pub(crate) kubeconfig: PathBuf,
    /// The deadline of one call.
    #[serde(default)]
    pub(crate) call: Span,
}

/// Why a cluster did not do what it was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ClusterError {
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig {} cannot be used", path.display())]
    #[diagnostic(code(kubernetes::kubeconfig), help("`flow run --only credentials` writes it"))]
    Kubeconfig {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Nobody answered, or the connection broke.
    #[error("the Kubernetes API {api} is not reachable")]
    #[diagnostic(
        code(kubernetes::unreachable),
        help("check that the controller runs and that its port 6443 is open")
    )]
    Unreachable {
        /// Its address.
        api: String,
        /// What the connection saw.
        source: Box<kube::Error>,
    },
    /// No answer within the deadline.
    #[error("the Kubernetes API {api} did not answer within {} s", after.as_secs_f64())]
    #[diagnostic(code(kubernetes::timeout), help("the API server may be overloaded or starting"))]
    TimedOut {
        /// Its address.
        api: String,
        /// The deadline.
        after: Duration,
    },
    /// The API server is not able to answer now.
    #[error("the Kubernetes API {api} could not {what}: {message} ({status})")]
    #[diagnostic(code(kubernetes::unavailable), help("such answers pass; it is asked again"))]
    Unavailable {
        /// Its address.
        api: String,
        /// What was asked.
        what: String,
        /// Its words.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The credentials do not permit it.
    #[error("the Kubernetes API {api} does not let us {what}: {message}")]
    #[diagnostic(
        code(kubernetes::forbidden),
        help("the kubeconfig may be of another cluster: `flow run --only credentials`")
    )]
    Forbidden {
        /// Its address.
        api: String,
        /// What was asked.
        what: String,
        /// Its words.
        message: String,
    },
    /// The API server will never accept this.
    #[error("the Kubernetes API {api} refused to {what}: {message} ({status})")]
    #[diagnostic(code(kubernetes::refused), help("the object does not fit this cluster"))]
    Refused {
        /// Its address.
        api: String,
        /// What was asked.
        what: String,
        /// Its words.
        message: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is no answer of a Kubernetes API.
    #[error("the answer of {api} to {what} cannot be understood")]
    #[diagnostic(code(kubernetes::malformed), help("is there a proxy in between?"))]
    Malformed {
        /// Its address.
        api: String,
        /// What was asked.
        what: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

impl KindError for ClusterError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Malformed { .. } => Retry::Backoff,
            Self::Kubeconfig { .. } | Self::Forbidden { .. } => Retry::Human,
            Self::Refused { .. } => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Kubeconfig { .. } | Self::Forbidden { .. } | Self::Refused { .. } => true,
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Unavailable { .. }
            | Self::Malformed { .. } => false,
        }
    }
}

/// One cluster, through one of its API servers.
pub(crate) struct Cluster {
    client: Client,
    api: String,
    call: Duration,
}

impl Cluster {
    /// Reads the kubeconfig; nothing is asked of the cluster yet.
    ///
    /// # Errors
    ///
    /// [`ClusterError::Kubeconfig`].
    pub(crate) async fn open(access: &Access) -> Result<Self, ClusterError> {
        let Access { kubeconfig: path, call } = access;
        let config = config(path, call.0)
            .await
            .map_err(|source| ClusterError::Kubeconfig { path: path.clone(), source })?;
        let api = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = Client::try_from(config).map_err(|source| ClusterError::Kubeconfig {
            path: path.clone(),
            source: Box::new(source),
        })?;
        Ok(Self { client, api, call: call.0 })
    }

    /// The text that a path of the API server answers with.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]; any status but 200 is one.
    pub(crate) async fn text(&self, path: &str) -> Result<String, ClusterError> {
        let what = format!("answer {path}");
        let request =
            http::Request::get(path).body(Vec::new()).expect("the paths of this crate are valid");
        self.within(&what, self.client.request_text(request)).await
    }

    /// The version of the API server, as `v1.36.1`.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub(crate) async fn version(&self) -> Result<String, ClusterError> {
        let version = self.client.apiserver_version();
        Ok(self.within("tell its version", version).await?.git_version)
    }

    /// One object, if there is one.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]. A kind that the cluster does not serve (yet) counts as no object.
    pub(crate) async fn get(
        &self,
        of: &ApiResource,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<DynamicObject>, ClusterError> {
        let what = format!("show {} {name}", of.kind);
        match self.within(&what, self.objects(of, namespace).get(name)).await {
            Ok(object) => Ok(Some(object)),
            Err(ClusterError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All objects of a kind, in one namespace or in all, with these labels.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub(crate) async fn list(
        &self,
        of: &ApiResource,
        namespace: Option<&str>,
        labels: &str,
    ) -> Result<Vec<DynamicObject>, ClusterError> {
        let what = format!("list {}", of.plural);
        let parameters = ListParams::default().labels(labels);
        let found =
            self.within(&what, async { self.objects(of, namespace).list(&parameters).await });
        Ok(found.await?.items)
    }

    /// Server-side apply of whole objects in the order given, forced, as the manager `flow`.
    ///
    /// A kind that the cluster does not serve yet (its CRD is being established) fails with
    /// [`Retry::Backoff`]; what was applied before it stays.
    ///
    /// # Errors
    ///
    /// [`ClusterError`].
    pub(crate) async fn apply(&self, objects: &[Value]) -> Result<(), ClusterError> {
        let mut known = BTreeMap::new();
        for object in objects {
            let (resource, scope) = self.resource_of(object, &mut known).await?;
            let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
            let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str);
            let api: Api<DynamicObject> = match scope {
                Scope::Cluster => Api::all_with(self.client.clone(), &resource),
                Scope::Namespaced => Api::namespaced_with(
                    self.client.clone(),
                    namespace.unwrap_or("default"),
                    &resource,
                ),
            };
            let what = format!("apply {} {name}", resource.kind);
            let parameters = PatchParams::apply(MANAGER).force();
            self.within(&what, api.patch(name, &parameters, &Patch::Apply(object))).await?;
        }
        Ok(())
    }

    /// A merge patch of one object, as `kubectl annotate` makes it.
    ///
    /// # Errors
    ///
    /// [`ClusterError`]; 404 where there is no such object.
    pub(crate) async fn merge(
        &self,
        of: &ApiResource,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<(), ClusterError> {
        let what = format!("change {} {name}", of.kind);
        let parameters =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..Default::default() };
        let api = self.objects(of, Some(namespace));
        self.within(&what, api.patch(name, &parameters, &Patch::Merge(patch))).await.map(drop)
    }

    fn objects(&self, of: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, of),
            None => Api::all_with(self.client.clone(), of),
        }
    }

    async fn resource_of(
        &self,
        object: &Value,
        known: &mut BTreeMap<(String, String), (ApiResource, Scope)>,
    ) -> Result<(ApiResource, Scope), ClusterError> {
        let field = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let (version, kind) = (field("apiVersion"), field("kind"));
        if let Some(found) = known.get(&(version.clone(), kind.clone())) {
            return Ok(found.clone());
        }
        let (group, number) = version.split_once('/').unwrap_or(("", &version));
        let gvk = GroupVersionKind::gvk(group, number, &kind);
        let what = format!("find the kind {kind} of {version}");
        let asked = self.within(&what, kube::discovery::pinned_kind(&self.client, &gvk)).await;
        let (resource, capabilities) = asked.map_err(|error| self.not_served_yet(error, &what))?;
        let found = (resource, capabilities.scope);
        known.insert((version, kind), found.clone());
        Ok(found)
    }

    /// A kind that is not there yet is worth waiting for: its CRD may be in the same manifest.
    fn not_served_yet(&self, error: ClusterError, what: &str) -> ClusterError {
        let ClusterError::Refused { message, status: 404, .. } = error else { return error };
        let (api, what) = (self.api.clone(), what.to_owned());
        ClusterError::Unavailable { api, what, message, status: 404 }
    }

    async fn within<T>(
        &self,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        match tokio::time::timeout(self.call, call).await {
            Err(_) => Err(ClusterError::TimedOut { api: self.api.clone(), after: self.call }),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.classify(what, error)),
        }
    }

    fn classify(&self, what: &str, error: kube::Error) -> ClusterError {
        let (api, what) = (self.api.clone(), what.to_owned());
        if let kube::Error::Api(status) = &error
            && !is_unreadable(status)
        {
            let (message, status) = (status.message.clone(), status.code);
            return match status {
                401 | 403 => ClusterError::Forbidden { api, what, message },
                409 | 429 | 500.. => ClusterError::Unavailable { api, what, message, status },
                _ => ClusterError::Refused { api, what, message, status },
            };
        }
        if matches!(error, kube::Error::Discovery(_)) {
            let message = error.to_string();
            return ClusterError::Refused { api, what, message, status: 404 };
        }
        let source = Box::new(error);
        if matches!(
            *source,
            kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) | kube::Error::Api(_)
        ) {
            return ClusterError::Malformed { api, what, source };
        }
        ClusterError::Unreachable { api, source }
    }
}

/// Whether a refusal is none of an API server: those are objects of the kind `Status`.
///
/// Two are not: of a path that it does not serve (yet), and of a server that is not able.
fn is_unreadable(status: &Status) -> bool {
    let is_text = status.reason == NO_STATUS;
    is_text && status.code < 429 && status.message != NO_PATH
}

async fn config(
    path: &Path,
    call: Duration,
) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // Retries are the engine's; kube's own may sleep for many minutes within one call.
    config.default_retry = false;
    config.connect_timeout = Some(call);
    config.read_timeout = Some(call);
    config.write_timeout = Some(call);
    Ok(config)
}
