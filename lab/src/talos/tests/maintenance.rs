use tonic::Code;

use super::{Connection, Room, apply, eventually};
use crate::talos::{
    live::Stage,
    wire::{
        cosi::resource::GetRequest,
        machine::{BootstrapRequest, EtcdMemberListRequest, apply_configuration_request::Mode},
    },
};

#[tokio::test]
async fn it_answers_without_certificates_at_the_address_of_meta() {
    let room = Room::new();
    room.machines.power_on(room.controller(1));
    let one = eventually(async || Connection::insecure(room.at(1, 1)).await.ok()).await;
    assert_eq!(one.server.len(), 1);
    assert!(one.storage().disks(()).await.is_ok());
    let version = one.machine().version(()).await.unwrap().into_inner();
    assert_eq!(version.messages[0].version.as_ref().unwrap().tag, "v1.13.4");
    assert_eq!(version.messages[0].features, None);

    let request = |namespace: &str, kind: &str, id: &str| GetRequest {
        namespace: namespace.to_owned(),
        r#type: kind.to_owned(),
        id: id.to_owned(),
        options: None,
    };
    let get = async |namespace: &str, kind: &str, id: &str| {
        let reply = one.state().get(request(namespace, kind, id)).await?;
        Ok::<_, tonic::Status>(reply.into_inner().resource.unwrap().spec.unwrap().yaml_spec)
    };
    let status = get("runtime", "MachineStatuses.runtime.talos.dev", "machine").await.unwrap();
    assert!(status.contains("stage: maintenance"));
    let hardware = "SystemInformations.hardware.talos.dev";
    let uuid = get("hardware", hardware, "systeminformation").await.unwrap();
    assert!(uuid.contains("uuid: 00000000-0000-0000-0000-000000001001"));
    let config = get("config", "MachineConfigs.config.talos.dev", "v1alpha1").await;
    assert_eq!(config.unwrap_err().code(), Code::PermissionDenied);
    let missing = get("runtime", "MetaKeys.runtime.talos.dev", "0x0b").await;
    assert_eq!(missing.unwrap_err().code(), Code::NotFound);
    let unknown = get("runtime", "Nonsense.talos.dev", "x").await.unwrap_err();
    assert_eq!(unknown.message(), "resource type \"Nonsense.talos.dev\" is not supported");
}

#[tokio::test]
async fn what_needs_more_than_a_reader_is_refused() {
    let room = Room::new();
    room.machines.power_on(room.controller(1));
    let one = eventually(async || Connection::insecure(room.at(1, 1)).await.ok()).await;
    let refused = one.machine().bootstrap(BootstrapRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, "not authorized"));
    assert_eq!(one.machine().kubeconfig(()).await.unwrap_err().code(), Code::PermissionDenied);
    let members = one.machine().etcd_member_list(EtcdMemberListRequest::default()).await;
    assert_eq!(members.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn an_older_release_knows_few_calls() {
    let room = Room::new();
    let mut vm = room.controller(1);
    vm.disk.as_mut().unwrap().version = "v1.12.11".to_owned();
    room.machines.power_on(vm);
    let one = eventually(async || Connection::insecure(room.at(1, 1)).await.ok()).await;
    let version = one.machine().version(()).await.unwrap_err();
    assert_eq!(version.message(), "API is not implemented in maintenance mode");
    let mut request = apply(&room.bundle.controller("cp1"));
    request.mode = Mode::Staged.into();
    let staged = one.machine().apply_configuration(request).await.unwrap_err();
    assert_eq!(
        staged.message(),
        "apply configuration --mode='staged' is not supported in maintenance mode"
    );
}

#[tokio::test]
async fn a_bad_configuration_changes_nothing() {
    let room = Room::new();
    room.machines.power_on(room.controller(1));
    let one = eventually(async || Connection::insecure(room.at(1, 1)).await.ok()).await;
    let error = async |config: &str| {
        let refused = one.machine().apply_configuration(apply(config)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        refused.message().to_owned()
    };
    let good = room.bundle.controller("cp1");
    let unknown = error(&good.replace("  install:", "  instal:")).await;
    assert!(unknown.contains("unknown keys found during decoding:\nmachine:\n    instal:"));
    let newer = format!("{good}---\napiVersion: v1alpha1\nkind: KubePrismConfig\nport: 7445\n");
    assert!(error(&newer).await.contains("\"KubePrismConfig\" \"v1alpha1\": not registered"));
    let endpoint = format!("endpoint: 'https://127.{}.3.1:6443'", room.bundle.octet);
    let without = error(&good.replace(&endpoint, "")).await;
    assert!(without.contains("\t* cluster controlplane endpoint is required"), "{without}");
    let mut dry = apply(&good);
    dry.dry_run = true;
    let reply = one.machine().apply_configuration(dry).await.unwrap().into_inner();
    assert!(reply.messages[0].mode_details.starts_with("Dry run summary:\n"));
    assert_eq!(room.status(1001).stage, Some(Stage::Maintenance));
    assert_eq!(room.count("cp1", "ApplyConfiguration"), 0);
    let calls = room.world.calls().list();
    assert_eq!(
        calls.last().map(|call| (call.name.as_str(), call.write)),
        Some(("ApplyConfiguration", false))
    );
}

#[tokio::test]
async fn a_machine_that_is_told_no_address_is_silent() {
    let room = Room::new();
    let mut foreign = room.controller(1);
    foreign.disk.as_mut().unwrap().meta.insert(10, b"addresses: [{address: 10.9.9.9/16}]".to_vec());
    let mut garbled = room.controller(2);
    garbled.disk.as_mut().unwrap().meta.insert(10, b"{".to_vec());
    let mut without = room.controller(3);
    without.disk.as_mut().unwrap().meta.clear();
    let diskless = crate::talos::Hardware { disk: None, ..room.controller(4) };
    for vm in [foreign, garbled, without, diskless] {
        room.machines.power_on(vm);
    }
    let notes = eventually(async || {
        let status = room.machines.status();
        let notes: Vec<String> = status.iter().filter_map(|one| one.note.clone()).collect();
        (!notes.iter().any(|note| note == "firmware and kernel")).then_some(notes)
    })
    .await;
    assert_eq!(notes[0], "no address inside this world: waits for DHCP");
    assert!(notes[1].starts_with("META is not understood"));
    assert_eq!(notes[2], "META has no network configuration: waits for DHCP");
    assert_eq!(notes[3], "no bootable disk");
    assert!(Connection::insecure(room.at(1, 1)).await.is_err());
}
