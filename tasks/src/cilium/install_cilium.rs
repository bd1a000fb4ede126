//! `install-cilium`: the pinned version runs on every machine.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, OnDrift, Presence, Retry, Settle, Verdict,
};
use kube::core::DynamicObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::install_job::{self, NAMESPACE};
use crate::kubernetes::client::{Access, Cluster, ClusterError};
use crate::kubernetes::object::{condition, is_true, number, resource, rollout};

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct InstallCilium;

/// What to install.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach the cluster.
    cluster: Access,
    /// The version, as `1.19.8`.
    version: String,
    /// The MTU of the machines' network; `"auto"` leaves it to Cilium.
    #[serde(default)]
    mtu: Mtu,
}

/// An MTU.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mtu {
    /// What Cilium finds by itself.
    #[default]
    Auto,
    /// This many bytes.
    #[serde(untagged)]
    Bytes(u32),
}

impl Mtu {
    /// The value of the chart's `MTU`: 0 means automatic.
    fn value(self) -> u32 {
        match self {
            Self::Auto => 0,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// What runs.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The version.
    version: String,
    /// The MTU that was asked for; 0 is automatic.
    mtu: u32,
}

/// Why Cilium does not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The cluster did not do it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Cluster(#[from] ClusterError),
    /// The Job gave up.
    #[error("the Job {job} that installs Cilium failed: {message}")]
    #[diagnostic(
        code("cilium::install-failed"),
        help("read `kubectl -n kube-system logs job/{job}`, delete the Job, then go on")
    )]
    JobFailed {
        /// Its name.
        job: String,
        /// Its words.
        message: String,
    },
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Cluster(error) => error.retry(),
            Self::JobFailed { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Cluster(error) => error.refused(),
            Self::JobFailed { .. } => false,
        }
    }
}

impl Kind for InstallCilium {
    const NAME: &'static str = "install-cilium";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Install Cilium by a Job with the pinned cilium-cli image",
        details: "Applies a ServiceAccount, its binding and one Job in kube-system, with the \
                  values that Talos needs. Satisfied when the DaemonSet of this version is rolled \
                  out and an operator runs. An installed Cilium of another version or with other \
                  values is told and left alone.",
        example: "version = \"1.19.8\"\nmtu = \"auto\"\ncluster = { kubeconfig = \"kubeconfig\" }\n",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(10));
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let agent = match agent(&cluster).await? {
            Some(agent) => agent,
            None => match before_the_agent(&cluster, params).await? {
                Before::Verdict(verdict) => return Ok(verdict),
                Before::Done(agent) => *agent,
            },
        };
        if let Some(diff) = difference(&cluster, &agent, params).await? {
            return Ok(Verdict::Drifted { diff, mark: Mark::Nowhere });
        }
        let (ready, wanted) = rollout(&agent).unwrap_or((0, 1));
        if ready < wanted {
            return Ok(Verdict::Underway(format!("{ready} of {wanted} agents are ready")));
        }
        let deployments = resource("apps", "v1", "Deployment");
        let operator = cluster.get(&deployments, Some(NAMESPACE), "cilium-operator").await?;
        if operator.is_none_or(|operator| number(&operator, "/status/availableReplicas") == 0) {
            return Ok(Verdict::Underway("no operator is available yet".to_owned()));
        }
        let Params { version, mtu, .. } = params;
        Ok(Verdict::satisfied(Outputs { version: version.clone(), mtu: mtu.value() }))
    }

    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let cluster = Cluster::open(&params.cluster).await?;
        let objects = install_job::objects(&params.version, params.mtu.value());
        Ok(cluster.apply(&objects).await?)
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// What was seen where no agent was seen.
enum Before {
    /// It is not there.
    Verdict(Verdict<InstallCilium>),
    /// The Job ended between two looks, and this is what it made.
    Done(Box<DynamicObject>),
}

/// While there is no agent: nothing was asked for, or the Job is at work, or it gave up.
async fn before_the_agent(cluster: &Cluster, params: &Params) -> Result<Before, Error> {
    let name = install_job::name(&params.version, params.mtu.value());
    let job = cluster.get(&resource("batch", "v1", "Job"), Some(NAMESPACE), &name).await?;
    let Some(job) = job else { return Ok(Before::Verdict(Verdict::Absent(Mark::Nowhere))) };
    if let Some(failed) = condition(&job, "Failed").filter(|failed| failed.status == "True") {
        return Err(Error::JobFailed { job: name, message: failed.message.to_owned() });
    }
    if is_true(&job, "Complete") {
        // It makes the DaemonSet before it ends, so a look after its end is sure.
        if let Some(agent) = agent(cluster).await? {
            return Ok(Before::Done(Box::new(agent)));
        }
        // It ran once and what it made is gone: a Job never runs again, so a person decides.
        let message = "it was done, and the DaemonSet that it made is gone".to_owned();
        return Err(Error::JobFailed { job: name, message });
    }
    Ok(Before::Verdict(Verdict::Underway(format!("the Job {name} is at work"))))
}

/// The DaemonSet of the agents.
async fn agent(cluster: &Cluster) -> Result<Option<DynamicObject>, ClusterError> {
    cluster.get(&resource("apps", "v1", "DaemonSet"), Some(NAMESPACE), "cilium").await
}

/// What differs between the installed Cilium and the wanted one.
async fn difference(
    cluster: &Cluster,
    agent: &DynamicObject,
    params: &Params,
) -> Result<Option<String>, Error> {
    let image = agent.data.pointer("/spec/template/spec/containers/0/image");
    let image = image.and_then(Value::as_str).unwrap_or_default();
    let version = image.split('@').next().and_then(|image| image.rsplit_once(":v"));
    let version = version.map_or("unknown", |(_, version)| version);
    if version != params.version {
        return Ok(Some(format!("version {version} runs, {} is wanted", params.version)));
    }
    let config = resource("", "v1", "ConfigMap");
    let Some(config) = cluster.get(&config, Some(NAMESPACE), "cilium-config").await? else {
        return Ok(Some("the ConfigMap cilium-config is missing".to_owned()));
    };
    let wanted = [("ipam", "kubernetes"), ("kube-proxy-replacement", "true")];
    let differing = wanted.iter().find_map(|(key, wanted)| {
        let live = config.data.pointer(&format!("/data/{key}")).and_then(Value::as_str);
        let live = live.unwrap_or("not set");
        (live != *wanted).then(|| format!("cilium-config: {key} is {live}, {wanted} is wanted"))
    });
    Ok(differing)
}
