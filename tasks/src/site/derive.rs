//! What follows from a site file, so that nobody has to write it twice.

use serde_json::{Map, Value, json};

/// Adds `controllers`, `workers`, `first-controller`, `api`, and to each node its `name`, `cidr`,
/// `host` and `machine`.
pub(super) fn derived(mut site: Value) -> Value {
    flatten_identity(&mut site);
    let nodes: Map<String, Value> = site
        .get("nodes")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, node)| (name.clone(), whole_node(&site, name, node)))
        .collect();
    let with_role = |role: &str| -> Map<String, Value> {
        let nodes = nodes.iter().filter(|(_, node)| node["role"] == role);
        nodes.map(|(name, node)| (name.clone(), node.clone())).collect()
    };
    let controllers = with_role("controller");
    let first = controllers
        .values()
        .find(|node| node.get("first") == Some(&Value::Bool(true)))
        .or_else(|| controllers.values().next())
        .cloned()
        .unwrap_or_default();
    let url = |address: Option<&Value>| {
        address.and_then(Value::as_str).map(|address| format!("https://{address}:6443"))
    };
    site["api"] = json!({
        "first": url(first.get("address")),
        "vip": url(site.pointer("/network/api-vip/address")),
    });
    site["workers"] = Value::Object(with_role("worker"));
    site["controllers"] = Value::Object(controllers);
    site["first-controller"] = first;
    site["nodes"] = Value::Object(nodes);
    site
}

/// `[site]`'s own keys are read as `site.name`, not `site.site.name`.
fn flatten_identity(site: &mut Value) {
    if let Some(Value::Object(identity)) = site.as_object_mut().and_then(|all| all.remove("site")) {
        for (key, value) in identity {
            site[key] = value;
        }
    }
}

/// A node with its role's machine (its own keys over it), name, host and address with prefix.
fn whole_node(site: &Value, name: &str, node: &Value) -> Value {
    let mut node = node.clone();
    let role = node["role"].as_str().unwrap_or_default();
    let mut machine = site.pointer(&format!("/machines/{role}")).cloned().unwrap_or(json!({}));
    for key in ["cores", "memory", "disk", "cpu"] {
        if let Some(own) = node.get(key) {
            machine[key] = own.clone();
        }
    }
    let prefix = site
        .pointer("/network/cidr")
        .and_then(Value::as_str)
        .and_then(|cidr| cidr.split_once('/').map(|(_, prefix)| prefix.to_owned()));
    let address = node["address"].as_str().unwrap_or_default();
    node["cidr"] = json!(format!("{address}/{}", prefix.unwrap_or_default()));
    node["name"] = json!(name);
    if node.get("host").is_none() {
        node["host"] = site.pointer("/proxmox/hosts/0").cloned().unwrap_or_default();
    }
    node["machine"] = machine;
    node
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_get_what_their_role_says_and_keep_what_they_say_themselves() {
        let site = derived(json!({
            "site": { "name": "home", "cluster": "c" },
            "network": { "cidr": "10.2.0.0/16", "api-vip": { "address": "10.2.3.1" } },
            "proxmox": { "hosts": ["atlas"] },
            "machines": { "controller": { "cores": 4, "memory": "8GiB" }, "worker": {} },
            "nodes": {
                "b": { "role": "controller", "address": "10.2.1.2", "cores": 8 },
                "a": { "role": "controller", "address": "10.2.1.1" },
                "w": { "role": "worker", "address": "10.2.2.1", "host": "hera" },
            },
        }));
        assert_eq!(site["name"], "home");
        assert_eq!(site["first-controller"]["name"], "a");
        assert_eq!(
            site["api"],
            json!({
                "first": "https://10.2.1.1:6443", "vip": "https://10.2.3.1:6443"
            })
        );
        assert_eq!(site["controllers"]["b"]["machine"], json!({ "cores": 8, "memory": "8GiB" }));
        assert_eq!(site["nodes"]["a"]["cidr"], "10.2.1.1/16");
        assert_eq!(site["workers"]["w"]["host"], "hera");
        assert_eq!(site["nodes"]["b"]["host"], "atlas");
    }
}
