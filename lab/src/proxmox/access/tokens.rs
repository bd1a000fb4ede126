//! API tokens: their secret is shown once.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    super::{
        Proxmox,
        params::Param,
        reply::{Answer, Refused, Reply},
        route::{Request, Route},
    },
    Token, is_name,
    users::{may_change_own, may_see, missing},
};

const FIELDS: &[Param] = &[
    Param::boolean("privsep"),
    Param::integer("expire", 0, i64::MAX),
    Param::text("comment", 2048),
];

/// The endpoints.
pub(in super::super) const ROUTES: &[Route] = &[
    Route::get("/access/users/{userid}/token", &[], list).checked(may_see),
    Route::get("/access/users/{userid}/token/{tokenid}", &[], show).checked(may_see),
    Route::post("/access/users/{userid}/token/{tokenid}", FIELDS, create).checked(may_change_own),
    Route::put(
        "/access/users/{userid}/token/{tokenid}",
        &[Param::boolean("regenerate"), Param::list("delete")],
        update,
    )
    .with(FIELDS)
    .checked(may_change_own),
    Route::delete("/access/users/{userid}/token/{tokenid}", &[], delete).checked(may_change_own),
];

/// A token as the API shows it, without its secret.
pub(super) fn row(name: Option<&str>, token: &Token) -> Value {
    let mut row = json!({ "privsep": u8::from(token.privsep), "expire": token.expire });
    if !token.comment.is_empty() {
        row["comment"] = json!(token.comment);
    }
    if let Some(name) = name {
        row["tokenid"] = json!(name);
    }
    row
}

fn no_token(user: &str, name: &str) -> Refused {
    Refused::Died(format!("no such token '{name}' for user '{user}'"))
}

fn list(host: &Proxmox, request: &Request) -> Answer {
    let id = request.path("userid");
    let access = host.access();
    let user = access.users.get(id).ok_or_else(|| missing(id))?;
    let rows: Vec<_> = user.tokens.iter().map(|(name, token)| row(Some(name), token)).collect();
    Ok(json!(rows).into())
}

fn show(host: &Proxmox, request: &Request) -> Answer {
    let (id, name) = (request.path("userid"), request.path("tokenid"));
    let access = host.access();
    let user = access.users.get(id).ok_or_else(|| missing(id))?;
    let token = user.tokens.get(name).ok_or_else(|| no_token(id, name))?;
    Ok(row(None, token).into())
}

fn shown_once(id: &str, name: &str, token: &Token) -> Value {
    json!({
        "full-tokenid": format!("{id}!{name}"),
        "value": token.secret,
        "info": row(None, token),
    })
}

fn create(host: &Proxmox, request: &Request) -> Answer {
    let (id, name) = (request.path("userid"), request.path("tokenid"));
    if !is_name(name) {
        let text = "value does not match the regex pattern";
        return Err(Refused::parameter("tokenid", text));
    }
    let token = Token {
        secret: Uuid::new_v4().to_string(),
        privsep: request.params.flag("privsep", true),
        expire: request.params.integer("expire").unwrap_or(0),
        comment: request.params.get("comment").unwrap_or_default().to_owned(),
    };
    let shown = shown_once(id, name, &token);
    host.change_access(&format!("token/{id}!{name}"), "create", |access| {
        let user = access.users.get_mut(id).ok_or_else(|| missing(id))?;
        if user.tokens.contains_key(name) {
            return Err(Refused::parameter("tokenid", "Token already exists."));
        }
        user.tokens.insert(name.to_owned(), token);
        Ok(())
    })?;
    Ok(shown.into())
}

fn update(host: &Proxmox, request: &Request) -> Answer {
    let (id, name) = (request.path("userid"), request.path("tokenid"));
    let regenerate = request.params.flag("regenerate", false);
    let deleted = request.params.list("delete");
    let verb = if regenerate { "regenerate" } else { "update" };
    let mut shown = Value::Null;
    host.change_access(&format!("token/{id}!{name}"), verb, |access| {
        let user = access.users.get_mut(id).ok_or_else(|| missing(id))?;
        let token = user.tokens.get_mut(name).ok_or_else(|| no_token(id, name))?;
        token.privsep = request.params.flag("privsep", token.privsep);
        token.expire = request.params.integer("expire").unwrap_or(token.expire);
        if let Some(comment) = request.params.get("comment") {
            comment.clone_into(&mut token.comment);
        }
        if deleted.iter().any(|field| field == "comment") {
            token.comment.clear();
        }
        if regenerate {
            token.secret = Uuid::new_v4().to_string();
        }
        shown = if regenerate { shown_once(id, name, token) } else { row(None, token) };
        Ok(())
    })?;
    Ok(shown.into())
}

fn delete(host: &Proxmox, request: &Request) -> Answer {
    let (id, name) = (request.path("userid"), request.path("tokenid"));
    host.change_access(&format!("token/{id}!{name}"), "delete", |access| {
        let user = access.users.get_mut(id).ok_or_else(|| missing(id))?;
        // The lists keep the token's entries, as on the real system.
        user.tokens.remove(name).map(drop).ok_or_else(|| no_token(id, name))
    })?;
    Ok(Reply::null())
}
