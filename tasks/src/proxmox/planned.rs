//! The plan that the conformance tests of machines share: params of each kind, and earlier kinds.

use flow_engine::Secret;
use serde_json::{Value, json};

use super::access::ProxmoxAccess;
use super::check_proxmox::CheckProxmox;
use super::client::{Api, Client};
use super::create_vm::CreateVm;
use super::deadline::Deadline;
use super::proxmox_token::ProxmoxToken;
use crate::conformance::{Laboratory, Made};
use crate::reference::Reference;

/// The deadline of a call in tests: long enough for a busy machine, short enough to wait for.
pub(crate) const CALL: &str = "400ms";
/// The host of the lab.
const HOST: &str = "lab-pve";

/// What every kind that speaks to Proxmox takes, joined with what this one takes.
pub(crate) fn with(world: &Laboratory, more: Value) -> Value {
    let mut params = json!({
        "api": world.https(10, 8006),
        "ca": { "file": world.dir().join("ca.pem") },
        "call": CALL,
    });
    let fields = params.as_object_mut().expect("an object was just made");
    let Value::Object(more) = more else { panic!("params are an object") };
    fields.extend(more);
    params
}

pub(crate) fn node(world: &Laboratory) -> Value {
    json!({
        "name": "worker0", "role": "worker", "address": world.address(2, 1),
        "cidr": format!("{}/16", world.address(2, 1)), "vmid": 2000, "host": HOST,
        "machine": { "cores": 2, "memory": "2GiB", "disk": "64MiB", "cpu": "host" },
    })
}

pub(super) fn admin(world: &Laboratory) -> Value {
    json!({ "user": "root@pam", "password": { "file": world.dir().join("root-password") } })
}

pub(super) fn check(world: &Laboratory) -> Value {
    let plan = json!({
        "admin": admin(world), "hosts": [HOST], "image-store": "local", "disk-store": "local-zfs",
        "bridge": { "name": "vmbr4", "vlan": 4 }, "nodes": { "worker0": node(world) },
        "factory": world.https(40, 8443),
    });
    with(world, plan)
}

pub(super) async fn access(world: &Laboratory) -> Value {
    let checked = world.make(CheckProxmox, &check(world)).await;
    let plan = json!({
        "admin": admin(world), "user": "flow@pve", "privileges": checked.output("privileges"),
        "hosts": [HOST], "stores": ["local", "local-zfs"],
        "bridge": { "name": "vmbr4", "vlan": 4 },
    });
    with(world, plan)
}

pub(super) async fn token(world: &Laboratory) -> Value {
    let access = world.make(ProxmoxAccess, &access(world).await).await;
    with(world, json!({ "admin": admin(world), "user": access.output("user") }))
}

/// The params of a kind that comes in with the token.
pub(crate) async fn by_token(world: &Laboratory, more: Value) -> Value {
    let token: Made = world.make(ProxmoxToken, &token(world).await).await;
    let mut params = with(world, more);
    params["token-id"] = token.output("token-id");
    params["token"] = token.secret("token");
    params
}

pub(super) async fn vm(world: &Laboratory) -> Value {
    let (image, token) = crate::image::planned::baked(world).await;
    let plan = json!({
        "node": node(world), "image": image.output("volume"), "store": "local-zfs",
        "bridge": { "name": "vmbr4", "vlan": 4 }, "agent": true,
        "token-id": token["token-id"], "token": token["token"],
    });
    with(world, plan)
}

pub(super) async fn started(world: &Laboratory) -> Value {
    let params = vm(world).await;
    let vm = world.make(CreateVm, &params).await;
    stay_off(world, &params).await;
    let plan = json!({
        "host": vm.output("host"), "vmid": vm.output("vmid"), "uuid": vm.output("uuid"),
        "token-id": params["token-id"], "token": params["token"],
    });
    with(world, plan)
}

/// A copy of the world is a host that boots: its machine must not start with it.
async fn stay_off(world: &Laboratory, params: &Value) {
    let api = Api {
        url: world.https(10, 8006),
        ca: Reference::File(world.dir().join("ca.pem")),
        deadline: Deadline::default(),
    };
    let field = |name: &str| params[name].as_str().expect("a text").to_owned();
    let secret = Secret::new(field("token"));
    let client = Client::with_token(&api, &field("token-id"), &secret).await.expect("a client");
    let path = ["nodes", HOST, "qemu", "2000", "config"];
    client.put(&path, &[("onboot", "0".to_owned())]).await.expect("the VM can be changed");
}
