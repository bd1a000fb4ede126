//! `flux-source`: Flux reads the tree, and applies what is in it.

use flow_engine::{Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Verdict};
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{NAMESPACE, git_repositories, kustomizations};
use crate::kubernetes::client::{Access, Cluster, ClusterError};
use crate::kubernetes::object::{base64, condition, is_true, resource};
use crate::reference::{Authorities, ReferenceError};

/// The name that all of Flux's own objects bear.
const NAME: &str = "flux-system";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct FluxSource;

/// Which tree.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// URL of the repository; read without credentials.
    repository: String,
    /// Its branch.
    branch: String,
    /// The folder that is applied, as `k8s`.
    path: String,
    /// What the tree reads as `${name}`: the ConfigMap `flow-site`.
    #[serde(default)]
    values: Map<String, Value>,
    /// The authorities of the git server, where the system does not know them.
    #[serde(default)]
    ca: Authorities,
}

/// What Flux has read.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The revision, as `main@sha1:…`.
    revision: String,
}

/// Why Flux does not read the tree.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The cluster did not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// An authority of the site cannot be read.
    #[error("an authority of `trust.ca` cannot be read")]
    #[diagnostic(code(site::reference), help("check `[trust] ca` in the site file"))]
    Authority {
        /// Why.
        source: ReferenceError,
    },
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Cluster(error) => error.retry(),
            Self::Authority { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Cluster(error) => error.refused(),
            Self::Authority { .. } => true,
        }
    }
}

impl Kind for FluxSource {
    const NAME: &'static str = "flux-source";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Let Flux read the tree and apply its root",
        details: "Applies the GitRepository and the root Kustomization `flux-system`, the \
                  ConfigMap `flow-site` with what the tree reads of the site, and a Secret with \
                  the git server's authority where one is given. Satisfied when both are Ready \
                  at one revision.",
        example: "repository = \"https://git.example.com/cluster.git\"\nbranch = \"main\"\n\
                  path = \"k8s\"\nvalues = { domain = \"example.com\" }\n\
                  cluster = { kubeconfig = \"kubeconfig\" }\n",
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        for wanted in params.objects().await? {
            let kind = wanted["kind"].as_str().unwrap_or_default();
            let resource = match kind {
                "GitRepository" => git_repositories(),
                "Kustomization" => kustomizations(),
                kind => resource("", "v1", kind),
            };
            let name = wanted.pointer("/metadata/name").and_then(Value::as_str);
            let name = name.unwrap_or_default();
            let Some(live) = cluster.get(&resource, Some(NAMESPACE), name).await? else {
                return Ok(Verdict::Absent(Mark::Nowhere));
            };
            if let Some(path) = differing(&wanted, &live) {
                let diff = format!("{kind} {name}: {path} differs from what is declared");
                return Ok(Verdict::Drifted { diff, mark: Mark::Nowhere });
            }
        }
        settled(&cluster).await
    }

    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        Ok(cluster.apply(&params.objects().await?).await?)
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// Whether the source was fetched and the root applied at the same revision.
async fn settled(cluster: &Cluster) -> Result<Verdict<FluxSource>, Error> {
    let source = cluster.get(&git_repositories(), Some(NAMESPACE), NAME).await?;
    let Some(source) = source.filter(|source| is_true(source, "Ready")) else {
        let source = cluster.get(&git_repositories(), Some(NAMESPACE), NAME).await?;
        let words = source.as_ref().map(|source| words(source, "the source is fetched"));
        return Ok(Verdict::Underway(words.unwrap_or_else(|| "no source yet".to_owned())));
    };
    let text = |object: &DynamicObject, path: &str| {
        object.data.pointer(path).and_then(Value::as_str).map(str::to_owned)
    };
    let revision = text(&source, "/status/artifact/revision").unwrap_or_default();
    let root = cluster.get(&kustomizations(), Some(NAMESPACE), NAME).await?;
    let Some(root) = root else { return Ok(Verdict::Underway("no root yet".to_owned())) };
    let applied = text(&root, "/status/lastAppliedRevision");
    if !is_true(&root, "Ready") || applied.as_deref() != Some(&revision) {
        return Ok(Verdict::Underway(words(&root, "the root is applied")));
    }
    Ok(Verdict::satisfied(Outputs { revision }))
}

/// What an object says of itself while it is not Ready.
fn words(object: &DynamicObject, otherwise: &str) -> String {
    match condition(object, "Ready") {
        Some(ready) if !ready.message.is_empty() => {
            format!("{}: {}", ready.reason, ready.message)
        }
        Some(_) | None => otherwise.to_owned(),
    }
}

impl Params {
    async fn objects(&self) -> Result<Vec<Value>, Error> {
        let ca = self.ca.read().await.map_err(|source| Error::Authority { source })?;
        let mut source = json!({
            "interval": "1m",
            "url": self.repository,
            "ref": { "branch": self.branch },
        });
        let mut objects = Vec::new();
        if let Some(ca) = ca {
            source["secretRef"] = json!({ "name": NAME });
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": metadata(NAME),
                "type": "Opaque",
                "data": { "ca.crt": base64(&ca) },
            }));
        }
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata("flow-site"),
            "data": self.values.iter().map(|(key, value)| (key.clone(), words_of(value)))
                .collect::<Map<_, _>>(),
        }));
        objects.push(json!({
            "apiVersion": "source.toolkit.fluxcd.io/v1",
            "kind": "GitRepository",
            "metadata": metadata(NAME),
            "spec": source,
        }));
        objects.push(json!({
            "apiVersion": "kustomize.toolkit.fluxcd.io/v1",
            "kind": "Kustomization",
            "metadata": metadata(NAME),
            "spec": {
                "interval": "10m",
                "retryInterval": "1m",
                "path": format!("./{}", self.path.trim_start_matches("./")),
                "prune": true,
                "sourceRef": { "kind": "GitRepository", "name": NAME },
            },
        }));
        Ok(objects)
    }
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "namespace": NAMESPACE })
}

/// A value as a ConfigMap holds it: text.
fn words_of(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(text),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => json!(other.to_string()),
    }
}

/// The path of the first declared field that is not as declared; defaults may be added.
fn differing(wanted: &Value, live: &DynamicObject) -> Option<String> {
    ["spec", "data"].into_iter().find_map(|part| {
        let wanted = wanted.get(part)?;
        difference(wanted, live.data.get(part).unwrap_or(&Value::Null), part)
    })
}

fn difference(wanted: &Value, live: &Value, path: &str) -> Option<String> {
    match wanted {
        Value::Object(fields) => fields.iter().find_map(|(key, wanted)| {
            difference(wanted, live.get(key).unwrap_or(&Value::Null), &format!("{path}.{key}"))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            (wanted != live).then(|| path.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(spec: &Value) -> DynamicObject {
        let object = json!({ "metadata": metadata(NAME), "spec": spec });
        serde_json::from_value(object).unwrap()
    }

    #[test]
    fn a_declared_field_that_differs_is_named_and_a_default_does_not() {
        let wanted = json!({ "spec": { "url": "https://a", "ref": { "branch": "main" } } });
        let spec = json!({
            "url": "https://a", "ref": { "branch": "main" }, "timeout": "60s",
        });
        assert_eq!(differing(&wanted, &live(&spec)), None);
        let spec = json!({ "url": "https://a", "ref": { "branch": "next" } });
        assert_eq!(differing(&wanted, &live(&spec)).unwrap(), "spec.ref.branch");
        let spec = json!({ "ref": "main" });
        assert!(differing(&wanted, &live(&spec)).is_some());
        assert!(differing(&wanted, &live(&Value::Null)).is_some());
    }

    #[test]
    fn values_are_compared_and_kept_as_text() {
        assert_eq!(difference(&json!({ "a": "1" }), &json!({ "a": 1 }), "data").unwrap(), "data.a");
        assert_eq!(words_of(&json!(1)), json!("1"));
        assert_eq!(words_of(&json!("1")), json!("1"));
        assert_eq!(words_of(&json!(["a"])), json!("[\"a\"]"));
    }
}
