//! Access control lists, and what they come to.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    super::{
        Proxmox,
        params::Param,
        privileges,
        reply::{Answer, Refused, Reply},
        route::{Request, Route},
    },
    Access, Caller,
    login::to_numbers,
};

/// The endpoints.
pub(in super::super) const ROUTES: &[Route] = &[
    Route::get("/access/acl", &[], list),
    Route::put(
        "/access/acl",
        &[
            Param::text("path", 1024).required(),
            Param::list("roles").required(),
            Param::list("users"),
            Param::list("groups"),
            Param::list("tokens"),
            Param::boolean("propagate"),
            Param::boolean("delete"),
        ],
        update,
    )
    .checked(may_update),
    Route::get(
        "/access/permissions",
        &[Param::text("userid", 256), Param::text("path", 1024)],
        permissions,
    ),
];

fn list(host: &Proxmox, request: &Request) -> Answer {
    let access = host.access();
    let audits = access.has_any(&request.caller, "/access", &["Sys.Audit", "Permissions.Modify"]);
    let mut rows = Vec::new();
    for (path, entries) in &access.acl {
        let all =
            [("user", &entries.users), ("group", &entries.groups), ("token", &entries.tokens)];
        for (kind, entries) in all {
            for (id, roles) in entries {
                for (role, propagate) in roles {
                    rows.push(json!({
                        "path": path,
                        "type": kind,
                        "ugid": id,
                        "roleid": role,
                        "propagate": u8::from(*propagate),
                    }));
                }
            }
        }
    }
    rows.retain(|row| {
        let path = row["path"].as_str().unwrap_or("/");
        audits || access.has_any(&request.caller, path, &["Permissions.Modify"])
    });
    Ok(json!(rows).into())
}

/// Changing a list needs `Permissions.Modify`, or being allowed to give away what is below a kind of objects.
fn may_update(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = request.params.get("path").unwrap_or_default();
    let access = host.access();
    let allocate = if path.starts_with("/storage/") {
        "Datastore.Allocate"
    } else if path.starts_with("/vms/") {
        "VM.Allocate"
    } else if path.starts_with("/pool/") {
        "Pool.Allocate"
    } else {
        "Permissions.Modify"
    };
    if access.has_any(&request.caller, path, &["Permissions.Modify"]) {
        return Ok(());
    }
    access.need(&request.caller, path, allocate)
}

fn update(host: &Proxmox, request: &Request) -> Answer {
    let given = request.params.get("path").unwrap_or_default();
    let path = privileges::normal_path(given)
        .ok_or_else(|| Refused::parameter("path", format!("invalid ACL path '{given}'")))?;
    let kinds = ["users", "groups", "tokens"].map(|kind| request.params.list(kind));
    if kinds.iter().all(Vec::is_empty) {
        let text = "either 'users', 'groups' or 'tokens' is required.";
        return Err(Refused::parameter("users", text));
    }
    let delete = request.params.flag("delete", false);
    let propagate = request.params.flag("propagate", true);
    let verb = if delete { "delete" } else { "update" };
    host.change_access(&format!("acl{path}"), verb, |access| {
        for role in request.params.list("roles") {
            if access.role(&role).is_none() {
                return Err(Refused::Died(format!("role '{role}' does not exist")));
            }
            check_names(access, &kinds)?;
            check_gift(access, request, (given, &role))?;
            let entries = access.acl.entry(path.clone()).or_default();
            let all = [&mut entries.users, &mut entries.groups, &mut entries.tokens];
            for (entries, names) in all.into_iter().zip(&kinds) {
                for name in names {
                    let roles = entries.entry(name.clone()).or_default();
                    if delete {
                        roles.remove(&role);
                    } else {
                        roles.insert(role.clone(), propagate);
                    }
                }
                entries.retain(|_, roles| !roles.is_empty());
            }
        }
        access.acl.retain(|_, entries| *entries != super::Entries::default());
        Ok(())
    })?;
    Ok(Reply::null())
}

/// Who may not change lists gives away no more than it has.
fn check_gift(
    access: &Access,
    request: &Request,
    (path, role): (&str, &str),
) -> Result<(), Refused> {
    let own = access.privileges(&request.caller, path);
    if own.contains_key("Permissions.Modify") {
        return Ok(());
    }
    let wanted = access.role(role).unwrap_or_default();
    match wanted.iter().find(|privilege| !own.contains_key(*privilege)) {
        Some(privilege) => Err(Refused::permission(path, privilege)),
        None => Ok(()),
    }
}

fn check_names(access: &Access, [users, _, tokens]: &[Vec<String>; 3]) -> Result<(), Refused> {
    if let Some(user) = users.iter().find(|user| !access.users.contains_key(*user)) {
        return Err(Refused::Died(format!("user '{user}' does not exist")));
    }
    for id in tokens {
        let known = id.split_once('!').is_some_and(|(user, name)| {
            access.users.get(user).is_some_and(|user| user.tokens.contains_key(name))
        });
        if !known {
            let (user, name) = id.split_once('!').unwrap_or((id, ""));
            return Err(Refused::Died(format!("no such token '{name}' for user '{user}'")));
        }
    }
    Ok(())
}

fn permissions(host: &Proxmox, request: &Request) -> Answer {
    let access = host.access();
    let caller = match request.params.get("userid") {
        Some(id) if id != request.caller.id() => {
            let own_token = id.split_once('!').is_some_and(|(user, _)| {
                user == request.caller.user && request.caller.token.is_none()
            });
            if !own_token {
                access.need(&request.caller, "/access", "Sys.Audit")?;
            }
            let (user, token) = id.split_once('!').map_or((id, None), |(u, t)| (u, Some(t)));
            Caller { user: user.to_owned(), token: token.map(str::to_owned) }
        }
        Some(_) | None => request.caller.clone(),
    };
    let paths: Vec<String> = match request.params.get("path") {
        Some(path) => vec![path.to_owned()],
        None => access.known_paths().into_iter().collect(),
    };
    let only = request.params.get("path").is_some();
    let found: BTreeMap<String, Map<String, Value>> = paths
        .into_iter()
        .map(|path| (path.clone(), to_numbers(&access.privileges(&caller, &path))))
        .filter(|(_, privileges)| only || !privileges.is_empty())
        .collect();
    Ok(json!(found).into())
}
