use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::*;
use crate::talos::site::Role;

/// The schema that Talos publishes, in a checkout that has it beside it.
const SCHEMA: &str = "../../shared/data/talos-v1.13-config.schema.json";

fn with(role: &str) -> Value {
    let (name, address) = match role {
        "controller" => ("controlplane0", "10.2.1.1"),
        _ => ("worker0", "10.2.2.1"),
    };
    let bundle = Bundle::generate("v1.13", OffsetDateTime::now_utc()).unwrap();
    json!({
        "node": {
            "name": name, "role": role, "address": address, "cidr": format!("{address}/16"),
            "vmid": 1500, "host": "atlas", "machine": { "cores": 4 },
        },
        "network": {
            "cidr": "10.2.0.0/16", "gateway": "10.2.0.1", "nameservers": ["10.2.0.1", "9.9.9.9"],
            "ntp": ["time.cloudflare.com"], "manage": false,
            "api-vip": { "address": "10.2.3.1", "by": "talos" }, "pools": {},
        },
        "talos": {
            "version": "v1.13.4", "contract": "v1.13", "kubernetes": "v1.36.1",
            "extensions": ["siderolabs/tailscale"], "factory": "https://factory.talos.dev",
        },
        "bundle": bundle,
        "endpoint": "https://10.2.3.1:6443",
        "installer": "factory.talos.dev/metal-installer/abc:v1.13.4",
    })
}

fn params(with: Value) -> Params {
    serde_json::from_value(with).unwrap()
}

fn documents(with: Value) -> Documents {
    Documents::parse(&render("test-cluster", &params(with)).unwrap().1).unwrap()
}

/// A shape of a value that names its keys and keeps what is no secret.
fn main_of(role: &str) -> Value {
    documents(with(role)).main().clone()
}

#[test]
fn a_controller_has_everything_and_a_worker_no_key() {
    let controller = main_of("controller");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let mut found = keys(&controller["cluster"]);
    found.sort();
    assert_eq!(
        found,
        [
            "aggregatorCA",
            "apiServer",
            "ca",
            "clusterName",
            "controlPlane",
            "controllerManager",
            "discovery",
            "etcd",
            "id",
            "network",
            "proxy",
            "scheduler",
            "secret",
            "secretboxEncryptionSecret",
            "serviceAccount",
            "token",
        ]
    );
    assert_eq!(controller["machine"]["certSANs"], json!(["10.2.3.1"]));
    assert_eq!(
        controller["cluster"]["etcd"]["advertisedSubnets"],
        json!(["10.2.0.0/16", "!10.2.3.1/32"])
    );
    let worker = main_of("worker");
    let mut found = keys(&worker["cluster"]);
    found.sort();
    assert_eq!(
        found,
        [
            "ca",
            "clusterName",
            "controlPlane",
            "discovery",
            "id",
            "network",
            "proxy",
            "secret",
            "token",
        ]
    );
    assert_eq!(keys(&worker["machine"]["ca"]), ["crt"]);
}

#[test]
fn the_documents_beside_it_are_these() {
    let mut with = with("worker");
    with["mesh"] =
        json!({ "url": "https://mesh.example.com", "routes": ["10.2.3.0/27"], "user": "c" });
    with["mesh-key"] = json!("key");
    let worker = documents(with);
    let expected = [
        (
            "ExtensionServiceConfig/tailscale",
            json!({
                "apiVersion": "v1alpha1", "kind": "ExtensionServiceConfig", "name": "tailscale",
                "environment": [
                    "TS_AUTHKEY=key", "TS_AUTH_ONCE=true", "TS_HOSTNAME=worker0",
                    "TS_EXTRA_ARGS=--login-server=https://mesh.example.com", "TS_ROUTES=10.2.3.0/27",
                ],
            }),
        ),
        (
            "HostnameConfig",
            json!({
                "apiVersion": "v1alpha1", "kind": "HostnameConfig", "hostname": "worker0",
            }),
        ),
        (
            "LinkConfig/eth0",
            json!({
                "apiVersion": "v1alpha1", "kind": "LinkConfig", "name": "eth0", "up": true,
                "addresses": [{ "address": "10.2.2.1/16" }], "routes": [{ "gateway": "10.2.0.1" }],
            }),
        ),
        (
            "ResolverConfig",
            json!({
                "apiVersion": "v1alpha1", "kind": "ResolverConfig",
                "nameservers": [{ "address": "10.2.0.1" }, { "address": "9.9.9.9" }],
            }),
        ),
        (
            "TimeSyncConfig",
            json!({
                "apiVersion": "v1alpha1", "kind": "TimeSyncConfig", "enabled": true,
                "ntp": { "servers": ["time.cloudflare.com"] },
            }),
        ),
    ];
    let names: Vec<_> = worker.names().filter(|name| *name != "v1alpha1").collect();
    assert_eq!(names, expected.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, document) in expected {
        assert_eq!(worker.get(name), Some(&document));
    }
    let controller = documents(self::with("controller"));
    assert_eq!(controller.get("Layer2VIPConfig/10.2.3.1").unwrap()["link"], json!("eth0"));
}

#[test]
fn the_hash_tells_what_is_configured_and_not_the_spent_key() {
    let with = with("worker");
    let hash = |change: &dyn Fn(&mut Value)| {
        let mut with = with.clone();
        with["mesh-key"] = json!("one");
        change(&mut with);
        render("test-cluster", &params(with)).unwrap().0
    };
    let plain = hash(&|_| {});
    assert_eq!(hash(&|with| with["mesh-key"] = json!("two")), plain);
    assert_ne!(hash(&|with| with["link"] = json!("eth1")), plain);
}

#[test]
fn what_is_not_sound_is_told_in_one_go() {
    let mut with = with("controller");
    with["network"]["gateway"] = json!("10.3.0.1");
    with["network"]["nameservers"] = json!([]);
    with["talos"]["contract"] = json!("v1.9");
    with["endpoint"] = json!("http://10.2.3.1:6443");
    let error = render("test-cluster", &params(with)).unwrap_err();
    assert_eq!(error.retry(), Retry::Never);
    assert_eq!(
        error.to_string(),
        "the configuration of controlplane0 is not sound: the contract v1.9 is not one of v1.12 \
         and v1.13; the gateway 10.3.0.1 is outside 10.2.0.0/16; there is no name server; the \
         endpoint http://10.2.3.1:6443/ is not https with a port"
    );
}

#[test]
fn every_document_fits_the_schema_that_talos_publishes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(SCHEMA);
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let schema: Value = serde_json::from_str(&text).unwrap();
    for role in ["controller", "worker"] {
        let mut with = with(role);
        with["mesh-key"] = json!("key");
        let documents = documents(with);
        for name in documents.names() {
            let kind = name.split('/').next().unwrap();
            let document = documents.get(name).unwrap();
            let wrong = misfits(&schema, definition(&schema, kind), document, name);
            assert_eq!(wrong, Vec::<String>::new());
        }
    }
}

/// The definition of a kind of document in Talos' schema.
fn definition<'a>(schema: &'a Value, kind: &str) -> &'a Value {
    if kind == "v1alpha1" {
        return &schema["$defs"]["v1alpha1.Config"];
    }
    let definitions = schema["$defs"].as_object().unwrap();
    let is_it = |definition: &&Value| definition["properties"]["kind"]["enum"] == json!([kind]);
    definitions.values().find(is_it).unwrap_or_else(|| panic!("no kind {kind} in the schema"))
}

/// What does not fit, by the keywords that Talos' schema uses.
fn misfits(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return misfits(root, target, value, place);
    }
    let mut wrong = Vec::new();
    let typed = match schema["type"].as_str() {
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some(other) => panic!("the schema has a type {other}"),
        None => true,
    };
    if !typed {
        wrong.push(format!("{place} has another type"));
    }
    if schema["enum"].as_array().is_some_and(|allowed| !allowed.contains(value)) {
        wrong.push(format!("{place} has another value"));
    }
    let items = value.as_array().into_iter().flatten();
    for (index, item) in items.enumerate().filter(|_| schema["items"].is_object()) {
        wrong.extend(misfits(root, &schema["items"], item, &format!("{place}[{index}]")));
    }
    let empty = serde_json::Map::new();
    let fields = value.as_object().unwrap_or(&empty);
    let properties: BTreeMap<_, _> =
        schema["properties"].as_object().unwrap_or(&empty).iter().collect();
    for (key, value) in fields {
        let below = format!("{place}.{key}");
        match properties.get(key) {
            Some(schema) => wrong.extend(misfits(root, schema, value, &below)),
            None if schema["additionalProperties"] == json!(false)
                && schema["patternProperties"].is_null() =>
            {
                wrong.push(format!("{below} is unknown"));
            }
            None => {}
        }
    }
    let required = schema["required"].as_array().into_iter().flatten();
    for key in required.filter_map(Value::as_str).filter(|key| !fields.contains_key(*key)) {
        wrong.push(format!("{place}.{key} is missing"));
    }
    wrong
}

#[test]
fn the_role_decides() {
    assert_eq!(params(with("worker")).node.role, Role::Worker);
}
