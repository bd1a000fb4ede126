//! The objects a new cluster starts with: what the API server makes, and what Talos deploys.

use serde_json::{Value, json};

use super::objects::Tx;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Makes the first objects.
pub(super) fn plant(tx: &mut Tx<'_>, ca_pem: &str) {
    for name in ["default", "kube-node-lease", "kube-public", "kube-system"] {
        tx.make(
            "core/namespaces",
            json!({
                "apiVersion": "v1", "kind": "Namespace",
                "metadata": { "name": name, "labels": { "kubernetes.io/metadata.name": name } },
                "spec": { "finalizers": ["kubernetes"] }, "status": { "phase": "Active" },
            }),
        );
    }
    roles(tx);
    for (name, value) in
        [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)]
    {
        tx.make("scheduling.k8s.io/priorityclasses", json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": name },
            "value": value, "preemptionPolicy": "PreemptLowerPriority", "description": "Used for system critical pods.",
        }));
    }
    tx.make("core/services", json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kubernetes", "namespace": "default",
            "labels": { "component": "apiserver", "provider": "kubernetes" },
        },
        "spec": {
            "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"], "type": "ClusterIP", "sessionAffinity": "None",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster",
            "ports": [{ "name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443 }],
        },
        "status": { "loadBalancer": {} },
    }));
    tx.make("core/configmaps", json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "kube-root-ca.crt", "namespace": "kube-system" }, "data": { "ca.crt": ca_pem },
    }));
    dns(tx);
}

/// The roles of `system:masters` and of everybody.
fn roles(tx: &mut Tx<'_>) {
    let all = json!(["*"]);
    let read = json!(["get", "list", "watch"]);
    let cluster_roles = [
        (
            "cluster-admin",
            json!([
                { "apiGroups": all, "resources": all, "verbs": all }, { "nonResourceURLs": all, "verbs": all },
            ]),
        ),
        (
            "admin",
            json!([{ "apiGroups": ["", "apps", "batch", "networking.k8s.io", RBAC], "resources": all, "verbs": all }]),
        ),
        (
            "edit",
            json!([{ "apiGroups": ["", "apps", "batch", "networking.k8s.io"], "resources": all, "verbs": all }]),
        ),
        (
            "view",
            json!([{
                "apiGroups": ["", "apps", "batch", "networking.k8s.io"], "verbs": read,
                "resources": [
                    "configmaps", "endpoints", "events", "namespaces", "persistentvolumeclaims", "pods", "pods/log",
                    "serviceaccounts", "services", "daemonsets", "deployments", "replicasets", "statefulsets", "jobs",
                    "cronjobs", "ingresses", "networkpolicies",
                ],
            }]),
        ),
        (
            "system:basic-user",
            json!([
                { "apiGroups": ["authorization.k8s.io"], "verbs": ["create"],
                  "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"] },
                { "apiGroups": ["authentication.k8s.io"], "verbs": ["create"], "resources": ["selfsubjectreviews"] },
            ]),
        ),
        (
            "system:discovery",
            json!([{ "verbs": ["get"], "nonResourceURLs": [
            "/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/openapi", "/openapi/*", "/readyz", "/version",
            "/version/",
        ] }]),
        ),
        (
            "system:public-info-viewer",
            json!([{ "verbs": ["get"], "nonResourceURLs": [
            "/healthz", "/livez", "/readyz", "/version", "/version/",
        ] }]),
        ),
    ];
    for (name, rules) in cluster_roles {
        tx.make(&format!("{RBAC}/clusterroles"), json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole",
            "metadata": { "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } }, "rules": rules,
        }));
    }
    let bindings = [
        ("cluster-admin", vec!["system:masters"]),
        ("system:basic-user", vec!["system:authenticated"]),
        ("system:discovery", vec!["system:authenticated"]),
        ("system:public-info-viewer", vec!["system:authenticated", "system:unauthenticated"]),
    ];
    for (name, groups) in bindings {
        let subjects: Vec<Value> = groups
            .into_iter()
            .map(|g| json!({ "kind": "Group", "apiGroup": RBAC, "name": g }))
            .collect();
        tx.make(&format!("{RBAC}/clusterrolebindings"), json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding",
            "metadata": { "name": name, "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" } },
            "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": name }, "subjects": subjects,
        }));
    }
}

/// `CoreDNS`, as Talos deploys it.
fn dns(tx: &mut Tx<'_>) {
    tx.make("core/serviceaccounts", json!({
        "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "coredns", "namespace": "kube-system" },
    }));
    tx.make("core/services", json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": "kube-dns", "namespace": "kube-system",
            "labels": {
                "k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "selector": { "k8s-app": "kube-dns" },
            "type": "ClusterIP", "sessionAffinity": "None", "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
            "ports": [
                { "name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53 },
                { "name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53 },
            ],
        },
        "status": { "loadBalancer": {} },
    }));
    tx.make("apps/deployments", json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "coredns", "namespace": "kube-system",
            "labels": { "k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS" },
        },
        "spec": {
            "replicas": 2, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
            "selector": { "matchLabels": { "k8s-app": "kube-dns" } },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1, "maxSurge": "25%" } },
            "template": {
                "metadata": { "labels": { "k8s-app": "kube-dns" } },
                "spec": {
                    "serviceAccountName": "coredns", "priorityClassName": "system-cluster-critical",
                    "restartPolicy": "Always", "dnsPolicy": "Default", "schedulerName": "default-scheduler",
                    "terminationGracePeriodSeconds": 30, "securityContext": {},
                    "tolerations": [
                        { "key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule" },
                        { "key": "node.cloudprovider.kubernetes.io/uninitialized", "operator": "Exists", "effect": "NoSchedule" },
                    ],
                    "containers": [{
                        "name": "coredns", "image": "registry.k8s.io/coredns/coredns:v1.14.1", "imagePullPolicy": "IfNotPresent",
                        "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    }],
                },
            },
        },
        "status": {},
    }));
}
