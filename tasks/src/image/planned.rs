//! The plan that the conformance tests of images share.

use serde_json::{Value, json};

use super::bake_image::BakeImage;
use super::schematic::Schematic;
use crate::conformance::{Laboratory, Made};
use crate::proxmox::planned::{CALL, by_token, node};

fn made_of(world: &Laboratory) -> Value {
    json!({
        "factory": world.https(40, 8443),
        "trust": { "file": world.dir().join("ca.pem") },
        "version": "v1.13.4",
        "extensions": ["siderolabs/qemu-guest-agent", "siderolabs/tailscale"],
        "kernel-args": ["net.ifnames=0"],
        "call": CALL,
    })
}

pub(super) fn schematic(world: &Laboratory) -> Value {
    made_of(world)
}

pub(super) async fn image(world: &Laboratory) -> Value {
    let schematic = world.make(Schematic, &schematic(world)).await;
    let mut plan = made_of(world);
    plan["schematic"] = schematic.output("id");
    plan["store"] = json!("local");
    plan["node"] = node(world);
    plan["gateway"] = json!(world.address(0, 1));
    plan["nameservers"] = json!([world.address(0, 1)]);
    plan["ntp"] = json!([world.address(0, 1)]);
    by_token(world, plan).await
}

/// An image in the import store, and the params that it was made with.
pub(crate) async fn baked(world: &Laboratory) -> (Made, Value) {
    let params = image(world).await;
    (world.make(BakeImage, &params).await, params)
}
