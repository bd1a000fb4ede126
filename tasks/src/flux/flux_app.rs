//! `flux-app`: an application that Flux brings is applied and healthy.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Settle, Verdict,
};
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{NAMESPACE, kustomizations};
use crate::kubernetes::client::{Access, Cluster, ClusterError};
use crate::kubernetes::object::{condition, is_available, is_true, name, resource};

/// The annotation by which Flux is asked to reconcile now.
const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct FluxApp;

/// Which application.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// The revision that it must be at, as `${tasks.flux-source.revision}`.
    revision: String,
    /// Its Kustomizations; without them the one that is named as the task.
    #[serde(default)]
    kustomizations: Vec<String>,
    /// What must be healthy beside them.
    #[serde(default)]
    healthy: Healthy,
}

/// What makes an application healthy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct Healthy {
    /// CRDs that must be Established.
    crds: Vec<String>,
    /// Deployments that must be Available, as `NAMESPACE/NAME`.
    deployments: Vec<String>,
}

/// What is applied.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The revision.
    revision: String,
}

/// Why the application is not there.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The cluster did not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// Somebody stopped Flux from reconciling it.
    #[error("the Kustomization {name} is suspended")]
    #[diagnostic(
        code(flux::suspended),
        help(
            "if that is over: kubectl -n flux-system patch kustomization {name} --type merge \
              -p '{{\"spec\":{{\"suspend\":false}}}}'"
        )
    )]
    Suspended {
        /// Its name.
        name: String,
    },
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Cluster(error) => error.retry(),
            Self::Suspended { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Cluster(error) => error.refused(),
            Self::Suspended { .. } => true,
        }
    }
}

impl Kind for FluxApp {
    const NAME: &'static str = "flux-app";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Wait for an application that Flux brings, and nudge Flux where it rests",
        details: "Looks at the Kustomizations, then at what must be healthy. Flux does the work: \
                  apply only asks it to reconcile now, and its parent where a Kustomization is \
                  gone.",
        example: "revision = \"main@sha1:0000000000000000000000000000000000000000\"\n\
                  kustomizations = [\"cert-manager\"]\n\
                  healthy.deployments = [\"cert-manager/cert-manager\"]\n\
                  cluster = { kubeconfig = \"kubeconfig\" }\n",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(4));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        for wanted in params.names(cx) {
            let live = cluster.get(&kustomizations(), Some(NAMESPACE), &wanted).await?;
            let Some(live) = live else { return Ok(Verdict::Absent(Mark::Nowhere)) };
            if live.data.pointer("/spec/suspend") == Some(&Value::Bool(true)) {
                return Err(Error::Suspended { name: wanted });
            }
            if let Some(verdict) = not_applied(&live, &params.revision) {
                return Ok(verdict);
            }
        }
        match params.ailing(&cluster).await? {
            ailing if ailing.is_empty() => {
                Ok(Verdict::satisfied(Outputs { revision: params.revision.clone() }))
            }
            ailing => Ok(Verdict::Underway(format!("not yet healthy: {}", ailing.join(", ")))),
        }
    }

    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let token = format!("flow-{}-{}", cx.run(), cx.attempt());
        let patch = json!({ "metadata": { "annotations": { REQUESTED: token } } });
        for wanted in params.names(cx) {
            let live = cluster.get(&kustomizations(), Some(NAMESPACE), &wanted).await?;
            // What is gone is made again by its parent, the root.
            let asked = live.as_ref().map_or("flux-system", |live| name(live));
            cluster.merge(&kustomizations(), NAMESPACE, asked, &patch).await?;
        }
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// Why a Kustomization is not applied at a revision; `None` if it is.
fn not_applied(live: &DynamicObject, revision: &str) -> Option<Verdict<FluxApp>> {
    let applied = live.data.pointer("/status/lastAppliedRevision").and_then(Value::as_str);
    if is_true(live, "Ready") && applied == Some(revision) && !is_true(live, "Reconciling") {
        return None;
    }
    let name = name(live);
    let (reason, message) = condition(live, "Ready")
        .map_or(("Progressing", "no status yet"), |ready| (ready.reason, ready.message));
    let words = format!("Kustomization {name}: {reason}: {message}");
    if is_true(live, "Stalled") {
        return Some(Verdict::Drifted { diff: words, mark: Mark::Nowhere });
    }
    Some(Verdict::Underway(words))
}

impl Params {
    fn names(&self, cx: &Cx) -> Vec<String> {
        if self.kustomizations.is_empty() {
            return vec![cx.instance().task().to_owned()];
        }
        self.kustomizations.clone()
    }

    /// What is not healthy, by name.
    async fn ailing(&self, cluster: &Cluster) -> Result<Vec<String>, Error> {
        let mut ailing = Vec::new();
        let definitions = resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
        for crd in &self.healthy.crds {
            let live = cluster.get(&definitions, None, crd).await?;
            if !live.is_some_and(|live| is_true(&live, "Established")) {
                ailing.push(crd.clone());
            }
        }
        let deployments = resource("apps", "v1", "Deployment");
        for deployment in &self.healthy.deployments {
            let (namespace, name) = deployment.split_once('/').unwrap_or(("default", deployment));
            let live = cluster.get(&deployments, Some(namespace), name).await?;
            if !live.is_some_and(|live| is_available(&live)) {
                ailing.push(deployment.clone());
            }
        }
        Ok(ailing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVISION: &str = "main@sha1:1";

    /// A Kustomization with these conditions, applied at a revision.
    fn kustomization(conditions: &[(&str, &str)], applied: &str) -> DynamicObject {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(name, status)| {
                json!({ "type": name, "status": status, "reason": "Why", "message": "words" })
            })
            .collect();
        let status = json!({ "lastAppliedRevision": applied, "conditions": conditions });
        let object = json!({ "metadata": { "name": "app" }, "status": status });
        serde_json::from_value(object).unwrap()
    }

    fn short(live: &DynamicObject) -> String {
        match not_applied(live, REVISION) {
            None => "applied".to_owned(),
            Some(Verdict::Drifted { diff, .. }) => format!("drifted: {diff}"),
            Some(Verdict::Underway(words)) => format!("underway: {words}"),
            Some(Verdict::Satisfied { .. } | Verdict::Absent(_)) => panic!("no such verdict"),
        }
    }

    #[test]
    fn it_is_applied_when_ready_at_the_revision_and_at_rest() {
        let ready = ("Ready", "True");
        let underway = "underway: Kustomization app: Why: words";
        assert_eq!(short(&kustomization(&[ready], REVISION)), "applied");
        assert_eq!(short(&kustomization(&[ready], "main@sha1:0")), underway);
        assert_eq!(short(&kustomization(&[ready, ("Reconciling", "True")], REVISION)), underway);
        assert_eq!(short(&kustomization(&[("Ready", "False")], REVISION)), underway);
        let silent = "underway: Kustomization app: Progressing: no status yet";
        assert_eq!(short(&kustomization(&[], "")), silent);
    }

    #[test]
    fn what_is_stalled_is_asked_again() {
        let stalled = kustomization(&[("Ready", "False"), ("Stalled", "True")], REVISION);
        assert_eq!(short(&stalled), "drifted: Kustomization app: Why: words");
    }
}
