//! The columns and cells of the built-in types.

use serde_json::{Value, json};

use super::{Column, age::since, human};
use crate::kubernetes::{
    json::{at, condition, is_true, list, map, name, number, parse_stamp, text},
    registry::ResourceType,
};

/// The columns of the built-in types, by group and plural: `NAME[:TYPE][*]`, `*` for `-o wide` only.
const COLUMNS: &[(&str, &str, &str)] = &[
    (
        "",
        "nodes",
        "Name,Status,Roles,Age,Version,Internal-IP*,External-IP*,OS-Image*,Kernel-Version*,\
                   Container-Runtime*",
    ),
    ("", "pods", "Name,Ready,Status,Restarts,Age,IP*,Node*,Nominated Node*,Readiness Gates*"),
    ("", "namespaces", "Name,Status,Age"),
    ("", "secrets", "Name,Type,Data,Age"),
    ("", "configmaps", "Name,Data,Age"),
    ("", "services", "Name,Type,Cluster-IP,External-IP,Port(s),Age,Selector*"),
    ("", "endpoints", "Name,Endpoints,Age"),
    (
        "",
        "events",
        "Last Seen,Type,Reason,Object,Subobject*,Source*,Message,First Seen*,Count*,Name*",
    ),
    ("apps", "deployments", "Name,Ready,Up-to-date,Available,Age,Containers*,Images*,Selector*"),
    (
        "apps",
        "daemonsets",
        "Name,Desired:integer,Current:integer,Ready:integer,Up-to-date:integer,\
                            Available:integer,Node Selector,Age,Containers*,Images*,Selector*",
    ),
    (
        "apps",
        "replicasets",
        "Name,Desired:integer,Current:integer,Ready:integer,Age,Containers*,Images*,\
                             Selector*",
    ),
    ("apps", "statefulsets", "Name,Ready,Age,Containers*,Images*"),
    ("batch", "jobs", "Name,Status,Completions,Duration,Age,Containers*,Images*,Selector*"),
    (
        "apiextensions.k8s.io",
        "customresourcedefinitions",
        "Name,Scope,Versions,Created At:date,Group*,\
                                                           Kind*,ShortNames*,Established:boolean*",
    ),
    ("rbac.authorization.k8s.io", "clusterroles", "Name,Created At:date"),
    ("rbac.authorization.k8s.io", "roles", "Name,Created At:date"),
    ("rbac.authorization.k8s.io", "clusterrolebindings", "Name,Role,Age"),
    ("rbac.authorization.k8s.io", "rolebindings", "Name,Role,Age"),
    ("coordination.k8s.io", "leases", "Name,Holder,Age"),
    ("discovery.k8s.io", "endpointslices", "Name,AddressType,Ports,Endpoints,Age"),
];

/// The columns of a built-in type.
pub(super) fn columns(kind: &ResourceType) -> Vec<Column> {
    let found =
        COLUMNS.iter().find(|(group, plural, _)| *group == kind.group && *plural == kind.plural);
    let all = found.map_or("Name,Age", |(_, _, columns)| *columns);
    all.split(',')
        .map(|column| {
            let (column, priority) = match column.strip_suffix('*') {
                Some(bare) => (bare, 1),
                None => (column, 0),
            };
            let (name, of) = column.split_once(':').unwrap_or((column, "string"));
            (name, of, priority)
        })
        .collect()
}

/// The cells of an object of a built-in type.
pub(super) fn cells(kind: &ResourceType, object: &Value) -> Vec<Value> {
    let age = json!(since(text(object, "/metadata/creationTimestamp")));
    let named = json!(name(object));
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "nodes") => node(object, age),
        ("", "pods") => pod(object, age),
        ("", "namespaces") => vec![named, json!(text(object, "/status/phase")), age],
        ("", "secrets") => {
            vec![named, json!(text(object, "/type")), json!(size(object, "/data")), age]
        }
        ("", "configmaps") => {
            vec![named, json!(size(object, "/data") + size(object, "/binaryData")), age]
        }
        ("", "services") => service(object, age),
        ("", "endpoints") => vec![named, json!(endpoints(object)), age],
        ("", "events") => event(object),
        ("apps", "deployments") => deployment(object, age),
        ("apps", "daemonsets") => daemonset(object, age),
        ("apps", "replicasets") => {
            let mut all = vec![
                named,
                json!(number(object, "/spec/replicas")),
                json!(number(object, "/status/replicas")),
                json!(number(object, "/status/readyReplicas")),
                age,
            ];
            all.extend(workload_tail(object));
            all
        }
        ("apps", "statefulsets") => {
            let ready = format!(
                "{}/{}",
                number(object, "/status/readyReplicas"),
                number(object, "/spec/replicas")
            );
            let mut all = vec![named, json!(ready), age];
            all.extend(workload_tail(object).into_iter().take(2));
            all
        }
        ("batch", "jobs") => job(object, age),
        ("apiextensions.k8s.io", _) => crd(object),
        ("rbac.authorization.k8s.io", "clusterroles" | "roles") => {
            vec![named, at(object, "/metadata/creationTimestamp").clone()]
        }
        ("rbac.authorization.k8s.io", _) => {
            let role =
                format!("{}/{}", text(object, "/roleRef/kind"), text(object, "/roleRef/name"));
            vec![named, json!(role), age]
        }
        ("discovery.k8s.io", _) => slice(object, age),
        ("coordination.k8s.io", _) => vec![named, json!(text(object, "/spec/holderIdentity")), age],
        _ => vec![named, age],
    }
}

fn size(object: &Value, pointer: &str) -> usize {
    map(object, pointer).map_or(0, serde_json::Map::len)
}

fn or_none(text: &str) -> Value {
    json!(if text.is_empty() { "<none>" } else { text })
}

fn node(object: &Value, age: Value) -> Vec<Value> {
    let mut status = match text(condition(object, "Ready"), "/status") {
        "True" => "Ready".to_owned(),
        "" => "Unknown".to_owned(),
        _ => "NotReady".to_owned(),
    };
    if at(object, "/spec/unschedulable") == &json!(true) {
        status.push_str(",SchedulingDisabled");
    }
    let roles: Vec<&str> = map(object, "/metadata/labels")
        .into_iter()
        .flat_map(|l| l.keys())
        .filter_map(|k| k.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    let address = |kind: &str| {
        let all = list(object, "/status/addresses");
        or_none(all.iter().find(|a| text(a, "/type") == kind).map_or("", |a| text(a, "/address")))
    };
    let info = at(object, "/status/nodeInfo");
    vec![
        json!(name(object)),
        json!(status),
        or_none(&roles.join(",")),
        age,
        json!(text(info, "/kubeletVersion")),
        address("InternalIP"),
        address("ExternalIP"),
        json!(text(info, "/osImage")),
        json!(format!("{} ({})", text(info, "/kernelVersion"), text(info, "/architecture"))),
        json!(text(info, "/containerRuntimeVersion")),
    ]
}

/// The word for a pod's state.
fn pod_status(object: &Value) -> String {
    let mut reason = match text(object, "/status/reason") {
        "" => text(object, "/status/phase").to_owned(),
        given => given.to_owned(),
    };
    for container in list(object, "/status/containerStatuses").iter().rev() {
        let (waiting, ended) =
            (at(container, "/state/waiting"), at(container, "/state/terminated"));
        if !text(waiting, "/reason").is_empty() {
            text(waiting, "/reason").clone_into(&mut reason);
        } else if !text(ended, "/reason").is_empty() {
            text(ended, "/reason").clone_into(&mut reason);
        }
    }
    if at(object, "/metadata/deletionTimestamp").is_string() {
        "Terminating".clone_into(&mut reason);
    }
    reason
}

fn pod(object: &Value, age: Value) -> Vec<Value> {
    let containers = list(object, "/status/containerStatuses");
    let ready = containers.iter().filter(|c| at(c, "/ready") == &json!(true)).count();
    let restarts: i64 = containers.iter().map(|c| number(c, "/restartCount")).sum();
    let last = containers
        .iter()
        .filter_map(|c| parse_stamp(text(c, "/lastState/terminated/finishedAt")))
        .max()
        .map(|at| (time::OffsetDateTime::now_utc() - at).whole_seconds());
    let restarts = match (restarts, last) {
        (0, _) | (_, None) => restarts.to_string(),
        (_, Some(ago)) => format!("{restarts} ({} ago)", human(ago)),
    };
    vec![
        json!(name(object)),
        json!(format!("{ready}/{}", list(object, "/spec/containers").len())),
        json!(pod_status(object)),
        json!(restarts),
        age,
        or_none(text(object, "/status/podIP")),
        or_none(text(object, "/spec/nodeName")),
        or_none(text(object, "/status/nominatedNodeName")),
        json!("<none>"),
    ]
}

fn pairs(labels: Option<&serde_json::Map<String, Value>>) -> String {
    let all: Vec<String> = labels
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn workload_tail(object: &Value) -> [Value; 3] {
    let containers = list(object, "/spec/template/spec/containers");
    let each = |key: &str| containers.iter().map(|c| text(c, key)).collect::<Vec<_>>().join(",");
    [
        json!(each("/name")),
        json!(each("/image")),
        json!(pairs(map(object, "/spec/selector/matchLabels"))),
    ]
}

fn deployment(object: &Value, age: Value) -> Vec<Value> {
    let status = |key: &str| number(object, &format!("/status/{key}"));
    let mut all = vec![
        json!(name(object)),
        json!(format!("{}/{}", status("readyReplicas"), number(object, "/spec/replicas"))),
        json!(status("updatedReplicas")),
        json!(status("availableReplicas")),
        age,
    ];
    all.extend(workload_tail(object));
    all
}

fn daemonset(object: &Value, age: Value) -> Vec<Value> {
    let mut all = vec![json!(name(object))];
    for key in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ] {
        all.push(json!(number(object, &format!("/status/{key}"))));
    }
    all.push(json!(pairs(map(object, "/spec/template/spec/nodeSelector"))));
    all.push(age);
    all.extend(workload_tail(object));
    all
}

fn job(object: &Value, age: Value) -> Vec<Value> {
    let status = if is_true(object, "Complete") {
        "Complete"
    } else if is_true(object, "Failed") {
        "Failed"
    } else if at(object, "/spec/suspend") == &json!(true) {
        "Suspended"
    } else {
        "Running"
    };
    let done =
        format!("{}/{}", number(object, "/status/succeeded"), number(object, "/spec/completions"));
    let took = parse_stamp(text(object, "/status/startTime")).map_or(String::new(), |start| {
        let end = parse_stamp(text(object, "/status/completionTime"))
            .unwrap_or_else(time::OffsetDateTime::now_utc);
        human((end - start).whole_seconds())
    });
    let mut all = vec![json!(name(object)), json!(status), json!(done), json!(took), age];
    all.extend(workload_tail(object));
    all
}

fn service(object: &Value, age: Value) -> Vec<Value> {
    let kind = text(object, "/spec/type");
    let addresses: Vec<&str> =
        list(object, "/status/loadBalancer/ingress").iter().map(|i| text(i, "/ip")).collect();
    let external = match (kind, addresses.is_empty()) {
        ("LoadBalancer", true) => "<pending>".to_owned(),
        ("LoadBalancer", false) => addresses.join(","),
        _ => "<none>".to_owned(),
    };
    let ports: Vec<String> = list(object, "/spec/ports")
        .iter()
        .map(|p| {
            let node = number(p, "/nodePort");
            let node = if node == 0 { String::new() } else { format!(":{node}") };
            format!("{}{node}/{}", number(p, "/port"), text(p, "/protocol"))
        })
        .collect();
    vec![
        json!(name(object)),
        json!(kind),
        or_none(text(object, "/spec/clusterIP")),
        json!(external),
        or_none(&ports.join(",")),
        age,
        json!(pairs(map(object, "/spec/selector"))),
    ]
}

fn endpoints(object: &Value) -> String {
    let mut all = Vec::new();
    for subset in list(object, "/subsets") {
        for address in list(subset, "/addresses") {
            for port in list(subset, "/ports") {
                all.push(format!("{}:{}", text(address, "/ip"), number(port, "/port")));
            }
        }
    }
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}

fn slice(object: &Value, age: Value) -> Vec<Value> {
    let or_unset =
        |all: Vec<String>| json!(if all.is_empty() { "<unset>".to_owned() } else { all.join(",") });
    let ports = list(object, "/ports").iter().map(|p| number(p, "/port").to_string()).collect();
    let addresses = list(object, "/endpoints")
        .iter()
        .flat_map(|e| list(e, "/addresses"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        json!(name(object)),
        json!(text(object, "/addressType")),
        or_unset(ports),
        or_unset(addresses),
        age,
    ]
}

fn event(object: &Value) -> Vec<Value> {
    let about = at(object, "/involvedObject");
    let thing = format!("{}/{}", text(about, "/kind").to_lowercase(), text(about, "/name"));
    vec![
        json!(since(text(object, "/lastTimestamp"))),
        json!(text(object, "/type")),
        json!(text(object, "/reason")),
        json!(thing),
        json!(text(about, "/fieldPath")),
        json!(text(object, "/source/component")),
        json!(text(object, "/message")),
        json!(since(text(object, "/firstTimestamp"))),
        json!(number(object, "/count")),
        json!(name(object)),
    ]
}

fn crd(object: &Value) -> Vec<Value> {
    let versions: Vec<String> = list(object, "/spec/versions")
        .iter()
        .filter(|v| at(v, "/served") == &json!(true))
        .map(|v| {
            let stored = if at(v, "/storage") == &json!(true) { "(storage)" } else { "" };
            format!("{}{stored}", text(v, "/name"))
        })
        .collect();
    let short: Vec<&str> =
        list(object, "/spec/names/shortNames").iter().filter_map(Value::as_str).collect();
    vec![
        json!(name(object)),
        json!(text(object, "/spec/scope")),
        json!(versions.join(",")),
        at(object, "/metadata/creationTimestamp").clone(),
        json!(text(object, "/spec/group")),
        json!(text(object, "/spec/names/kind")),
        or_none(&short.join(",")),
        json!(is_true(object, "Established")),
    ]
}
