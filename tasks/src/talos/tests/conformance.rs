use super::room::{CONTROLLERS, Room, WORKER};
use crate::conformance::{Case, conforms};
use crate::talos::apply_config::ApplyConfig;
use crate::talos::bootstrap_talos::BootstrapTalos;
use crate::talos::etcd_quorum::EtcdQuorum;
use crate::talos::reach_vm::ReachVm;

#[tokio::test]
async fn reach_vm_conforms() {
    conforms(&Case::new(ReachVm), async |lab| Room::new(lab, &[WORKER]).await.reach(WORKER)).await;
}

#[tokio::test]
async fn apply_config_conforms() {
    conforms(&Case::new(ApplyConfig), async |lab| {
        Room::new(lab, &[CONTROLLERS[0]]).await.apply(CONTROLLERS[0]).await
    })
    .await;
}

#[tokio::test]
async fn bootstrap_talos_conforms() {
    conforms(&Case::new(BootstrapTalos), async |lab| {
        Room::configured(lab, &CONTROLLERS).await.bootstrap()
    })
    .await;
}

#[tokio::test]
async fn etcd_quorum_conforms() {
    conforms(&Case::new(EtcdQuorum), async |lab| {
        let room = Room::configured(lab, &CONTROLLERS).await;
        room.make("bootstrap-talos", room.bootstrap()).await;
        room.make("etcd-quorum", room.quorum()).await;
        room.quorum()
    })
    .await;
}
