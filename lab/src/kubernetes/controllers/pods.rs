//! The states of a pod, as its status shows them.

use serde_json::{Value, json};

use crate::kubernetes::{
    admission::suffix,
    json::{at, list, now, number, owner_reference, set_condition, set_status, text},
};

/// A pod from a template, controlled by `owner`.
pub(super) fn from_template(owner: &Value, labels: &[(&str, &str)]) -> Value {
    let template = at(owner, "/spec/template");
    let mut metadata = json!({
        "name": format!("{}-{}", crate::kubernetes::json::name(owner), suffix()),
        "generateName": format!("{}-", crate::kubernetes::json::name(owner)),
        "namespace": crate::kubernetes::json::namespace(owner),
        "ownerReferences": [owner_reference(owner)],
    });
    for key in ["labels", "annotations"] {
        if let Some(held) = template.pointer(&format!("/metadata/{key}")) {
            metadata[key] = held.clone();
        }
    }
    for (key, value) in labels {
        metadata["labels"][key] = json!(value);
    }
    let mut spec = at(template, "/spec").clone();
    if spec.get("serviceAccountName").is_none() {
        spec["serviceAccountName"] = json!("default");
    }
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec,
        "status": { "phase": "Pending", "qosClass": "BestEffort" },
    })
}

fn statuses(pod: &Value, of: impl Fn(&Value, &Value) -> Value) -> Value {
    let held = list(pod, "/status/containerStatuses");
    let all = list(pod, "/spec/containers").iter().map(|container| {
        let before = held.iter().find(|s| s["name"] == container["name"]).unwrap_or(&Value::Null);
        let mut status = json!({
            "name": container["name"], "image": container["image"], "imageID": text(before, "/imageID"), "ready": false,
            "started": false, "restartCount": number(before, "/restartCount"),
            "lastState": before.get("lastState").cloned().unwrap_or_else(|| json!({})),
        });
        for (key, value) in of(container, before).as_object().into_iter().flatten() {
            status[key] = value.clone();
        }
        status
    });
    Value::Array(all.collect())
}

/// Containers wait, for a reason.
pub(super) fn set_waiting(pod: &mut Value, why: (&str, &str)) {
    let mut waiting = json!({ "reason": why.0 });
    if !why.1.is_empty() {
        waiting["message"] = json!(why.1);
    }
    let all = statuses(pod, |_, _| json!({ "state": { "waiting": waiting } }));
    set_status(pod, "containerStatuses", all);
    set_ready(pod, false);
}

/// Containers run.
pub(super) fn set_running(pod: &mut Value, address: &str, host: &str) {
    let since = now();
    let all = statuses(pod, |container, _| {
        json!({
            "state": { "running": { "startedAt": since } }, "started": true,
            "imageID": format!("{}@sha256:{}", text(container, "/image"), "0".repeat(64)),
            "containerID": format!("containerd://{}", uuid::Uuid::new_v4().simple()),
        })
    });
    set_status(pod, "containerStatuses", all);
    set_status(pod, "phase", "Running");
    set_status(pod, "podIP", address);
    set_status(pod, "podIPs", json!([{ "ip": address }]));
    set_status(pod, "hostIP", host);
    set_status(pod, "startTime", since);
    set_condition(pod, "PodScheduled", "True", ("", ""));
    set_condition(pod, "Initialized", "True", ("", ""));
}

/// Whether a pod serves.
pub(super) fn set_ready(pod: &mut Value, ready: bool) {
    for status in pod
        .pointer_mut("/status/containerStatuses")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        status["ready"] = json!(ready);
    }
    let word = if ready { "True" } else { "False" };
    let why = if ready { ("", "") } else { ("ContainersNotReady", "containers are not ready") };
    set_condition(pod, "ContainersReady", word, why);
    set_condition(pod, "Ready", word, why);
}

/// Containers have ended.
pub(super) fn set_ended(pod: &mut Value, code: i64, message: &str) {
    let all = statuses(
        pod,
        |_, before| json!({ "imageID": text(before, "/imageID"), "state": { "terminated": ended(before, code, message) } }),
    );
    set_status(pod, "containerStatuses", all);
    set_status(pod, "phase", if code == 0 { "Succeeded" } else { "Failed" });
    set_ready(pod, false);
    if code == 0 {
        set_condition(pod, "Ready", "False", ("PodCompleted", ""));
    }
}

fn ended(before: &Value, code: i64, message: &str) -> Value {
    let mut ended = json!({
        "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" }, "finishedAt": now(),
        "startedAt": text(before, "/state/running/startedAt"),
    });
    if !message.is_empty() {
        ended["message"] = json!(message);
    }
    ended
}

/// Containers have ended and will be started again after a pause.
pub(super) fn set_crashed(pod: &mut Value, code: i64, message: &str) {
    let all = statuses(pod, |container, before| {
        json!({
            "restartCount": number(before, "/restartCount") + 1,
            "lastState": { "terminated": ended(before, code, message) },
            "state": { "waiting": {
                "reason": "CrashLoopBackOff",
                "message": format!("back-off restarting failed container={}", text(container, "/name")),
            } },
        })
    });
    set_status(pod, "containerStatuses", all);
    set_ready(pod, false);
}

/// Whether a pod will never run again.
pub(super) fn is_over(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// Whether a pod is on its way out.
pub(super) fn is_leaving(pod: &Value) -> bool {
    at(pod, "/metadata/deletionTimestamp").is_string()
}

/// The reason why a pod's containers wait, empty if they do not.
pub(super) fn waiting(pod: &Value) -> &str {
    text(pod, "/status/containerStatuses/0/state/waiting/reason")
}

/// How often a pod's containers were started again.
pub(super) fn restarts(pod: &Value) -> i64 {
    list(pod, "/status/containerStatuses")
        .iter()
        .map(|s| number(s, "/restartCount"))
        .max()
        .unwrap_or_default()
}
