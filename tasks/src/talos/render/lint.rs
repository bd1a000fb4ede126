//! What is wrong with a configuration although it is well formed.
//!
//! The rules read the documents, not the plan: they must also find what a change to the renderer
//! breaks.

use serde_json::Value;

use super::{Plan, machine};
use crate::talos::documents::Documents;

/// Everything that is wrong, in words.
pub(in super::super) fn lint(documents: &Documents, plan: &Plan<'_>) -> Vec<String> {
    let mut wrong = planned(plan);
    for rule in [network, names, pods, secrets] {
        wrong.extend(rule(documents, plan));
    }
    wrong
}

/// What cannot be rendered soundly from this site.
fn planned(plan: &Plan<'_>) -> Vec<String> {
    let network = plan.network;
    let mut wrong = Vec::new();
    let mut demand = |holds: bool, words: String| {
        if !holds {
            wrong.push(words);
        }
    };
    let contract = plan.talos.contract.as_str();
    demand(
        matches!(contract, "v1.12" | "v1.13"),
        format!("the contract {contract} is not one of v1.12 and v1.13"),
    );
    let own = plan.node.cidr;
    demand(
        own.address == plan.node.address && own.length == network.cidr.length,
        format!("{own} is not the address {} in {}", plan.node.address, network.cidr),
    );
    demand(network.cidr.contains(plan.node.address), format!("{own} is outside {}", network.cidr));
    demand(
        network.cidr.contains(network.gateway),
        format!("the gateway {} is outside {}", network.gateway, network.cidr),
    );
    demand(!network.nameservers.is_empty(), "there is no name server".to_owned());
    demand(!network.ntp.is_empty(), "there is no time server".to_owned());
    let endpoint = &plan.choices.endpoint;
    demand(
        endpoint.scheme() == "https" && endpoint.port().is_some(),
        format!("the endpoint {endpoint} is not https with a port"),
    );
    demand(is_label(&plan.node.name), format!("`{}` is no host name", plan.node.name));
    wrong
}

/// One static address, no DHCP, one source of the host name.
fn network(documents: &Documents, plan: &Plan<'_>) -> Vec<String> {
    let mut wrong = Vec::new();
    let dhcp = documents.names().any(|name| name.starts_with("DHCPv"));
    let legacy = documents.main().pointer("/machine/network").is_some();
    if dhcp || legacy {
        wrong.push("an address may also come from elsewhere: DHCP or `machine.network`".to_owned());
    }
    let link = documents.get(&format!("LinkConfig/{}", plan.choices.link));
    let address =
        link.and_then(|link| link.pointer("/addresses/0/address")).and_then(Value::as_str);
    if address != Some(plan.node.cidr.to_string().as_str()) {
        wrong.push("the link does not have the planned address".to_owned());
    }
    let names = documents.names().filter(|name| name.starts_with("HostnameConfig")).count();
    let stable = documents.main().pointer("/machine/features/stableHostname").is_some();
    if names != 1 || stable {
        wrong.push("the host name has not exactly one source".to_owned());
    }
    let vip = documents.names().any(|name| name.starts_with("Layer2VIPConfig"));
    if vip && !plan.is_controller() {
        wrong.push("a worker must not hold the shared address".to_owned());
    }
    wrong
}

/// The certificates bear every name by which the APIs are dialled.
fn names(documents: &Documents, plan: &Plan<'_>) -> Vec<String> {
    let places: &[&str] = if plan.is_controller() {
        &["/machine/certSANs", "/cluster/apiServer/certSANs"]
    } else {
        &["/machine/certSANs"]
    };
    let missing = places.iter().flat_map(|place| {
        let list = documents.main().pointer(place).and_then(Value::as_array);
        plan.names()
            .into_iter()
            .filter(move |name| {
                !list.is_some_and(|list| list.iter().any(|item| item.as_str() == Some(name)))
            })
            .map(move |name| format!("{place} lacks {name}"))
    });
    missing.collect()
}

/// The cluster waits for Cilium, which finds the API by KubePrism and replaces kube-proxy.
fn pods(documents: &Documents, _: &Plan<'_>) -> Vec<String> {
    let main = documents.main();
    let text = |place: &str| main.pointer(place).and_then(Value::as_str);
    let truth = |place: &str| main.pointer(place).and_then(Value::as_bool) == Some(true);
    let port = main.pointer("/machine/features/kubePrism/port").and_then(Value::as_u64);
    let rules = [
        (text("/cluster/network/cni/name") == Some("none"), "Talos would bring a CNI of its own"),
        (truth("/cluster/proxy/disabled"), "kube-proxy would run beside Cilium"),
        (
            truth("/machine/features/kubePrism/enabled")
                && port == Some(machine::KUBE_PRISM.into()),
            "KubePrism is off, so Cilium cannot find the API",
        ),
    ];
    rules.into_iter().filter(|(holds, _)| !holds).map(|(_, words)| words.to_owned()).collect()
}

/// Keys of authorities are on controllers only.
fn secrets(documents: &Documents, plan: &Plan<'_>) -> Vec<String> {
    if plan.is_controller() {
        return Vec::new();
    }
    let places = [
        "/machine/ca/key",
        "/cluster/ca/key",
        "/cluster/aggregatorCA",
        "/cluster/serviceAccount",
        "/cluster/etcd",
        "/cluster/secretboxEncryptionSecret",
    ];
    let there = places.into_iter().filter(|place| documents.main().pointer(place).is_some());
    there.map(|place| format!("a worker must not have {place}")).collect()
}

/// Whether a name can be a host's.
fn is_label(name: &str) -> bool {
    let bytes = name.as_bytes();
    let sound = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(sound)
        && !name.starts_with('-')
        && !name.ends_with('-')
}
