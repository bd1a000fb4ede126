//! Users.

use serde_json::{Value, json};

use super::{
    super::{
        Proxmox,
        params::{Param, Params},
        reply::{Answer, Refused, Reply},
        route::{Request, Route},
    },
    ROOT, User, check_user_id,
};

const FIELDS: &[Param] = &[
    Param::boolean("enable"),
    Param::integer("expire", 0, i64::MAX),
    Param::text("comment", 2048),
    Param::text("email", 254),
    Param::text("firstname", 1024),
    Param::text("lastname", 1024),
    Param::text("keys", 1024),
    Param::list("groups"),
    Param::boolean("append"),
    Param::text("password", 64),
];

/// The endpoints.
pub(in super::super) const ROUTES: &[Route] = &[
    Route::get("/access/users", &[Param::boolean("enabled"), Param::boolean("full")], list),
    Route::get("/access/users/{userid}", &[], show).checked(may_see),
    Route::post("/access/users", &[Param::format("userid", check_user_id).required()], create)
        .with(FIELDS)
        .checked(may_create),
    Route::put("/access/users/{userid}", FIELDS, update).checked(may_update),
    Route::delete("/access/users/{userid}", &[], delete).checked(may_delete),
];

fn list(host: &Proxmox, request: &Request) -> Answer {
    let access = host.access();
    let audits = access.has_any(&request.caller, "/access/groups", &["User.Modify", "Sys.Audit"]);
    let full = request.params.flag("full", false);
    let rows: Vec<Value> = access
        .users
        .iter()
        .filter(|(id, _)| audits || **id == request.caller.user)
        .filter(|(_, user)| {
            request.params.get("enabled").is_none_or(|wanted| (wanted == "1") == user.enable)
        })
        .map(|(id, user)| {
            let mut row = fields(user);
            row["userid"] = json!(id);
            row["realm-type"] = json!(id.rsplit('@').next());
            if full {
                row["groups"] = json!(user.groups.iter().cloned().collect::<Vec<_>>().join(","));
                row["tokens"] = json!(
                    user.tokens
                        .iter()
                        .map(|(name, token)| super::tokens::row(Some(name), token))
                        .collect::<Vec<_>>()
                );
            }
            row
        })
        .collect();
    Ok(json!(rows).into())
}

/// A user's fields that are not empty.
fn fields(user: &User) -> Value {
    let mut row = json!({ "enable": u8::from(user.enable), "expire": user.expire });
    let texts = [
        ("comment", &user.comment),
        ("email", &user.email),
        ("firstname", &user.firstname),
        ("lastname", &user.lastname),
        ("keys", &user.keys),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        row[name] = json!(text);
    }
    row
}

/// The caller is the user of the path, or may see and change users.
pub(super) fn may_see(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    if request.caller.user == request.path("userid") {
        return Ok(());
    }
    let wanted = ["User.Modify", "Sys.Audit"];
    host.access().need_any(&request.caller, "/access/groups", &wanted)
}

/// The caller is the user of the path, or may change users.
pub(super) fn may_change_own(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    if request.caller.user == request.path("userid") {
        return Ok(());
    }
    may_update(host, request)
}

fn may_update(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    host.access().need(&request.caller, "/access/groups", "User.Modify")
}

fn may_allocate(host: &Proxmox, request: &Request, id: &str) -> Result<(), Refused> {
    let realm = id.rsplit('@').next().unwrap_or_default();
    let path = format!("/access/realm/{realm}");
    host.access().need(&request.caller, &path, "Realm.AllocateUser")?;
    may_update(host, request)
}

fn may_create(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    may_allocate(host, request, request.params.get("userid").unwrap_or_default())
}

fn may_delete(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    may_allocate(host, request, request.path("userid"))
}

fn show(host: &Proxmox, request: &Request) -> Answer {
    let id = request.path("userid");
    let access = host.access();
    let user = access.users.get(id).ok_or_else(|| missing(id))?;
    let mut row = fields(user);
    row["groups"] = json!(user.groups);
    let tokens = user.tokens.iter();
    row["tokens"] =
        tokens.map(|(name, token)| (name.clone(), super::tokens::row(None, token))).collect();
    Ok(row.into())
}

pub(super) fn missing(id: &str) -> Refused {
    Refused::Died(format!("no such user ('{id}')"))
}

fn create(host: &Proxmox, request: &Request) -> Answer {
    let id = request.params.get("userid").unwrap_or_default();
    let password = request.params.get("password");
    if password.is_some_and(|password| password.chars().count() < 8) {
        let text = "value must be at least 8 characters long";
        return Err(Refused::parameter("password", text));
    }
    let realm = id.rsplit('@').next().unwrap_or_default();
    if !matches!(realm, "pam" | "pve") {
        return Err(Refused::Died(format!("create user failed: domain '{realm}' does not exist")));
    }
    host.change_access(&format!("user/{id}"), "create", |access| {
        if access.users.contains_key(id) {
            let text = format!("create user failed: user '{id}' already exists");
            return Err(Refused::Died(text));
        }
        let mut user = User::default();
        assign(&mut user, &request.params);
        access.users.insert(id.to_owned(), user);
        Ok(())
    })?;
    Ok(Reply::null())
}

fn assign(user: &mut User, params: &Params) {
    user.enable = params.flag("enable", user.enable);
    user.expire = params.integer("expire").unwrap_or(user.expire);
    let texts = [
        ("comment", &mut user.comment),
        ("email", &mut user.email),
        ("firstname", &mut user.firstname),
        ("lastname", &mut user.lastname),
        ("keys", &mut user.keys),
    ];
    for (name, field) in texts {
        if let Some(text) = params.get(name) {
            text.clone_into(field);
        }
    }
    let groups = params.list("groups");
    if !groups.is_empty() {
        if !params.flag("append", false) {
            user.groups.clear();
        }
        user.groups.extend(groups);
    }
}

fn update(host: &Proxmox, request: &Request) -> Answer {
    let id = request.path("userid");
    host.change_access(&format!("user/{id}"), "update", |access| {
        let user = access.users.get_mut(id).ok_or_else(|| missing(id))?;
        assign(user, &request.params);
        Ok(())
    })?;
    Ok(Reply::null())
}

fn delete(host: &Proxmox, request: &Request) -> Answer {
    let id = request.path("userid");
    if id == ROOT {
        return Err(Refused::died("delete user failed: cannot delete 'root@pam'"));
    }
    host.change_access(&format!("user/{id}"), "delete", |access| {
        access.users.remove(id).ok_or_else(|| missing(id))?;
        for entries in access.acl.values_mut() {
            entries.users.remove(id);
        }
        Ok(())
    })?;
    Ok(Reply::null())
}
