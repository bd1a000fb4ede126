//! `bootstrap-talos`: starts etcd on the first controller.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, Mark, NoHandle, OnDrift, Presence, Retry, Secret, Settle,
    Verdict,
};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bundle::{BadBundle, Bundle};
use super::client::{self, Bootstrapped, Client, Door, Member};
use super::connect::Identity;
use super::failure::{CallError, Machine};
use super::site::{Machines, Node, api_port};
use crate::duration::Span;

/// Where a controller keeps etcd's data.
const DATA: &str = "/var/lib/etcd";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct BootstrapTalos;

/// Where to bootstrap, and where etcd may run already.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The controller that becomes etcd's first member.
    node: Node,
    /// All controllers.
    controllers: Machines,
    /// The secrets of the cluster.
    bundle: Secret<Bundle>,
    /// The port of Talos' API.
    #[serde(default = "api_port")]
    port: u16,
    /// How long one call may take.
    #[serde(default)]
    call: Span,
}

/// Who is in etcd.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The member on the first controller, or else the first one by name.
    member: String,
}

/// Why etcd does not run.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// Two controllers are in two clusters.
    #[error("{one} and {other} are members of different etcd clusters")]
    #[diagnostic(
        code("talos::two-clusters"),
        help(
            "etcd was bootstrapped twice; decide which one is right (`talosctl etcd members`) and \
             reset the machines of the other"
        )
    )]
    TwoClusters {
        /// A controller.
        one: Machine,
        /// One that knows none of the members that the first one knows.
        other: Machine,
    },
    /// A machine did not do what it was asked.
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
            Self::TwoClusters { .. } => Retry::Human,
            Self::Call(error) => error.retry(),
            Self::Bundle(error) => error.retry(),
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::TwoClusters { .. } => true,
            Self::Call(error) => error.refused(),
            Self::Bundle(error) => error.refused(),
        }
    }
}

impl Kind for BootstrapTalos {
    const NAME: &'static str = "bootstrap-talos";
    const EFFECT: Effect = Effect::Once;
    const MANUAL: Manual = Manual {
        summary: "Bootstrap etcd on the first controller",
        details: "Done once in a cluster's life. Looks for etcd on every controller first: a \
                  second bootstrap would silently make a second cluster. Only when every \
                  controller shows that it has no data of etcd (one that boots or is silent \
                  shows nothing), it is asked for, at the first one's own address. Later runs \
                  find the members and do nothing.",
        example: r#"
node = "${site.first-controller}"
controllers = "${site.controllers}"
bundle = "${tasks.talos-secrets.bundle}"
"#,
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(3));
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle; // etcd lives in its machines
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let identity = Identity::new(params.bundle.reveal())?;
        let looks = params.controllers.values().map(|node| async {
            let machine = node.machine(params.port);
            let state = look(&machine, &identity, params).await;
            Seen { first: node.name == params.node.name, machine, state }
        });
        decide(join_all(looks).await)
    }

    /// # Cancel safety
    ///
    /// One write, which the machine itself accepts only once.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let machine = params.node.machine(params.port);
        let identity = Identity::new(params.bundle.reveal())?;
        let client = Client::secure(&machine, &identity, params.call.0).await?;
        match client.bootstrap().await? {
            Bootstrapped::Accepted => {}
            Bootstrapped::AlreadyDone => cx.log(b"the machine has etcd's data already\n"),
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

/// What was seen of a controller.
struct Seen {
    /// Whether it is the one to bootstrap.
    first: bool,
    machine: Machine,
    state: Result<Etcd, CallError>,
}

/// What etcd does on a controller.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Etcd {
    /// The machine has no configuration, so it cannot run.
    NotConfigured,
    /// It has no data: it waits for a bootstrap, or for others to join.
    Waiting,
    /// It is on its way, or the machine is; nobody can say yet whether it has data.
    OnItsWay(String),
    /// It runs; its members.
    Running(Vec<Member>),
}

async fn look(machine: &Machine, identity: &Identity, params: &Params) -> Result<Etcd, CallError> {
    let client = match client::knock(machine, identity, params.call.0).await? {
        Door::Configured(client) => client,
        Door::Maintenance(_) => return Ok(Etcd::NotConfigured),
    };
    let services = client.services().await?;
    let Some(etcd) = services.into_iter().find(|service| service.id == "etcd") else {
        return Ok(Etcd::OnItsWay("not listed".to_owned()));
    };
    match etcd.state.as_str() {
        // A member that boots says so too. But from here on its data directory is mounted, and
        // nothing in there is what Talos itself demands of a bootstrap.
        "Preparing" if client.is_empty(DATA).await? => Ok(Etcd::Waiting),
        "Running" if etcd.healthy => match client.etcd_members().await? {
            members if members.is_empty() => Ok(Etcd::OnItsWay(etcd.state)),
            members => Ok(Etcd::Running(members)),
        },
        _ => Ok(Etcd::OnItsWay(etcd.state)),
    }
}

/// What all looks together say. A member anywhere settles it; absence needs every controller that
/// has a configuration to say that it has no data.
fn decide(seen: Vec<Seen>) -> Result<Verdict<BootstrapTalos>, Error> {
    if let Some(verdict) = running(&seen)? {
        return Ok(verdict);
    }
    let mut waiting = None;
    for Seen { first, machine, state } in seen {
        let reason = match state {
            Ok(Etcd::Running(_) | Etcd::Waiting) => continue,
            Ok(Etcd::NotConfigured) if !first => continue,
            Ok(Etcd::NotConfigured) => format!("{machine} has no configuration yet"),
            Ok(Etcd::OnItsWay(word)) => format!("etcd on {machine} is {word}"),
            // It may be booting, but it may also hold the only member: wait, never bootstrap.
            Err(CallError::Unreachable { .. }) => {
                format!("{machine} does not answer yet, and etcd may run there")
            }
            Err(error) => return Err(error.into()),
        };
        waiting.get_or_insert(reason);
    }
    Ok(waiting.map_or(Verdict::Absent(Mark::Nowhere), Verdict::Underway))
}

fn running(seen: &[Seen]) -> Result<Option<Verdict<BootstrapTalos>>, Error> {
    let mut views = seen.iter().filter_map(|seen| match &seen.state {
        Ok(Etcd::Running(members)) => Some((&seen.machine, members)),
        Ok(Etcd::NotConfigured | Etcd::Waiting | Etcd::OnItsWay(_)) | Err(_) => None,
    });
    let Some((one, members)) = views.next() else { return Ok(None) };
    for (other, theirs) in views {
        if !theirs.iter().any(|their| members.iter().any(|member| member.id == their.id)) {
            return Err(Error::TwoClusters { one: one.clone(), other: other.clone() });
        }
    }
    let first = seen.iter().find(|seen| seen.first).map(|seen| seen.machine.name.as_str());
    let member = members
        .iter()
        .find(|member| Some(member.name.as_str()) == first)
        .or_else(|| members.iter().min());
    Ok(member.map(|member| Verdict::satisfied(Outputs { member: member.name.clone() })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(states: Vec<Result<Etcd, CallError>>) -> Vec<Seen> {
        let machines = states.into_iter().enumerate().map(|(index, state)| Seen {
            first: index == 0,
            machine: machine(index),
            state,
        });
        machines.collect()
    }

    fn machine(index: usize) -> Machine {
        let address = format!("10.2.1.{}:50000", index + 1).parse().unwrap();
        Machine { name: format!("controlplane{index}"), address }
    }

    fn silent(index: usize) -> Result<Etcd, CallError> {
        let source = std::io::ErrorKind::ConnectionRefused.into();
        Err(CallError::Unreachable { machine: machine(index), source })
    }

    fn members(ids: &[u64]) -> Etcd {
        let member =
            |id: &u64| Member { name: format!("controlplane{id}"), id: *id, learner: false };
        Etcd::Running(ids.iter().map(member).collect())
    }

    fn verdict(states: Vec<Result<Etcd, CallError>>) -> String {
        match decide(seen(states)) {
            Ok(Verdict::Satisfied(found)) => format!("satisfied: {}", found.outputs.member),
            Ok(Verdict::Absent(_)) => "absent".to_owned(),
            Ok(Verdict::Underway(what)) => format!("underway: {what}"),
            Ok(Verdict::Drifted { diff, .. }) => format!("drifted: {diff}"),
            Err(error) => format!("{:?}: {error}", error.retry()),
        }
    }

    #[test]
    fn a_member_anywhere_is_enough() {
        assert_eq!(
            verdict(vec![Ok(Etcd::Waiting), Ok(members(&[1, 2])), silent(2)]),
            "satisfied: controlplane1"
        );
        assert_eq!(
            verdict(vec![Ok(members(&[1, 0])), Ok(members(&[0, 1])), Ok(Etcd::NotConfigured)]),
            "satisfied: controlplane0"
        );
    }

    #[test]
    fn absence_needs_every_controller() {
        assert_eq!(
            verdict(vec![Ok(Etcd::Waiting), Ok(Etcd::NotConfigured), Ok(Etcd::Waiting)]),
            "absent"
        );
        assert_eq!(
            verdict(vec![Ok(Etcd::Waiting), silent(1), Ok(Etcd::Waiting)]),
            "underway: controlplane1 (10.2.1.2:50000) does not answer yet, and etcd may run there"
        );
        assert_eq!(
            verdict(vec![silent(0), Ok(Etcd::Waiting)]),
            "underway: controlplane0 (10.2.1.1:50000) does not answer yet, and etcd may run there"
        );
        assert_eq!(
            verdict(vec![Ok(Etcd::Waiting), Ok(Etcd::OnItsWay("Preparing".to_owned()))]),
            "underway: etcd on controlplane1 (10.2.1.2:50000) is Preparing"
        );
        assert_eq!(
            verdict(vec![Ok(Etcd::NotConfigured), Ok(Etcd::Waiting)]),
            "underway: controlplane0 (10.2.1.1:50000) has no configuration yet"
        );
    }

    #[test]
    fn two_clusters_need_a_person() {
        assert_eq!(
            verdict(vec![Ok(members(&[0])), Ok(members(&[1]))]),
            "Human: controlplane0 (10.2.1.1:50000) and controlplane1 (10.2.1.2:50000) are members \
             of different etcd clusters"
        );
    }
}
