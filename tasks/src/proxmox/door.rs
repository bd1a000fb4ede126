//! How something that was made is reached again, long after the task that made it.

use flow_engine::{Cx, KindError, NotRecorded, Retry, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::{Api, ApiError, Client};

/// The name under which an instance keeps the secret of the token that made its thing.
const TOKEN: &str = "token";

/// All that a handle needs to come in again, but the token's secret, which is in the vault.
///
/// Part of params, and of handles, where it is an append-only format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Door {
    /// The API.
    #[serde(flatten)]
    pub(crate) api: Api,
    /// The full id of the API token, `USER@REALM!NAME`.
    pub(crate) token_id: String,
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
    #[diagnostic(code("proxmox::no-token"), help("`flow run` stores it again; then repeat"))]
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
        let secret = secret.ok_or_else(|| DoorError::NoToken { api: self.api.url.clone() })?;
        Ok(self.enter(&Secret::new(secret.to_owned())).await?)
    }

    /// Comes in with this secret.
    pub(crate) async fn enter(&self, secret: &Secret<String>) -> Result<Client, ApiError> {
        Client::with_token(&self.api, &self.token_id, secret).await
    }
}
