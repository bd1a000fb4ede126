//! How something that was made is reached again, long after the task that made it.

use flow_engine::{Cx, KindError, NotRecorded, Retry, Secret};
use serde::{Deserialize, Serialize};

use super::client::{Api, ApiError, Client};
use super::deadline::Deadline;
use crate::reference::Reference;

/// The name under which an instance keeps the secret of the token that made its thing.
const TOKEN: &str = "token";

/// All that a handle needs to come in again, but the token's secret, which is in the vault.
///
/// Part of handles, so an append-only format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Door {
    /// `https://HOST:8006`.
    pub(crate) api: String,
    /// The authority that signed its certificate.
    pub(crate) ca: Reference,
    /// The full id of the API token.
    pub(crate) token_id: String,
    /// How long one call may take.
    pub(crate) call: Deadline,
}

/// Why the way to something that was made is closed.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum DoorError {
    /// The API does not let us in.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),
    /// The vault has no secret for it.
    #[error("the vault holds no token for {api}")]
    #[diagnostic(code(proxmox::no_token), help("`flow run` stores it again; then repeat"))]
    NoToken {
        /// The API.
        api: String,
    },
    /// The vault does not answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vault(#[from] NotRecorded),
}

impl KindError for DoorError {
    fn retry(&self) -> Retry {
        match self {
            Self::Api(error) => error.retry(),
            Self::NoToken { .. } | Self::Vault(_) => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Api(error) => error.refused(),
            Self::NoToken { .. } | Self::Vault(_) => true,
        }
    }
}

impl Door {
    /// Comes in with the secret that this instance has kept.
    pub(crate) async fn open(&self, cx: &Cx) -> Result<Client, DoorError> {
        let kept = cx.kept(TOKEN)?;
        let secret = kept.as_ref().and_then(|kept| kept.reveal().as_str());
        let secret = secret.ok_or_else(|| DoorError::NoToken { api: self.api.clone() })?;
        Ok(self.enter(&Secret::new(secret.to_owned())).await?)
    }

    /// Comes in with this secret.
    pub(crate) async fn enter(&self, secret: &Secret<String>) -> Result<Client, ApiError> {
        let api = Api { url: self.api.clone(), ca: self.ca.clone(), deadline: self.call };
        Client::with_token(&api, &self.token_id, secret).await
    }
}
