//! Machines of a lab, made as a run makes them: from the factory, by Proxmox.

use serde_json::{Map, Value, json};

use super::room::Room;

/// The only host of a lab.
const HOST: &str = "lab-pve";

/// Makes machines and switches them on; their uuids by name.
pub(super) async fn power_on(room: &Room<'_>, names: &[&str]) -> Map<String, Value> {
    let access = access(room, names).await;
    let schematic = room.make("schematic", with(&made_of(room), json!({ "call": "2s" }))).await;
    let mut uuids = Map::new();
    for name in names {
        let image = json!({
            "store": "local", "node": node(room, name), "schematic": schematic.0["id"],
            "gateway": room.at(0, 1), "nameservers": [room.at(0, 1)], "ntp": [room.at(0, 1)],
        });
        let image = with(&with(&access, image), made_of(room));
        let image = room.make("bake-image", image).await;
        let vm = json!({
            "node": node(room, name), "image": image.0["volume"], "store": "local-zfs",
            "bridge": { "name": "vmbr4", "vlan": 4 },
        });
        let vm = room.make("create-vm", with(&access, vm)).await;
        let start = json!({
            "host": vm.0["host"], "vmid": vm.0["vmid"], "uuid": vm.0["uuid"],
        });
        room.make("start-vm", with(&access, start)).await;
        uuids.insert((*name).to_owned(), vm.0["uuid"].clone());
    }
    uuids
}

/// The way into Proxmox, with a token made for it.
async fn access(room: &Room<'_>, names: &[&str]) -> Value {
    let way = json!({
        "api": format!("https://{}:8006", room.at(0, 10)), "ca": room.file("ca.pem"), "call": "2s",
    });
    let admin = json!({
        "admin": { "user": "root@pam", "password": room.file("root-password") },
    });
    let admin = with(&way, admin);
    let bridge = json!({ "name": "vmbr4", "vlan": 4 });
    let nodes: Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), node(room, name))).collect();
    let check = json!({
        "hosts": [HOST], "image-store": "local", "disk-store": "local-zfs", "bridge": bridge,
        "nodes": nodes,
    });
    let checked = room.make("check-proxmox", with(&admin, check)).await;
    let user = json!({
        "user": "flow@pve", "privileges": checked.0["privileges"], "hosts": [HOST],
        "stores": ["local", "local-zfs"], "bridge": bridge,
    });
    let user = room.make("proxmox-access", with(&admin, user)).await;
    let token = json!({ "user": user.0["user"] });
    let token = room.make("proxmox-token", with(&admin, token)).await;
    with(&way, json!({ "token-id": token.0["token-id"], "token": token.1["token"] }))
}

fn made_of(room: &Room<'_>) -> Value {
    json!({
        "factory": format!("https://{}:8443", room.at(0, 40)), "trust": room.file("ca.pem"),
        "version": "v1.13.4", "extensions": [], "kernel-args": ["net.ifnames=0"],
    })
}

fn node(room: &Room<'_>, name: &str) -> Value {
    let mut node = room.node(name);
    node["host"] = json!(HOST);
    node["machine"] = json!({ "cores": 2, "memory": "2GiB", "disk": "8GiB", "cpu": "host" });
    node
}

/// Two tables in one.
fn with(one: &Value, other: Value) -> Value {
    let (Value::Object(mut all), Value::Object(more)) = (one.clone(), other) else {
        panic!("params are tables")
    };
    all.extend(more);
    Value::Object(all)
}
