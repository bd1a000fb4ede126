//! What a request is called: its method and path, its RPC, its Kubernetes verb.

use hyper::Request;

use crate::{System, faults::Described};

/// RPCs that only read, by name; all others count as writes.
const READING_RPCS: [&str; 30] = [
    "CPUInfo",
    "Containers",
    "DiskStats",
    "DiskUsage",
    "Disks",
    "Dmesg",
    "EtcdAlarmList",
    "EtcdMemberList",
    "EtcdStatus",
    "Events",
    "Get",
    "Hostname",
    "ImageList",
    "Kubeconfig",
    "List",
    "LoadAvg",
    "Logs",
    "LogsContainers",
    "Memory",
    "Mounts",
    "Netstat",
    "NetworkDeviceStats",
    "Processes",
    "Read",
    "ServiceList",
    "Stats",
    "SystemStat",
    "Time",
    "Version",
    "Watch",
];

/// A request as faults and the call log see it.
#[derive(Debug)]
pub(super) struct Description {
    system: System,
    method: String,
    path: String,
    verb: Option<&'static str>,
    rpc: Option<String>,
}

impl Description {
    pub(super) fn of<B>(system: System, request: &Request<B>) -> Self {
        let content = request
            .headers()
            .get(hyper::header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let path = request.uri().path();
        let method = request.method().as_str();
        let rpc = content
            .starts_with("application/grpc")
            .then(|| path.rsplit('/').next().unwrap_or(path).to_owned());
        let verb = (system == System::Kubernetes)
            .then(|| kubernetes_verb(method, path, request.uri().query(), content));
        Self { system, method: method.to_owned(), path: path.to_owned(), verb, rpc }
    }

    pub(super) fn described<'a>(&'a self, machine: Option<&'a str>) -> Described<'a> {
        Described {
            system: self.system,
            machine,
            method: &self.method,
            path: &self.path,
            verb: self.verb,
            rpc: self.rpc.as_deref(),
        }
    }

    pub(super) fn rpc(&self) -> Option<&str> {
        self.rpc.as_deref()
    }

    /// The call's name in the log.
    pub(super) fn name(&self) -> String {
        match (&self.rpc, self.verb) {
            (Some(rpc), _) => rpc.clone(),
            (None, Some(verb)) => format!("{verb} {}", self.path),
            (None, None) => format!("{} {}", self.method, self.path),
        }
    }

    pub(super) fn is_write(&self) -> bool {
        match &self.rpc {
            Some(rpc) => !READING_RPCS.contains(&rpc.as_str()),
            None => !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS"),
        }
    }
}

/// The verb of a Kubernetes call, as its authorizer names it, but `apply` for a server-side apply.
fn kubernetes_verb(method: &str, path: &str, query: Option<&str>, content: &str) -> &'static str {
    let asks = |flag: &str| query.unwrap_or_default().split('&').any(|pair| pair == flag);
    match method {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" if content.starts_with("application/apply-patch") => "apply",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ if asks("watch=true") || asks("watch=1") => "watch",
        _ if is_collection(path) => "list",
        _ => "get",
    }
}

/// Whether a path of the Kubernetes API names a collection: `/api/v1/pods`, `/apis/G/V/namespaces/N/R`.
fn is_collection(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (["api", _, resource @ ..] | ["apis", _, _, resource @ ..]) = parts.as_slice() else {
        return false;
    };
    matches!(resource, [_] | ["namespaces", _, _])
        && !matches!(resource, ["namespaces", _, "status" | "finalize"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kubernetes_calls_have_the_verbs_of_their_authorizer() {
        let verb = |method, path, query| kubernetes_verb(method, path, query, "application/json");
        assert_eq!(verb("GET", "/api/v1/nodes", None), "list");
        assert_eq!(verb("GET", "/api/v1/nodes", Some("limit=5&watch=true")), "watch");
        assert_eq!(verb("GET", "/api/v1/nodes/a", None), "get");
        assert_eq!(verb("GET", "/api/v1/namespaces/a/pods", None), "list");
        assert_eq!(verb("GET", "/api/v1/namespaces/a", None), "get");
        assert_eq!(verb("GET", "/apis/apps/v1/namespaces/a/deployments/b", None), "get");
        assert_eq!(verb("GET", "/readyz", None), "get");
        assert_eq!(
            kubernetes_verb("PATCH", "/api/v1/nodes/a", None, "application/apply-patch+yaml"),
            "apply"
        );
    }

    #[test]
    fn an_rpc_is_named_without_its_service() {
        let request = Request::post("/machine.MachineService/Bootstrap")
            .header("content-type", "application/grpc+proto")
            .body(())
            .unwrap();
        let description = Description::of(System::Talos, &request);
        assert_eq!(description.name(), "Bootstrap");
        assert!(description.is_write());
    }
}
