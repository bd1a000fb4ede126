//! `apply-config`: one machine has its configuration.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Secret, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bundle::{BadBundle, Bundle};
use super::client::{self, ApplyMode, Client, Door};
use super::connect::Identity;
use super::cosi::{self, Stage};
use super::documents::{BadDocuments, Documents};
use super::failure::{CallError, Machine, OtherMachine};
use super::site::{Node, api_port};
use crate::duration::Span;

/// How many places a message names.
const NAMED: usize = 6;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct ApplyConfig;

/// Which machine, and its configuration.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The machine.
    node: Node,
    /// Its configuration: a stream of YAML documents.
    config: Secret<String>,
    /// The secrets of the cluster.
    bundle: Secret<Bundle>,
    /// The UUID of the VM that must answer; without one, any machine at the address will do.
    #[serde(default)]
    uuid: Option<String>,
    /// The port of Talos' API.
    #[serde(default = "api_port")]
    port: u16,
    /// How long one call may take.
    #[serde(default)]
    call: Span,
}

/// Which configuration is in force.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The configuration's hash, as `render-config` tells it.
    hash: String,
}

/// Why the machine does not have its configuration.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// Another machine has the address.
    #[error(transparent)]
    #[diagnostic(transparent)]
    OtherMachine(#[from] OtherMachine),
    /// The configuration, or the one in force, is not readable.
    #[error("the configuration {of} of machine {machine} cannot be read")]
    #[diagnostic(code(talos::config), help("compare with `talosctl get machineconfig -o yaml`"))]
    Config {
        /// The machine.
        machine: Machine,
        /// Which one.
        of: &'static str,
        /// Why not.
        source: BadDocuments,
    },
    /// The machine did not do what it was asked.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Call(#[from] CallError),
    /// The secrets cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BadBundle),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::OtherMachine(_) => Retry::Human,
            Self::Config { .. } => Retry::Never,
            Self::Call(error) => error.retry(),
            Self::Bundle(error) => error.retry(),
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::OtherMachine(_) | Self::Config { .. } => true,
            Self::Call(error) => error.refused(),
            Self::Bundle(error) => error.refused(),
        }
    }
}

impl Kind for ApplyConfig {
    const NAME: &'static str = "apply-config";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Give a machine its configuration, without ever restarting it",
        details: "A machine without a configuration gets it over the very connection on which it \
                  told the planned uuid. On a configured one the configuration in force is \
                  compared, less what upgrades change and the spent mesh key, and what differs is \
                  applied if that needs no restart; if it does, it is only reported. While the \
                  machine installs or starts, it is waited for.",
        example: r#"
node = { name = "worker0", role = "worker", address = "10.2.2.1", cidr = "10.2.2.1/16" }
config = "${tasks.render-config[each.key].config}"
bundle = "${tasks.talos-secrets.bundle}"
uuid = "${tasks.create-vm[each.key].uuid}"
"#,
    };
    // A worker's API comes after a controller's, which signs its certificate.
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(5));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle; // it lives in its machine
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let machine = params.node.machine(params.port);
        let identity = Identity::new(params.bundle.reveal())?;
        match client::knock(&machine, &identity, params.call.0).await {
            Ok(Door::Configured(client)) => compare(cx, &machine, &client, params).await,
            Ok(Door::Maintenance(client)) => {
                same_machine(&machine, &client, params).await?;
                match cosi::stage(&client).await? {
                    Some(Stage::Maintenance) => Ok(Verdict::Absent(Mark::Nowhere)),
                    stage => Ok(busy(&machine, stage.as_ref())),
                }
            }
            Err(CallError::Unreachable { .. }) => {
                Ok(Verdict::Underway(format!("{machine} does not answer yet")))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// # Cancel safety
    ///
    /// One write, which is safe to repeat.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let machine = params.node.machine(params.port);
        let identity = Identity::new(params.bundle.reveal())?;
        let (client, mode) = match client::knock(&machine, &identity, params.call.0).await? {
            Door::Configured(client) => (client, ApplyMode::NoReboot),
            Door::Maintenance(client) => {
                same_machine(&machine, &client, params).await?;
                (client, ApplyMode::Auto)
            }
        };
        let applied = client.apply_configuration(params.config.reveal(), mode, false).await;
        let applied = applied.map_err(|error| taken_meanwhile(error, mode))?;
        cx.log(format!("{machine}: {}\n", applied.details).as_bytes());
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// A machine that was asked without credentials and permits nothing has taken a configuration
/// meanwhile: the next look has some.
fn taken_meanwhile(error: CallError, mode: ApplyMode) -> CallError {
    if let (CallError::Unauthorised { machine, .. }, ApplyMode::Auto) = (&error, mode) {
        return CallError::Configured { machine: machine.clone() };
    }
    error
}

/// Compares what is in force on a machine of ours with what is wanted.
async fn compare(
    cx: &Cx,
    machine: &Machine,
    client: &Client,
    params: &Params,
) -> Result<Verdict<ApplyConfig>, Error> {
    match cosi::stage(client).await? {
        Some(Stage::Booting | Stage::Running) => {}
        stage @ (None | Some(Stage::Maintenance | Stage::Busy(_))) => {
            return Ok(busy(machine, stage.as_ref()));
        }
    }
    let Some(live) = cosi::config(client).await? else {
        return Ok(Verdict::Underway(format!("{machine} has not loaded its configuration yet")));
    };
    let read = |yaml: &str, of| {
        Documents::parse(yaml).map_err(|source| Error::Config {
            machine: machine.clone(),
            of,
            source,
        })
    };
    let wanted = read(params.config.reveal(), "wanted")?;
    let places = wanted.differences(&read(&live, "in force")?);
    let outputs = Outputs { hash: wanted.hash() };
    if places.is_empty() {
        return Ok(Verdict::satisfied(outputs));
    }
    let places = summary(&places);
    let tried = client.apply_configuration(params.config.reveal(), ApplyMode::Auto, true).await?;
    if tried.restarts {
        cx.note(format!("{machine} differs at {places}: only a restart would apply it"));
        return Ok(Verdict::satisfied(outputs));
    }
    Ok(Verdict::Drifted { diff: format!("{machine} differs at {places}"), mark: Mark::Nowhere })
}

/// Makes sure that secrets are only told to the planned machine.
async fn same_machine(machine: &Machine, client: &Client, params: &Params) -> Result<(), Error> {
    let Some(wanted) = &params.uuid else { return Ok(()) };
    match cosi::uuid(client).await? {
        Some(uuid) if uuid == wanted.to_lowercase() => Ok(()),
        Some(uuid) => Err(OtherMachine { machine: machine.clone(), uuid }.into()),
        None => Err(client.malformed("Get", "the machine knows no uuid").into()),
    }
}

fn busy(machine: &Machine, stage: Option<&Stage>) -> Verdict<ApplyConfig> {
    let stage = stage.map_or("starting", Stage::as_str);
    Verdict::Underway(format!("{machine} is {stage}"))
}

fn summary(places: &[String]) -> String {
    let named = places.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more places"),
    }
}
