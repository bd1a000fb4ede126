//! `etcd-quorum`: all controllers vote in one healthy etcd cluster.

use std::collections::BTreeSet;

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, NoHandle, Presence, Retry, Secret, Settle, Verdict,
};
use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bundle::{BadBundle, Bundle};
use super::client::{Client, Member, MemberStatus};
use super::connect::Identity;
use super::failure::{CallError, Machine};
use super::site::{Machines, api_port};
use crate::duration::Span;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct EtcdQuorum;

/// Who must vote.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
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

/// Who votes.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The members by name.
    members: Vec<String>,
}

/// Why etcd cannot be relied on.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// etcd has raised an alarm, which it never takes back by itself.
    #[error("etcd raised {}", alarms.join(", "))]
    #[diagnostic(
        code("talos::etcd-alarm"),
        help(
            "NOSPACE: `talosctl etcd defrag`, then `talosctl etcd alarm disarm`; CORRUPT: replace the member"
        )
    )]
    Alarm {
        /// The alarms, each with its machine.
        alarms: Vec<String>,
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
            Self::Alarm { .. } => Retry::Human,
            Self::Call(error) => error.retry(),
            Self::Bundle(error) => error.retry(),
        }
    }
}

impl Kind for EtcdQuorum {
    const NAME: &'static str = "etcd-quorum";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Wait until all controllers vote in one etcd cluster",
        details: "Asks every controller for its own view: exactly the planned members, the same \
                  everywhere, none of them a learner, one leader that all agree on, no errors. An \
                  alarm ends the task.",
        example: r#"
controllers = "${site.controllers}"
bundle = "${tasks.talos-secrets.bundle}"
"#,
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::from_mins(10));

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let identity = Identity::new(params.bundle.reveal())?;
        let looks = params.controllers.values().map(|node| async {
            let machine = node.machine(params.port);
            let view = look(&machine, &identity, params).await;
            (machine, view)
        });
        let mut views = Vec::new();
        for (machine, view) in join_all(looks).await {
            match view {
                Ok(view) => views.push((machine, view)),
                Err(CallError::Unreachable { .. } | CallError::NotReady { .. }) => {
                    return Ok(Verdict::Underway(format!("{machine} does not answer yet")));
                }
                Err(error) => return Err(error.into()),
            }
        }
        judge(&views)
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), Error> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// How one controller sees etcd.
struct View {
    members: Vec<Member>,
    status: MemberStatus,
    alarms: Vec<String>,
}

async fn look(machine: &Machine, identity: &Identity, params: &Params) -> Result<View, CallError> {
    let client = Client::secure(machine, identity, params.call.0).await?;
    let members = client.etcd_members().await?;
    let status = client.etcd_status().await?;
    let alarms = client.etcd_alarms().await?;
    Ok(View { members, status, alarms })
}

/// What all views together say.
fn judge(views: &[(Machine, View)]) -> Result<Verdict<EtcdQuorum>, Error> {
    let alarms = views.iter().flat_map(|(machine, view)| {
        view.alarms.iter().map(move |alarm| format!("{alarm} ({})", machine.name))
    });
    let alarms: Vec<String> = alarms.collect();
    if !alarms.is_empty() {
        return Err(Error::Alarm { alarms });
    }
    let planned: BTreeSet<&str> = views.iter().map(|(machine, _)| machine.name.as_str()).collect();
    let wait = views
        .iter()
        .find_map(|(machine, view)| imperfect(&machine.name, view, &planned))
        .or_else(|| disagreement(views));
    if let Some(wait) = wait {
        return Ok(Verdict::Underway(wait));
    }
    let members = views.iter().map(|(machine, _)| machine.name.clone()).collect();
    Ok(Verdict::satisfied(Outputs { members }))
}

/// What is not yet as it must be in one view.
fn imperfect(name: &str, view: &View, planned: &BTreeSet<&str>) -> Option<String> {
    let listed: BTreeSet<&str> = view.members.iter().map(|member| member.name.as_str()).collect();
    if listed != *planned || view.members.len() != planned.len() {
        let listed = listed.into_iter().collect::<Vec<_>>().join(", ");
        return Some(format!("{name} sees the members {listed}"));
    }
    if let Some(learner) = view.members.iter().find(|member| member.learner) {
        return Some(format!("{} is a learner", learner.name));
    }
    if view.status.learner {
        return Some(format!("{name} is a learner"));
    }
    view.status.errors.first().map(|error| format!("etcd on {name} says: {error}"))
}

/// What the views do not agree on yet.
fn disagreement(views: &[(Machine, View)]) -> Option<String> {
    let (_, first) = views.first()?;
    let ids = |view: &View| view.members.iter().map(|member| member.id).collect::<BTreeSet<_>>();
    let leader = first.status.leader;
    if views.iter().any(|(_, other)| ids(other) != ids(first)) {
        return Some("the controllers do not see the same members".to_owned());
    }
    let agreed = views.iter().all(|(_, other)| other.status.leader == leader);
    let leads = ids(first).contains(&leader);
    (!agreed || !leads).then(|| "no leader is agreed on".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Views = Vec<(Machine, View)>;

    fn view(name: &str, id: u64, leader: u64) -> (Machine, View) {
        let address = format!("10.2.1.{id}:50000").parse().unwrap();
        let member = |id: u64| Member { name: format!("c{id}"), id, learner: false };
        let view = View {
            members: (1..=3).map(member).collect(),
            status: MemberStatus { id, leader, learner: false, errors: Vec::new() },
            alarms: Vec::new(),
        };
        (Machine { name: name.to_owned(), address }, view)
    }

    fn views() -> Views {
        vec![view("c1", 1, 2), view("c2", 2, 2), view("c3", 3, 2)]
    }

    fn verdict(views: &[(Machine, View)]) -> String {
        match judge(views) {
            Ok(Verdict::Satisfied(found)) => found.outputs.members.join(" "),
            Ok(Verdict::Underway(what)) => what,
            Ok(Verdict::Absent(_) | Verdict::Drifted { .. }) => {
                panic!("a gate has no such verdict")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn three_that_agree_are_a_quorum() {
        assert_eq!(verdict(&views()), "c1 c2 c3");
    }

    #[test]
    fn anything_else_is_waited_for() {
        let changed = |change: &dyn Fn(&mut Views)| {
            let mut views = views();
            change(&mut views);
            verdict(&views)
        };
        assert_eq!(changed(&|v| drop(v[1].1.members.pop())), "c2 sees the members c1, c2");
        assert_eq!(changed(&|v| v[0].1.members[2].learner = true), "c3 is a learner");
        assert_eq!(changed(&|v| v[2].1.status.leader = 1), "no leader is agreed on");
        assert_eq!(
            changed(&|v| v.iter_mut().for_each(|v| v.1.status.leader = 0)),
            "no leader is agreed on"
        );
        assert_eq!(
            changed(&|v| v[1].1.members[0].id = 9),
            "the controllers do not see the same members"
        );
        assert_eq!(
            changed(&|v| v[1].1.status.errors.push("slow".to_owned())),
            "etcd on c2 says: slow"
        );
        assert_eq!(
            changed(&|v| v[1].1.alarms.push("NOSPACE".to_owned())),
            "etcd raised NOSPACE (c2)"
        );
    }
}
