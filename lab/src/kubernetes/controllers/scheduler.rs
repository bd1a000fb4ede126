//! The scheduler: pods get a node that they tolerate and want.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{Turn, nodes, pods};
use crate::kubernetes::{
    json::{at, is_true, list, map, name, set_condition, text, uid},
    objects::View,
};

/// Looks at every pod without a node.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    let all = turn.tx.list("core/pods");
    let mut load: BTreeMap<String, usize> = BTreeMap::new();
    for pod in all.iter().filter(|p| !pods::is_over(p)) {
        *load.entry(text(pod, "/spec/nodeName").to_owned()).or_default() += 1;
    }
    for pod in all.iter().filter(|p| text(p, "/spec/nodeName").is_empty() && !pods::is_leaving(p)) {
        if !turn.waited(&format!("schedule/{}", uid(pod)), 0.5) {
            continue;
        }
        match choose(turn, pod, &load) {
            Ok(node) => {
                *load.entry(node.clone()).or_default() += 1;
                turn.change("core/pods", pod, |p| {
                    p["spec"]["nodeName"] = json!(node);
                    set_condition(p, "PodScheduled", "True", ("", ""));
                });
                let message = format!(
                    "Successfully assigned {}/{} to {node}",
                    text(pod, "/metadata/namespace"),
                    name(pod)
                );
                turn.event(pod, "Normal", ("Scheduled", &message), "default-scheduler");
            }
            Err(why) => {
                let changed = turn.change("core/pods", pod, |p| {
                    set_condition(p, "PodScheduled", "False", ("Unschedulable", &why));
                });
                if changed {
                    turn.event(pod, "Warning", ("FailedScheduling", &why), "default-scheduler");
                }
            }
        }
    }
}

fn choose(
    turn: &Turn<'_, '_>,
    pod: &Value,
    load: &BTreeMap<String, usize>,
) -> Result<String, String> {
    let nodes = turn.tx.list("core/nodes");
    let (mut tainted, mut unwanted, mut fits): (usize, usize, Vec<Arc<Value>>) = (0, 0, Vec::new());
    for node in &nodes {
        if !tolerates(pod, node) || at(node, "/spec/unschedulable") == &json!(true) {
            tainted += 1;
        } else if !wants(pod, node) || crowded(turn, pod, name(node)) {
            unwanted += 1;
        } else {
            fits.push(node.clone());
        }
    }
    let best = fits.iter().min_by_key(|n| {
        let own = siblings(turn, pod, name(n));
        // Ready nodes first, then those without a pod of the same owner, then the least loaded.
        (!is_true(n, "Ready"), own, load.get(name(n)).copied().unwrap_or_default())
    });
    if let Some(best) = best {
        return Ok(name(best).to_owned());
    }
    let mut reasons = Vec::new();
    if tainted > 0 {
        reasons.push(format!("{tainted} node(s) had untolerated taint(s)"));
    }
    if unwanted > 0 {
        reasons.push(format!("{unwanted} node(s) didn't match Pod's node affinity/selector"));
    }
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    Err(format!("0/{} nodes are available: {}.", nodes.len(), reasons.join(", ")))
}

fn siblings(turn: &Turn<'_, '_>, pod: &Value, node: &str) -> usize {
    let owner = text(crate::kubernetes::json::controller_of(pod), "/uid");
    if owner.is_empty() {
        return 0;
    }
    turn.tx
        .list_in("core/pods", text(pod, "/metadata/namespace"))
        .iter()
        .filter(|p| {
            text(p, "/spec/nodeName") == node
                && text(crate::kubernetes::json::controller_of(p), "/uid") == owner
        })
        .count()
}

/// Whether a required anti-affinity by host keeps a pod away from a node.
fn crowded(turn: &Turn<'_, '_>, pod: &Value, node: &str) -> bool {
    let terms =
        list(pod, "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution");
    terms.iter().filter(|t| text(t, "/topologyKey") == "kubernetes.io/hostname").any(|term| {
        turn.tx.list_in("core/pods", text(pod, "/metadata/namespace")).iter().any(|other| {
            text(other, "/spec/nodeName") == node
                && !pods::is_over(other)
                && crate::kubernetes::selector::picks(at(term, "/labelSelector"), other)
        })
    })
}

/// Whether a pod tolerates the taints of a node that keep pods away.
pub(super) fn tolerates(pod: &Value, node: &Value) -> bool {
    list(node, "/spec/taints").iter().filter(|t| text(t, "/effect") != "PreferNoSchedule").all(
        |taint| {
            list(pod, "/spec/tolerations").iter().any(|toleration| {
                let (key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
                let exists = text(toleration, "/operator") == "Exists";
                (effect.is_empty() || effect == text(taint, "/effect"))
                    && ((exists && key.is_empty())
                        || key == text(taint, "/key")
                            && (exists || text(toleration, "/value") == text(taint, "/value")))
            })
        },
    )
}

/// Whether a pod's selector and required affinity permit a node.
pub(super) fn wants(pod: &Value, node: &Value) -> bool {
    let label = |key: &str| nodes::labels(node).and_then(|l| l.get(key)).and_then(Value::as_str);
    let selected = map(pod, "/spec/nodeSelector")
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| label(key) == value.as_str()));
    let terms = list(
        pod,
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    let wanted = terms.is_empty()
        || terms.iter().any(|term| {
            let by_label = list(term, "/matchExpressions")
                .iter()
                .all(|e| expression(e, label(text(e, "/key"))));
            let by_field =
                list(term, "/matchFields").iter().all(|e| expression(e, Some(name(node))));
            by_label && by_field
        });
    selected && wanted
}

fn expression(expression: &Value, value: Option<&str>) -> bool {
    let listed =
        value.is_some_and(|v| list(expression, "/values").iter().any(|w| w.as_str() == Some(v)));
    match text(expression, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
