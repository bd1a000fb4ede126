use tonic::{Code, Request};

use super::{Connection, Room, apply, eventually};
use crate::talos::{
    live::Stage,
    wire::{
        cosi::resource::{ListRequest, WatchRequest},
        machine::{BootstrapRequest, RebootRequest, apply_configuration_request::Mode},
    },
};

#[tokio::test]
async fn a_configured_machine_wants_certificates_and_checks_roles() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    let version = admin.machine().version(()).await.unwrap().into_inner();
    assert!(version.messages[0].features.as_ref().unwrap().rbac);
    // With TLS 1.3 the client hears of the refusal with its first call.
    if let Ok(stranger) = Connection::insecure(room.at(1, 1)).await {
        assert!(stranger.machine().version(()).await.is_err());
    }
    let reader = room.mutual(room.at(1, 1), "os:reader").await;
    assert!(reader.machine().version(()).await.is_ok());
    let refused = reader.machine().bootstrap(BootstrapRequest::default()).await.unwrap_err();
    assert_eq!(refused.message(), "not authorized");
    let config = room.bundle.controller("cp1");
    let refused = reader.machine().apply_configuration(apply(&config)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let again = admin.machine().apply_configuration(apply(&config)).await.unwrap().into_inner();
    assert_eq!(again.messages[0].mode_details, "Applied configuration without a reboot");
    assert_eq!(room.count("cp1", "ApplyConfiguration"), 1);
    assert_eq!(room.count("cp1", "ApplyConfiguration-unchanged"), 1);
}

#[tokio::test]
async fn changes_that_need_a_reboot_are_told() {
    let room = Room::new();
    let config = room.bundle.controller("cp1");
    let admin = room.configured(room.controller(1), &config).await;
    let files = config.replace("  install:", "  udev: {rules: [a]}\n  install:");
    let mut request = apply(&files);
    request.mode = Mode::NoReboot.into();
    let refused = admin.machine().apply_configuration(request.clone()).await.unwrap_err();
    assert!(refused.message().starts_with("this config change can't be applied in immediate mode"));
    request.mode = Mode::Staged.into();
    let staged = admin.machine().apply_configuration(request.clone()).await.unwrap().into_inner();
    assert_eq!(
        staged.messages[0].mode_details,
        "Staged configuration to be applied after the next reboot"
    );
    request.mode = Mode::Auto.into();
    let reply = admin.machine().apply_configuration(request.clone()).await.unwrap().into_inner();
    assert_eq!(reply.messages[0].mode, i32::from(Mode::Reboot));
    eventually(async || admin.machine().version(()).await.is_err().then_some(())).await;
    let admin = room.mutual(room.at(1, 1), "os:admin").await;
    request.mode = Mode::NoReboot.into();
    assert!(admin.machine().apply_configuration(request).await.is_ok());
}

#[tokio::test]
async fn a_reboot_and_a_power_cut_keep_the_configuration() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    admin.machine().reboot(RebootRequest::default()).await.unwrap();
    eventually(async || admin.machine().version(()).await.is_err().then_some(())).await;
    let admin = room.mutual(room.at(1, 1), "os:admin").await;
    drop(admin);
    let room = room.power_cut().await;
    room.machines.power_on(room.controller(1));
    let admin = room.mutual(room.at(1, 1), "os:admin").await;
    assert!(admin.machine().version(()).await.is_ok());
}

#[tokio::test]
async fn without_power_nothing_answers_and_a_new_disk_is_empty() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    room.machines.power_off(1001);
    eventually(async || admin.machine().version(()).await.is_err().then_some(())).await;
    assert!(Connection::insecure(room.at(1, 1)).await.is_err());
    room.machines.remove(1001);
    room.machines.power_on(room.controller(1));
    eventually(async || (room.status(1001).stage == Some(Stage::Maintenance)).then_some(())).await;
}

#[tokio::test]
async fn a_worker_speaks_once_a_controller_signs_for_it() {
    let room = Room::new();
    let worker = room.hardware("w0", 2, 1);
    room.machines.power_on(worker);
    let one = eventually(async || Connection::insecure(room.at(2, 1)).await.ok()).await;
    one.machine().apply_configuration(apply(&room.bundle.worker("w0"))).await.unwrap();
    eventually(async || one.machine().version(()).await.is_err().then_some(())).await;
    assert!(Connection::insecure(room.at(2, 1)).await.is_err());
    let controller = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    let worker = room.mutual(room.at(2, 1), "os:admin").await;
    let refused = eventually(async || {
        let refused = worker.machine().bootstrap(BootstrapRequest::default()).await.unwrap_err();
        (refused.code() != Code::FailedPrecondition).then_some(refused)
    })
    .await;
    assert_eq!(refused.message(), "bootstrap is only available on control plane nodes");

    let mut request = Request::new(());
    request.metadata_mut().insert("node", room.at(2, 1).ip().to_string().parse().unwrap());
    let hostname = controller.machine().hostname(request).await.unwrap().into_inner();
    assert_eq!(hostname.messages[0].hostname, "w0");
    let mut request = Request::new(());
    for node in ["w0", "cp1", "nowhere"] {
        request.metadata_mut().append("nodes", node.parse().unwrap());
    }
    let all = controller.machine().hostname(request).await.unwrap().into_inner().messages;
    let label = |at: usize| all[at].metadata.clone().unwrap();
    assert_eq!((label(0).hostname.as_str(), all[0].hostname.as_str()), ("w0", "w0"));
    assert_eq!((label(1).hostname.as_str(), all[1].hostname.as_str()), ("cp1", "cp1"));
    assert!(label(2).error.contains("nowhere"));
    assert_eq!(label(2).status.unwrap().code, i32::from(Code::Unavailable));
    let mut request = Request::new(());
    request.metadata_mut().insert("node", room.at(1, 1).ip().to_string().parse().unwrap());
    let refused = worker.machine().hostname(request).await.unwrap_err();
    assert_eq!(refused.message(), "no request forwarding");
}

#[tokio::test]
async fn resources_are_listed_and_watched() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    let list = async |namespace: &str, kind: &str| {
        let request =
            ListRequest { namespace: namespace.to_owned(), r#type: kind.to_owned(), options: None };
        let mut stream = admin.state().list(request).await.unwrap().into_inner();
        let mut found = Vec::new();
        while let Some(reply) = stream.message().await.unwrap() {
            found.push(reply.resource.unwrap());
        }
        found
    };
    assert!(list("meta", "ResourceDefinitions.meta.cosi.dev").await.len() > 10);
    let members = list("cluster", "Members.cluster.talos.dev").await;
    assert_eq!(members[0].metadata.as_ref().unwrap().id, "cp1");
    let configs = list("config", "MachineConfigs.config.talos.dev").await;
    let text: String =
        serde_yaml_ng::from_str(&configs[1].spec.as_ref().unwrap().yaml_spec).unwrap();
    assert_eq!(text, room.bundle.controller("cp1"));

    let request = WatchRequest {
        namespace: "runtime".to_owned(),
        r#type: "MachineStatuses.runtime.talos.dev".to_owned(),
        id: Some("machine".to_owned()),
        options: None,
        api_version: 1,
    };
    let mut watch = admin.state().watch(request).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().unwrap().event.is_empty());
    let first = watch.message().await.unwrap().unwrap();
    assert_eq!(first.event[0].event_type, 0);
    admin.machine().bootstrap_when_ready().await;
    loop {
        let change = watch.message().await.unwrap().unwrap();
        let spec = change.event[0].resource.clone().unwrap().spec.unwrap();
        if spec.yaml_spec.contains("stage: running") {
            break;
        }
    }
}

/// What a patient client does.
pub(super) trait Patient {
    async fn bootstrap_when_ready(&mut self);
}

impl Patient
    for crate::talos::wire::machine::machine_service_client::MachineServiceClient<
        super::client::Channel,
    >
{
    async fn bootstrap_when_ready(&mut self) {
        let client = self.clone();
        eventually(async || match client.clone().bootstrap(BootstrapRequest::default()).await {
            Ok(_) => Some(()),
            Err(status) => {
                assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
                None
            }
        })
        .await;
    }
}
