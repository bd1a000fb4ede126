use serde_json::{Map, Value, json};

use super::room::bundle;
use crate::talos::{credentials, talos_secrets};

/// What an expression of an example stands for.
fn sample(expression: &str) -> Value {
    let node = json!({
        "name": "worker0", "role": "worker", "address": "10.2.2.1", "cidr": "10.2.2.1/16",
    });
    match expression {
        "${each.value}" | "${site.first-controller}" => node,
        "${site.controllers}" => json!({ "controlplane0": node }),
        "${site.network}" => json!({
            "cidr": "10.2.0.0/16", "gateway": "10.2.0.1", "nameservers": ["10.2.0.1"],
            "ntp": ["10.2.0.1"],
        }),
        "${site.talos}" => {
            json!({ "version": "v1.13.4", "contract": "v1.13", "kubernetes": "v1.36.1" })
        }
        "${tasks.talos-secrets.bundle}" => bundle(),
        text => json!(text),
    }
}

#[test]
fn the_examples_are_what_the_kinds_take() {
    let registry = crate::registry();
    for name in [
        "talos-secrets",
        "sealing-key",
        "reach-vm",
        "render-config",
        "apply-config",
        "bootstrap-talos",
        "etcd-quorum",
        "credentials",
    ] {
        let kind = registry.kind(name).unwrap();
        let example: Map<String, Value> = toml::from_str(kind.manual().example).unwrap();
        let with: Value = example
            .into_iter()
            .map(|(key, value)| {
                let value = value.as_str().map(sample).unwrap_or(value);
                (key, value)
            })
            .collect();
        if let Err(failure) = kind.check(&with) {
            panic!("{name}: {failure:?}");
        }
        assert!(kind.manual().summary.len() <= 72, "{name}: the summary fits a line");
    }
}

#[test]
fn handles_of_this_release_are_read_by_all_later_ones() {
    let secrets = json!({ "cluster-id": "yWlsoFzV" });
    let read: talos_secrets::Handle = serde_json::from_value(secrets.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), secrets);
    let files = json!({ "paths": ["kubeconfig", "talosconfig"], "hash": "00ff" });
    let read: credentials::Handle = serde_json::from_value(files.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), files);
}
