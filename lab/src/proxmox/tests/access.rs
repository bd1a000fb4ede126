use super::*;

#[tokio::test]
async fn without_a_login_there_is_no_answer_but_a_reason() {
    let host = Host::new().await;
    let none = host.http.get(format!("{}/version", host.base));
    let refused = |reason: &str| Seen { status: 401, reason: reason.to_owned(), body: json!("") };
    assert_eq!(seen(none).await, refused("No ticket"));
    let wrong = host.with_token(Method::GET, "/version", "root@pam!a=b");
    assert_eq!(seen(wrong).await, refused("Authentication failed!"));
    let csrf = host.http.post(format!("{}/access/roles", host.base)).header("cookie", &host.cookie);
    assert_eq!(seen(csrf).await, refused("Permission denied - invalid csrf token"));
    let form = [("username", "root@pam"), ("password", "wrong")];
    let login = host.http.post(format!("{}/access/ticket", host.base)).form(&form);
    assert_eq!(seen(login).await, refused("authentication failure"));
}

#[tokio::test]
async fn a_token_is_shown_once_and_has_only_what_a_list_names() {
    let host = Host::new().await;
    host.call(
        Method::POST,
        "/access/roles",
        &[("roleid", "Flow"), ("privs", "VM.Audit,VM.Allocate")],
    )
    .await;
    host.call(Method::POST, "/access/users", &[("userid", "flow@pve")]).await;
    host.call(
        Method::PUT,
        "/access/acl",
        &[("path", "/vms"), ("roles", "Flow"), ("users", "flow@pve")],
    )
    .await;
    let made = host.call(Method::POST, "/access/users/flow@pve/token/flow", &[]).await;
    assert_eq!(made["full-tokenid"], "flow@pve!flow");
    let token = format!("flow@pve!flow={}", made["value"].as_str().unwrap());
    let permissions = async || {
        let request = host.with_token(Method::GET, "/access/permissions", &token);
        seen(request).await.body["data"].clone()
    };
    assert_eq!(permissions().await, json!({}));
    let grant = [("path", "/vms"), ("roles", "Flow"), ("tokens", "flow@pve!flow")];
    host.call(Method::PUT, "/access/acl", &grant).await;
    host.call(Method::PUT, "/access/acl", &grant).await;
    assert_eq!(permissions().await, json!({ "/vms": { "VM.Allocate": 1, "VM.Audit": 1 } }));
    assert_eq!(host.times("acl/vms", "update"), 2);
    assert_eq!(host.times("acl/vms", "update-unchanged"), 1);

    let again = host.refused(Method::POST, "/access/users/flow@pve/token/flow", &[]).await;
    assert_eq!((again.status, again.reason.as_str()), (400, "Parameter verification failed."));
    assert_eq!(again.body["errors"]["tokenid"], "Token already exists.\n");
    let shown = host.get("/access/users/flow@pve/token/flow").await;
    assert_eq!(shown, json!({ "privsep": 1, "expire": 0 }));
    assert_eq!(host.times("token/flow@pve!flow", "create"), 1);

    let denied = host.with_token(Method::GET, "/nodes/lab-pve/status", &token);
    let denied = seen(denied).await;
    assert_eq!(
        (denied.status, denied.reason.as_str()),
        (403, "Permission check failed (/nodes/lab-pve, Sys.Audit)")
    );
}

#[tokio::test]
async fn a_regenerated_secret_replaces_the_old_one() {
    let host = Host::new().await;
    let path = "/access/users/root@pam/token/flow";
    let first = host.call(Method::POST, path, &[("privsep", "0")]).await["value"].clone();
    let second = host.call(Method::PUT, path, &[("regenerate", "1")]).await["value"].clone();
    let works = async |secret: &Value| {
        let token = format!("root@pam!flow={}", secret.as_str().unwrap());
        seen(host.with_token(Method::GET, "/version", &token)).await.status
    };
    assert_eq!(works(&first).await, 401);
    assert_eq!(works(&second).await, 200);
}

#[tokio::test]
async fn roles_have_known_privileges_alone() {
    let host = Host::new().await;
    let form = [("roleid", "Old"), ("privs", "VM.Monitor")];
    let refused = host.refused(Method::POST, "/access/roles", &form).await;
    assert_eq!(refused.status, 400);
    assert!(
        refused.body["errors"]["privs"]
            .as_str()
            .unwrap()
            .contains("invalid privilege 'VM.Monitor'")
    );
    let form = [("roleid", "PVEMine"), ("privs", "VM.Audit")];
    assert_eq!(host.refused(Method::POST, "/access/roles", &form).await.status, 400);
    host.call(Method::POST, "/access/roles", &[("roleid", "A"), ("privs", "VM.Audit")]).await;
    let form = [("roleid", "A"), ("privs", "VM.Audit")];
    let twice = host.refused(Method::POST, "/access/roles", &form).await;
    assert_eq!(twice, died("create role failed: role 'A' already exists"));
    host.call(Method::PUT, "/access/roles/A", &[("privs", "VM.Clone"), ("append", "1")]).await;
    assert_eq!(host.get("/access/roles/A").await, json!({ "VM.Audit": 1, "VM.Clone": 1 }));
    let missing = host.refused(Method::GET, "/access/roles/B", &[]).await;
    assert_eq!(missing, died("role 'B' does not exist"));
    let user = host.refused(Method::GET, "/access/users/x@pve", &[]).await;
    assert_eq!(user, died("no such user ('x@pve')"));
    let path = host
        .refused(
            Method::PUT,
            "/access/acl",
            &[("path", "/x"), ("roles", "A"), ("users", "root@pam")],
        )
        .await;
    assert_eq!(path.body["errors"]["path"], "invalid ACL path '/x'\n");
}

#[tokio::test]
async fn the_access_configuration_survives_a_power_cut() {
    let mut host = Host::new().await;
    let made =
        host.call(Method::POST, "/access/users/root@pam/token/flow", &[("privsep", "0")]).await;
    let token = format!("root@pam!flow={}", made["value"].as_str().unwrap());
    host.cut();
    host.open(5000.0).await;
    assert_eq!(seen(host.with_token(Method::GET, "/version", &token)).await.status, 200);
    assert_eq!(host.times("token/root@pam!flow", "create"), 1);
}
