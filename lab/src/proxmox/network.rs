//! The host's network, which clients may only look at.

use serde_json::{Value, json};

use super::{
    Proxmox,
    params::Param,
    reply::{Answer, Refused},
    route::{Request, Route},
};

/// The bridges: name, port, addresses, whether they carry VLANs.
const BRIDGES: [(&str, &str, Option<&str>, bool); 2] =
    [("vmbr0", "eno1", Some("192.0.2.10/24"), false), ("vmbr4", "eno2", None, true)];

/// The endpoints.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/network", &[Param::text("type", 32)], list),
    Route::get("/nodes/{node}/network/{iface}", &[], show).checked(may_audit),
];

/// Whether the host has a bridge of this name.
pub(super) fn has_bridge(name: &str) -> bool {
    BRIDGES.iter().any(|(bridge, ..)| *bridge == name)
}

/// Where the use of a bridge, and of a VLAN on it, is granted.
pub(super) fn zone_path(bridge: &str, vlan: Option<&str>) -> String {
    let bridge = format!("/sdn/zones/localnetwork/{bridge}");
    vlan.map_or_else(|| bridge.clone(), |vlan| format!("{bridge}/{vlan}"))
}

fn may_audit(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/nodes/{}", request.path("node"));
    host.access().need(&request.caller, &path, "Sys.Audit")
}

fn bridge(name: &str, port: &str, address: Option<&str>, aware: bool) -> Value {
    let mut row = json!({
        "iface": name,
        "type": "bridge",
        "active": 1,
        "autostart": 1,
        "bridge_ports": port,
        "bridge_stp": "off",
        "bridge_fd": "0",
        "method": if address.is_some() { "static" } else { "manual" },
        "method6": "manual",
        "families": ["inet"],
        "priority": 4,
    });
    if let Some((ip, _)) = address.and_then(|cidr| cidr.split_once('/')) {
        row["cidr"] = json!(address);
        row["address"] = json!(ip);
        row["netmask"] = json!("24");
        row["gateway"] = json!("192.0.2.1");
    }
    if aware {
        row["bridge_vlan_aware"] = json!(1);
        row["bridge_vids"] = json!("2-4094");
    }
    row
}

fn rows() -> Vec<Value> {
    let port = |name: &str| {
        json!({ "iface": name, "type": "eth", "active": 1, "exists": 1, "method": "manual",
                "method6": "manual", "families": ["inet"], "priority": 3 })
    };
    let bridges = BRIDGES.map(|(name, port, address, aware)| bridge(name, port, address, aware));
    BRIDGES.iter().map(|(_, name, ..)| port(name)).chain(bridges).collect()
}

fn list(host: &Proxmox, request: &Request) -> Answer {
    let access = host.access();
    let node = format!("/nodes/{}", request.path("node"));
    let audits = access.has_any(&request.caller, &node, &["Sys.Audit"]);
    let bridges =
        matches!(request.params.get("type"), Some("any_bridge" | "any_local_bridge" | "bridge"));
    let kind = request.params.get("type");
    let mut rows = rows();
    rows.retain(|row| {
        let is_bridge = row["type"] == "bridge";
        let fits = kind.is_none_or(|kind| bridges && is_bridge || row["type"] == kind);
        let path = zone_path(row["iface"].as_str().unwrap_or_default(), None);
        let visible = access.has_any(&request.caller, &path, &["SDN.Audit", "SDN.Use"]);
        fits && if is_bridge { visible || (audits && !bridges) } else { audits }
    });
    Ok(json!(rows).into())
}

fn show(_: &Proxmox, request: &Request) -> Answer {
    let name = request.path("iface");
    let row = rows().into_iter().find(|row| row["iface"] == name);
    row.map(Into::into).ok_or_else(|| Refused::parameter("iface", "interface does not exist"))
}
