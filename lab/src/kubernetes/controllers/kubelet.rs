//! Kubelets: pods on a node with a running kubelet get an image, an address, run, become ready, end.

use serde_json::{Value, json};

use super::{
    Turn, containers,
    images::{pace, unreachable},
    nodes, pods,
};
use crate::kubernetes::{
    LOGS, cilium,
    cluster::NodeFacts,
    json::{at, is_true, list, name, namespace, set_condition, text, uid},
    objects::View,
};

/// Looks at every pod with a node.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    let kubelets = turn.kubelets;
    for pod in turn.tx.list("core/pods") {
        let node = text(&pod, "/spec/nodeName");
        let Some(facts) = kubelets.get(node) else { continue };
        if turn.tx.get("core/nodes", "", node).is_none() {
            continue;
        }
        if pods::is_leaving(&pod) {
            stop(turn, &pod);
        } else if !pods::is_over(&pod) {
            step(turn, &pod, facts);
        }
    }
}

fn stop(turn: &mut Turn<'_, '_>, pod: &Value) {
    if pods::is_over(pod) || turn.waited(&format!("stop/{}", uid(pod)), 2.0) {
        if list(pod, "/metadata/finalizers").is_empty() {
            turn.tx.remove("core/pods", namespace(pod), name(pod));
        }
        turn.tx.remove(LOGS, namespace(pod), name(pod));
    }
}

fn images(pod: &Value) -> Vec<String> {
    ["/spec/initContainers", "/spec/containers"]
        .into_iter()
        .flat_map(|p| list(pod, p))
        .map(|c| text(c, "/image").to_owned())
        .collect()
}

/// One step of a pod's life.
fn step(turn: &mut Turn<'_, '_>, pod: &Value, facts: &NodeFacts) {
    let main = text(pod, "/spec/containers/0/image");
    let (id, pace) = (uid(pod), pace(main));
    match (text(pod, "/status/phase"), pods::waiting(pod)) {
        ("Pending", "") => {
            turn.change("core/pods", pod, |p| {
                set_condition(p, "PodScheduled", "True", ("", ""));
                pods::set_waiting(p, ("ContainerCreating", ""));
            });
        }
        ("Pending", _) => {
            if at(pod, "/spec/hostNetwork") != &json!(true) && !nodes::has_cni(turn, &facts.name) {
                return;
            }
            if !turn.waited(&format!("pull/{id}"), pace.pull) {
                return;
            }
            let refused = images(pod).iter().find_map(|image| unreachable(image));
            match refused {
                Some(why) => {
                    turn.change("core/pods", pod, |p| {
                        pods::set_waiting(p, ("ImagePullBackOff", &why));
                    });
                }
                None => start(turn, pod, facts),
            }
        }
        ("Running", "CrashLoopBackOff") => {
            let tries = pods::restarts(pod).clamp(1, 6);
            let pause = f64::from(10 * (1 << (tries - 1)));
            if turn.waited(&format!("restart/{id}/{tries}"), pause) {
                start(turn, pod, facts);
            }
        }
        ("Running", _) => running(turn, pod, pace),
        _ => {}
    }
}

/// The address of a new pod: the node's own, or the next of its range.
fn address(turn: &Turn<'_, '_>, pod: &Value, facts: &NodeFacts) -> String {
    if at(pod, "/spec/hostNetwork") == &json!(true) {
        return facts.address.to_string();
    }
    let held = text(pod, "/status/podIP");
    if !held.is_empty() {
        return held.to_owned();
    }
    let node = turn.tx.get("core/nodes", "", &facts.name);
    let cidr = node.as_deref().map(|n| text(n, "/spec/podCIDR").to_owned()).unwrap_or_default();
    let prefix = cidr.rsplit_once('.').map_or("10.244.0", |(p, _)| p).to_owned();
    let taken: Vec<String> =
        turn.tx.list("core/pods").iter().map(|p| text(p, "/status/podIP").to_owned()).collect();
    (2..=254)
        .map(|last| format!("{prefix}.{last}"))
        .find(|a| !taken.contains(a))
        .unwrap_or_default()
}

fn start(turn: &mut Turn<'_, '_>, pod: &Value, facts: &NodeFacts) {
    let address = address(turn, pod, facts);
    let host = facts.address.to_string();
    turn.change("core/pods", pod, |p| {
        pods::set_running(p, &address, &host);
        pods::set_ready(p, false);
    });
    if let Some(why) = cilium::agent_fails(turn, pod) {
        write_log(turn, pod, &why);
        turn.change("core/pods", pod, |p| pods::set_crashed(p, 1, &why));
        turn.event(pod, "Warning", ("BackOff", "Back-off restarting failed container"), "kubelet");
        return;
    }
    let image = text(pod, "/spec/containers/0/image").to_owned();
    let container = text(pod, "/spec/containers/0/name").to_owned();
    turn.event(
        pod,
        "Normal",
        ("Pulled", &format!("Successfully pulled image \"{image}\"")),
        "kubelet",
    );
    turn.event(pod, "Normal", ("Started", &format!("Container started: {container}")), "kubelet");
}

/// Whether a pod's containers are meant to end.
fn ends(pod: &Value) -> bool {
    text(pod, "/spec/restartPolicy") != "Always"
}

fn running(turn: &mut Turn<'_, '_>, pod: &Value, pace: super::images::Pace) {
    let (id, tries) = (uid(pod), pods::restarts(pod));
    let key = format!("{id}/{tries}");
    if !ends(pod) {
        if !is_true(pod, "Ready") && turn.waited(&format!("ready/{key}"), pace.ready) {
            turn.change("core/pods", pod, |p| pods::set_ready(p, true));
        }
        return;
    }
    if !turn.waited(&format!("run/{key}"), pace.runs) {
        return;
    }
    let ended = containers::end(turn, pod);
    let (code, message) = match &ended {
        Ok(_) => (0, String::new()),
        Err(output) => (1, output.lines().last().unwrap_or_default().to_owned()),
    };
    let output = ended.unwrap_or_else(|output| output);
    write_log(turn, pod, &output);
    let again = code != 0 && text(pod, "/spec/restartPolicy") == "OnFailure";
    turn.change("core/pods", pod, |p| {
        if again {
            pods::set_crashed(p, code, &message);
        } else {
            pods::set_ended(p, code, &message);
        }
    });
    if again {
        let why = "Back-off restarting failed container";
        turn.event(pod, "Warning", ("BackOff", why), "kubelet");
    }
}

fn write_log(turn: &mut Turn<'_, '_>, pod: &Value, output: &str) {
    let log =
        json!({ "metadata": { "name": name(pod), "namespace": namespace(pod) }, "text": output });
    turn.tx.put(LOGS, log);
}
