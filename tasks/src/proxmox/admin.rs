//! The administrator's way in, needed until flow has a user and a token of its own.

use flow_engine::{KindError, Retry};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::{Api, ApiError, Client};
use crate::reference::{Reference, ReferenceError};

/// How an administrator comes in. Its secret is named here, never held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Table", into = "Table")]
#[schemars(with = "Table")]
pub(crate) enum Admin {
    /// A user's password.
    Password {
        /// The user, with its realm.
        user: String,
        /// Where the password is.
        password: Reference,
    },
    /// An API token.
    Token {
        /// Its full id, `USER@REALM!NAME`.
        id: String,
        /// Where its secret is.
        secret: Reference,
    },
    /// A shell on the host.
    Ssh(String),
}

/// An API, and how its administrator comes in.
///
/// Part of params, and of handles, where it is an append-only format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AdminDoor {
    /// The API.
    #[serde(flatten)]
    pub(crate) api: Api,
    /// The administrator's way in: `{ user, password }` or `{ token-id, token }`.
    pub(crate) admin: Admin,
}

impl AdminDoor {
    /// Comes in.
    pub(crate) async fn open(&self) -> Result<Client, AdminError> {
        self.admin.open(&self.api).await
    }
}

/// `{ user, password }`, `{ token-id, token }` or `{ ssh }`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Table {
    /// A user with its realm, as `root@pam`; goes with `password`.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Where the user's password is.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<Reference>,
    /// The full id of an API token, as `root@pam!setup`; goes with `token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// Where the token's secret is.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Reference>,
    /// `USER@HOST`.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
}

impl TryFrom<Table> for Admin {
    type Error = &'static str;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        match table {
            Table {
                user: Some(user),
                password: Some(password),
                token_id: None,
                token: None,
                ssh: None,
            } => Ok(Self::Password { user, password }),
            Table {
                user: None,
                password: None,
                token_id: Some(id),
                token: Some(secret),
                ssh: None,
            } => Ok(Self::Token { id, secret }),
            Table { user: None, password: None, token_id: None, token: None, ssh: Some(ssh) } => {
                Ok(Self::Ssh(ssh))
            }
            Table { .. } => Err("admin is { user, password }, { token-id, token } or { ssh }"),
        }
    }
}

impl From<Admin> for Table {
    fn from(admin: Admin) -> Self {
        match admin {
            Admin::Password { user, password } => {
                Self { user: Some(user), password: Some(password), ..Self::default() }
            }
            Admin::Token { id, secret } => {
                Self { token_id: Some(id), token: Some(secret), ..Self::default() }
            }
            Admin::Ssh(ssh) => Self { ssh: Some(ssh), ..Self::default() },
        }
    }
}

/// Why the administrator's way in is closed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum AdminError {
    /// The API did not let us in, or failed afterwards.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),
    /// The secret cannot be read.
    #[error("the secret of {who} cannot be read")]
    #[diagnostic(code("proxmox::admin-secret"), help("check `[proxmox] admin` in the site file"))]
    Secret {
        /// The user or token.
        who: String,
        /// Why.
        source: ReferenceError,
    },
    /// SSH.
    #[error("`admin` by ssh ({ssh}) is not supported yet")]
    #[diagnostic(
        code("proxmox::admin-ssh"),
        help("give `admin` a user and password, or a token, in `[proxmox]` of the site file")
    )]
    Ssh {
        /// Where to.
        ssh: String,
    },
}

impl KindError for AdminError {
    fn retry(&self) -> Retry {
        match self {
            Self::Api(error) => error.retry(),
            Self::Secret { .. } | Self::Ssh { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Api(error) => error.refused(),
            Self::Secret { .. } | Self::Ssh { .. } => true,
        }
    }
}

impl Admin {
    /// Whether it is root itself: no token and no other user may pass over a lock.
    pub(super) fn is_root(&self) -> bool {
        match self {
            Self::Password { user, .. } => user == "root@pam",
            Self::Token { .. } | Self::Ssh(_) => false,
        }
    }

    /// Comes in.
    pub(super) async fn open(&self, api: &Api) -> Result<Client, AdminError> {
        let secret = |who: &str, source| AdminError::Secret { who: who.to_owned(), source };
        match self {
            Self::Password { user, password } => {
                let password = password.read().await.map_err(|source| secret(user, source))?;
                Ok(Client::login(api, user, &password).await?)
            }
            Self::Token { id, secret: reference } => {
                let token = reference.read().await.map_err(|source| secret(id, source))?;
                Ok(Client::with_token(api, id, &token).await?)
            }
            Self::Ssh(ssh) => Err(AdminError::Ssh { ssh: ssh.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_administrator_comes_in_one_way_only() {
        let password = json!({ "user": "root@pam", "password": { "file": "p" } });
        let admin: Admin = serde_json::from_value(password.clone()).unwrap();
        assert_eq!(serde_json::to_value(&admin).unwrap(), password);
        let both = json!({ "user": "root@pam", "password": { "file": "p" }, "ssh": "root@a" });
        let error = serde_json::from_value::<Admin>(both).unwrap_err();
        assert_eq!(
            error.to_string(),
            "admin is { user, password }, { token-id, token } or { ssh }"
        );
    }

    #[tokio::test]
    async fn ssh_says_what_to_do_instead() {
        let api = Api {
            url: "https://127.0.0.1:1".to_owned(),
            ca: Reference::File("ca".into()),
            deadline: crate::proxmox::Deadline::default(),
        };
        let error = Admin::Ssh("root@atlas".to_owned()).open(&api).await.unwrap_err();
        assert_eq!(error.retry(), Retry::Human);
        assert_eq!(error.to_string(), "`admin` by ssh (root@atlas) is not supported yet");
    }
}
