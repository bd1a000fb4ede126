//! Defaults of the built-in types.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    json::{at, child, list, name, set_meta, text},
    refusal::Refusal,
    registry::ResourceType,
};

fn or(object: &mut Map<String, Value>, key: &str, value: Value) {
    object.entry(key).or_insert(value);
}

fn object(value: &mut Value) -> Option<&mut Map<String, Value>> {
    value.as_object_mut()
}

/// Fills in what is missing, on every write.
pub(super) fn fill(kind: &ResourceType, value: &mut Value) -> Result<(), Refusal> {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => secret(value)?,
        ("", "pods") => pod_spec(&mut value["spec"]),
        ("", "services") => service(child(value, "spec")),
        ("", "namespaces") => {
            child(value, "spec").entry("finalizers").or_insert_with(|| json!(["kubernetes"]));
            child(value, "status").entry("phase").or_insert_with(|| json!("Active"));
            let label = json!(name(value));
            let metadata = child(value, "metadata");
            let labels = metadata.entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = label;
        }
        ("apps", "deployments") => {
            let spec = child(value, "spec");
            or(spec, "replicas", json!(1));
            or(spec, "revisionHistoryLimit", json!(10));
            or(spec, "progressDeadlineSeconds", json!(600));
            let strategy = spec.entry("strategy").or_insert_with(|| json!({}));
            if strategy.get("type").is_none() {
                strategy["type"] = json!("RollingUpdate");
            }
            if text(strategy, "/type") == "RollingUpdate" && strategy.get("rollingUpdate").is_none()
            {
                strategy["rollingUpdate"] = json!({ "maxUnavailable": "25%", "maxSurge": "25%" });
            }
            template(spec);
        }
        ("apps", "daemonsets") => {
            let spec = child(value, "spec");
            or(spec, "revisionHistoryLimit", json!(10));
            let rolling = json!({ "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": 0 } });
            or(spec, "updateStrategy", rolling);
            template(spec);
        }
        ("apps", "replicasets") => {
            let spec = child(value, "spec");
            or(spec, "replicas", json!(1));
            template(spec);
        }
        ("apps", "statefulsets") => {
            let spec = child(value, "spec");
            or(spec, "replicas", json!(1));
            or(spec, "podManagementPolicy", json!("OrderedReady"));
            or(spec, "revisionHistoryLimit", json!(10));
            template(spec);
        }
        ("batch", "jobs") => job(value),
        ("apiextensions.k8s.io", _) => crd(value),
        _ => {}
    }
    Ok(())
}

/// Fills in what only a new object gets.
pub(super) fn fill_new(kind: &ResourceType, value: &mut Value) {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("batch", "jobs") => job_selector(value),
        ("", "services") => {
            let headless = text(value, "/spec/type") == "ExternalName";
            if !headless && text(value, "/spec/clusterIP").is_empty() {
                let [a, b] = rand::random::<[u8; 2]>();
                let address = format!("10.96.{a}.{}", b.clamp(1, 254));
                value["spec"]["clusterIP"] = json!(address);
            }
            let address = at(value, "/spec/clusterIP").clone();
            value["spec"]["clusterIPs"] = json!([address]);
        }
        ("", "pods") => {
            or(child(value, "spec"), "serviceAccountName", json!("default"));
        }
        ("apiextensions.k8s.io", _) => {
            let stored: Vec<Value> = list(value, "/spec/versions")
                .iter()
                .filter(|v| at(v, "/storage") == &json!(true))
                .map(|v| v["name"].clone())
                .collect();
            value["status"] = json!({ "conditions": null, "acceptedNames": { "plural": "", "kind": "" }, "storedVersions": stored });
        }
        _ => {}
    }
}

/// Keeps what a client leaves out of a change but the server has set.
pub(super) fn fill_changed(kind: &ResourceType, old: &Value, new: &mut Value) {
    let kept: &[&str] = match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "services") => &["clusterIP", "clusterIPs"],
        ("batch", "jobs") => &["selector"],
        ("", "pods") => &["nodeName", "serviceAccountName"],
        _ => &[],
    };
    if kind.plural == "services" && at(new, "/spec/clusterIP") != at(old, "/spec/clusterIP") {
        let address = at(new, "/spec/clusterIP").clone();
        if address.is_string() {
            child(new, "spec").insert("clusterIPs".to_owned(), json!([address]));
        }
    }
    for key in kept {
        let before = at(old, "/spec").get(*key).cloned();
        if let Some(before) = before {
            child(new, "spec").entry(*key).or_insert(before);
        }
    }
    if kind.plural == "jobs" {
        let before = at(old, "/spec/template/metadata/labels").clone();
        if let Some(labels) = before.as_object() {
            let template = child(new, "spec").entry("template").or_insert_with(|| json!({}));
            let metadata = child(template, "metadata");
            let held = metadata.entry("labels").or_insert_with(|| json!({}));
            for (key, value) in labels
                .iter()
                .filter(|(k, _)| k.ends_with("controller-uid") || k.ends_with("job-name"))
            {
                held[key] = value.clone();
            }
        }
    }
}

/// The status a new object starts with.
pub(super) fn first_status(kind: &ResourceType) -> Value {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => json!({ "phase": "Pending", "qosClass": "BestEffort" }),
        ("", "services") => json!({ "loadBalancer": {} }),
        ("apps", "daemonsets") => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        }),
        ("apps", "replicasets" | "statefulsets") => json!({ "replicas": 0 }),
        _ => json!({}),
    }
}

fn secret(value: &mut Value) -> Result<(), Refusal> {
    let given = value.as_object_mut().and_then(|o| o.remove("stringData"));
    if let Some(Value::Object(given)) = given {
        for (key, plain) in given {
            let encoded = STANDARD.encode(plain.as_str().unwrap_or_default());
            child(value, "data").insert(key, json!(encoded));
        }
    }
    for held in super::json::map(value, "/data").into_iter().flat_map(Map::values) {
        let encoded = held.as_str().unwrap_or_default();
        if STANDARD.decode(encoded.replace(['\n', '\r'], "")).is_err() {
            let at = encoded
                .find(|c: char| !c.is_ascii_alphanumeric() && !"+/=".contains(c))
                .unwrap_or(encoded.len());
            return Err(Refusal::bad_request(format!(
                "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte {at}"
            )));
        }
    }
    if let Some(secret) = object(value) {
        or(secret, "type", json!("Opaque"));
    }
    Ok(())
}

fn template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template") {
        pod_spec(&mut template["spec"]);
    }
}

fn pod_spec(value: &mut Value) {
    let Some(spec) = object(value) else { return };
    or(spec, "restartPolicy", json!("Always"));
    or(spec, "terminationGracePeriodSeconds", json!(30));
    or(spec, "dnsPolicy", json!("ClusterFirst"));
    or(spec, "securityContext", json!({}));
    or(spec, "schedulerName", json!("default-scheduler"));
    for key in ["containers", "initContainers"] {
        for container in spec.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten() {
            let image = text(container, "/image");
            let latest = image.ends_with(":latest")
                || !image.rsplit('/').next().unwrap_or_default().contains([':', '@']);
            let Some(container) = object(container) else { continue };
            or(container, "resources", json!({}));
            or(container, "terminationMessagePath", json!("/dev/termination-log"));
            or(container, "terminationMessagePolicy", json!("File"));
            or(container, "imagePullPolicy", json!(if latest { "Always" } else { "IfNotPresent" }));
            for port in
                container.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten()
            {
                if let Some(port) = object(port) {
                    or(port, "protocol", json!("TCP"));
                }
            }
        }
    }
}

fn service(spec: &mut Map<String, Value>) {
    or(spec, "type", json!("ClusterIP"));
    or(spec, "sessionAffinity", json!("None"));
    or(spec, "internalTrafficPolicy", json!("Cluster"));
    or(spec, "ipFamilies", json!(["IPv4"]));
    or(spec, "ipFamilyPolicy", json!("SingleStack"));
    for port in spec.get_mut("ports").and_then(Value::as_array_mut).into_iter().flatten() {
        let same = port.get("port").cloned().unwrap_or_default();
        if let Some(port) = object(port) {
            or(port, "protocol", json!("TCP"));
            or(port, "targetPort", same);
        }
    }
}

fn job(value: &mut Value) {
    let spec = child(value, "spec");
    or(spec, "parallelism", json!(1));
    or(spec, "completions", json!(1));
    or(spec, "backoffLimit", json!(6));
    or(spec, "completionMode", json!("NonIndexed"));
    or(spec, "suspend", json!(false));
    or(spec, "podReplacementPolicy", json!("TerminatingOrFailed"));
    template(spec);
}

fn job_selector(value: &mut Value) {
    let (uid, job) = (super::json::uid(value).to_owned(), name(value).to_owned());
    let spec = child(value, "spec");
    or(spec, "selector", json!({ "matchLabels": { "batch.kubernetes.io/controller-uid": uid } }));
    let template = spec.entry("template").or_insert_with(|| json!({}));
    let labels = child(template, "metadata").entry("labels").or_insert_with(|| json!({}));
    for prefix in ["", "batch.kubernetes.io/"] {
        labels[format!("{prefix}controller-uid")] = json!(uid);
        labels[format!("{prefix}job-name")] = json!(job);
    }
}

fn crd(value: &mut Value) {
    let spec = child(value, "spec");
    or(spec, "conversion", json!({ "strategy": "None" }));
    let Some(names) = spec.get_mut("names") else { return };
    let kind = text(names, "/kind").to_owned();
    if let Some(names) = object(names) {
        or(names, "singular", json!(kind.to_lowercase()));
        or(names, "listKind", json!(format!("{kind}List")));
    }
}

/// Makes a value the metadata's namespace where the type has namespaces.
pub(crate) fn set_namespace(kind: &ResourceType, value: &mut Value, namespace: &str) {
    if kind.namespaced {
        set_meta(value, "namespace", namespace);
    } else {
        child(value, "metadata").remove("namespace");
    }
}
