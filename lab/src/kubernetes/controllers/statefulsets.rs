//! `StatefulSet`s: pods with numbers, one after the other.

use serde_json::{Value, json};

use super::{Turn, pods, replicas::template_hash};
use crate::kubernetes::{
    json::{is_true, name, namespace, number, set_status},
    objects::View,
};

/// Looks at every StatefulSet.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for set in turn.tx.list("apps/statefulsets") {
        if pods::is_leaving(&set) {
            continue;
        }
        let hash = template_hash(&set);
        let wanted = number(&set, "/spec/replicas");
        for index in 0..wanted {
            let named = format!("{}-{index}", name(&set));
            match turn.tx.get("core/pods", namespace(&set), &named) {
                Some(pod) if is_true(&pod, "Ready") => {}
                Some(_) => break,
                None => {
                    let mut pod = pods::from_template(
                        &set,
                        &[
                            ("controller-revision-hash", &hash),
                            ("statefulset.kubernetes.io/pod-name", &named),
                        ],
                    );
                    pod["metadata"]["name"] = json!(named);
                    turn.tx.make("core/pods", pod);
                    break;
                }
            }
        }
        status(turn, &set, wanted);
    }
}

fn status(turn: &mut Turn<'_, '_>, set: &Value, wanted: i64) {
    let held = turn.pods_of(set);
    for pod in &held {
        let index =
            name(pod).rsplit('-').next().and_then(|i| i.parse::<i64>().ok()).unwrap_or(i64::MAX);
        if index >= wanted && !pods::is_leaving(pod) {
            turn.delete("core/pods", pod);
        }
    }
    let ready = held.iter().filter(|p| is_true(p, "Ready")).count();
    let generation = number(set, "/metadata/generation");
    turn.change("apps/statefulsets", set, |s| {
        set_status(s, "replicas", held.len());
        set_status(s, "readyReplicas", ready);
        set_status(s, "availableReplicas", ready);
        set_status(s, "updatedReplicas", held.len());
        set_status(s, "observedGeneration", generation);
    });
}
