//! What is wrong with objects of the built-in types, and with names of all.

use serde_json::{Value, json};

use super::{
    json::{at, list, map, name, text},
    refusal::Cause,
    registry::ResourceType,
    schema, selector,
};

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and \
    end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must \
    start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
    '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

/// What is wrong with an object.
pub(super) fn check(kind: &ResourceType, object: &Value) -> Vec<Cause> {
    let mut causes = check_metadata(kind, object);
    if let Some(known) = kind.schema() {
        let wrong = schema::check(object, known);
        let types = wrong.iter().any(|c| c.reason != "FieldValueDuplicate") || !causes.is_empty();
        causes.extend(wrong);
        if types && schema::has_rules(known) {
            causes.push(schema::unchecked_rules());
        }
        return causes;
    }
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("apps", "deployments" | "daemonsets" | "statefulsets" | "replicasets") => {
            causes.extend(check_workload(object));
        }
        ("batch", "jobs") => {
            causes.extend(check_pod(at(object, "/spec/template/spec"), "spec.template.spec"));
        }
        ("", "pods") => causes.extend(check_pod(at(object, "/spec"), "spec")),
        ("", "secrets") => causes.extend(check_secret(object)),
        ("apiextensions.k8s.io", _) => causes.extend(check_crd(object)),
        _ => {}
    }
    causes
}

fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

fn is_label_value(text: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= 63
            && text.chars().all(|c| edge(c) || "-_.".contains(c))
            && text.starts_with(edge)
            && text.ends_with(edge))
}

fn check_metadata(kind: &ResourceType, object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let named = name(object);
    let as_label =
        kind.group.is_empty() && matches!(kind.plural.as_str(), "namespaces" | "services");
    let free = kind.group == "rbac.authorization.k8s.io";
    if named.is_empty() {
        causes.push(Cause::required("metadata.name", "name or generateName is required"));
    } else if as_label && (!is_label(named) || named.len() > 63) {
        causes.push(Cause::invalid("metadata.name", &json!(named), LABEL));
    } else if !free && (!named.split('.').all(is_label) || named.len() > 253) {
        causes.push(Cause::invalid("metadata.name", &json!(named), SUBDOMAIN));
    }
    for value in map(object, "/metadata/labels").into_iter().flat_map(serde_json::Map::values) {
        if !value.as_str().is_some_and(is_label_value) {
            causes.push(Cause::invalid("metadata.labels", value, LABEL_VALUE));
        }
    }
    causes
}

fn check_workload(object: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let selected = at(object, "/spec/selector");
    if map(selected, "").is_none_or(serde_json::Map::is_empty) {
        causes.push(Cause::required("spec.selector", ""));
    } else if !selector::picks(selected, at(object, "/spec/template")) {
        let labels = at(object, "/spec/template/metadata/labels");
        let message = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, message));
    }
    causes.extend(check_pod(at(object, "/spec/template/spec"), "spec.template.spec"));
    causes
}

fn check_pod(spec: &Value, path: &str) -> Vec<Cause> {
    let containers = list(spec, "/containers");
    if containers.is_empty() {
        return vec![Cause::required(format!("{path}.containers"), "")];
    }
    let mut causes = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        for key in ["name", "image"] {
            if text(container, &format!("/{key}")).is_empty() {
                causes.push(Cause::required(format!("{path}.containers[{index}].{key}"), ""));
            }
        }
        let twin = containers[..index].iter().any(|c| c["name"] == container["name"]);
        if twin {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field: format!("{path}.containers[{index}].name"),
                message: format!("Duplicate value: {}", container["name"]),
            });
        }
    }
    causes
}

fn check_secret(object: &Value) -> Vec<Cause> {
    if text(object, "/type") != "kubernetes.io/tls" {
        return Vec::new();
    }
    ["tls.crt", "tls.key"]
        .into_iter()
        .filter(|key| at(object, "/data").get(*key).is_none())
        .map(|key| Cause::required(format!("data[{key}]"), ""))
        .collect()
}

fn check_crd(object: &Value) -> Vec<Cause> {
    let wanted = format!("{}.{}", text(object, "/spec/names/plural"), text(object, "/spec/group"));
    let mut causes = Vec::new();
    if name(object) != wanted {
        let message = "must be spec.names.plural+\".\"+spec.group";
        causes.push(Cause::invalid("metadata.name", &json!(name(object)), message));
    }
    let stored =
        list(object, "/spec/versions").iter().filter(|v| at(v, "/storage") == &json!(true)).count();
    if stored != 1 {
        let message = "must have exactly one version marked as storage version";
        causes.push(Cause::invalid("spec.versions", at(object, "/spec/versions"), message));
    }
    causes
}

/// What is wrong with a change: fields that may not change.
pub(super) fn check_change(kind: &ResourceType, old: &Value, new: &Value) -> Vec<Cause> {
    if let Some(known) = kind.schema() {
        return schema::check_change(old, new, known);
    }
    let mut causes = Vec::new();
    let mut fixed = |pointer: &str| {
        if at(old, pointer) != at(new, pointer) {
            let field = pointer.trim_start_matches('/').replace('/', ".");
            causes.push(Cause::invalid(field, at(new, pointer), "field is immutable"));
        }
    };
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "secrets") => fixed("/type"),
        ("apps", "deployments" | "daemonsets" | "replicasets") => fixed("/spec/selector"),
        ("batch", "jobs") => {
            fixed("/spec/selector");
            fixed("/spec/completions");
            fixed("/spec/template");
        }
        ("storage.k8s.io", "storageclasses") => {
            fixed("/provisioner");
            fixed("/parameters");
        }
        ("rbac.authorization.k8s.io", "clusterrolebindings" | "rolebindings")
            if at(old, "/roleRef") != at(new, "/roleRef") =>
        {
            causes.push(Cause::invalid("roleRef", at(new, "/roleRef"), "cannot change roleRef"));
        }
        ("", "services")
            if text(old, "/spec/clusterIP") != text(new, "/spec/clusterIP")
                && text(new, "/spec/type") != "ExternalName" =>
        {
            let message = "may not change once set";
            causes.push(Cause::invalid("spec.clusterIPs[0]", at(new, "/spec/clusterIPs"), message));
        }
        _ => {}
    }
    let frozen = kind.group.is_empty() && at(old, "/immutable") == &json!(true);
    if frozen
        && matches!(kind.plural.as_str(), "secrets" | "configmaps")
        && at(old, "/data") != at(new, "/data")
    {
        causes.push(Cause {
            reason: "FieldValueForbidden",
            field: "data".to_owned(),
            message: "Forbidden: field is immutable when `immutable` is set".to_owned(),
        });
    }
    causes
}
