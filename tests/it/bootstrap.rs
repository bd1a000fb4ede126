//! The flagship against the lab.

use crate::support::Room;

#[test]
fn bootstrap_makes_a_cluster_and_a_second_run_writes_nothing() {
    let room = Room::new();
    let first = room.ok(&["run", "bootstrap"]);
    assert!(first.err.contains("nothing outside this machine is touched"), "{first:#?}");
    assert!(
        first.err.contains("flow lab exec -- kubectl get nodes"),
        "what to look at: {first:#?}"
    );
    let written = room.writes();
    for (name, times) in &written {
        let once = name.ends_with(" create") || name.ends_with(" Bootstrap");
        assert!(!once || *times == 1, "{name}: {times} times");
    }
    let count = |is: fn(&str) -> bool| written.iter().filter(|(name, _)| is(name)).count();
    assert_eq!(count(|name| name.starts_with("proxmox vm/") && name.ends_with(" create")), 5);
    assert_eq!(count(|name| name.ends_with(" Bootstrap")), 1);
    assert_eq!(count(|name| name.ends_with(" ApplyConfiguration")), 5);

    let again = room.ok(&["run", "bootstrap"]);
    assert!(again.err.contains("nothing to do"), "{again:#?}");
    assert_eq!(room.ok(&["plan", "--exit-code"]).code, Some(0));
    assert_eq!(room.writes(), written, "a second run and a plan wrote something");
}

#[test]
fn only_applies_exactly_what_it_names() {
    let room = Room::new();
    let refused = room.flow(&["run", "--only", "cert-manager"]);
    assert_eq!(refused.code, Some(4), "{refused:#?}");
    assert!(refused.err.contains("flux-source"), "{refused:#?}");
    assert!(refused.err.contains("--until cert-manager"), "{refused:#?}");
    assert_eq!(room.written(), 0);
}

#[test]
fn a_piece_that_was_deleted_by_hand_is_made_again_alone() {
    // Slow enough that Flux does not make it again by itself before anybody looks.
    let room = Room::with_speed(60);
    let _serving = room.serve();
    room.ok(&["run", "bootstrap"]);
    let delete = ["lab", "exec", "--", "kubectl", "-n", "flux-system", "delete", "kustomization"];
    // Its interval may just be over all the same: then there is nothing to do, so once more.
    for _ in 0..4 {
        let deleted = room.flow(&[&delete[..], &["cert-manager"]].concat());
        if deleted.code == Some(64) {
            println!("skipped: kubectl not found");
            return;
        }
        assert_eq!(deleted.code, Some(0), "{deleted:#?}");
        let before = room.writes();
        let only = room.ok(&["run", "--only", "cert-manager"]);
        let changed: Vec<_> =
            room.writes().into_iter().filter(|write| !before.contains(write)).collect();
        let own = |(name, _): &(String, u64)| name.contains("kustomizations/flux-system/");
        assert!(changed.iter().all(own), "only its own writes: {changed:#?}");
        if !changed.is_empty() {
            assert!(only.err.contains("1 applied"), "{only:#?}");
            return;
        }
    }
    panic!("it was never asked for");
}

#[test]
fn a_plan_of_an_empty_lab_writes_nothing_and_names_what_is_unknown() {
    let room = Room::new();
    let plan = room.flow(&["plan", "--exit-code"]);
    assert_eq!(plan.code, Some(3), "{plan:#?}");
    assert!(plan.out.contains("unknown until"), "{plan:#?}");
    assert_eq!(room.written(), 0);
    assert!(!room.path().join(".flow/sites/lab/state.db").exists(), "no state was made");
}
