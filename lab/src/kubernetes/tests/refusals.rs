//! What the server refuses, in the words of the real one.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use super::support::{Authority, Client, Served};

async fn served() -> Served {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let space = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "lab" } });
    assert_eq!(served.admin().post("/api/v1/namespaces", &space).await.0, 201);
    served
}

fn map(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { "a": "1" } })
}

fn widgets() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": { "name": "widgets.lab.example" },
        "spec": {
            "group": "lab.example", "scope": "Namespaced",
            "names": { "plural": "widgets", "kind": "Widget" },
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": { "status": {} },
                "additionalPrinterColumns": [
                    { "name": "Ready", "type": "string",
                      "jsonPath": ".status.conditions[?(@.type==\"Ready\")].status" },
                ],
                "schema": { "openAPIV3Schema": { "type": "object", "required": ["spec"], "properties": {
                    "spec": { "type": "object", "required": ["size"], "properties": {
                        "size": { "type": "integer", "minimum": 1 }, "replicas": { "type": "integer", "default": 1 },
                    } },
                    "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
                } } },
            }],
        },
    })
}

#[tokio::test]
async fn who_asks_decides_what_is_answered() {
    let served = served().await;
    let anonymous = served.client(None);
    assert_eq!(anonymous.get("/version").await.0, 200);
    let (code, body) = anonymous.get("/api/v1/nodes").await;
    assert_eq!(
        (code, body["message"].as_str().unwrap()),
        (
            403,
            "nodes is forbidden: User \"system:anonymous\" cannot list resource \"nodes\" in API group \"\" at the \
               cluster scope"
        )
    );
    let nobody = served.client(Some(served.authority.client("nobody", None)));
    let (code, body) = nobody.get("/api/v1/namespaces/lab/secrets/login").await;
    assert_eq!(
        (code, body["message"].as_str().unwrap(), &body["details"]),
        (
            403,
            "secrets \"login\" is forbidden: User \"nobody\" cannot get resource \"secrets\" in API group \"\" in \
               the namespace \"lab\"",
            &json!({ "name": "login", "kind": "secrets" })
        )
    );
    assert_eq!(nobody.get("/api").await.0, 200);
    assert_eq!(
        nobody.get("/metrics").await.1["message"],
        "forbidden: User \"nobody\" cannot get path \"/metrics\""
    );
    let foreign = served.client(Some(Authority::new().client("admin", Some("system:masters"))));
    let (code, body) = foreign.get("/version").await;
    assert_eq!((code, body["message"].as_str().unwrap()), (401, "Unauthorized"));
}

#[tokio::test]
async fn a_role_permits_what_it_says() {
    let served = served().await;
    let admin = served.admin();
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/lab";
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "reader" },
        "rules": [{ "apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"] }],
    });
    assert_eq!(admin.post(&format!("{rbac}/roles"), &role).await.0, 201);
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": { "name": "reader" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader" },
        "subjects": [{ "kind": "Group", "name": "readers", "apiGroup": "rbac.authorization.k8s.io" }],
    });
    assert_eq!(admin.post(&format!("{rbac}/rolebindings"), &binding).await.0, 201);
    let reader = served.client(Some(served.authority.client("rita", Some("readers"))));
    assert_eq!(reader.get("/api/v1/namespaces/lab/configmaps").await.0, 200);
    assert_eq!(reader.get("/api/v1/namespaces/default/configmaps").await.0, 403);
    assert_eq!(reader.post("/api/v1/namespaces/lab/configmaps", &map("x")).await.0, 403);
}

/// (method, path, body, code, message), as recorded.
type Refused = (Method, &'static str, Value, u16, &'static str);

async fn check(client: &Client, refusals: &[Refused]) {
    for (method, path, body, code, message) in refusals {
        let kind = if *method == Method::PATCH {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let (got, answer) = client.send(method.clone(), path, kind, body).await;
        let text = answer["message"].as_str().or(answer.as_str()).unwrap_or_default().trim_end();
        assert_eq!((got, text), (*code, *message), "{method} {path}");
    }
}

#[tokio::test]
async fn wrong_requests_are_refused_in_the_words_of_the_real_server() {
    let served = served().await;
    let admin = served.admin();
    assert_eq!(admin.post("/api/v1/namespaces/lab/configmaps", &map("settings")).await.0, 201);
    let all = "/api/v1/namespaces/lab/configmaps";
    let one = "/api/v1/namespaces/lab/configmaps/settings";
    check(&admin, &[
        (Method::GET, "/api/v1/namespaces/lab/configmaps/nope", json!(null), 404, "configmaps \"nope\" not found"),
        (Method::GET, "/apis/apps/v1/namespaces/lab/deployments/nope", json!(null), 404,
         "deployments.apps \"nope\" not found"),
        (Method::GET, "/api/v1/namespaces/lab/nopes", json!(null), 404,
         "the server could not find the requested resource"),
        (Method::GET, "/apis/nope.example/v1/things", json!(null), 404, "404 page not found"),
        (Method::GET, "/apis/apps/v9", json!(null), 404, "the server could not find the requested resource"),
        (Method::GET, "/nope", json!(null), 404, "404 page not found"),
        (Method::POST, "/api/v1/namespaces/nowhere/configmaps", map("a"), 404, "namespaces \"nowhere\" not found"),
        (Method::POST, all, map("settings"), 409, "configmaps \"settings\" already exists"),
        (Method::POST, one, map("settings"), 405, "the server does not allow this method on the requested resource"),
        (Method::POST, all, json!({ "metadata": {} }), 422,
         "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"),
        (Method::POST, all, json!({ "metadata": { "name": "a" }, "data": { "x": 1 } }), 400,
         "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct \
          field ConfigMap.data of type string"),
        (Method::POST, "/api/v1/namespaces/lab/secrets",
         json!({ "metadata": { "name": "s" }, "data": { "x": "***" } }), 400,
         "Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 0"),
        (Method::PUT, one, map("other"), 400,
         "the name of the object (other) does not match the name on the URL (settings)"),
        (Method::PATCH, one, json!({ "metadata": { "resourceVersion": "1" } }), 409,
         "Operation cannot be fulfilled on configmaps \"settings\": the object has been modified; please apply your \
          changes to the latest version and try again"),
        (Method::DELETE, "/api/v1/namespaces/kube-system", json!({}), 403,
         "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"),
        (Method::PATCH, "/api/v1/nodes", json!({}), 405,
         "the server does not allow this method on the requested resource"),
    ])
    .await;
    let (code, body) =
        admin.get(&format!("{all}?resourceVersion=99999&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!((code, body["reason"].as_str().unwrap()), (504, "Timeout"));
    assert_eq!(admin.get_as(all, "image/png").await.0, 406);
    let (code, body) = admin.send(Method::PATCH, one, "text/plain", &json!({})).await;
    assert_eq!((code, body["message"].as_str().unwrap()), (415, "415: Unsupported Media Type"));
}

#[tokio::test]
async fn a_crd_serves_its_kind_once_it_is_established() {
    let served = served().await;
    let admin = served.admin();
    let widgets_path = "/apis/lab.example/v1/namespaces/lab/widgets";
    assert_eq!(admin.get(widgets_path).await.1, json!("404 page not found\n"));
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let (code, made) = admin.post(crds, &widgets()).await;
    assert_eq!((code, &made["status"]["conditions"]), (201, &Value::Null));
    let name = ("", "widgets.lab.example");
    served
        .until("apiextensions.k8s.io/customresourcedefinitions", name, |c| {
            c["status"]["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|c| c["type"] == "Established" && c["status"] == "True")
            })
        })
        .await;
    let widget = |size: Value| {
        json!({ "apiVersion": "lab.example/v1", "kind": "Widget", "metadata": { "name": "w" },
                "spec": { "size": size } })
    };
    let (code, body) = admin.post(widgets_path, &widget(json!("x"))).await;
    assert_eq!(
        (code, body["message"].as_str().unwrap()),
        (
            422,
            "Widget.lab.example \"w\" is invalid: spec.size: Invalid value: \"string\": spec.size in body must be \
               of type integer: \"string\""
        )
    );
    let (code, made) = admin.post(widgets_path, &widget(json!(2))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({ "size": 2, "replicas": 1 })));
    let mut typo = widget(json!(3));
    typo["spec"]["replicaz"] = json!(1);
    let (code, body) =
        admin.apply(&format!("{widgets_path}/w?fieldManager=flow&force=true"), &typo).await;
    assert_eq!(
        (code, body["message"].as_str().unwrap()),
        (
            500,
            "failed to create typed patch object (/w; lab.example/v1, Kind=Widget): .spec.replicaz: field not \
               declared in schema"
        )
    );
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let (_, table) = admin.get_as(widgets_path, accept).await;
    assert_eq!(table["rows"][0]["cells"], json!(["w", null]));
    assert_eq!(admin.delete(&format!("{crds}/widgets.lab.example")).await.0, 200);
    assert_eq!(admin.get(widgets_path).await.1, json!("404 page not found\n"));
}
