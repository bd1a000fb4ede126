//! What must be said and done when a machine is not as it should be.

use flow_engine::{AnyVerdict, Retry};
use serde_json::{Value, json};

use super::room::{CONTROLLERS, Room, WORKER, bundle, of_name};
use crate::conformance::{Laboratory, Trial, in_a_world};

/// What a probe says, in short.
fn short(verdict: AnyVerdict) -> String {
    match verdict {
        AnyVerdict::Satisfied { .. } => "satisfied".to_owned(),
        AnyVerdict::Absent(_) => "absent".to_owned(),
        AnyVerdict::Drifted { diff, .. } => format!("drifted: {diff}"),
        AnyVerdict::Underway(what) => format!("underway: {what}"),
    }
}

#[tokio::test]
async fn drift_is_applied_without_a_restart_and_else_only_told() {
    in_a_world(async |lab| {
        let first = CONTROLLERS[0];
        let room = Room::configured(lab, &[first]).await;
        let machine = format!("{first} ({}:50000)", room.at(1, 1));
        let mut render = room.render(first);
        render["network"]["ntp"] = json!([room.at(0, 1), "time.example.com"]);
        let changed = room.apply_of(first, render).await;
        let drifted = room.probe("apply-config", &changed).await.unwrap();
        assert_eq!(
            short(drifted),
            format!("drifted: {machine} differs at TimeSyncConfig.ntp.servers")
        );
        room.make("apply-config", changed.clone()).await;
        assert_eq!(short(room.probe("apply-config", &changed).await.unwrap()), "satisfied");
        assert_eq!(room.notes(), Vec::<String>::new());

        let mut heavy = changed;
        let config = heavy["config"].as_str().unwrap();
        let config = config.replace("diskQuotaSupport: true", "diskQuotaSupport: false");
        heavy["config"] = json!(config);
        assert_eq!(short(room.probe("apply-config", &heavy).await.unwrap()), "satisfied");
        assert_eq!(
            room.notes(),
            [format!(
                "{machine} differs at v1alpha1.machine.features.diskQuotaSupport: only a restart would apply it"
            )]
        );
    })
    .await;
}

#[tokio::test]
async fn another_machine_or_another_cluster_needs_a_person() {
    in_a_world(async |lab| {
        let room = Room::new(lab, &[WORKER, CONTROLLERS[0]]).await;
        let mut stranger = room.apply(WORKER).await;
        stranger["uuid"] = json!("00000000-0000-4000-8000-000000000000");
        for kind in ["reach-vm", "apply-config"] {
            let mut params = if kind == "reach-vm" { room.reach(WORKER) } else { stranger.clone() };
            params["uuid"] = stranger["uuid"].clone();
            let failure = room.probe(kind, &params).await.unwrap_err();
            assert_eq!(
                (failure.code.as_str(), failure.retry),
                ("talos::other-machine", Retry::Human)
            );
        }
        room.make("apply-config", room.apply(CONTROLLERS[0]).await).await;
        let mut lost = room.reach(CONTROLLERS[0]);
        lost["bundle"] = bundle();
        let failure = room.probe("reach-vm", &lost).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), ("talos::foreign", Retry::Human));
        let mut lost = room.bootstrap();
        lost["bundle"] = bundle();
        lost["controllers"] = json!({ CONTROLLERS[0]: room.node(CONTROLLERS[0]) });
        let failure = room.probe("bootstrap-talos", &lost).await.unwrap_err();
        assert_eq!((failure.code.as_str(), failure.retry), ("talos::foreign", Retry::Human));
        assert!(failure.refused, "nothing was asked of it");
    })
    .await;
}

#[tokio::test]
async fn a_cluster_comes_up_with_a_worker_and_files_that_open_it() {
    in_a_world(async |lab| {
        let machines = [CONTROLLERS[0], WORKER];
        let room = Room::configured(lab, &machines).await;
        let alone = json!({ CONTROLLERS[0]: room.node(CONTROLLERS[0]) });
        let mut bootstrap = room.bootstrap();
        bootstrap["controllers"] = alone.clone();
        let (outputs, _) = room.make("bootstrap-talos", bootstrap).await;
        assert_eq!(outputs, json!({ "member": CONTROLLERS[0] }));
        let mut quorum = room.quorum();
        quorum["controllers"] = alone.clone();
        let (outputs, _) = room.make("etcd-quorum", quorum).await;
        assert_eq!(outputs, json!({ "members": [CONTROLLERS[0]] }));
        let credentials = json!({
            "bundle": room.bundle, "controllers": alone,
            "endpoint": format!("https://{}:6443", room.at(1, 1)),
            "vip": format!("https://{}:6443", room.at(3, 1)),
        });
        let (outputs, _) = room.make("credentials", credentials).await;
        let kubeconfig = room.folder().join("kubeconfig");
        assert_eq!(outputs["kubeconfig"], json!(kubeconfig));
        let api = json!({ "cluster": { "kubeconfig": kubeconfig, "call": "1s" } });
        room.make("kube-api", api).await;
    })
    .await;
}

/// The sharpest moment: everybody boots, nobody runs, and a second etcd is one wrong word away.
#[tokio::test]
async fn machines_that_boot_are_neither_without_etcd_nor_without_their_configuration() {
    let lab = Laboratory::fresh();
    let room = Room::configured(&lab, &CONTROLLERS).await;
    let configured = room.apply(CONTROLLERS[1]).await;
    let (bootstrap, quorum) = (room.bootstrap(), room.quorum());
    room.make("bootstrap-talos", bootstrap.clone()).await;
    room.make("etcd-quorum", quorum.clone()).await;

    // Slow enough to be looked at in every state.
    let lab = lab.cut(100.0);
    let until_satisfied = async |name: &str, params: &Value| {
        let kind = of_name(name);
        let trial = Trial::new(&*kind, &lab, params);
        loop {
            match trial.probe().await {
                Ok(AnyVerdict::Satisfied { .. }) => break,
                Ok(AnyVerdict::Underway(_)) => tokio::task::yield_now().await,
                Err(failure) if failure.retry == Retry::Backoff => tokio::task::yield_now().await,
                other => panic!("{name}: {other:?}"),
            }
        }
    };
    tokio::join!(
        until_satisfied("bootstrap-talos", &bootstrap),
        until_satisfied("apply-config", &configured),
        until_satisfied("etcd-quorum", &quorum),
    );
}
