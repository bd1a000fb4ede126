//! `create-vm`: a marked VM with its disk, made in steps that can each be repeated.
//!
//! While Proxmox imports a disk, a VM made in one call has neither name nor mark, and after a power
//! cut only root can touch it. So the VM is made without disks first, marked, in well under a
//! second; then come firmware variables, system disk, its size, the boot order, and at last the
//! word that it is made. Every step looks first, and what was interrupted goes on where it stopped.

mod find;
mod make;
mod remove;
#[cfg(test)]
mod tests;
mod wanted;

use flow_engine::{
    Cx, Effect, Found, Kind, KindError, Manual, Mark, NotRecorded, OnDrift, Presence, Retry,
    Secret, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admin::{Admin, AdminError};
use super::client::{ApiError, Client};
use super::config::Config;
use super::door::{Door, DoorError};
use super::node::{Bridge, Node};
use super::task::TaskError;
use find::Sight;
use wanted::Wanted;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct CreateVm;

/// Which VM, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The way into Proxmox.
    #[serde(flatten)]
    door: Door,
    /// The secret of the API token.
    token: Secret<String>,
    /// The planned machine.
    node: Node,
    /// The volume that its system disk is imported from, as `STORE:import/NAME`.
    image: String,
    /// The storage of its disks.
    store: String,
    /// The bridge of its network card.
    bridge: Bridge,
    /// The administrator's way in. If it is root's password, a create of ours that was cut short
    /// before the VM had its mark is removed and made again; else a person must do that.
    admin: Option<Admin>,
    /// Whether the image brings the guest agent of QEMU.
    #[serde(default)]
    agent: bool,
}

/// The VM.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outputs {
    /// Its id.
    vmid: u32,
    /// The uuid that its machine sees.
    uuid: String,
    /// The address of its network card.
    mac: String,
    /// The host that it is on now.
    host: String,
}

/// What removing it takes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// The secret of the API token.
    token: String,
}

/// Where the VM is, and what proves it ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Handle {
    door: Door,
    host: String,
    vmid: u32,
    uuid: String,
    cluster: String,
}

/// Why there is no VM as planned.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call or a task failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] TaskError),
    /// The id belongs to somebody else.
    #[error("VM {vmid} on {host} (`{name}`) is not ours")]
    #[diagnostic(
        code("proxmox::foreign-vm"),
        help("give the node another `vmid` in the site file, or remove that VM yourself")
    )]
    Foreign {
        /// The id.
        vmid: u32,
        /// Where it is.
        host: String,
        /// What it is called.
        name: String,
    },
    /// A create of ours was cut short before the VM had its mark.
    #[error("VM {vmid} on {host} was half created and is locked")]
    #[diagnostic(
        code("proxmox::half-created"),
        help(
            "only root may remove it; on {host}: `qm unlock {vmid}`, then `qm destroy {vmid} --purge 1`"
        )
    )]
    Reserved {
        /// The id.
        vmid: u32,
        /// Where it is.
        host: String,
    },
    /// The planned machine exists under another id.
    #[error("{node} exists already, as VM {found} on {host}")]
    #[diagnostic(
        code("proxmox::other-vmid"),
        help("set its `vmid` in the site file to {found}, or remove that VM first")
    )]
    Elsewhere {
        /// The planned machine.
        node: String,
        /// The id that it has.
        found: u32,
        /// Where it is.
        host: String,
    },
    /// It differs in what cannot be changed.
    #[error("VM {vmid} cannot be changed in place: {diff}")]
    #[diagnostic(code(proxmox::fixed), help("`flow replace` destroys it and makes it again"))]
    Fixed {
        /// The id.
        vmid: u32,
        /// What differs.
        diff: String,
    },
    /// The run was stopped between two steps.
    #[error("stopped between two steps of making VM {vmid}")]
    #[diagnostic(code(proxmox::stopped), help("`flow resume` goes on there"))]
    Stopped {
        /// The id.
        vmid: u32,
    },
    /// A fact could not be made durable.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] NotRecorded),
    /// Root's way in is closed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Admin(#[from] AdminError),
    /// The way to a VM that was made is closed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Door(#[from] DoorError),
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
            Self::Door(error) => error.retry(),
            Self::Admin(error) => error.retry(),
            Self::Stopped { .. } => Retry::Backoff,
            Self::Fixed { .. } => Retry::Never,
            Self::Foreign { .. }
            | Self::Reserved { .. }
            | Self::Elsewhere { .. }
            | Self::Record(_) => Retry::Human,
        }
    }
}

impl Params {
    async fn client(&self) -> Result<Client, ApiError> {
        self.door.enter(&self.token).await
    }

    fn handle(&self, wanted: &Wanted<'_>, host: &str) -> Handle {
        Handle {
            door: self.door.clone(),
            host: host.to_owned(),
            vmid: self.node.vmid,
            uuid: wanted.mark.uuid.to_string(),
            cluster: wanted.mark.cluster.clone(),
        }
    }
}

impl Kind for CreateVm {
    const NAME: &'static str = "create-vm";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Make a virtual machine with an imported disk",
        details: "The VM is marked as ours by tag, uuid and description before it gets a disk, so \
                  an interrupted create goes on where it stopped. A VM of the same id without the \
                  mark is never touched. A VM that differs is reported, and changed only with \
                  `on-drift = \"fix\"`; a disk only grows. It is not started.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            token-id = "flow@pve!flow"
            token = "secret"
            call = "30s"
            image = "local:import/talos-376567988ad3-v1.13.4-0123456789ab.qcow2"
            store = "local-zfs"
            bridge = { name = "vmbr4", vlan = 4 }
            agent = true
            admin = { user = "root@pam", password = { env = "PROXMOX_PASSWORD" } }

            [node]
            name = "worker0"
            role = "worker"
            cidr = "10.2.2.1/16"
            vmid = 2000
            host = "atlas"
            machine = { cores = 8, memory = "16GiB", disk = "200GiB", cpu = "host" }
        "#,
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(5));
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let client = params.client().await?;
        let wanted = Wanted::new(cx, params);
        match find::find(cx, &client, &wanted).await? {
            Sight::Nothing => Ok(Verdict::Absent(Mark::Nowhere)),
            Sight::Busy(what) => Ok(Verdict::Underway(what)),
            Sight::Reserved { host, asked: false } => {
                Err(find::foreign(params.node.vmid, &host, &Config::default()))
            }
            // It has no mark yet; making goes on with removing it.
            Sight::Reserved { .. } if wanted.root.is_some() => Ok(Verdict::Absent(Mark::Nowhere)),
            Sight::Reserved { host, .. } => Err(Error::Reserved { vmid: params.node.vmid, host }),
            Sight::Ours { host, config } => {
                let mark = Mark::Ours(params.handle(&wanted, &host));
                if wanted.missing(&config).is_some() {
                    return Ok(Verdict::Absent(mark));
                }
                let differences = wanted.differences(&config);
                if differences.is_empty() {
                    let outputs = wanted.outputs(&host);
                    let secrets = Secrets { token: params.token.reveal().clone() };
                    return Ok(Verdict::Satisfied(Found { outputs, secrets, mark }));
                }
                Ok(Verdict::Drifted { diff: wanted::tell(&differences), mark })
            }
        }
    }

    /// # Cancel safety
    ///
    /// Dropped, the call or task in flight goes on; the next probe finds how far it came.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let client = params.client().await?;
        let wanted = Wanted::new(cx, params);
        make::make(cx, &client, &wanted).await
    }

    async fn exists(&self, cx: &Cx, handle: &Handle) -> Result<Presence, Error> {
        remove::exists(&handle.door.open(cx).await?, handle).await
    }

    async fn destroy(&self, cx: &Cx, handle: &Handle) -> Result<(), Error> {
        remove::destroy(&handle.door.open(cx).await?, handle).await
    }
}
