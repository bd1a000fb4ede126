//! `proxmox-token`: one API token, proven by using it.
//!
//! Proxmox shows a token's secret once, in the answer to the call that makes it. A nonce that is
//! kept before that call and stands in the token's comment tells a token whose answer was lost
//! from one whose secret was lost: the former is made anew, the latter is for a person to decide.

use std::time::Duration;

use flow_engine::{
    Cx, Effect, Found, Kind, KindError, Manual, Mark, NotRecorded, OnDrift, Presence, Retry,
    Secret, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::admin::{AdminDoor, AdminError};
use super::client::{ApiError, Client, if_there};
use super::lenient::{number, text, yes};

/// The name of the kept secret.
const TOKEN: &str = "token";
/// The name of the kept nonce. A record would go with its intent; a later attempt has another one.
const NONCE: &str = "nonce";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct ProxmoxToken;

/// Which token.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The administrator's way into Proxmox.
    #[serde(flatten)]
    door: AdminDoor,
    /// The user that it belongs to, with its realm.
    user: String,
    /// Its name within the user.
    #[serde(default = "default_name")]
    name: String,
}

fn default_name() -> String {
    "flow".to_owned()
}

/// A token.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Outputs {
    /// Its full id, `USER@REALM!NAME`.
    token_id: String,
}

/// Its secret.
#[derive(Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// What goes with the id.
    token: String,
}

/// Which token, and who may remove it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Handle {
    #[serde(flatten)]
    door: AdminDoor,
    user: String,
    token: String,
    cluster: String,
}

/// Why there is no token that works.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// A call failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Admin(#[from] AdminError),
    /// It exists, and its secret is not in the vault.
    #[error("the token {id} exists, but its secret is not in the vault")]
    #[diagnostic(
        code("proxmox::token-lost"),
        help(
            "`flow state import proxmox-token --id {id} --secret env:X` if you have it; else remove \
             the token by `pveum user token remove` and run again"
        )
    )]
    Lost {
        /// Its full id.
        id: String,
    },
    /// It exists, and the secret in the vault is not (or no longer) its.
    #[error("Proxmox refuses the secret that the vault holds for the token {id}")]
    #[diagnostic(
        code("proxmox::token-refused"),
        help(
            "`flow state import proxmox-token --id {id} --secret env:X` if it was changed; check \
             that user and token are enabled"
        )
    )]
    Refused {
        /// Its full id.
        id: String,
    },
    /// The vault or the store does not answer.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Record(#[from] NotRecorded),
    /// Proxmox made a token and did not show its secret.
    #[error("Proxmox made the token {id} without showing its secret")]
    #[diagnostic(code("proxmox::token-silent"), help("run again: it is made anew"))]
    Silent {
        /// Its full id.
        id: String,
    },
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
            Self::Silent { .. } => Retry::Backoff,
            Self::Lost { .. } | Self::Refused { .. } | Self::Record(_) => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Admin(error) => error.refused(),
            Self::Lost { .. } | Self::Refused { .. } | Self::Record(_) => true,
            Self::Silent { .. } => false,
        }
    }
}

impl Params {
    fn id(&self) -> String {
        format!("{}!{}", self.user, self.name)
    }

    fn path(&self) -> [&str; 5] {
        ["access", "users", &self.user, "token", &self.name]
    }

    fn handle(&self, cx: &Cx) -> Handle {
        Handle {
            door: self.door.clone(),
            user: self.user.clone(),
            token: self.name.clone(),
            cluster: cx.cluster().to_owned(),
        }
    }

    fn mark(&self, cx: &Cx, token: &Value) -> Mark<Handle> {
        let handle = self.handle(cx);
        if is_ours(cx.cluster(), token) { Mark::Ours(handle) } else { Mark::Missing(handle) }
    }

    /// Comes in with the secret in the vault; `None` if there is none, or if it is refused.
    async fn enter(&self, cx: &Cx) -> Result<Option<(Client, Secret<String>)>, Error> {
        let Some(secret) = kept(cx, TOKEN)? else { return Ok(None) };
        let own = Client::with_token(&self.door.api, &self.id(), &secret).await?;
        match own.get(&["version"], &[]).await {
            Ok(_) => Ok(Some((own, secret))),
            Err(ApiError::Denied { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The token, as whoever asks may see it.
    async fn look(&self, admin: &Client) -> Result<Option<Value>, ApiError> {
        if_there(admin.get(&self.path(), &[]).await)
    }

    /// The token as seen by itself; where it may not look, by the administrator.
    async fn describe(&self, own: &Client) -> Result<Option<Value>, Error> {
        match self.look(own).await {
            Err(ApiError::Forbidden { .. }) => Ok(self.look(&self.door.open().await?).await?),
            other => Ok(other?),
        }
    }
}

fn comment(cluster: &str, nonce: &str) -> String {
    format!("flow1 cluster={cluster} nonce={nonce}")
}

fn is_ours(cluster: &str, token: &Value) -> bool {
    let comment = token.get("comment").and_then(text).unwrap_or_default();
    super::mark::line(&comment).get("cluster").is_some_and(|name| name == cluster)
}

fn kept(cx: &Cx, name: &str) -> Result<Option<Secret<String>>, NotRecorded> {
    let value = cx.kept(name)?;
    Ok(value.and_then(|value| value.reveal().as_str().map(|text| Secret::new(text.to_owned()))))
}

/// Whether the token is one that a call of ours made whose answer never came.
fn answer_was_lost(cx: &Cx, token: &Value) -> Result<bool, NotRecorded> {
    let comment = token.get("comment").and_then(text).unwrap_or_default();
    let nonce = super::mark::line(&comment).remove("nonce").unwrap_or_default();
    Ok(kept(cx, NONCE)?.is_some_and(|kept| *kept.reveal() == nonce))
}

/// What differs from a token that has all rights of its user and no end.
fn difference(token: &Value) -> Option<String> {
    let mut words = Vec::new();
    // Without the field, Proxmox means yes.
    if token.get("privsep").is_none_or(yes) {
        words.push("its privileges are separated from its user's".to_owned());
    }
    if let Some(expire) = token.get("expire").and_then(number).filter(|expire| *expire > 0) {
        words.push(format!("it expires (at {expire}, in seconds since 1970)"));
    }
    (!words.is_empty()).then(|| words.join("; "))
}

impl Kind for ProxmoxToken {
    const NAME: &'static str = "proxmox-token";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Make an API token and prove it by using it",
        details: "The token has the rights of its user and no end. Its secret goes to the vault \
                  before anything else happens. A token whose secret is not in the vault is never \
                  replaced in silence.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            admin = { user = "root@pam", password = { env = "PROXMOX_PASSWORD" } }
            call = "30s"
            user = "flow@pve"
            name = "flow"
        "#,
    };
    const SETTLE: Settle = Settle::within(Duration::from_mins(2));
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let id = params.id();
        if let Some((own, secret)) = params.enter(cx).await? {
            return judge(cx, params, &own, secret).await;
        }
        let admin = params.door.open().await?;
        let Some(token) = params.look(&admin).await? else {
            return Ok(Verdict::Absent(Mark::Nowhere));
        };
        if answer_was_lost(cx, &token)? {
            return Ok(Verdict::Absent(Mark::Ours(params.handle(cx))));
        }
        Err(if kept(cx, TOKEN)?.is_some() { Error::Refused { id } } else { Error::Lost { id } })
    }

    /// # Cancel safety
    ///
    /// Dropped before the secret is kept, the next probe knows the token by its nonce.
    async fn apply(&self, cx: &Cx, params: &Params) -> Result<(), Error> {
        let admin = params.door.open().await?;
        let nonce = Uuid::new_v4().to_string();
        let answer = match params.look(&admin).await? {
            None => {
                keep(cx, NONCE, &nonce).await?;
                make(&admin, params, &comment(cx.cluster(), &nonce)).await?
            }
            Some(token) if answer_was_lost(cx, &token)? && params.enter(cx).await?.is_none() => {
                renew(&admin, params, &token).await?
            }
            Some(token) => return correct(&admin, params, &token).await,
        };
        let Some(secret) = answer.get("value").and_then(text) else {
            return Err(Error::Silent { id: params.id() });
        };
        keep(cx, TOKEN, &secret).await?;
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &Handle) -> Result<Presence, Error> {
        let admin = handle.door.open().await?;
        let token = if_there(admin.get(&handle.path(), &[]).await)?;
        Ok(match token {
            None => Presence::Gone,
            Some(token) if is_ours(&handle.cluster, &token) => Presence::Ours,
            Some(_) => Presence::Foreign,
        })
    }

    async fn destroy(&self, _: &Cx, handle: &Handle) -> Result<(), Error> {
        let admin = handle.door.open().await?;
        if_there(admin.delete(&handle.path(), &[]).await)?;
        Ok(())
    }
}

impl Handle {
    fn path(&self) -> [&str; 5] {
        ["access", "users", &self.user, "token", &self.token]
    }
}

/// The verdict on a token whose secret works.
async fn judge(
    cx: &Cx,
    params: &Params,
    own: &Client,
    secret: Secret<String>,
) -> Result<Verdict<ProxmoxToken>, Error> {
    let Some(token) = params.describe(own).await? else {
        return Ok(Verdict::Absent(Mark::Nowhere));
    };
    let mark = params.mark(cx, &token);
    if let Some(diff) = difference(&token) {
        return Ok(Verdict::Drifted { diff, mark });
    }
    let outputs = Outputs { token_id: params.id() };
    Ok(Verdict::Satisfied(Found {
        outputs,
        secrets: Secrets { token: secret.into_revealed() },
        mark,
    }))
}

async fn keep(cx: &Cx, name: &str, value: &str) -> Result<(), NotRecorded> {
    cx.keep(name, Secret::new(Value::String(value.to_owned()))).await
}

async fn make(admin: &Client, params: &Params, comment: &str) -> Result<Value, ApiError> {
    let form =
        [("privsep", "0".to_owned()), ("expire", "0".to_owned()), ("comment", comment.to_owned())];
    admin.post(&params.path(), &form).await
}

/// A new secret for a token that is ours: at once where Proxmox can (9.2), else by making it anew.
async fn renew(admin: &Client, params: &Params, token: &Value) -> Result<Value, ApiError> {
    match admin.put(&params.path(), &[("regenerate", "1".to_owned())]).await {
        Err(ApiError::Refused { before: true, .. }) => {}
        other => return other,
    }
    if_there(admin.delete(&params.path(), &[]).await)?;
    let comment = token.get("comment").and_then(text).unwrap_or_default();
    make(admin, params, &comment).await
}

/// Gives a token that works the rights of its user, and no end.
async fn correct(admin: &Client, params: &Params, token: &Value) -> Result<(), Error> {
    if difference(token).is_some() {
        let form = [("privsep", "0".to_owned()), ("expire", "0".to_owned())];
        admin.put(&params.path(), &form).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use flow_engine::AnyVerdict;
    use serde_json::json;

    use super::super::planned;
    use super::*;
    use crate::conformance::{Case, Laboratory, Trial, conforms};

    const LIMIT: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn conforms_to_the_contract() {
        conforms(&Case::new(ProxmoxToken), async |world| planned::token(world).await).await;
    }

    async fn root(params: &Value) -> Client {
        let params: Params = serde_json::from_value(params.clone()).unwrap();
        params.door.open().await.unwrap()
    }

    const PATH: [&str; 5] = ["access", "users", "flow@pve", "token", "flow"];

    #[tokio::test]
    async fn a_token_whose_secret_is_lost_is_never_replaced() {
        let world = Laboratory::fresh();
        let params = planned::token(&world).await;
        world.make(ProxmoxToken, &params).await;
        let before = world.counts();
        // Another vault, which holds neither secret nor nonce.
        let failure = Trial::new(&ProxmoxToken, &world, &params).attempt(LIMIT).await.unwrap_err();
        assert_eq!(failure.code, "proxmox::token-lost");
        assert_eq!(failure.retry, Retry::Human);
        assert_eq!(world.counts(), before);
    }

    #[tokio::test]
    async fn a_token_that_was_removed_is_made_again() {
        let world = Laboratory::fresh();
        let params = planned::token(&world).await;
        let trial = Trial::new(&ProxmoxToken, &world, &params);
        trial.attempt(LIMIT).await.unwrap();
        root(&params).await.delete(&PATH, &[]).await.unwrap();
        assert!(matches!(trial.probe().await.unwrap(), AnyVerdict::Absent(Mark::Nowhere)));
        trial.attempt(LIMIT).await.unwrap();
    }

    #[tokio::test]
    async fn a_token_with_an_end_differs() {
        let world = Laboratory::fresh();
        let params = planned::token(&world).await;
        let trial = Trial::new(&ProxmoxToken, &world, &params);
        trial.attempt(LIMIT).await.unwrap();
        let form = [("expire", "4102444800".to_owned())];
        root(&params).await.put(&PATH, &form).await.unwrap();
        let AnyVerdict::Drifted { diff, .. } = trial.probe().await.unwrap() else {
            panic!("a token that expires differs");
        };
        assert_eq!(diff, "it expires (at 4102444800, in seconds since 1970)");
        trial.apply(LIMIT).await.unwrap();
        assert!(matches!(trial.probe().await.unwrap(), AnyVerdict::Satisfied { .. }));
    }

    /// The golden handle: what was made long ago must be found again.
    #[test]
    fn handles_of_all_releases_are_read() {
        let handle = json!({
            "api": "https://atlas:8006", "ca": { "file": "atlas-ca.pem" },
            "admin": { "user": "root@pam", "password": { "env": "PROXMOX_PASSWORD" } },
            "call": "30000ms", "user": "flow@pve", "token": "flow", "cluster": "test-cluster",
        });
        let read: Handle = serde_json::from_value(handle.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), handle);
    }
}
