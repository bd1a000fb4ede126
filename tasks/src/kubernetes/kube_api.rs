//! `kube-api`: the API server answers and says that it is ready.

use flow_engine::{Cx, Effect, Kind, Manual, NoHandle, Presence, Settle, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::{Access, Cluster, ClusterError};

/// Looks in a row that must all say "ready": an API server that starts says so and not again.
const LOOKS: usize = 3;
/// How a verbose answer ends where all is well (apiserver, `pkg/server/healthz`).
const PASSED: &str = "readyz check passed";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct KubeApi;

/// Which API server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// How to reach it.
    cluster: Access,
}

/// What answered.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Its version, as `v1.36.1`.
    version: String,
}

impl Kind for KubeApi {
    const NAME: &'static str = "kube-api";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Wait until the Kubernetes API is ready",
        details: "Asks /readyz of the API server that the kubeconfig names, three times in a \
                  row, then /version.",
        example: "cluster = { kubeconfig = \"kubeconfig\", call = \"30s\" }",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(10));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = ClusterError;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, ClusterError> {
        let cluster = Cluster::open(&params.cluster).await?;
        for _ in 0..LOOKS {
            match cluster.text("/readyz?verbose").await {
                Ok(answer) if answer.contains(PASSED) => {}
                Ok(answer) => {
                    return Ok(Verdict::Underway(format!("/readyz: {}", summary(&answer))));
                }
                Err(ClusterError::Unavailable { message, status: 500.., .. }) => {
                    return Ok(Verdict::Underway(format!("/readyz: {}", summary(&message))));
                }
                Err(error @ ClusterError::Unreachable { .. }) => {
                    return Ok(Verdict::Underway(format!("{error}, static pods are starting")));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Verdict::satisfied(Outputs { version: cluster.version().await? }))
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), ClusterError> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, ClusterError> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), ClusterError> {
        match *handle {}
    }
}

/// How many checks of a verbose answer are not yet ok: lines are `[+]name ok`, `[-]name failed`.
fn summary(verbose: &str) -> String {
    let ok = verbose.lines().filter(|line| line.starts_with("[+]")).count();
    let failed = verbose.lines().filter(|line| line.starts_with("[-]")).count();
    if ok + failed == 0 {
        return verbose.lines().next().unwrap_or("not ready").to_owned();
    }
    format!("{failed} of {} checks not yet ok", ok + failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verbose_answer_is_counted() {
        assert_eq!(summary("[+]ping ok\n[-]etcd failed: x\nreadyz"), "1 of 2 checks not yet ok");
        assert_eq!(summary("apiserver not ready"), "apiserver not ready");
    }
}
