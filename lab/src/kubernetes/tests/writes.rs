//! Writes, watches and what survives.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::Served;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

fn version(object: &Value) -> &str {
    object["metadata"]["resourceVersion"].as_str().unwrap()
}

#[tokio::test]
async fn writes_are_counted_but_unchanged_applies_are_not_writes() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    let path = format!("{MAPS}/a?fieldManager=flow");
    let wanted = map("a", &json!({ "x": "1" }));
    assert_eq!(admin.apply(&path, &wanted).await.0, 201);
    assert_eq!(admin.apply(&path, &wanted).await.0, 200);
    let (_, before) = admin.get(&format!("{MAPS}/a")).await;
    assert_eq!(
        admin.apply(&format!("{path}&dryRun=All"), &map("a", &json!({ "x": "2" }))).await.0,
        200
    );
    assert_eq!(admin.get(&format!("{MAPS}/a")).await.1, before);
    let counts: Vec<(String, u64)> = served
        .world
        .store()
        .counts()
        .unwrap()
        .into_iter()
        .map(|c| (format!("{} {} {}", c.system, c.object, c.verb), c.times))
        .collect();
    assert_eq!(
        counts,
        [
            ("kubernetes core/configmaps/default/a apply".to_owned(), 1),
            ("kubernetes core/configmaps/default/a apply-unchanged".to_owned(), 1),
        ]
    );
}

#[tokio::test]
async fn managers_conflict_over_http() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    admin.apply(&format!("{MAPS}/a?fieldManager=flow"), &map("a", &json!({ "x": "1" }))).await;
    let other = map("a", &json!({ "x": "2" }));
    let (code, body) = admin.apply(&format!("{MAPS}/a?fieldManager=other"), &other).await;
    assert_eq!(
        (code, body["message"].as_str().unwrap()),
        (409, "Apply failed with 1 conflict: conflict with \"flow\": .data.x")
    );
    let (code, body) =
        admin.apply(&format!("{MAPS}/a?fieldManager=other&force=true"), &other).await;
    assert_eq!((code, &body["data"]["x"]), (200, &json!("2")));
    let (code, body) = admin.apply(&format!("{MAPS}/a"), &other).await;
    assert_eq!(
        (code, body["message"].as_str().unwrap()),
        (
            422,
            "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        )
    );
}

#[tokio::test]
async fn a_watch_sees_objects_come_into_its_selector_and_leave_it() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    let (_, made) = admin.post(MAPS, &map("w", &json!({}))).await;
    let from = version(&made).to_owned();
    admin
        .merge(&format!("{MAPS}/w"), &json!({ "metadata": { "labels": { "pick": "yes" } } }))
        .await;
    admin.merge(&format!("{MAPS}/w"), &json!({ "data": { "a": "1" } })).await;
    admin.merge(&format!("{MAPS}/w"), &json!({ "metadata": { "labels": null } })).await;
    let path = format!(
        "{MAPS}?watch=true&labelSelector=pick%3Dyes&resourceVersion={from}&timeoutSeconds=1"
    );
    let kinds: Vec<Value> =
        admin.watch(&path).await.into_iter().map(|e| e["type"].clone()).collect();
    assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
}

#[tokio::test]
async fn a_streaming_list_ends_its_first_part_with_a_bookmark() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    let options = "watch=true&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1";
    assert_eq!(admin.get(&format!("/api/v1/namespaces?{options}")).await.0, 422);
    let path = format!("/api/v1/namespaces?{options}&resourceVersionMatch=NotOlderThan");
    let lines = admin.watch(&path).await;
    let marks: Vec<&Value> = lines.iter().filter(|l| l["type"] == "BOOKMARK").collect();
    assert_eq!(lines.iter().filter(|l| l["type"] == "ADDED").count(), 4);
    assert_eq!(marks[0]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
}

#[tokio::test]
async fn objects_survive_a_power_cut_and_old_watches_do_not() {
    let mut served = Served::new(BTreeMap::new(), 600.0).await;
    let (_, made) = served.admin().post(MAPS, &map("kept", &json!({ "x": "1" }))).await;
    served.restart().await;
    let admin = served.admin();
    let (code, kept) = admin.get(&format!("{MAPS}/kept")).await;
    assert_eq!((code, &kept), (200, &made));
    let lines = admin.watch(&format!("{MAPS}?watch=true&resourceVersion=1&timeoutSeconds=1")).await;
    assert_eq!(lines[0]["type"], "ERROR");
    assert_eq!(lines[0]["object"]["code"], 410);
}

#[tokio::test]
async fn finalizers_and_owners_are_waited_for() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    let mut held = map("held", &json!({}));
    held["metadata"]["finalizers"] = json!(["lab.example/hold"]);
    let (_, made) = admin.post(MAPS, &held).await;
    let mut owned = map("owned", &json!({}));
    owned["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "held", "uid": made["metadata"]["uid"],
    }]);
    admin.post(MAPS, &owned).await;
    let (code, leaving) = admin.delete(&format!("{MAPS}/held")).await;
    assert_eq!(code, 200);
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(admin.get(&format!("{MAPS}/owned")).await.0, 200);
    let (code, _) =
        admin.merge(&format!("{MAPS}/held"), &json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!((code, admin.get(&format!("{MAPS}/held")).await.0), (200, 404));
    for _ in 0..100 {
        if admin.get(&format!("{MAPS}/owned")).await.0 == 404 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("what lost its owner is still there");
}

#[tokio::test]
async fn a_namespace_takes_everything_in_it_along() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let admin = served.admin();
    let space =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "doomed" } });
    admin.post("/api/v1/namespaces", &space).await;
    admin.post("/api/v1/namespaces/doomed/configmaps", &map("a", &json!({}))).await;
    let (code, going) = admin.delete("/api/v1/namespaces/doomed").await;
    assert_eq!((code, &going["status"]["phase"]), (200, &json!("Terminating")));
    for _ in 0..200 {
        if admin.get("/api/v1/namespaces/doomed").await.0 == 404 {
            assert_eq!(
                admin.get("/api/v1/namespaces/doomed/configmaps").await.1["items"],
                json!([])
            );
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the namespace is still there");
}
