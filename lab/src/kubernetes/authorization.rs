//! What a user may do: roles and bindings.

use serde_json::Value;

use super::{
    authentication::User,
    json::{list, name, namespace, text},
    objects::View,
};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Something that a user wants to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wish<'a> {
    /// With a resource.
    Resource {
        /// The verb.
        verb: &'a str,
        /// Its group.
        group: &'a str,
        /// `pods` or `pods/log`.
        resource: &'a str,
        /// Its namespace, empty if cluster-wide.
        namespace: &'a str,
        /// Its name, empty for a collection.
        name: &'a str,
    },
    /// With a path that is no resource.
    Path {
        /// The verb.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// Whether a user may do something.
pub(crate) fn permits(view: &dyn View, user: &User, wish: Wish<'_>) -> bool {
    if user.groups.iter().any(|g| g == "system:masters") {
        return true;
    }
    let cluster = view.list(&format!("{RBAC}/clusterrolebindings"));
    if cluster.iter().any(|b| is_subject(b, user) && role_permits(view, b, wish)) {
        return true;
    }
    let Wish::Resource { namespace: space, .. } = wish else {
        return false;
    };
    !space.is_empty()
        && view
            .list_in(&format!("{RBAC}/rolebindings"), space)
            .iter()
            .any(|b| is_subject(b, user) && role_permits(view, b, wish))
}

fn is_subject(binding: &Value, user: &User) -> bool {
    list(binding, "/subjects").iter().any(|subject| {
        let named = name_of(subject);
        match text(subject, "/kind") {
            "User" => named == user.name,
            "Group" => user.groups.iter().any(|g| g == named),
            "ServiceAccount" => {
                let space = match text(subject, "/namespace") {
                    "" => namespace(binding),
                    given => given,
                };
                user.name == format!("system:serviceaccount:{space}:{named}")
            }
            _ => false,
        }
    })
}

fn name_of(subject: &Value) -> &str {
    text(subject, "/name")
}

fn role_permits(view: &dyn View, binding: &Value, wish: Wish<'_>) -> bool {
    let named = text(binding, "/roleRef/name");
    let role = match text(binding, "/roleRef/kind") {
        "ClusterRole" => view.get(&format!("{RBAC}/clusterroles"), "", named),
        _ => view.get(&format!("{RBAC}/roles"), namespace(binding), named),
    };
    let Some(role) = role else { return false };
    list(&role, "/rules").iter().any(|rule| rule_permits(rule, wish))
        || aggregates(view, &role).any(|rule| rule_permits(&rule, wish))
}

/// The rules of the roles that an aggregating role picks by label.
fn aggregates(view: &dyn View, role: &Value) -> impl Iterator<Item = Value> {
    let selectors = list(role, "/aggregationRule/clusterRoleSelectors").to_vec();
    let roles =
        if selectors.is_empty() { Vec::new() } else { view.list(&format!("{RBAC}/clusterroles")) };
    let own = name(role).to_owned();
    roles
        .into_iter()
        .filter(move |r| name(r) != own && selectors.iter().any(|s| super::selector::picks(s, r)))
        .flat_map(|r| list(&r, "/rules").to_vec())
}

fn holds(rule: &Value, key: &str, wanted: &str) -> bool {
    list(rule, key).iter().filter_map(Value::as_str).any(|held| held == "*" || held == wanted)
}

fn rule_permits(rule: &Value, wish: Wish<'_>) -> bool {
    match wish {
        Wish::Resource { verb, group, resource, name, .. } => {
            let names = list(rule, "/resourceNames");
            let any_sub = resource
                .split_once('/')
                .is_some_and(|(_, sub)| holds(rule, "/resources", &format!("*/{sub}")));
            holds(rule, "/verbs", verb)
                && holds(rule, "/apiGroups", group)
                && (holds(rule, "/resources", resource) || any_sub)
                && (names.is_empty() || names.iter().any(|n| n.as_str() == Some(name)))
        }
        Wish::Path { verb, path } => {
            holds(rule, "/verbs", verb)
                && list(rule, "/nonResourceURLs").iter().filter_map(Value::as_str).any(|held| {
                    held == path
                        || held.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
                })
        }
    }
}
