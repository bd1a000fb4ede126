//! How an object stands, as kstatus sees it.

use serde_json::Value;

use crate::kubernetes::json::{at, condition, is_true, list, number, text};

/// How an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// As wanted.
    Current,
    /// On its way.
    InProgress,
    /// It will not get there by itself.
    Failed,
    /// It is not there.
    NotFound,
    /// It goes.
    Terminating,
}

impl Health {
    /// The word in messages.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Current => "Current",
            Self::InProgress => "InProgress",
            Self::Failed => "Failed",
            Self::NotFound => "NotFound",
            Self::Terminating => "Terminating",
        }
    }
}

fn progress(done: bool) -> Health {
    if done { Health::Current } else { Health::InProgress }
}

/// How an object stands.
pub(super) fn of(object: Option<&Value>) -> Health {
    let Some(object) = object else { return Health::NotFound };
    if at(object, "/metadata/deletionTimestamp").is_string() {
        return Health::Terminating;
    }
    let observed = at(object, "/status/observedGeneration");
    if observed.is_number() && observed.as_i64() != Some(number(object, "/metadata/generation")) {
        return Health::InProgress;
    }
    let status = |key: &str| number(object, &format!("/status/{key}"));
    match text(object, "/kind") {
        "Deployment" => {
            if text(condition(object, "Progressing"), "/reason") == "ProgressDeadlineExceeded" {
                return Health::Failed;
            }
            let wanted = number(object, "/spec/replicas");
            let full = ["updatedReplicas", "availableReplicas", "readyReplicas"]
                .iter()
                .all(|k| status(k) >= wanted);
            progress(observed.is_number() && full && status("replicas") <= wanted)
        }
        "DaemonSet" => {
            let wanted = status("desiredNumberScheduled");
            progress(
                observed.is_number()
                    && status("numberReady") >= wanted
                    && status("updatedNumberScheduled") >= wanted,
            )
        }
        "StatefulSet" => progress(
            observed.is_number() && status("readyReplicas") >= number(object, "/spec/replicas"),
        ),
        "Job" if is_true(object, "Failed") => Health::Failed,
        "Job" => progress(at(object, "/status/startTime").is_string()),
        "Pod" => progress(is_true(object, "Ready") || text(object, "/status/phase") == "Succeeded"),
        "PersistentVolumeClaim" => progress(text(object, "/status/phase") == "Bound"),
        "Service" if text(object, "/spec/type") == "LoadBalancer" => {
            progress(!list(object, "/status/loadBalancer/ingress").is_empty())
        }
        "CustomResourceDefinition" => progress(is_true(object, "Established")),
        _ => by_conditions(object),
    }
}

fn by_conditions(object: &Value) -> Health {
    if is_true(object, "Stalled") {
        return Health::Failed;
    }
    if is_true(object, "Reconciling") {
        return Health::InProgress;
    }
    match text(condition(object, "Ready"), "/status") {
        "False" | "Unknown" => Health::InProgress,
        _ => Health::Current,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn objects_stand_as_kstatus_says() {
        assert_eq!(of(None), Health::NotFound);
        assert_eq!(of(Some(&json!({ "kind": "ConfigMap" }))), Health::Current);
        let mut kustomization = json!({
            "kind": "Kustomization", "metadata": { "generation": 1 }, "status": { "observedGeneration": -1 },
        });
        assert_eq!(of(Some(&kustomization)), Health::InProgress);
        kustomization["status"] = json!({ "observedGeneration": 1, "conditions": [{ "type": "Ready", "status": "True" }] });
        assert_eq!(of(Some(&kustomization)), Health::Current);
    }
}
