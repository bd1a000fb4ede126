//! The documents beside the main one: name, network, time, extensions.

use serde_json::{Value, json};

use super::Plan;
use crate::talos::site::VipOwner;

pub(super) fn documents(plan: &Plan<'_>) -> Vec<Value> {
    let network = plan.network;
    let always = [
        document("HostnameConfig", json!({ "hostname": plan.node.name })),
        document(
            "LinkConfig",
            json!({
                "name": plan.choices.link,
                "up": true,
                "addresses": [{ "address": plan.node.cidr.to_string() }],
                "routes": [{ "gateway": network.gateway }],
            }),
        ),
        document(
            "ResolverConfig",
            json!({
                "nameservers": network.nameservers.iter().map(|address| json!({ "address": address }))
                    .collect::<Vec<_>>(),
            }),
        ),
        document("TimeSyncConfig", json!({ "enabled": true, "ntp": { "servers": network.ntp } })),
    ];
    always.into_iter().chain(vip(plan)).chain(mesh(plan)).collect()
}

/// The shared address, which one controller holds at a time.
fn vip(plan: &Plan<'_>) -> Option<Value> {
    let vip = plan.network.api_vip.as_ref().filter(|_| plan.is_controller())?;
    match vip.by {
        VipOwner::Talos => Some(document(
            "Layer2VIPConfig",
            json!({ "name": vip.address, "link": plan.choices.link }),
        )),
        VipOwner::KubeVip => None,
    }
}

fn mesh(plan: &Plan<'_>) -> Option<Value> {
    let mesh = plan.choices.mesh.as_ref()?;
    let mut environment = vec![
        format!("TS_AUTHKEY={}", mesh.key.reveal()),
        // The key is spent after the first use; a restart must not need it again.
        "TS_AUTH_ONCE=true".to_owned(),
        format!("TS_HOSTNAME={}", plan.node.name),
    ];
    if let Some(url) = &mesh.url {
        environment.push(format!("TS_EXTRA_ARGS=--login-server={url}"));
    }
    if !plan.is_controller() && !mesh.routes.is_empty() {
        environment.push(format!("TS_ROUTES={}", mesh.routes.join(",")));
    }
    Some(document(
        "ExtensionServiceConfig",
        json!({ "name": "tailscale", "environment": environment }),
    ))
}

fn document(kind: &str, fields: Value) -> Value {
    let mut document = json!({ "apiVersion": "v1alpha1", "kind": kind });
    if let (Some(document), Value::Object(fields)) = (document.as_object_mut(), fields) {
        document.extend(fields);
    }
    document
}
