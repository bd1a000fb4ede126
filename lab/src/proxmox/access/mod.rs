//! Who may do what: users, roles, tokens and access control lists.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{StoreError, store::Changes, world::World};

use super::{privileges, reply::Refused};

pub(super) mod lists;
pub(super) mod login;
pub(super) mod roles;
pub(super) mod tokens;
pub(super) mod users;

/// The collection of the access configuration, one document.
const COLLECTION: &str = "proxmox-access";
const DOCUMENT: &str = "access";

/// The superuser, who may everything.
pub(super) const ROOT: &str = "root@pam";

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct User {
    enable: bool,
    /// Unix time; 0 is never.
    expire: i64,
    comment: String,
    email: String,
    firstname: String,
    lastname: String,
    keys: String,
    groups: BTreeSet<String>,
    tokens: BTreeMap<String, Token>,
}

impl Default for User {
    fn default() -> Self {
        Self {
            enable: true,
            expire: 0,
            comment: String::new(),
            email: String::new(),
            firstname: String::new(),
            lastname: String::new(),
            keys: String::new(),
            groups: BTreeSet::new(),
            tokens: BTreeMap::new(),
        }
    }
}

/// An API token. Its secret is kept: this host's files are in the world's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Token {
    secret: String,
    privsep: bool,
    expire: i64,
    comment: String,
}

/// An entry of an access control list: who has which roles on a path, and whether below it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Entries {
    users: BTreeMap<String, BTreeMap<String, bool>>,
    groups: BTreeMap<String, BTreeMap<String, bool>>,
    tokens: BTreeMap<String, BTreeMap<String, bool>>,
}

/// The access configuration of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Access {
    users: BTreeMap<String, User>,
    /// Roles made by clients.
    roles: BTreeMap<String, BTreeSet<String>>,
    acl: BTreeMap<String, Entries>,
}

/// Privileges and whether they hold below the path too.
pub(super) type Privileges = BTreeMap<String, bool>;

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// `NAME@REALM`.
    pub(super) user: String,
    /// The name of the token that is used.
    pub(super) token: Option<String>,
}

impl Caller {
    /// `NAME@REALM`, or `NAME@REALM!TOKEN`.
    pub(super) fn id(&self) -> String {
        match &self.token {
            Some(token) => format!("{}!{token}", self.user),
            None => self.user.clone(),
        }
    }

    /// Whether the caller is the superuser; its tokens are not.
    pub(super) fn is_root(&self) -> bool {
        self.user == ROOT && self.token.is_none()
    }
}

impl Access {
    /// Reads the configuration; a new host knows root alone.
    pub(super) fn open(world: &World) -> Result<Self, StoreError> {
        let mut documents: BTreeMap<String, Self> = world.store().load(COLLECTION)?;
        let mut access = documents.remove(DOCUMENT).unwrap_or_default();
        access.users.entry(ROOT.to_owned()).or_default();
        Ok(access)
    }

    /// Changes that write this configuration.
    pub(super) fn changes(&self) -> Changes {
        Changes::new().put(COLLECTION, DOCUMENT, self)
    }

    /// The privileges of a role; none if there is no such role.
    fn role(&self, name: &str) -> Option<BTreeSet<String>> {
        let built_in = privileges::built_in(name)
            .map(|privileges| privileges.into_iter().map(str::to_owned).collect());
        built_in.or_else(|| self.roles.get(name).cloned())
    }

    /// The roles that a user's or token's entries give on a path.
    fn roles_on(&self, id: &str, path: &str) -> BTreeMap<String, bool> {
        let mut roles = BTreeMap::new();
        // Sorted paths come shortest first, so that a deeper entry replaces what was inherited.
        for (at, entries) in &self.acl {
            let here = at == path;
            let above =
                at == "/" || path.strip_prefix(at).is_some_and(|rest| rest.starts_with('/'));
            if !here && !above {
                continue;
            }
            let applies = |given: &BTreeMap<String, bool>| {
                let applying = given.iter().filter(|(_, propagate)| here || **propagate);
                applying
                    .map(|(role, propagate)| (role.clone(), *propagate))
                    .collect::<BTreeMap<_, _>>()
            };
            let own = |given: &BTreeMap<String, BTreeMap<String, bool>>| {
                given.get(id).map(applies).filter(|roles| !roles.is_empty())
            };
            let groups = || {
                let member = self.users.get(id)?;
                let of = entries.groups.iter().filter(|(group, _)| member.groups.contains(*group));
                let all: BTreeMap<_, _> = of.flat_map(|(_, given)| applies(given)).collect();
                (!all.is_empty()).then_some(all)
            };
            let found = own(&entries.tokens).or_else(|| own(&entries.users)).or_else(groups);
            if let Some(found) = found {
                roles = found;
            }
        }
        if roles.contains_key("NoAccess") { BTreeMap::new() } else { roles }
    }

    fn privileges_of(&self, roles: &BTreeMap<String, bool>) -> Privileges {
        let mut privileges = Privileges::new();
        for (role, propagate) in roles {
            for privilege in self.role(role).unwrap_or_default() {
                *privileges.entry(privilege).or_insert(false) |= *propagate;
            }
        }
        privileges
    }

    fn user_privileges(&self, user: &str, path: &str) -> Privileges {
        if user == ROOT {
            return privileges::ALL.into_iter().map(|name| (name.to_owned(), true)).collect();
        }
        self.privileges_of(&self.roles_on(user, path))
    }

    /// What a caller may do on a path.
    pub(super) fn privileges(&self, caller: &Caller, path: &str) -> Privileges {
        let of_user = self.user_privileges(&caller.user, path);
        let Some(name) = &caller.token else { return of_user };
        let token = self.users.get(&caller.user).and_then(|user| user.tokens.get(name));
        let Some(token) = token else { return Privileges::new() };
        if !token.privsep {
            return of_user;
        }
        let own = self.privileges_of(&self.roles_on(&caller.id(), path));
        let both = own.into_iter().filter_map(|(privilege, propagate)| {
            let user = of_user.get(&privilege)?;
            Some((privilege, propagate && *user))
        });
        both.collect()
    }

    /// Whether a caller has one of these privileges on a path.
    pub(super) fn has_any(&self, caller: &Caller, path: &str, wanted: &[&str]) -> bool {
        let has = self.privileges(caller, path);
        wanted.iter().any(|privilege| has.contains_key(*privilege))
    }

    /// Refuses a caller without a privilege on a path.
    pub(super) fn need(&self, caller: &Caller, path: &str, privilege: &str) -> Result<(), Refused> {
        self.need_any(caller, path, &[privilege])
    }

    /// Refuses a caller without any of these privileges on a path.
    pub(super) fn need_any(
        &self,
        caller: &Caller,
        path: &str,
        wanted: &[&str],
    ) -> Result<(), Refused> {
        if self.has_any(caller, path, wanted) {
            return Ok(());
        }
        Err(Refused::permission(path, &wanted.join("|")))
    }

    /// Every path on which somebody may have other rights than on the path above.
    fn known_paths(&self) -> BTreeSet<String> {
        let fixed =
            ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        fixed.into_iter().map(str::to_owned).chain(self.acl.keys().cloned()).collect()
    }

    /// Forgets the lists of a VM that is gone; whether there were any.
    pub(super) fn forget_vm(&mut self, vmid: u32) -> Option<Changes> {
        self.acl.remove(&format!("/vms/{vmid}")).map(|_| self.changes())
    }

    /// The user if it may log in: known, enabled and not expired.
    fn active(&self, user: &str, now: i64) -> Option<&User> {
        let user = self.users.get(user)?;
        (user.enable && !expired(user.expire, now)).then_some(user)
    }
}

fn expired(expire: i64, now: i64) -> bool {
    expire != 0 && expire < now
}

/// Checks `NAME@REALM`.
pub(super) fn check_user_id(text: &str) -> Result<(), String> {
    let fits = text.rsplit_once('@').is_some_and(|(name, realm)| {
        !name.is_empty()
            && name.chars().all(|c| !c.is_whitespace() && !":/".contains(c))
            && is_name(realm)
    });
    if fits {
        return Ok(());
    }
    Err(format!("invalid format - value '{text}' does not look like a valid user name"))
}

/// Whether a text may name a realm or a token.
pub(super) fn is_name(text: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    text.len() >= 2 && text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(rest)
}

#[cfg(test)]
mod tests;
