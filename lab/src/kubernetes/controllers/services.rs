//! Services: `EndpointSlice`s of the pods they select.

use serde_json::{Value, json};

use super::Turn;
use crate::kubernetes::{
    json::{at, is_true, list, map, name, namespace, owner_reference, text},
    objects::View,
    selector,
};

/// Looks at every Service with a selector.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for service in turn.tx.list("core/services") {
        if map(&service, "/spec/selector").is_some_and(|s| !s.is_empty()) {
            one(turn, &service);
        }
    }
}

fn one(turn: &mut Turn<'_, '_>, service: &Value) {
    let wanted = json!({ "matchLabels": service["spec"]["selector"] });
    let pods = turn.tx.list_in("core/pods", namespace(service));
    let endpoints: Vec<Value> = pods
        .iter()
        .filter(|p| selector::picks(&wanted, p) && !text(p, "/status/podIP").is_empty())
        .map(|p| {
            let ready = is_true(p, "Ready");
            json!({
                "addresses": [p["status"]["podIP"]], "nodeName": p["spec"]["nodeName"],
                "conditions": { "ready": ready, "serving": ready, "terminating": false },
                "targetRef": { "kind": "Pod", "name": name(p), "namespace": namespace(p) },
            })
        })
        .collect();
    let ports: Vec<Value> = list(service, "/spec/ports")
        .iter()
        .map(|p| {
            let target = at(p, "/targetPort");
            let port = if target.is_number() { target.clone() } else { p["port"].clone() };
            json!({ "name": text(p, "/name"), "port": port, "protocol": text(p, "/protocol") })
        })
        .collect();
    let slices = turn.tx.list_in("discovery.k8s.io/endpointslices", namespace(service));
    let held = slices.iter().find(|s| {
        crate::kubernetes::json::label(s, "kubernetes.io/service-name") == Some(name(service))
    });
    match held {
        Some(slice) => {
            turn.change("discovery.k8s.io/endpointslices", slice, |s| {
                s["endpoints"] = json!(endpoints);
                s["ports"] = json!(ports);
            });
        }
        None => {
            turn.tx.make(
                "discovery.k8s.io/endpointslices",
                json!({
                    "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                    "metadata": {
                        "name": format!("{}-{}", name(service), crate::kubernetes::admission::suffix()),
                        "namespace": namespace(service), "ownerReferences": [owner_reference(service)],
                        "labels": {
                            "kubernetes.io/service-name": name(service),
                            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                        },
                    },
                    "endpoints": endpoints, "ports": ports,
                }),
            );
        }
    }
}
