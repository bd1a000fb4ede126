//! Logging in: tickets with their CSRF token, and API tokens.

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;
use time::OffsetDateTime;
use url::form_urlencoded;

use super::{
    super::{
        Proxmox,
        params::{Param, Params},
        reply::{Answer, Refused, Reply},
        route::Request,
    },
    Access, Caller, ROOT, expired,
};

/// How long a ticket is good for, in seconds.
const TICKET_LIFE: i64 = 7200;

/// The parameters of a login.
pub(in super::super) const TICKET: &[Param] = &[
    Param::text("username", 64).required(),
    Param::text("password", 2048).required(),
    Param::text("realm", 32),
    Param::text("otp", 64),
    Param::text("tfa-challenge", 2048),
    Param::boolean("new-format"),
    Param::text("path", 1024),
    Param::text("privs", 1024),
];

/// How a call authenticates itself.
#[derive(Debug)]
enum Credential {
    Ticket(String),
    Token(String),
}

fn credential(headers: &HeaderMap) -> Option<Credential> {
    let decoded = |text: &str| {
        // A lone value without `=` decodes as a name.
        form_urlencoded::parse(text.replace('+', "%2B").replace('=', "%3D").as_bytes())
            .next()
            .map(|(value, _)| value.into_owned())
    };
    let texts = |name| headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    let cookie = texts(header::COOKIE)
        .flat_map(|cookies| cookies.split(';'))
        .find_map(|cookie| cookie.trim().strip_prefix("PVEAuthCookie="));
    if let Some(ticket) = cookie.and_then(decoded) {
        return Some(Credential::Ticket(ticket));
    }
    let authorization = texts(header::AUTHORIZATION).next()?;
    let after = |scheme: &str| {
        let rest = authorization.strip_prefix(scheme)?.strip_prefix(['=', ' '])?;
        decoded(rest.split(';').next().unwrap_or(rest))
    };
    after("PVEAuthCookie")
        .map(Credential::Ticket)
        .or_else(|| after("PVEAPIToken").map(Credential::Token))
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

impl Proxmox {
    fn signature(&self, text: &str) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(self.key()).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    fn ticket(&self, user: &str) -> String {
        let text = format!("PVE:{user}:{:08X}", now());
        let signature = self.signature(&text);
        format!("{text}::{signature}")
    }

    /// The user of a ticket that is genuine and not too old.
    fn ticket_user(&self, ticket: &str) -> Option<String> {
        let (text, signature) = ticket.split_once("::")?;
        let (user, made) = text.strip_prefix("PVE:")?.rsplit_once(':')?;
        let age = now() - i64::from_str_radix(made, 16).ok()?;
        let good = self.signature(text) == signature && (-300..TICKET_LIFE).contains(&age);
        good.then(|| user.to_owned())
    }

    fn csrf(&self, user: &str) -> String {
        let made = format!("{:08X}", now());
        let signature = self.signature(&format!("{made}:{user}"));
        format!("{made}:{signature}")
    }

    fn is_csrf(&self, token: &str, user: &str) -> bool {
        token.split_once(':').is_some_and(|(made, signature)| {
            let age = i64::from_str_radix(made, 16).map(|made| now() - made);
            self.signature(&format!("{made}:{user}")) == signature
                && age.is_ok_and(|age| (-300..TICKET_LIFE).contains(&age))
        })
    }

    /// Who makes a call.
    pub(in super::super) fn authenticate(
        &self,
        headers: &HeaderMap,
        needs_csrf: bool,
    ) -> Result<Caller, Refused> {
        let failed = || Refused::Login("Authentication failed!".to_owned());
        let access = self.access();
        match credential(headers) {
            None => Err(Refused::Login("No ticket".to_owned())),
            Some(Credential::Ticket(ticket)) => {
                let user = self.ticket_user(&ticket).ok_or_else(failed)?;
                access.active(&user, now()).ok_or_else(failed)?;
                let given =
                    headers.get("CSRFPreventionToken").and_then(|token| token.to_str().ok());
                if needs_csrf && !given.is_some_and(|token| self.is_csrf(token, &user)) {
                    let text = "Permission denied - invalid csrf token";
                    return Err(Refused::Login(text.to_owned()));
                }
                Ok(Caller { user, token: None })
            }
            Some(Credential::Token(text)) => token_caller(&access, &text).ok_or_else(failed),
        }
    }

    /// `POST /access/ticket`.
    pub(in super::super) fn log_in(&self, request: &Request) -> Answer {
        let params: &Params = &request.params;
        let name = params.get("username").unwrap_or_default();
        let user = match params.get("realm") {
            Some(realm) if !name.ends_with(&format!("@{realm}")) => format!("{name}@{realm}"),
            Some(_) | None => name.to_owned(),
        };
        let password = params.get("password").unwrap_or_default();
        let known = self.access().active(&user, now()).is_some();
        let right = (user == ROOT && password == self.root_password())
            || self.ticket_user(password).is_some_and(|owner| owner == user || owner == ROOT);
        if !known || !right {
            return Err(Refused::Login("authentication failure".to_owned()));
        }
        let caller = Caller { user, token: None };
        Ok(Reply::from(json!({
            "username": caller.user,
            "ticket": self.ticket(&caller.user),
            "CSRFPreventionToken": self.csrf(&caller.user),
            "cap": capabilities(&self.access(), &caller),
        }))
        .unchanged())
    }
}

fn token_caller(access: &Access, text: &str) -> Option<Caller> {
    let (id, secret) = text.rsplit_once('=')?;
    let (user, name) = id.split_once('!')?;
    let token = access.active(user, now())?.tokens.get(name)?;
    let good = token.secret == secret && !expired(token.expire, now());
    good.then(|| Caller { user: user.to_owned(), token: Some(name.to_owned()) })
}

/// What a user interface may offer.
fn capabilities(access: &Access, caller: &Caller) -> Value {
    let on = |path: &str| json!(to_numbers(&access.privileges(caller, path)));
    json!({
        "vms": on("/vms"),
        "storage": on("/storage"),
        "access": on("/access"),
        "nodes": on("/nodes"),
        "sdn": on("/sdn"),
        "dc": on("/"),
        "mapping": on("/mapping"),
    })
}

/// Privileges as the API writes them: 1 or 0 for whether they propagate.
pub(super) fn to_numbers(privileges: &super::Privileges) -> serde_json::Map<String, Value> {
    let numbers = privileges.iter().map(|(name, below)| (name.clone(), json!(u8::from(*below))));
    numbers.collect()
}

/// `GET /access/domains`.
pub(in super::super) fn domains(_: &Proxmox, _: &Request) -> Answer {
    Ok(json!([
        { "realm": "pam", "type": "pam", "comment": "Linux PAM standard authentication" },
        { "realm": "pve", "type": "pve", "comment": "Proxmox VE authentication server" },
    ])
    .into())
}
