//! Stories of VMs: power cuts, strangers, and what is ours no longer.

use std::time::Duration;

use flow_engine::{AnyVerdict, Presence, Retry, Secret};
use serde_json::{Value, json};

use super::super::client::{Api, Client};
use super::super::lenient::text;
use super::super::planned;
use super::CreateVm;
use crate::conformance::{Case, Laboratory, Trial, conforms};
use crate::reference::Reference;

const LIMIT: Duration = Duration::from_secs(30);
/// A speed at which the world is over with everything at once.
const FAST: f64 = 2000.0;

#[tokio::test]
async fn conforms_to_the_contract() {
    conforms(&Case::new(CreateVm), async |world| planned::vm(world).await).await;
}

/// The world seen with flow's token.
async fn client(world: &Laboratory, params: &Value) -> Client {
    let api = Api {
        url: world.https(10, 8006),
        ca: Reference::File(world.dir().join("ca.pem")),
        deadline: crate::proxmox::Deadline::default(),
    };
    let secret = Secret::new(text(&params["token"]).unwrap());
    Client::with_token(&api, &text(&params["token-id"]).unwrap(), &secret).await.unwrap()
}

async fn disks(client: &Client) -> Vec<String> {
    let path = ["nodes", "lab-pve", "storage", "local-zfs", "content"];
    let rows = client.get(&path, &[("content", "images".to_owned())]).await.unwrap();
    rows.as_array().unwrap().iter().filter_map(|row| text(&row["volid"])).collect()
}

fn times(world: &Laboratory, verb: &str) -> u64 {
    let counts = world.counts();
    let count = counts.iter().find(|count| count.object == "vm/2000" && count.verb == verb);
    count.map_or(0, |count| count.times)
}

/// Applies until the world has come to `reached`, and cuts the power there.
async fn cut_when(
    world: Laboratory,
    trial: &Trial<'_>,
    client: &Client,
    reached: impl Fn(&Value, &[String]) -> bool,
) -> Laboratory {
    let apply = trial.apply(LIMIT);
    let watch = async {
        loop {
            let path = ["nodes", "lab-pve", "qemu", "2000", "config"];
            let config = client.get(&path, &[]).await.unwrap_or_default();
            if reached(&config, &disks(client).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = apply => panic!("applied before the power was cut: {result:?}"),
        () = watch => {}
    }
    world.cut(FAST)
}

#[tokio::test]
async fn a_power_cut_during_an_import_leaves_no_disk_behind() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    let world = world.cut(4.0);
    let trial = Trial::new(&CreateVm, &world, &params);
    let eyes = client(&world, &params).await;
    let world = cut_when(world, &trial, &eyes, |config, disks| {
        config.get("efidisk0").is_some() && disks.len() == 2
    })
    .await;
    let eyes = client(&world, &params).await;
    assert_eq!(disks(&eyes).await.len(), 2, "the import left a disk that nothing refers to");

    trial.attempt(LIMIT).await.unwrap();
    assert_eq!(disks(&eyes).await.len(), 2, "the firmware's and the system's");
    assert_eq!(times(&world, "create"), 1);
}

#[tokio::test]
async fn disks_of_an_earlier_vm_of_the_same_id_are_kept() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    let earlier = world.dir().join("storage/local-zfs/vm-2000-disk-7");
    std::fs::create_dir_all(earlier.parent().unwrap()).unwrap();
    std::fs::write(&earlier, "precious").unwrap();
    Trial::new(&CreateVm, &world, &params).attempt(LIMIT).await.unwrap();
    assert_eq!(std::fs::read(&earlier).unwrap(), b"precious");
}

/// A world in which the power was cut while the id was reserved and nothing else was written.
async fn reserved(world: Laboratory, params: &Value) -> Laboratory {
    let world = world.cut(0.5);
    let trial = Trial::new(&CreateVm, &world, params);
    let eyes = client(&world, params).await;
    cut_when(world, &trial, &eyes, |config, _| config.get("lock").is_some()).await
}

#[tokio::test]
async fn a_power_cut_before_the_mark_needs_a_person() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    let world = reserved(world, &params).await;
    let failure = Trial::new(&CreateVm, &world, &params).probe().await.unwrap_err();
    assert_eq!(failure.retry, Retry::Human);
    assert_eq!(failure.message, "VM 2000 on lab-pve was half created and is locked");
    assert_eq!(
        failure.help.as_deref(),
        Some(
            "only root may remove it; on lab-pve: `qm unlock 2000`, then `qm destroy 2000 --purge 1`"
        )
    );
}

#[tokio::test]
async fn root_goes_on_after_a_power_cut_before_the_mark() {
    let world = Laboratory::fresh();
    let mut params = planned::vm(&world).await;
    params["admin"] = planned::admin(&world);
    let world = reserved(world, &params).await;
    // Another notebook: the record of the create is gone, as under another intent.
    Trial::new(&CreateVm, &world, &params).apply(LIMIT).await.unwrap();
    Trial::new(&CreateVm, &world, &params).settle(LIMIT).await.unwrap();
    let eyes = client(&world, &params).await;
    assert_eq!(disks(&eyes).await.len(), 2);
}

/// Makes a VM of the planned id that somebody else made.
async fn stranger(client: &Client) {
    let form = [("vmid", "2000".to_owned()), ("name", "precious".to_owned())];
    let upid = client.post(&["nodes", "lab-pve", "qemu"], &form).await.unwrap();
    client.finish(&upid, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_vm_of_somebody_else_is_never_touched() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    stranger(&client(&world, &params).await).await;
    let before = world.counts();
    let trial = Trial::new(&CreateVm, &world, &params);
    for failure in [trial.probe().await.unwrap_err(), trial.apply(LIMIT).await.unwrap_err()] {
        assert_eq!(failure.retry, Retry::Human);
        assert_eq!(failure.message, "VM 2000 on lab-pve (`precious`) is not ours");
    }
    assert_eq!(world.counts(), before);
}

#[tokio::test]
async fn a_vm_whose_mark_was_taken_away_survives() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    let trial = Trial::new(&CreateVm, &world, &params);
    let handle = trial.attempt(LIMIT).await.unwrap().handle.unwrap();
    let eyes = client(&world, &params).await;
    let path = ["nodes", "lab-pve", "qemu", "2000", "config"];
    eyes.put(&path, &[("description", "mine now".to_owned())]).await.unwrap();

    assert_eq!(trial.exists(&handle).await.unwrap(), Presence::Foreign);
    let failure = trial.destroy(&handle, LIMIT).await.unwrap_err();
    assert_eq!(failure.code, "proxmox::foreign-vm");
    assert_eq!(disks(&eyes).await.len(), 2);
}

#[tokio::test]
async fn a_vm_that_differs_is_told_and_changed_when_asked() {
    let world = Laboratory::fresh();
    let params = planned::vm(&world).await;
    Trial::new(&CreateVm, &world, &params).attempt(LIMIT).await.unwrap();
    let mut more = params.clone();
    more["node"]["machine"]["cores"] = json!(4);
    more["node"]["machine"]["disk"] = json!("128MiB");
    let trial = Trial::new(&CreateVm, &world, &more);
    let AnyVerdict::Drifted { diff, .. } = trial.probe().await.unwrap() else {
        panic!("a VM with fewer cores than planned differs");
    };
    assert!(diff.starts_with("cores: 2, not 4; scsi0: "), "{diff}");
    trial.apply(LIMIT).await.unwrap();
    assert!(matches!(trial.probe().await.unwrap(), AnyVerdict::Satisfied { .. }));
}

/// The golden handle: what was made long ago must be found again.
#[test]
fn handles_of_all_releases_are_read() {
    let handle = json!({
        "door": {
            "api": "https://atlas:8006", "ca": { "file": "atlas-ca.pem" },
            "token-id": "flow@pve!flow", "call": "30000ms",
        },
        "host": "atlas", "vmid": 2000, "uuid": "2880ec3e-4046-5236-b04c-3303a027ef3d",
        "cluster": "test-cluster",
    });
    let read: super::Handle = serde_json::from_value(handle.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), handle);
}
