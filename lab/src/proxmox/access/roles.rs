//! Roles.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::super::{
    Proxmox,
    params::Param,
    privileges,
    reply::{Answer, Refused, Reply},
    route::{Request, Route},
};

/// The endpoints.
pub(in super::super) const ROUTES: &[Route] = &[
    Route::get("/access/roles", &[], list),
    Route::get("/access/roles/{roleid}", &[], show),
    Route::post(
        "/access/roles",
        &[Param::format("roleid", check_id).required(), Param::list("privs")],
        create,
    )
    .checked(may_change),
    Route::put("/access/roles/{roleid}", &[Param::list("privs"), Param::boolean("append")], update)
        .checked(may_change),
    Route::delete("/access/roles/{roleid}", &[], delete).checked(may_change),
];

fn may_change(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    host.access().need(&request.caller, "/access", "Sys.Modify")
}

fn check_id(text: &str) -> Result<(), String> {
    if text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) && !text.is_empty() {
        return Ok(());
    }
    Err(format!("invalid format - value '{text}' does not look like a valid role name"))
}

fn list(host: &Proxmox, _: &Request) -> Answer {
    let access = host.access();
    let row = |name: &str, special: bool| {
        let privs = access.role(name).unwrap_or_default();
        let privs: Vec<_> = privs.into_iter().collect();
        json!({ "roleid": name, "privs": privs.join(","), "special": u8::from(special) })
    };
    let built_in = privileges::built_in_roles().map(|name| row(name, true));
    let rows: Vec<_> = built_in.chain(access.roles.keys().map(|name| row(name, false))).collect();
    Ok(json!(rows).into())
}

fn show(host: &Proxmox, request: &Request) -> Answer {
    let name = request.path("roleid");
    let role = host.access().role(name);
    let role = role.ok_or_else(|| Refused::died(format!("role '{name}' does not exist")))?;
    let privileges: BTreeMap<String, u8> = role.into_iter().map(|name| (name, 1)).collect();
    Ok(json!(privileges).into())
}

/// The privileges that a call names.
fn wanted(request: &Request) -> Result<BTreeSet<String>, Refused> {
    let wanted = request.params.list("privs");
    if let Some(unknown) = wanted.iter().find(|name| !privileges::ALL.contains(&name.as_str())) {
        let text = format!("invalid format - invalid privilege '{unknown}'\n");
        return Err(Refused::parameter("privs", text));
    }
    Ok(wanted.into_iter().collect())
}

fn create(host: &Proxmox, request: &Request) -> Answer {
    let name = request.params.get("roleid").unwrap_or_default();
    if name.to_ascii_lowercase().starts_with("pve") {
        let text = "role ID may not start with 'PVE' (case-insensitive)";
        return Err(Refused::parameter("roleid", text));
    }
    let wanted = wanted(request)?;
    host.change_access(&format!("role/{name}"), "create", |access| {
        if access.role(name).is_some() {
            let text = format!("create role failed: role '{name}' already exists");
            return Err(Refused::Died(text));
        }
        access.roles.insert(name.to_owned(), wanted);
        Ok(())
    })?;
    Ok(Reply::null())
}

fn update(host: &Proxmox, request: &Request) -> Answer {
    let name = request.path("roleid");
    let wanted = wanted(request)?;
    let append = request.params.flag("append", false);
    host.change_access(&format!("role/{name}"), "update", |access| {
        own(access, name, "modified")?;
        let role = access.roles.entry(name.to_owned()).or_default();
        if !append {
            role.clear();
        }
        role.extend(wanted);
        Ok(())
    })?;
    Ok(Reply::null())
}

fn delete(host: &Proxmox, request: &Request) -> Answer {
    let name = request.path("roleid");
    host.change_access(&format!("role/{name}"), "delete", |access| {
        own(access, name, "deleted")?;
        access.roles.remove(name);
        for entries in access.acl.values_mut() {
            let all = [&mut entries.users, &mut entries.groups, &mut entries.tokens];
            for roles in all.into_iter().flat_map(BTreeMap::values_mut) {
                roles.remove(name);
            }
        }
        Ok(())
    })?;
    Ok(Reply::null())
}

/// Refuses a role that is not there, or that is not a client's.
fn own(access: &super::Access, name: &str, done: &str) -> Result<(), Refused> {
    if privileges::built_in(name).is_some() {
        return Err(Refused::Died(format!("auto-generated role '{name}' cannot be {done}")));
    }
    if access.roles.contains_key(name) {
        return Ok(());
    }
    Err(Refused::Died(format!("role '{name}' does not exist")))
}
