//! Who may call what: roles, and the calls that exist in maintenance mode.
//!
//! Source: the rules in `machined.go` and the maintenance server of Talos 1.12.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::HeaderMap,
    middleware::Next,
    response::Response,
};
use tonic::Status;

use super::proxy::{self, Target};
use crate::{
    serve::Peer,
    talos::{credentials, live::Live, rack::Rack},
};

pub(super) const ADMIN: &str = "os:admin";
const OPERATOR: &str = "os:operator";
const READER: &str = "os:reader";
const ETCD_BACKUP: &str = "os:etcd:backup";
const META_WRITER: &str = "os:meta:writer";

/// The calls of the small server that maintenance mode had before 1.13.
const OLD_MAINTENANCE: [&str; 6] = [
    "/machine.MachineService/ApplyConfiguration",
    "/storage.StorageService/Disks",
    "/storage.StorageService/BlockDeviceWipe",
    "/cosi.resource.State/Get",
    "/cosi.resource.State/List",
    "/cosi.resource.State/Watch",
];

/// Which of its two worlds a machine's API belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Maintenance,
    Normal,
}

/// What is needed to decide.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) rack: Arc<Rack>,
    pub(super) vmid: u32,
    pub(super) mode: Mode,
}

/// A request extension: the caller's roles.
#[derive(Debug, Clone)]
pub(super) struct Roles(Vec<String>);

impl Roles {
    /// Whether the caller has a role.
    pub(super) fn has(&self, role: &str) -> bool {
        self.0.iter().any(|own| own == role)
    }

    fn any(&self, roles: &[&str]) -> bool {
        roles.iter().any(|role| self.has(role))
    }
}

/// The roles of a request that went through [`check`].
pub(super) fn roles<T>(request: &tonic::Request<T>) -> Roles {
    request.extensions().get::<Roles>().cloned().unwrap_or(Roles(Vec::new()))
}

/// Lets a request through to the services, or to other machines, if its caller may.
pub(super) async fn check(
    State(access): State<Arc<Access>>,
    mut request: Request,
    next: Next,
) -> Response {
    let roles = access.roles(&request);
    let method = request.uri().path().to_owned();
    let target = match (access.mode, proxy::target(request.headers())) {
        (Mode::Maintenance, _) => Target::Here,
        (Mode::Normal, Ok(target)) => target,
        (Mode::Normal, Err(status)) => return refused(status),
    };
    match access.decide(&method, &roles, &target) {
        Decision::Refuse(status) => refused(status),
        Decision::Here => {
            request.extensions_mut().insert(roles);
            next.run(request).await
        }
        Decision::Forward(targets) => {
            request.extensions_mut().insert(roles);
            proxy::forward(&access.rack, request, targets).await
        }
    }
}

/// A failed call.
pub(super) fn refused(status: Status) -> Response {
    status.into_http::<Body>()
}

/// What happens to a call.
enum Decision {
    Here,
    Forward(Target),
    Refuse(Status),
}

impl Access {
    fn roles(&self, request: &Request) -> Roles {
        // Another machine of the world has forwarded it, with the roles that it had found.
        if let Some(roles) = request.extensions().get::<Roles>() {
            return roles.clone();
        }
        match self.mode {
            Mode::Maintenance => Roles(vec![READER.to_owned()]),
            Mode::Normal => {
                let peer = request.extensions().get::<Peer>();
                let leaf = peer.and_then(|peer| peer.certificates.first());
                Roles(leaf.map(credentials::roles).unwrap_or_default())
            }
        }
    }

    fn decide(&self, method: &str, roles: &Roles, target: &Target) -> Decision {
        let release = self.rack.read(|fleet| Some(fleet.machines.get(&self.vmid)?.release()));
        let Some(release) = release else {
            return Decision::Refuse(Status::unavailable("the machine has no power"));
        };
        if self.mode == Mode::Maintenance && !release.reads_in_maintenance() {
            return if OLD_MAINTENANCE.contains(&method) {
                Decision::Here
            } else if method == "/machine.MachineService/Version" {
                Decision::Refuse(Status::unimplemented(
                    "API is not implemented in maintenance mode",
                ))
            } else {
                let name = method.rsplit('/').next().unwrap_or_default();
                Decision::Refuse(Status::unimplemented(format!("method {name} not implemented")))
            };
        }
        if !roles.any(allowed(method, release.minor())) {
            return Decision::Refuse(Status::permission_denied("not authorized"));
        }
        self.rack.read(|fleet| match (target, fleet.live(self.vmid)) {
            (Target::Here, _) | (Target::One(_) | Target::Many(_), None) => Decision::Here,
            (Target::One(name), Some(live)) => Self::one(name, live),
            (Target::Many(names), Some(live)) => Self::many(method, names, live),
        })
    }

    fn one(name: &str, live: &Live) -> Decision {
        if name.is_empty() || name.parse::<std::net::SocketAddr>().is_ok() {
            return Decision::Refuse(Status::internal(format!("invalid target \"{name}\"")));
        }
        match (live.is_called(name), live.is_controller()) {
            (true, _) => Decision::Here,
            (false, true) => Decision::Forward(Target::One(name.to_owned())),
            (false, false) => Decision::Refuse(no_forwarding()),
        }
    }

    fn many(method: &str, names: &[String], live: &Live) -> Decision {
        if method.starts_with("/cosi.resource.State/") {
            return Decision::Refuse(Status::invalid_argument(format!(
                "one-2-many proxying is not supported for method {method}"
            )));
        }
        let own = names.iter().all(|name| live.is_called(name));
        if live.is_controller() || own {
            Decision::Forward(Target::Many(names.to_vec()))
        } else {
            Decision::Refuse(no_forwarding())
        }
    }
}

fn no_forwarding() -> Status {
    Status::permission_denied("no request forwarding")
}

/// The roles that may call a method; one that no rule names is the administrator's.
fn allowed(method: &str, minor: u32) -> &'static [&'static str] {
    let all: &[&str] = &[ADMIN, OPERATOR, READER];
    let Some((service, call)) = method.trim_start_matches('/').split_once('/') else {
        return &[ADMIN];
    };
    match (service, call) {
        // Its handler demands the administrator unless the machine is in maintenance mode.
        ("machine.MachineService", "ApplyConfiguration") if minor >= 13 => all,
        ("machine.MachineService", "EtcdMemberList" | "EtcdStatus" | "EtcdAlarmList") => {
            &[ADMIN, OPERATOR, READER, ETCD_BACKUP]
        }
        ("machine.MachineService", "EtcdSnapshot") => &[ADMIN, OPERATOR, ETCD_BACKUP],
        (
            "machine.MachineService",
            "Reboot" | "Shutdown" | "Restart" | "ServiceStart" | "ServiceStop" | "ServiceRestart",
        )
        | ("machine.ImageService", "Pull") => &[ADMIN, OPERATOR],
        ("machine.MachineService", "MetaWrite" | "MetaDelete") if minor >= 13 => {
            &[ADMIN, META_WRITER]
        }
        (
            "machine.MachineService",
            "Version" | "Hostname" | "ServiceList" | "Dmesg" | "Logs" | "LogsContainers" | "Events"
            | "List" | "Memory" | "SystemStat" | "Disks" | "CPUInfo" | "LoadAvg" | "Mounts"
            | "NetworkDeviceStats" | "DiskStats" | "DiskUsage" | "Containers" | "Stats"
            | "Processes" | "Netstat",
        )
        | (
            "storage.StorageService"
            | "time.TimeService"
            | "cosi.resource.State"
            | "inspect.InspectService",
            _,
        )
        | ("cluster.ClusterService", "HealthCheck")
        | ("machine.ImageService", "List") => all,
        _ => &[ADMIN],
    }
}

/// Whether a request was forwarded by another machine.
pub(super) fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key("proxyfrom")
}
