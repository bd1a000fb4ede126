//! `start-vm`: switches a VM of ours on.

use std::time::Duration;

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Secret, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::{ApiError, Client};
use super::door::Door;
use super::lenient::text;
use super::task::TaskError;

/// How long Proxmox may take to start a VM.
const START: Duration = Duration::from_mins(2);

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct StartVm;

/// Which VM.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The way into Proxmox.
    #[serde(flatten)]
    door: Door,
    /// The secret of the API token.
    token: Secret<String>,
    /// The host that it is on.
    host: String,
    /// Its id.
    vmid: u32,
    /// The uuid that proves it to be the one that was made.
    uuid: String,
}

/// A VM that runs.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// `running`.
    status: String,
}

/// Why a VM does not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call or the start failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] TaskError),
    /// It is gone.
    #[error("VM {vmid} is not on {host}")]
    #[diagnostic(code("proxmox::vm-gone"), help("`flow run --until create-vm` makes it"))]
    Gone {
        /// Its id.
        vmid: u32,
        /// Where it should be.
        host: String,
    },
    /// It is another one.
    #[error("VM {vmid} on {host} is not the one that was made")]
    #[diagnostic(
        code("proxmox::foreign-vm"),
        help("`flow plan --only create-vm` tells whose it is")
    )]
    Foreign {
        /// Its id.
        vmid: u32,
        /// Where it is.
        host: String,
    },
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Task(error.into())
    }
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Task(error) => error.retry(),
            Self::Gone { .. } => Retry::Never,
            Self::Foreign { .. } => Retry::Human,
        }
    }
}

impl Params {
    async fn client(&self) -> Result<Client, ApiError> {
        self.door.enter(&self.token).await
    }

    /// Refuses a VM that is gone or another one.
    async fn check(&self, client: &Client) -> Result<(), Error> {
        let (vmid, host) = (self.vmid, self.host.clone());
        let Some(config) = client.config(&host, vmid).await? else {
            return Err(Error::Gone { vmid, host });
        };
        if config.uuid().is_some_and(|uuid| uuid.to_string() == self.uuid) {
            return Ok(());
        }
        Err(Error::Foreign { vmid, host })
    }
}

impl Kind for StartVm {
    const NAME: &'static str = "start-vm";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Switch a virtual machine on",
        details: "Starts the VM if it is stopped; its uuid must be that of the VM that was made. \
                  A VM that runs is left alone, and none is ever stopped or rebooted.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            token-id = "flow@pve!flow"
            token = "secret"
            call = "30s"
            host = "atlas"
            vmid = 2000
            uuid = "4f1c9ae0-7a41-5f7b-9d5e-0d1f6c1f3c55"
        "#,
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle; // goes with its VM
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let client = params.client().await?;
        params.check(&client).await?;
        let (host, vmid) = (params.host.as_str(), params.vmid);
        let path = ["nodes", host, "qemu", &vmid.to_string(), "status", "current"];
        let current = client.get(&path, &[]).await?;
        let field = |name: &str| current.get(name).and_then(text);
        if field("status").as_deref() == Some("running") {
            return Ok(Verdict::satisfied(Outputs { status: "running".to_owned() }));
        }
        if let Some(lock) = field("lock") {
            return Ok(Verdict::Underway(format!("VM {vmid} is locked ({lock})")));
        }
        Ok(match client.running(host, vmid).await?.first() {
            Some(what) => Verdict::Underway(format!("{what} of VM {vmid} runs")),
            None => Verdict::Absent(Mark::Nowhere),
        })
    }

    /// # Cancel safety
    ///
    /// Dropped, the start goes on.
    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let client = params.client().await?;
        params.check(&client).await?;
        let path = ["nodes", &params.host, "qemu", &params.vmid.to_string(), "status", "start"];
        let started = match client.post(&path, &[]).await {
            Ok(upid) => client.finish(&upid, START).await,
            Err(error) => Err(error.into()),
        };
        match started {
            // It was started meanwhile, perhaps by a call of ours whose reply was lost.
            Err(error) if error.says("already running") => Ok(()),
            other => Ok(other?),
        }
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms_to_the_contract() {
        use crate::conformance::{Case, conforms};
        conforms(&Case::new(StartVm), async |world| super::super::planned::started(world).await)
            .await;
    }
}
