//! From kubelets to applications.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::Served;
use crate::kubernetes::{
    Kubelet,
    json::{condition, is_true, text},
};

const NODES: [(&str, bool, u8, u8); 3] =
    [("controlplane0", true, 1, 1), ("controlplane1", true, 1, 2), ("worker0", false, 2, 1)];
const KUSTOMIZATIONS: &str = "kustomize.toolkit.fluxcd.io/kustomizations";

fn kubelets(served: &Served) -> Vec<Kubelet> {
    NODES
        .iter()
        .map(|(name, controller, third, fourth)| {
            served.kubelet(name, *controller, served.world.address().at(*third, *fourth))
        })
        .collect()
}

fn account() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": "cilium-install", "namespace": "kube-system" },
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": { "name": "cilium-install" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "ServiceAccount", "name": "cilium-install", "namespace": "kube-system" }],
    })
}

fn job(limit: u32, settings: &[&str]) -> Value {
    let mut arguments = vec!["install", "--version", "1.19.8"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": { "name": "cilium-install", "namespace": "kube-system" },
        "spec": { "backoffLimit": limit, "template": { "spec": {
            "restartPolicy": "OnFailure", "hostNetwork": true, "serviceAccountName": "cilium-install",
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "install", "image": "quay.io/cilium/cilium-cli:v0.19.7", "command": ["cilium"],
                "args": arguments,
            }],
        } } },
    })
}

const SETTINGS: [&str; 6] = [
    "ipam.mode=kubernetes",
    "kubeProxyReplacement=true",
    "k8sServiceHost=localhost",
    "k8sServicePort=7445",
    "securityContext.capabilities.ciliumAgent={CHOWN,KILL,NET_ADMIN}",
    "securityContext.capabilities.cleanCiliumState={NET_ADMIN}",
];

async fn apply(served: &Served, object: &Value) {
    let path = format!("{}?fieldManager=flow", super::support::path_of(object));
    let (code, body) = served.admin().apply(&path, object).await;
    assert!(code < 300, "{body}");
}

async fn with_cilium(served: &Served) -> Vec<Kubelet> {
    let kubelets = kubelets(served);
    for object in [account(), binding(), job(10, &SETTINGS)] {
        apply(served, &object).await;
    }
    for (name, ..) in NODES {
        served.until("core/nodes", ("", name), |n| is_true(n, "Ready")).await;
    }
    kubelets
}

fn git_source(served: &Served, secret: bool) -> Value {
    let mut source = json!({
        "apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
        "metadata": { "name": "flux-system", "namespace": "flux-system" },
        "spec": {
            "interval": "1m", "url": format!("https://{}/cluster.git", served.world.address().git()),
            "ref": { "branch": "main" },
        },
    });
    if secret {
        source["spec"]["secretRef"] = json!({ "name": "flux-system" });
    }
    source
}

fn kustomization(name: &str, spec: &Value) -> Value {
    let mut whole = json!({
        "interval": "10m", "retryInterval": "30s", "prune": true,
        "sourceRef": { "kind": "GitRepository", "name": "flux-system" },
    });
    crate::kubernetes::patch::merge(&mut whole, spec);
    json!({
        "apiVersion": "kustomize.toolkit.fluxcd.io/v1", "kind": "Kustomization",
        "metadata": { "name": name, "namespace": "flux-system" }, "spec": whole,
    })
}

async fn with_flux(served: &Served) {
    served.admin().apply_all(include_str!("../flux/install.yaml")).await;
    for controller in ["source-controller", "kustomize-controller"] {
        served
            .until("apps/deployments", ("flux-system", controller), |d| is_true(d, "Available"))
            .await;
    }
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "flux-system", "namespace": "flux-system" },
        "stringData": { "ca.crt": served.world.pki().certificate_pem() },
    });
    apply(served, &secret).await;
    apply(served, &git_source(served, true)).await;
    served
        .until("source.toolkit.fluxcd.io/gitrepositories", ("flux-system", "flux-system"), |r| {
            is_true(r, "Ready")
        })
        .await;
}

fn ready_message(object: &Value) -> &str {
    text(condition(object, "Ready"), "/message")
}

fn tree(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec())).collect()
}

const APP: &str = "apiVersion: v1\nkind: Namespace\nmetadata: { name: app }\n---\napiVersion: v1\nkind: ConfigMap\n\
    metadata: { name: settings, namespace: app }\ndata: { domain: \"${domain}\" }\n---\napiVersion: apps/v1\n\
    kind: Deployment\nmetadata: { name: web, namespace: app }\nspec:\n  selector: { matchLabels: { app: web } }\n  \
    template:\n    metadata: { labels: { app: web } }\n    spec: { containers: [{ name: web, image: \"nginx:1\" }] }\n";

#[tokio::test]
async fn nodes_become_ready_because_of_a_cni() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let _kubelets = kubelets(&served);
    let node = served.until("core/nodes", ("", "worker0"), |_| true).await;
    assert!(ready_message(&node).ends_with("cni plugin not initialized"), "{node}");
    let dns = served
        .until("apps/deployments", ("kube-system", "coredns"), |d| d["status"]["replicas"] == 2)
        .await;
    assert!(!is_true(&dns, "Available"));
    for object in [account(), binding(), job(10, &SETTINGS)] {
        apply(&served, &object).await;
    }
    let node = served.until("core/nodes", ("", "worker0"), |n| is_true(n, "Ready")).await;
    assert!(node["spec"].get("taints").is_none(), "{node}");
    served.until("apps/deployments", ("kube-system", "coredns"), |d| is_true(d, "Available")).await;
    let config = served.until("core/configmaps", ("kube-system", "cilium-config"), |_| true).await;
    assert_eq!(config["data"]["kube-proxy-replacement"], "true");
    served.until("core/secrets", ("kube-system", "sh.helm.release.v1.cilium.v1"), |_| true).await;
    served.until("cilium.io/ciliumnodes", ("", "worker0"), |_| true).await;
    let up = served
        .until("core/nodes", ("", "worker0"), |n| {
            text(condition(n, "NetworkUnavailable"), "/status") == "False"
        })
        .await;
    assert_eq!(text(condition(&up, "NetworkUnavailable"), "/reason"), "CiliumIsUp");
}

#[tokio::test]
async fn an_installation_without_rights_fails_and_says_so() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let _kubelets = kubelets(&served);
    for object in [account(), job(6, &SETTINGS)] {
        apply(&served, &object).await;
    }
    let pods = "/api/v1/namespaces/kube-system/pods?labelSelector=job-name%3Dcilium-install";
    let mut written = String::new();
    for _ in 0..500 {
        let (_, list) = served.admin().get(pods).await;
        let ended =
            list.pointer("/items/0/status/containerStatuses/0/lastState/terminated/message");
        if let Some(found) = ended.and_then(Value::as_str) {
            found.clone_into(&mut written);
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(
        written.contains("User \"system:serviceaccount:kube-system:cilium-install\" cannot list resource \"secrets\""),
        "{written}"
    );
    let failed = served
        .until("batch/jobs", ("kube-system", "cilium-install"), |j| is_true(j, "Failed"))
        .await;
    assert_eq!(text(condition(&failed, "Failed"), "/reason"), "BackoffLimitExceeded");
}

#[tokio::test]
async fn an_agent_that_talos_forbids_crashes() {
    let served = Served::new(BTreeMap::new(), 600.0).await;
    let _kubelets = kubelets(&served);
    for object in [account(), binding(), job(1, &SETTINGS[..4])] {
        apply(&served, &object).await;
    }
    served
        .until("apps/daemonsets", ("kube-system", "cilium"), |d| {
            d["status"]["currentNumberScheduled"] == 3
        })
        .await;
    for _ in 0..500 {
        let (_, list) = served
            .admin()
            .get("/api/v1/namespaces/kube-system/pods?labelSelector=k8s-app%3Dcilium")
            .await;
        let waiting = list.pointer("/items/0/status/containerStatuses/0/state/waiting/reason");
        if waiting.and_then(Value::as_str) == Some("CrashLoopBackOff") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("an agent with SYS_MODULE runs");
}

#[tokio::test]
async fn flux_brings_what_is_in_git_and_prunes_what_is_gone() {
    let served = Served::new(tree(&[("apps/web/app.yaml", APP)]), 600.0).await;
    let _git = crate::git::serve(&served.world).await.unwrap();
    let _kubelets = with_cilium(&served).await;
    with_flux(&served).await;
    let values = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "flow-site", "namespace": "flux-system" },
        "data": { "domain": "lab.test" },
    });
    apply(&served, &values).await;
    let spec = json!({
        "path": "./apps/web", "wait": true,
        "postBuild": { "substituteFrom": [{ "kind": "ConfigMap", "name": "flow-site" }] },
    });
    apply(&served, &kustomization("web", &spec)).await;
    let ready = served.until(KUSTOMIZATIONS, ("flux-system", "web"), |k| is_true(k, "Ready")).await;
    let revision = format!("main@sha1:{}", served.world.git().head());
    assert_eq!(ready_message(&ready), format!("Applied revision: {revision}"));
    assert_eq!(ready["status"]["lastAppliedRevision"], json!(revision));
    assert_eq!(ready["status"]["observedGeneration"], 1);
    assert_eq!(ready["status"]["inventory"]["entries"].as_array().unwrap().len(), 3);
    let (_, settings) = served.admin().get("/api/v1/namespaces/app/configmaps/settings").await;
    assert_eq!(settings["data"]["domain"], "lab.test");
    let (_, web) = served.admin().get("/apis/apps/v1/namespaces/app/deployments/web").await;
    assert!(is_true(&web, "Available"));
    let path = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/flux-system/kustomizations/web";
    assert_eq!(served.admin().delete(path).await.0, 200);
    for _ in 0..200 {
        if served.admin().get("/api/v1/namespaces/app").await.0 == 404 {
            assert_eq!(served.admin().get(path).await.0, 404);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("what was applied is still there");
}

#[tokio::test]
async fn flux_says_what_is_wrong() {
    let typo = APP.replace("template:\n", "replicaz: 2\n  template:\n");
    let files = [
        ("apps/typo/app.yaml", typo.as_str()),
        (
            "apps/late/app.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a, namespace: flux-system }\n",
        ),
        (
            "apps/unknown/app.yaml",
            "apiVersion: no.example/v1\nkind: Thing\nmetadata: { name: a }\n",
        ),
    ];
    let served = Served::new(tree(&files), 600.0).await;
    let _git = crate::git::serve(&served.world).await.unwrap();
    let _kubelets = with_cilium(&served).await;
    with_flux(&served).await;
    apply(&served, &kustomization("typo", &json!({ "path": "./apps/typo" }))).await;
    apply(&served, &kustomization("gone", &json!({ "path": "./apps/gone" }))).await;
    apply(&served, &kustomization("unknown", &json!({ "path": "./apps/unknown" }))).await;
    let late = json!({ "path": "./apps/late", "dependsOn": [{ "name": "typo" }] });
    apply(&served, &kustomization("late", &late)).await;
    for (name, reason, part) in [
        ("typo", "ReconciliationFailed", ".spec.replicaz: field not declared in schema"),
        ("gone", "ArtifactFailed", "no such file or directory"),
        (
            "unknown",
            "ReconciliationFailed",
            "no matches for kind \"Thing\" in version \"no.example/v1\"",
        ),
        ("late", "DependencyNotReady", "dependency 'flux-system/typo' is not ready"),
    ] {
        let failed = served
            .until(KUSTOMIZATIONS, ("flux-system", name), |k| {
                text(condition(k, "Ready"), "/status") == "False"
            })
            .await;
        assert_eq!(text(condition(&failed, "Ready"), "/reason"), reason, "{failed}");
        assert!(ready_message(&failed).contains(part), "{failed}");
        assert_eq!(failed["status"]["observedGeneration"], -1);
    }
    assert_eq!(served.admin().get("/api/v1/namespaces/app/configmaps/settings").await.0, 404);
}

#[tokio::test]
async fn a_repository_is_trusted_only_with_its_authority() {
    let served = Served::new(tree(&[("a.yaml", APP)]), 600.0).await;
    let _git = crate::git::serve(&served.world).await.unwrap();
    let _kubelets = with_cilium(&served).await;
    served.admin().apply_all(include_str!("../flux/install.yaml")).await;
    served
        .until("apps/deployments", ("flux-system", "source-controller"), |d| {
            is_true(d, "Available")
        })
        .await;
    apply(&served, &git_source(&served, false)).await;
    let failed = served
        .until("source.toolkit.fluxcd.io/gitrepositories", ("flux-system", "flux-system"), |r| {
            text(condition(r, "Ready"), "/status") == "False"
        })
        .await;
    assert!(
        ready_message(&failed).ends_with("x509: certificate signed by unknown authority"),
        "{failed}"
    );
}
