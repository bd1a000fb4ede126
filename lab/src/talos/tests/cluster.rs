use std::{
    io::Read as _,
    net::{IpAddr, SocketAddr},
};

use tonic::Code;

use super::{Connection, Room, eventually, normal::Patient as _};
use crate::talos::{
    live::Stage,
    wire::{
        cosi::resource::GetRequest,
        machine::{BootstrapRequest, EtcdMember, EtcdMemberListRequest, ListRequest},
    },
};

/// The YAML of one resource.
async fn resource(connection: &Connection, namespace: &str, kind: &str, id: &str) -> String {
    let request = GetRequest {
        namespace: namespace.to_owned(),
        r#type: kind.to_owned(),
        id: id.to_owned(),
        options: None,
    };
    let reply = connection.state().get(request).await.unwrap().into_inner();
    reply.resource.unwrap().spec.unwrap().yaml_spec
}

async fn members(connection: &Connection) -> Vec<EtcdMember> {
    let reply = connection.machine().etcd_member_list(EtcdMemberListRequest::default()).await;
    reply.map(|reply| reply.into_inner().messages[0].members.clone()).unwrap_or_default()
}

/// What etcd's directory holds; `None` where there is none.
async fn data(connection: &Connection) -> Option<Vec<String>> {
    let request = ListRequest { root: "/var/lib/etcd".to_owned(), recurse: false };
    let mut files = connection.machine().list(request).await.ok()?.into_inner();
    let mut names = Vec::new();
    while let Some(file) = files.message().await.ok()? {
        names.push(file.relative_name);
    }
    Some(names)
}

/// The members once there are three, and all of them vote.
async fn voters(connection: &Connection) -> Vec<EtcdMember> {
    eventually(async || {
        let voters = members(connection).await;
        (voters.len() == 3 && voters.iter().all(|one| !one.is_learner)).then_some(voters)
    })
    .await
}

async fn three(room: &Room) -> Vec<Connection> {
    let mut connections = Vec::new();
    for number in 1..=3 {
        let config = room.bundle.controller(&format!("cp{number}"));
        connections.push(room.configured(room.controller(number), &config).await);
    }
    connections
}

#[tokio::test]
async fn three_controllers_form_one_etcd() {
    let room = Room::new();
    let connections = three(&room).await;
    let before = connections[0].machine().etcd_member_list(EtcdMemberListRequest::default()).await;
    assert_eq!(before.unwrap_err().code(), Code::DeadlineExceeded);
    let services = connections[0].machine().service_list(()).await.unwrap().into_inner();
    let etcd = services.messages[0].services.iter().find(|one| one.id == "etcd").unwrap();
    assert_ne!(etcd.state, "Running");
    assert_eq!(eventually(async || data(&connections[0]).await).await, ["."]);

    connections[0].machine().bootstrap_when_ready().await;
    let voters = voters(&connections[2]).await;
    assert_eq!(voters[0].hostname, "cp1");
    for connection in &connections {
        assert_eq!(members(connection).await, voters);
        let status = connection.machine().etcd_status(()).await.unwrap().into_inner();
        let status = status.messages[0].member_status.clone().unwrap();
        assert_eq!(status.leader, voters[0].id);
        let alarms = connection.machine().etcd_alarm_list(()).await.unwrap().into_inner();
        assert!(alarms.messages[0].member_alarms.is_empty());
        let again = connection.machine().bootstrap(BootstrapRequest::default()).await;
        let again = again.unwrap_err();
        assert_eq!(again.code(), Code::AlreadyExists);
        assert_eq!(again.message(), "etcd data directory is not empty");
    }
    assert_eq!(room.count("cp1", "Bootstrap"), 1);
    assert_eq!(room.count("cp2", "Bootstrap"), 0);
    let clusters: Vec<_> = (1..=3).map(|number| room.status(1000 + number).etcd).collect();
    assert!(clusters[0].is_some() && clusters.iter().all(|one| *one == clusters[0]));
}

#[tokio::test]
async fn a_bootstrap_elsewhere_makes_a_second_etcd() {
    let room = Room::new();
    let first = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    first.machine().bootstrap_when_ready().await;
    eventually(async || room.status(1001).etcd).await;
    room.machines.power_off(1001);
    let second = room.configured(room.controller(2), &room.bundle.controller("cp2")).await;
    second.machine().bootstrap_when_ready().await;
    let other = eventually(async || room.status(1002).etcd).await;
    assert_ne!(room.status(1001).etcd, Some(other));
    assert_eq!(eventually(async || members(&second).await.pop()).await.hostname, "cp2");
}

#[tokio::test]
async fn etcd_outlives_a_minority_and_a_power_cut_and_the_vip_moves() {
    let room = Room::new();
    let connections = three(&room).await;
    connections[0].machine().bootstrap_when_ready().await;
    voters(&connections[2]).await;
    let vip = room.world.address().at(3, 1);
    let holder = async || {
        let all = room.machines.status();
        all.iter().find(|one| one.addresses.contains(&vip)).map(|one| one.vmid)
    };
    let first = eventually(holder).await;
    let shared = room.mutual(room.at(3, 1), "os:admin").await;
    assert!(shared.machine().version(()).await.is_ok());
    room.machines.power_off(first);
    let second = eventually(async || holder().await.filter(|now| *now != first)).await;
    room.machines.power_off(second);
    let last = (1001..=1003).find(|vmid| *vmid != first && *vmid != second).unwrap();
    let alone = &connections[usize::try_from(last - 1001).unwrap()];
    assert!(members(alone).await.is_empty());
    let status = alone.machine().etcd_status(()).await.unwrap().into_inner();
    assert_eq!(status.messages[0].member_status.as_ref().unwrap().leader, 0);

    drop(connections);
    let room = room.power_cut().await;
    for number in 1..=3 {
        room.machines.power_on(room.controller(number));
    }
    let admin = room.mutual(room.at(1, 2), "os:admin").await;
    assert_eq!(eventually(async || data(&admin).await).await, [".", "member"]);
    eventually(async || (members(&admin).await.len() == 3).then_some(())).await;
}

#[tokio::test]
async fn a_kubeconfig_comes_before_the_cluster() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    let mut stream = admin.machine().kubeconfig(()).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(data) = stream.message().await.unwrap() {
        bytes.extend(data.bytes);
    }
    let mut tar = Vec::new();
    flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
    assert_eq!(&tar[..10], b"kubeconfig");
    let size = std::str::from_utf8(&tar[124..135]).unwrap();
    let size = usize::from_str_radix(size, 8).unwrap();
    // As the real server: nothing after the file.
    assert_eq!(tar.len(), 512 + size);
    let config: serde_json::Value = serde_yaml_ng::from_slice(&tar[512..]).unwrap();
    assert_eq!(config["current-context"], "admin@demo");
    assert_eq!(
        config["clusters"][0]["cluster"]["server"],
        format!("https://127.{}.3.1:6443", room.bundle.octet)
    );
}

#[tokio::test]
async fn a_reply_that_is_lost_leaves_the_bootstrap_done() {
    let room = Room::new();
    let admin = room.configured(room.controller(1), &room.bundle.controller("cp1")).await;
    eventually(async || {
        let services = admin.machine().service_list(()).await.unwrap().into_inner();
        let cri = services.messages[0].services.iter().any(|one| one.id == "ext-qemu-guest-agent");
        cri.then_some(())
    })
    .await;
    room.world.faults().add("talos@cp1:Bootstrap:reply-lost".parse().unwrap());
    assert!(admin.machine().bootstrap(BootstrapRequest::default()).await.is_err());
    eventually(async || room.status(1001).etcd).await;
    assert_eq!(room.count("cp1", "Bootstrap"), 1);
}

/// What the API at this address answers.
async fn get(room: &Room, at: IpAddr, path: &str) -> Option<serde_json::Value> {
    let authority = crate::talos::credentials::certificate(&room.bundle.kubernetes.certificate)?;
    let at = SocketAddr::new(at, 6443);
    let api = Connection::mutual(at, authority, room.bundle.administrator()).await.ok()?;
    Some(serde_json::from_slice(&api.get(path).await?).unwrap())
}

/// The names of the nodes that the API at this address knows.
async fn nodes(room: &Room, at: IpAddr) -> Option<Vec<String>> {
    let list = get(room, at, "/api/v1/nodes").await?;
    let items = list["items"].as_array()?.iter();
    items.map(|node| node["metadata"]["name"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn kubernetes_answers_at_the_vip_also_after_its_holder_died() {
    let room = Room::new();
    let vip = room.world.address().at(3, 1);
    let connections = three(&room).await;
    let worker = room.configured(room.hardware("w0", 2, 1), &room.bundle.worker("w0")).await;
    assert!(nodes(&room, vip).await.is_none());
    connections[0].machine().bootstrap_when_ready().await;
    let all = eventually(async || nodes(&room, vip).await.filter(|nodes| nodes.len() == 4)).await;
    assert_eq!(all, ["cp1", "cp2", "cp3", "w0"]);
    let node = get(&room, vip, "/api/v1/nodes/w0").await.unwrap();
    assert_eq!(
        node["status"]["capacity"],
        // Four cores, 8 GiB, and 40 GiB less Talos' own partitions.
        serde_json::json!({
            "cpu": "4", "memory": "8388608Ki", "ephemeral-storage": "39791616Ki", "pods": "110",
        })
    );
    voters(&connections[2]).await;
    eventually(async || {
        let status = room.machines.status();
        status.iter().all(|one| one.stage == Some(Stage::Running)).then_some(())
    })
    .await;
    let status = resource(&worker, "runtime", "MachineStatuses.runtime.talos.dev", "machine").await;
    // Without a CNI no node becomes ready.
    assert!(status.contains("reason: node \"w0\" is not ready"), "{status}");
    let holder = room.machines.status();
    let holder = holder.iter().find(|one| one.addresses.contains(&vip)).unwrap().vmid;
    room.machines.power_off(holder);
    eventually(async || {
        let moved = room.machines.status();
        let now = moved.iter().find(|one| one.addresses.contains(&vip))?.vmid;
        (now != holder).then_some(())
    })
    .await;
    eventually(async || nodes(&room, vip).await).await;
}
