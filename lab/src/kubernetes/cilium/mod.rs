//! A stand-in for Cilium: what `cilium install` makes of its values, and what the operator does while it runs.

mod chart;
mod mesh;
mod operator;
mod values;

use serde_json::{Value, json};

use super::{
    authentication::User,
    authorization::{Wish, permits},
    controllers::Turn,
    json::{list, namespace, text},
    objects::View,
};

pub(super) use mesh::exec;
pub(super) use operator::{agent_fails, run};

const NAMESPACE: &str = "kube-system";

/// Runs `cilium WORDS` with the rights of a pod's service account: what it wrote, as an error if it failed.
pub(super) fn cli(
    turn: &mut Turn<'_, '_>,
    pod: &Value,
    words: &[String],
) -> Result<String, String> {
    let read_file = |path: &str| mounted(turn, pod, path);
    let call = values::Call::parse(words, &read_file).map_err(|why| format!("Error: {why}\n"))?;
    if call.action == values::Action::Version {
        return Ok("cilium-cli: v0.19.7\n".to_owned());
    }
    may_install(turn, pod).map_err(|why| format!("Error: Unable to install Cilium: {why}\n"))?;
    let release = chart::release(turn.tx);
    match (&call.action, &release) {
        (values::Action::Install, Some(_)) => {
            return Err(
                "Error: Unable to install Cilium: cannot re-use a name that is still in use\n"
                    .to_owned(),
            );
        }
        (values::Action::Upgrade, None) => {
            return Err(
                "Error: Unable to upgrade Cilium: \"cilium\" has no deployed releases\n".to_owned()
            );
        }
        (values::Action::Install | values::Action::Upgrade | values::Action::Version, _) => {}
    }
    let mut given = json!({});
    if let Some(release) = &release {
        given = release.values.clone();
    }
    super::patch::merge(&mut given, &call.values);
    values::check(&given).map_err(|why| format!("Error: Unable to install Cilium: {why}\n"))?;
    if !call.dry_run {
        let revision = release.map_or(1, |r| r.revision + 1);
        chart::deploy(turn, &call.version, &given, revision);
    }
    Ok(format!("Using Cilium version {}\nAuto-detected cluster name: lab\n", call.version))
}

/// What a service account lacks for an installation.
fn may_install(turn: &Turn<'_, '_>, pod: &Value) -> Result<(), String> {
    let account = match text(pod, "/spec/serviceAccountName") {
        "" => "default",
        given => given,
    };
    let user = User::service_account(namespace(pod), account);
    if turn.tx.get("core/serviceaccounts", namespace(pod), account).is_none() {
        return Err(format!("serviceaccounts \"{account}\" not found"));
    }
    for (verb, group, resource) in [
        ("list", "", "secrets"),
        ("create", "", "secrets"),
        ("create", "", "configmaps"),
        ("create", "apps", "daemonsets"),
        ("create", "apps", "deployments"),
        ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ] {
        let wish = Wish::Resource { verb, group, resource, namespace: NAMESPACE, name: "" };
        if !permits(turn.tx, &user, wish) {
            let full =
                if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            return Err(format!(
                "{full} is forbidden: User \"{}\" cannot {verb} resource \"{resource}\" in API group \"{group}\" in \
                 the namespace \"{NAMESPACE}\"",
                user.name
            ));
        }
    }
    Ok(())
}

/// The content of a file that a ConfigMap or Secret is mounted for.
fn mounted(turn: &Turn<'_, '_>, pod: &Value, path: &str) -> Option<String> {
    for mount in list(pod, "/spec/containers/0/volumeMounts") {
        let Some(rest) = path.strip_prefix(text(mount, "/mountPath")) else { continue };
        let key = rest.trim_start_matches('/');
        let key = if key.is_empty() { text(mount, "/subPath") } else { key };
        let volumes = list(pod, "/spec/volumes");
        let volume = volumes.iter().find(|v| v["name"] == mount["name"])?;
        let map = turn.tx.get("core/configmaps", namespace(pod), text(volume, "/configMap/name"));
        if let Some(held) = map.as_deref().and_then(|m| m["data"].get(key)).and_then(Value::as_str)
        {
            return Some(held.to_owned());
        }
    }
    None
}
