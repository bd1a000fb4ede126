//! The client of Talos' API: the only place that speaks it.
//!
//! A client is one connection to one machine at its own address. Every call has a deadline, is
//! sent once and never repeated here.

use std::error::Error as StdError;
use std::future::Future;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::connect::{self, Alert, Connection, Established, Identity};
use super::failure::{Answer, CallError, Machine};
use super::proto::cosi::resource::GetRequest;
use super::proto::cosi::resource::state_client::StateClient;
use super::proto::machine as api;
use super::proto::machine::apply_configuration_request::Mode;
use super::proto::machine::machine_service_client::MachineServiceClient;

/// The largest message that Talos' own clients take.
const LARGEST: usize = 32 << 20;

/// One connection to one machine.
pub(super) struct Client {
    machine: Machine,
    channel: Channel,
    alert: Alert,
    deadline: Duration,
}

/// Who opened when we knocked.
pub(super) enum Door {
    /// A machine with a configuration of our cluster.
    Configured(Client),
    /// A machine without a configuration; it cannot prove who it is.
    Maintenance(Client),
}

/// How a configuration is to take effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApplyMode {
    /// In maintenance mode.
    Auto,
    /// At once or not at all.
    NoReboot,
}

/// What a machine did with a configuration, or would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// Whether it restarts to take it up.
    pub(super) restarts: bool,
    /// Its own words.
    pub(super) details: String,
}

/// What became of a request to bootstrap etcd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bootstrapped {
    /// It was accepted.
    Accepted,
    /// This machine has etcd's data already: the reply to an earlier request was lost.
    AlreadyDone,
}

/// The state of one service of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    /// Its name.
    pub(super) id: String,
    /// Talos' word for its state.
    pub(super) state: String,
    /// Whether its last check was good.
    pub(super) healthy: bool,
}

/// What one member of etcd says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemberStatus {
    /// Its number.
    pub(super) id: u64,
    /// The leader's number; zero without one.
    pub(super) leader: u64,
    /// Whether it does not vote yet.
    pub(super) learner: bool,
    /// What is wrong, in etcd's words.
    pub(super) errors: Vec<String>,
}

/// A member of etcd as another lists it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Member {
    /// The machine's name.
    pub(super) name: String,
    /// Its number.
    pub(super) id: u64,
    /// Whether it does not vote yet.
    pub(super) learner: bool,
}

/// Finds out in which mode a machine is, and connects.
///
/// # Errors
///
/// [`CallError::Foreign`] only for a machine that has a configuration which is not of our cluster.
pub(super) async fn knock(
    machine: &Machine,
    identity: &Identity,
    deadline: Duration,
) -> Result<Door, CallError> {
    let foreign = match Client::secure(machine, identity, deadline).await {
        Ok(client) => return Ok(Door::Configured(client)),
        Err(foreign @ CallError::Foreign { .. }) => foreign,
        Err(error) => return Err(error),
    };
    match Client::maintenance(machine, deadline).await {
        Ok(client) => Ok(Door::Maintenance(client)),
        // Between the two looks it may have taken a configuration: then it is ours by now.
        Err(CallError::Configured { .. }) => {
            match Client::secure(machine, identity, deadline).await {
                Ok(client) => Ok(Door::Configured(client)),
                Err(CallError::Foreign { .. }) => Err(foreign),
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

impl Client {
    /// Connects to a machine of our cluster.
    pub(super) async fn secure(
        machine: &Machine,
        identity: &Identity,
        deadline: Duration,
    ) -> Result<Self, CallError> {
        let connection = connect::secure(machine, identity, deadline).await?;
        Self::over(machine, connection, deadline).await
    }

    /// Connects to a machine without a configuration.
    pub(super) async fn maintenance(
        machine: &Machine,
        deadline: Duration,
    ) -> Result<Self, CallError> {
        let connection = connect::maintenance(machine, deadline).await?;
        Self::over(machine, connection, deadline).await
    }

    async fn over(
        machine: &Machine,
        connection: Connection,
        deadline: Duration,
    ) -> Result<Self, CallError> {
        let failed = |source: Box<dyn StdError + Send + Sync>| CallError::Interrupted {
            machine: machine.clone(),
            call: "the HTTP/2 handshake",
            source,
        };
        let endpoint = Endpoint::from_shared(format!("https://{}", machine.address))
            .map_err(|error| failed(error.into()))?;
        let Connection { stream, alert } = connection;
        let connecting = endpoint.connect_with_connector(Established::new(stream));
        let channel = tokio::time::timeout(deadline, connecting)
            .await
            .map_err(|late| failed(late.into()))?
            .map_err(|error| failed(error.into()))?;
        Ok(Self { machine: machine.clone(), channel, alert, deadline })
    }

    /// The version of Talos that runs.
    pub(super) async fn version(&self) -> Result<String, CallError> {
        let mut service = self.service();
        let reply = self.call("Version", service.version(())).await?;
        let message = self.only("Version", reply.messages)?;
        let version = message.version.ok_or_else(|| self.malformed("Version", "no version"))?;
        Ok(version.tag)
    }

    /// A resource as YAML; `None` if there is none of the id.
    pub(super) async fn resource(
        &self,
        namespace: &str,
        kind: &str,
        id: &str,
    ) -> Result<Option<String>, CallError> {
        let request = GetRequest {
            namespace: namespace.to_owned(),
            r#type: kind.to_owned(),
            id: id.to_owned(),
            options: None,
        };
        let mut state = StateClient::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        let reply = match self.within("Get", state.get(request)).await? {
            Ok(reply) => reply.into_inner(),
            Err(status) if status.code() == Code::NotFound && status.source().is_none() => {
                return Ok(None);
            }
            Err(status) => return Err(self.failure("Get", &status)),
        };
        let spec = reply.resource.and_then(|resource| resource.spec);
        spec.map(|spec| Some(spec.yaml_spec)).ok_or_else(|| self.malformed("Get", "no resource"))
    }

    /// Gives the machine a configuration, or only asks what would come of it.
    pub(super) async fn apply_configuration(
        &self,
        config: &str,
        mode: ApplyMode,
        dry_run: bool,
    ) -> Result<Applied, CallError> {
        let mode = match mode {
            ApplyMode::Auto => Mode::Auto,
            ApplyMode::NoReboot => Mode::NoReboot,
        };
        let request = api::ApplyConfigurationRequest {
            data: config.as_bytes().to_vec(),
            mode: mode.into(),
            dry_run,
            try_mode_timeout: None,
        };
        let mut service = self.service();
        let reply = self.call("ApplyConfiguration", service.apply_configuration(request)).await?;
        let message = self.only("ApplyConfiguration", reply.messages)?;
        let restarts = message.mode() == Mode::Reboot;
        let words = message.warnings.into_iter().chain([message.mode_details]);
        Ok(Applied { restarts, details: words.collect::<Vec<_>>().join("\n") })
    }

    /// Makes a new etcd cluster on this machine.
    pub(super) async fn bootstrap(&self) -> Result<Bootstrapped, CallError> {
        let request = api::BootstrapRequest { recover_etcd: false, recover_skip_hash_check: false };
        let mut service = self.service();
        match self.within("Bootstrap", service.bootstrap(request)).await? {
            Ok(_) => Ok(Bootstrapped::Accepted),
            Err(status) if status.code() == Code::AlreadyExists && status.source().is_none() => {
                Ok(Bootstrapped::AlreadyDone)
            }
            Err(status) => Err(self.failure("Bootstrap", &status)),
        }
    }

    /// The system's services.
    pub(super) async fn services(&self) -> Result<Vec<Service>, CallError> {
        let mut service = self.service();
        let reply = self.call("ServiceList", service.service_list(())).await?;
        let list = self.only("ServiceList", reply.messages)?;
        let services = list.services.into_iter().map(|service| Service {
            id: service.id,
            state: service.state,
            healthy: service.health.is_some_and(|health| health.healthy && !health.unknown),
        });
        Ok(services.collect())
    }

    /// Whether a directory exists and holds nothing.
    pub(super) async fn is_empty(&self, directory: &str) -> Result<bool, CallError> {
        let request = api::ListRequest { root: directory.to_owned(), recurse: false };
        let mut service = self.service();
        let list = async {
            let mut files = service.list(request).await?.into_inner();
            let mut seen = Vec::new();
            while let Some(file) = files.message().await? {
                seen.push(file);
            }
            Ok(Response::new(seen))
        };
        // The first one is the directory itself; what cannot be looked at is there all the same.
        Ok(match self.call("List", list).await?.as_slice() {
            [itself] => itself.is_dir && itself.relative_name == "." && itself.error.is_empty(),
            _ => false,
        })
    }

    /// The members of etcd that this machine's own member knows.
    pub(super) async fn etcd_members(&self) -> Result<Vec<Member>, CallError> {
        let request = api::EtcdMemberListRequest { query_local: true };
        let mut service = self.service();
        let reply = self.call("EtcdMemberList", service.etcd_member_list(request)).await?;
        let list = self.only("EtcdMemberList", reply.messages)?;
        let members = list.members.into_iter().map(|member| Member {
            name: member.hostname,
            id: member.id,
            learner: member.is_learner,
        });
        Ok(members.collect())
    }

    /// The state of this machine's member of etcd.
    pub(super) async fn etcd_status(&self) -> Result<MemberStatus, CallError> {
        let mut service = self.service();
        let reply = self.call("EtcdStatus", service.etcd_status(())).await?;
        let message = self.only("EtcdStatus", reply.messages)?;
        let status =
            message.member_status.ok_or_else(|| self.malformed("EtcdStatus", "no member"))?;
        Ok(MemberStatus {
            id: status.member_id,
            leader: status.leader,
            learner: status.is_learner,
            errors: status.errors,
        })
    }

    /// The alarms of etcd, in its words.
    pub(super) async fn etcd_alarms(&self) -> Result<Vec<String>, CallError> {
        use api::etcd_member_alarm::AlarmType;
        let mut service = self.service();
        let reply = self.call("EtcdAlarmList", service.etcd_alarm_list(())).await?;
        let alarms = reply.messages.into_iter().flat_map(|message| message.member_alarms);
        let raised = alarms.filter_map(|alarm| match alarm.alarm() {
            AlarmType::None => None,
            AlarmType::Nospace => Some("NOSPACE".to_owned()),
            AlarmType::Corrupt => Some("CORRUPT".to_owned()),
        });
        Ok(raised.collect())
    }

    fn service(&self) -> MachineServiceClient<Channel> {
        MachineServiceClient::new(self.channel.clone()).max_decoding_message_size(LARGEST)
    }

    async fn call<T>(
        &self,
        call: &'static str,
        reply: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        let reply = self.within(call, reply).await?;
        reply.map(Response::into_inner).map_err(|status| self.failure(call, &status))
    }

    async fn within<T>(
        &self,
        call: &'static str,
        reply: impl Future<Output = Result<T, Status>>,
    ) -> Result<Result<T, Status>, CallError> {
        tokio::time::timeout(self.deadline, reply).await.map_err(|late| CallError::Interrupted {
            machine: self.machine.clone(),
            call,
            source: Box::new(late),
        })
    }

    /// The one message of a reply that was not fanned out.
    fn only<T>(&self, call: &'static str, messages: Vec<T>) -> Result<T, CallError> {
        messages.into_iter().next().ok_or_else(|| self.malformed(call, "the reply is empty"))
    }

    /// An answer that makes no sense.
    pub(super) fn malformed(&self, call: &'static str, what: &str) -> CallError {
        let source = Answer::malformed(what);
        CallError::Failed { machine: self.machine.clone(), call, source }
    }

    fn failure(&self, call: &'static str, status: &Status) -> CallError {
        let machine = self.machine.clone();
        if let Some(refusal) = self.alert.refusal() {
            return CallError::Unauthorised { machine, call, source: Box::new(refusal) };
        }
        let source =
            Answer { code: format!("{:?}", status.code()), message: status.message().to_owned() };
        if let Some(cause) = status.source() {
            // A status with a cause was made up by this side.
            let source = innermost(cause).to_string().into();
            return CallError::Interrupted { machine, call, source };
        }
        match status.code() {
            Code::PermissionDenied | Code::Unauthenticated => {
                CallError::Unauthorised { machine, call, source: Box::new(source) }
            }
            Code::FailedPrecondition => CallError::NotReady { machine, call, source },
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange | Code::NotFound => {
                CallError::Refused { machine, call, source }
            }
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => CallError::Failed { machine, call, source },
        }
    }
}

fn innermost(error: &dyn StdError) -> &dyn StdError {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause
}
