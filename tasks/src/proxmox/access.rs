//! `proxmox-access`: the user that makes machines, its role, and where the role holds.

use std::collections::BTreeSet;

use flow_engine::{Cx, Effect, Kind, KindError, Manual, Mark, Presence, Retry, Verdict};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::admin::{AdminDoor, AdminError};
use super::client::{ApiError, Client, if_there};
use super::lenient::{list, text, yes};
use super::mark::line;
use super::node::Bridge;
use super::privileges::{MACHINES, known};

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct ProxmoxAccess;

/// Who, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The administrator's way into Proxmox.
    #[serde(flatten)]
    door: AdminDoor,
    /// The user that makes machines, with its realm.
    user: String,
    /// The privileges that this Proxmox knows of those that are wanted.
    privileges: Vec<String>,
    /// The hosts that machines are made on.
    hosts: Vec<String>,
    /// The storages of images and disks.
    stores: Vec<String>,
    /// The bridge of the machines' network cards.
    bridge: Bridge,
}

/// Who may make machines.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The role.
    role: String,
    /// The user, with its realm.
    user: String,
}

/// What is ours of users, roles and rights.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Handle {
    #[serde(flatten)]
    door: AdminDoor,
    roles: Vec<String>,
    users: Vec<String>,
    cluster: String,
}

/// Why nobody may make machines.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Admin(#[from] AdminError),
    /// The privileges of another workflow, or none.
    #[error("none of the privileges that making machines takes is known here")]
    #[diagnostic(
        code("proxmox::no-privileges"),
        help("`with.privileges` is what the task check-proxmox hands out")
    )]
    NoPrivileges,
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Admin(error.into())
    }
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Admin(error) => error.retry(),
            Self::NoPrivileges => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Admin(error) => error.refused(),
            Self::NoPrivileges => true,
        }
    }
}

/// What is there of what is wanted.
#[derive(Debug, Default)]
struct Found {
    /// The privileges of the role, if there is one.
    role: Option<BTreeSet<String>>,
    /// The user's comment, if there is a user.
    user: Option<String>,
    /// The wanted paths where the user does not hold the role yet.
    paths: Vec<String>,
}

impl Params {
    fn privileges(&self) -> Result<Vec<&str>, Error> {
        let known = known(|name| self.privileges.iter().any(|valid| valid == name), &MACHINES);
        if known.is_empty() { Err(Error::NoPrivileges) } else { Ok(known) }
    }

    /// Where the role holds: nowhere else may our user do anything.
    fn paths(&self) -> Vec<String> {
        let mut paths = vec!["/vms".to_owned()];
        paths.extend(self.hosts.iter().map(|host| format!("/nodes/{host}")));
        paths.extend(self.stores.iter().map(|store| format!("/storage/{store}")));
        // Before 8.0 bridges are not guarded, and there is no such path.
        if self.privileges.iter().any(|privilege| privilege == "SDN.Use") {
            paths.push(format!("/sdn/zones/localnetwork/{}", self.bridge.name));
        }
        paths.sort();
        paths.dedup();
        paths
    }

    async fn look(&self, admin: &Client, role: &str) -> Result<Found, ApiError> {
        let privileges = if_there(admin.get(&["access", "roles", role], &[]).await)?;
        let user = if_there(admin.get(&["access", "users", &self.user], &[]).await)?;
        let acl = admin.get(&["access", "acl"], &[]).await?;
        let rows = acl.as_array().map(Vec::as_slice).unwrap_or_default();
        let holds = |path: &String| rows.iter().any(|row| grants(row, path, &self.user, role));
        Ok(Found {
            role: privileges.map(|found| granted(&found)),
            user: user.map(|user| user.get("comment").and_then(text).unwrap_or_default()),
            paths: self.paths().into_iter().filter(|path| !holds(path)).collect(),
        })
    }

    fn mark(&self, cx: &Cx, found: &Found) -> Mark<Handle> {
        let Some(comment) = &found.user else { return Mark::Nowhere };
        let handle = Handle {
            door: self.door.clone(),
            roles: vec![role(cx.cluster())],
            users: vec![self.user.clone()],
            cluster: cx.cluster().to_owned(),
        };
        if is_ours(cx.cluster(), comment) { Mark::Ours(handle) } else { Mark::Missing(handle) }
    }
}

/// The role of a cluster's machines. A role has no comment: its name is its mark.
fn role(cluster: &str) -> String {
    let safe = cluster.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!("flow-{}", safe.collect::<String>())
}

fn comment(cluster: &str) -> String {
    format!("flow1 cluster={cluster}")
}

fn is_ours(cluster: &str, comment: &str) -> bool {
    line(comment).get("cluster").is_some_and(|name| name == cluster)
}

/// The privileges of a role, which the API shows as keys, or in older lists as text.
fn granted(role: &Value) -> BTreeSet<String> {
    if let Some(listed) = role.get("privs").and_then(text) {
        return list(&listed).map(str::to_owned).collect();
    }
    let fields = role.as_object().into_iter().flatten();
    fields.filter(|(_, held)| yes(held)).map(|(name, _)| name.clone()).collect()
}

/// Whether a line of the access list lets a user hold a role at a path and below.
fn grants(row: &Value, path: &str, user: &str, role: &str) -> bool {
    let is = |name: &str, value: &str| row.get(name).and_then(text).as_deref() == Some(value);
    is("path", path)
        && is("type", "user")
        && is("ugid", user)
        && is("roleid", role)
        && row.get("propagate").is_none_or(yes)
}

impl Kind for ProxmoxAccess {
    const NAME: &'static str = "proxmox-access";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Give flow a user of its own with the rights it needs",
        details: "Makes a role with the privileges that making machines takes and this Proxmox \
                  knows, a user, and lets the user hold the role on its hosts, storages, bridge \
                  and machines, nowhere else. Missing rights are added; others are left alone.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            admin = { user = "root@pam", password = { env = "PROXMOX_PASSWORD" } }
            call = "30s"
            user = "flow@pve"
            privileges = ["VM.Allocate", "VM.Audit", "SDN.Use"]
            hosts = ["atlas"]
            stores = ["local", "local-zfs"]
            bridge = { name = "vmbr4", vlan = 4 }
        "#,
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let admin = params.door.open().await?;
        let role = role(cx.cluster());
        let found = params.look(&admin, &role).await?;
        let mark = params.mark(cx, &found);
        let (Some(held), Some(_)) = (&found.role, &found.user) else {
            return Ok(Verdict::Absent(mark));
        };
        let lacking: Vec<_> =
            params.privileges()?.into_iter().filter(|name| !held.contains(*name)).collect();
        let mut diff = Vec::new();
        if !lacking.is_empty() {
            diff.push(format!("the role {role} lacks {}", lacking.join(", ")));
        }
        if !found.paths.is_empty() {
            diff.push(format!("{} does not hold it on {}", params.user, found.paths.join(", ")));
        }
        if !diff.is_empty() {
            return Ok(Verdict::Drifted { diff: diff.join("; "), mark });
        }
        Ok(Verdict::found(Outputs { role, user: params.user.clone() }, mark))
    }

    /// # Cancel safety
    ///
    /// Dropped between two calls, the next probe finds what is missing.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let admin = params.door.open().await?;
        let role = role(cx.cluster());
        let found = params.look(&admin, &role).await?;
        give_role(&admin, &role, found.role.as_ref(), &params.privileges()?).await?;
        if found.user.is_none() {
            let form = [("userid", params.user.clone()), ("comment", comment(cx.cluster()))];
            admin.post(&["access", "users"], &form).await?;
        }
        for path in found.paths {
            let form = [
                ("path", path),
                ("users", params.user.clone()),
                ("roles", role.clone()),
                ("propagate", "1".to_owned()),
            ];
            admin.put(&["access", "acl"], &form).await?;
        }
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &Handle) -> Result<Presence, Error> {
        let admin = handle.door.open().await?;
        let mut presence = Presence::Gone;
        for user in &handle.users {
            let Some(user) = if_there(admin.get(&["access", "users", user], &[]).await)? else {
                continue;
            };
            let comment = user.get("comment").and_then(text).unwrap_or_default();
            if !is_ours(&handle.cluster, &comment) {
                return Ok(Presence::Foreign);
            }
            presence = Presence::Ours;
        }
        for role in &handle.roles {
            if if_there(admin.get(&["access", "roles", role], &[]).await)?.is_some() {
                presence = Presence::Ours;
            }
        }
        Ok(presence)
    }

    /// Users first, and with them their rights; a role may go once nobody holds it.
    async fn destroy(&self, _: &Cx, handle: &Handle) -> Result<(), Error> {
        let admin = handle.door.open().await?;
        for user in &handle.users {
            if_there(admin.delete(&["access", "users", user], &[]).await)?;
        }
        for role in &handle.roles {
            if_there(admin.delete(&["access", "roles", role], &[]).await)?;
        }
        Ok(())
    }
}

/// Makes the role, or adds to it what it lacks.
async fn give_role(
    admin: &Client,
    role: &str,
    held: Option<&BTreeSet<String>>,
    wanted: &[&str],
) -> Result<(), ApiError> {
    match held {
        None => {
            let form = [("roleid", role.to_owned()), ("privs", wanted.join(","))];
            admin.post(&["access", "roles"], &form).await?;
        }
        Some(held) => {
            let lacking: Vec<_> =
                wanted.iter().filter(|name| !held.contains(**name)).copied().collect();
            if !lacking.is_empty() {
                let form = [("privs", lacking.join(",")), ("append", "1".to_owned())];
                admin.put(&["access", "roles", role], &form).await?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_role_is_named_after_its_cluster() {
        assert_eq!(role("test cluster"), "flow-test-cluster");
        assert!(is_ours("a", &comment("a")) && !is_ours("b", &comment("a")));
        assert!(!is_ours("a", "somebody"));
    }

    #[test]
    fn privileges_are_read_in_both_forms() {
        let expected = BTreeSet::from(["A.B".to_owned(), "C.D".to_owned()]);
        assert_eq!(granted(&json!({ "A.B": 1, "C.D": "1", "E.F": 0 })), expected);
        assert_eq!(granted(&json!({ "privs": "A.B,C.D" })), expected);
    }

    #[test]
    fn a_right_holds_at_its_path_for_its_user() {
        let row = json!({
            "path": "/vms", "type": "user", "ugid": "flow@pve", "roleid": "flow-a", "propagate": 1,
        });
        assert!(grants(&row, "/vms", "flow@pve", "flow-a"));
        assert!(!grants(&row, "/", "flow@pve", "flow-a"));
        assert!(!grants(&row, "/vms", "csi@pve", "flow-a"));
    }

    #[tokio::test]
    async fn conforms_to_the_contract() {
        use crate::conformance::{Case, conforms};
        conforms(&Case::new(ProxmoxAccess), async |world| {
            super::super::planned::access(world).await
        })
        .await;
    }

    /// The golden handle: what was made long ago must be found again.
    #[test]
    fn handles_of_all_releases_are_read() {
        let handle = json!({
            "api": "https://atlas:8006", "ca": { "file": "atlas-ca.pem" },
            "admin": { "token-id": "root@pam!setup", "token": { "env": "TOKEN" } },
            "call": "30000ms", "roles": ["flow-test"], "users": ["flow@pve"], "cluster": "test",
        });
        let read: Handle = serde_json::from_value(handle.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), handle);
    }
}
