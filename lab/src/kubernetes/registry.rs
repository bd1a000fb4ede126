//! Which resource types the API serves: the built-in ones, and those of established CRDs.

use std::sync::Arc;

use serde_json::Value;

use super::json::{at, is_true, list, text};
use super::objects::View;

/// The resource of CRDs.
pub(crate) const CRDS: &str = "apiextensions.k8s.io/customresourcedefinitions";

/// One resource type in one version.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent facts of a type")]
pub(crate) struct ResourceType {
    /// API group, empty for the core group.
    pub(crate) group: String,
    /// Version, `v1`.
    pub(crate) version: String,
    /// Plural, as in URLs.
    pub(crate) plural: String,
    /// Singular.
    pub(crate) singular: String,
    /// Kind.
    pub(crate) kind: String,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
    /// Short names for kubectl.
    pub(crate) short_names: Vec<String>,
    /// Categories for kubectl.
    pub(crate) categories: Vec<String>,
    /// Whether it has the subresource `status`.
    pub(crate) status: bool,
    /// Whether it has the subresource `scale`.
    pub(crate) scale: bool,
    /// Only answers creations and stores nothing.
    pub(crate) virtual_only: bool,
    /// The CRD it comes from, with the index of the version in it.
    pub(crate) custom: Option<(Arc<Value>, usize)>,
}

impl ResourceType {
    /// `apps/deployments`, `core/secrets`: where its objects are stored.
    pub(crate) fn resource(&self) -> String {
        resource_name(&self.group, &self.plural)
    }

    /// `deployments.apps`, `secrets`: how messages call it.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apps/v1`, `v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The schema of a custom resource.
    pub(crate) fn schema(&self) -> Option<&Value> {
        self.version_of_crd().map(|v| at(v, "/schema/openAPIV3Schema"))
    }

    /// The entry of `spec.versions` of a custom resource's CRD.
    pub(crate) fn version_of_crd(&self) -> Option<&Value> {
        let (crd, index) = self.custom.as_ref()?;
        list(crd, "/spec/versions").get(*index)
    }

    /// The verbs of the resource itself.
    pub(crate) fn verbs(&self) -> &'static [&'static str] {
        if self.virtual_only {
            return &["create"];
        }
        match (self.custom.is_some(), self.plural.as_str()) {
            (true, _) => {
                &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]
            }
            (false, "namespaces" | "services") => {
                &["create", "delete", "get", "list", "patch", "update", "watch"]
            }
            (false, _) => {
                &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            }
        }
    }
}

/// `apps/deployments`, `core/secrets`.
pub(crate) fn resource_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("core/{plural}") } else { format!("{group}/{plural}") }
}

/// One line of the table of built-in types: group, version, plural, kind, flags, short names, categories.
///
/// Flags: `n` namespaced, `s` status, `c` scale, `v` virtual.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
);

const BUILT_IN: &[Row] = &[
    ("", "v1", "configmaps", "ConfigMap", "n", "cm", ""),
    ("", "v1", "endpoints", "Endpoints", "n", "ep", ""),
    ("", "v1", "events", "Event", "n", "ev", ""),
    ("", "v1", "limitranges", "LimitRange", "n", "limits", ""),
    ("", "v1", "namespaces", "Namespace", "s", "ns", ""),
    ("", "v1", "nodes", "Node", "s", "no", ""),
    ("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", "ns", "pvc", ""),
    ("", "v1", "persistentvolumes", "PersistentVolume", "s", "pv", ""),
    ("", "v1", "pods", "Pod", "ns", "po", "all"),
    ("", "v1", "replicationcontrollers", "ReplicationController", "ns", "rc", "all"),
    ("", "v1", "resourcequotas", "ResourceQuota", "ns", "quota", ""),
    ("", "v1", "secrets", "Secret", "n", "", ""),
    ("", "v1", "serviceaccounts", "ServiceAccount", "n", "sa", ""),
    ("", "v1", "services", "Service", "ns", "svc", "all"),
    ("apiregistration.k8s.io", "v1", "apiservices", "APIService", "s", "", "api-extensions"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", "n", "", ""),
    ("apps", "v1", "daemonsets", "DaemonSet", "ns", "ds", "all"),
    ("apps", "v1", "deployments", "Deployment", "nsc", "deploy", "all"),
    ("apps", "v1", "replicasets", "ReplicaSet", "nsc", "rs", "all"),
    ("apps", "v1", "statefulsets", "StatefulSet", "nsc", "sts", "all"),
    ("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", "v", "", ""),
    ("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", "v", "", ""),
    (
        "authorization.k8s.io",
        "v1",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
        "nv",
        "",
        "",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
        "v",
        "",
        "",
    ),
    (
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
        "v",
        "",
        "",
    ),
    ("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", "v", "", ""),
    (
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
        "ns",
        "hpa",
        "all",
    ),
    ("batch", "v1", "cronjobs", "CronJob", "ns", "cj", "all"),
    ("batch", "v1", "jobs", "Job", "ns", "", "all"),
    (
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        "CertificateSigningRequest",
        "s",
        "csr",
        "",
    ),
    ("networking.k8s.io", "v1", "ingressclasses", "IngressClass", "", "", ""),
    ("networking.k8s.io", "v1", "ingresses", "Ingress", "ns", "ing", ""),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "n", "netpol", ""),
    ("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", "ns", "pdb", ""),
    ("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", "", "", ""),
    ("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", "", "", ""),
    ("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding", "n", "", ""),
    ("rbac.authorization.k8s.io", "v1", "roles", "Role", "n", "", ""),
    ("storage.k8s.io", "v1", "csidrivers", "CSIDriver", "", "", ""),
    ("storage.k8s.io", "v1", "csinodes", "CSINode", "", "", ""),
    ("storage.k8s.io", "v1", "storageclasses", "StorageClass", "", "sc", ""),
    ("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", "s", "", ""),
    (
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
        "",
        "",
        "api-extensions",
    ),
    (
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
        "",
        "",
        "api-extensions",
    ),
    (
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        "s",
        "crd,crds",
        "api-extensions",
    ),
    ("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", "", "pc", ""),
    ("coordination.k8s.io", "v1", "leases", "Lease", "n", "", ""),
    ("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass", "", "", ""),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", "n", "", ""),
];

fn built_in(row: &Row) -> ResourceType {
    let (group, version, plural, kind, flags, short, categories) = *row;
    let split = |list: &str| list.split(',').filter(|s| !s.is_empty()).map(str::to_owned).collect();
    ResourceType {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        kind: kind.to_owned(),
        namespaced: flags.contains('n'),
        short_names: split(short),
        categories: split(categories),
        status: flags.contains('s'),
        scale: flags.contains('c'),
        virtual_only: flags.contains('v'),
        custom: None,
    }
}

fn custom(crd: &Arc<Value>, index: usize, version: &Value) -> ResourceType {
    let names = at(crd, "/spec/names");
    let words =
        |key: &str| list(names, key).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    ResourceType {
        group: text(crd, "/spec/group").to_owned(),
        version: text(version, "/name").to_owned(),
        plural: text(names, "/plural").to_owned(),
        singular: text(names, "/singular").to_owned(),
        kind: text(names, "/kind").to_owned(),
        namespaced: text(crd, "/spec/scope") == "Namespaced",
        short_names: words("/shortNames"),
        categories: words("/categories"),
        status: at(version, "/subresources/status").is_object(),
        scale: at(version, "/subresources/scale").is_object(),
        virtual_only: false,
        custom: Some((crd.clone(), index)),
    }
}

/// The served versions of a CRD, none before it is established.
pub(crate) fn types_of_crd(crd: &Arc<Value>) -> Vec<ResourceType> {
    if !is_true(crd, "Established") {
        return Vec::new();
    }
    list(crd, "/spec/versions")
        .iter()
        .enumerate()
        .filter(|(_, v)| at(v, "/served") == &Value::Bool(true))
        .map(|(index, version)| custom(crd, index, version))
        .collect()
}

/// Every type served now, the built-in ones first.
pub(crate) fn all(view: &dyn View) -> Vec<ResourceType> {
    let mut all: Vec<ResourceType> = BUILT_IN.iter().map(built_in).collect();
    for crd in view.list(CRDS) {
        all.extend(types_of_crd(&crd));
    }
    all
}

/// The type behind `/apis/GROUP/VERSION/PLURAL`.
pub(crate) fn find(
    view: &dyn View,
    group: &str,
    version: &str,
    plural: &str,
) -> Option<ResourceType> {
    if let Some(row) = BUILT_IN.iter().find(|r| r.0 == group && r.1 == version && r.2 == plural) {
        return Some(built_in(row));
    }
    let crd = view.get(CRDS, "", &format!("{plural}.{group}"))?;
    types_of_crd(&crd).into_iter().find(|t| t.version == version)
}

/// The type of objects with this `apiVersion` and `kind`.
pub(crate) fn find_kind(view: &dyn View, api_version: &str, kind: &str) -> Option<ResourceType> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    if let Some(row) = BUILT_IN.iter().find(|r| r.0 == group && r.1 == version && r.3 == kind) {
        return Some(built_in(row));
    }
    view.list(CRDS)
        .iter()
        .filter(|crd| text(crd, "/spec/group") == group && text(crd, "/spec/names/kind") == kind)
        .flat_map(types_of_crd)
        .find(|t| t.version == version)
}

/// The type that stores under a resource name such as `apps/deployments`, in its first served version.
pub(crate) fn find_resource(view: &dyn View, resource: &str) -> Option<ResourceType> {
    let (group, plural) = resource.split_once('/')?;
    let group = if group == "core" { "" } else { group };
    if let Some(row) = BUILT_IN.iter().find(|r| r.0 == group && r.2 == plural) {
        return Some(built_in(row));
    }
    let crd = view.get(CRDS, "", &format!("{plural}.{group}"))?;
    types_of_crd(&crd).into_iter().next()
}

/// Whether the group is one of the built-in ones.
pub(crate) fn is_built_in_group(group: &str) -> bool {
    group == "core" || group == "lab" || BUILT_IN.iter().any(|r| r.0 == group)
}
