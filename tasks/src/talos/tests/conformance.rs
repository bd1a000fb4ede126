use serde_json::json;

use super::super::{
    apply_config::ApplyConfig, bootstrap_talos::BootstrapTalos, etcd_quorum::EtcdQuorum,
    reach_vm::ReachVm,
};
use super::room::{CONTROLLERS, Room, WORKER};
use crate::conformance::{Case, conforms};

#[tokio::test]
async fn reach_vm_conforms() {
    conforms(&Case::new(ReachVm), async |lab| {
        let room = Room::new(lab);
        room.power_on(&[WORKER]).await;
        room.reach(WORKER)
    })
    .await;
}

#[tokio::test]
async fn apply_config_conforms() {
    conforms(&Case::new(ApplyConfig), async |lab| {
        let room = Room::new(lab);
        room.power_on(&[CONTROLLERS[0]]).await;
        room.apply(CONTROLLERS[0]).await
    })
    .await;
}

#[tokio::test]
async fn bootstrap_talos_conforms() {
    conforms(&Case::new(BootstrapTalos), async |lab| {
        let room = Room::new(lab);
        room.configure(&CONTROLLERS).await;
        room.bootstrap()
    })
    .await;
}

#[tokio::test]
async fn etcd_quorum_conforms() {
    conforms(&Case::new(EtcdQuorum), async |lab| {
        let room = Room::new(lab);
        room.configure(&CONTROLLERS).await;
        room.run(&BootstrapTalos, &room.bootstrap()).await;
        let params =
            json!({ "controllers": room.controllers(), "bundle": room.bundle, "call": "1s" });
        room.run(&EtcdQuorum, &params).await;
        params
    })
    .await;
}
