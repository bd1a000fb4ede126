//! `sealing-key`: the pair by which secrets in git are sealed and opened.

use flow_engine::{
    Cx, Effect, Found, Kind, KindError, Manual, Mark, NotRecorded, OnDrift, Presence, Retry,
    Secret, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pair::{BadPair, Pair};

/// The entry of the vault.
const ENTRY: &str = "keys";
/// How many letters of a fingerprint name an archived entry.
const SHORT: usize = 12;

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct SealingKey;

/// What is known of an earlier pair.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// Files in git that are sealed already: without their key, they are lost.
    #[serde(default)]
    sealed: Vec<String>,
    /// The certificate that git records, as PEM.
    #[serde(default)]
    certificate: Option<String>,
}

/// The public half.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// The certificate as PEM, for `kubeseal --cert`.
    certificate: String,
    /// The SHA-256 of the certificate, as hexadecimal digits.
    fingerprint: String,
}

/// The private half.
#[derive(PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// The pairs, the newest first.
    keys: Vec<Pair>,
}

/// Which pair it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    fingerprint: String,
}

/// Why there is no pair.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// Something was sealed with a key that is not here.
    #[error("the sealing key is lost: {} sealed files in git need it", sealed.len())]
    #[diagnostic(
        code(seal::lost),
        help(
            "import it, `flow state import sealing-key --key tls.key --cert tls.crt`, or remove \
             these files: {}", sealed.join(", ")
        )
    )]
    Lost {
        /// The files.
        sealed: Vec<String>,
    },
    /// The vault's entry is damaged.
    #[error("the sealing key in the vault cannot be used")]
    #[diagnostic(
        code(seal::damaged),
        help("restore the vault from its backup, or import the key; it is never replaced")
    )]
    Damaged {
        /// What is wrong.
        source: BadPair,
    },
    /// The vault does not work.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Vault(#[from] NotRecorded),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Lost { .. } | Self::Damaged { .. } => Retry::Human,
            Self::Vault(_) => Retry::Backoff,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Lost { .. } | Self::Damaged { .. } => true,
            Self::Vault(_) => false,
        }
    }
}

impl Kind for SealingKey {
    const NAME: &'static str = "sealing-key";
    const EFFECT: Effect = Effect::Once;
    const MANUAL: Manual = Manual {
        summary: "Make the key pair of Sealed Secrets, once, in the vault",
        details: "An RSA key of 4096 bits with a certificate that signs itself, valid for ten \
                  years; its beginning never changes, for the controller orders keys by it. It \
                  lives in the vault and outlives every cluster. Where files in git were sealed \
                  and the vault has no key, the key is lost: the task stops and never makes \
                  another one. Removed, it is archived in the vault.",
        example: "sealed = []\n",
    };
    const ON_DRIFT: OnDrift = OnDrift::Report;

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let keys = kept(cx)?;
        let Some(newest) = keys.first() else {
            if params.sealed.is_empty() {
                return Ok(Verdict::Absent(Mark::Nowhere));
            }
            return Err(Error::Lost { sealed: params.sealed.clone() });
        };
        for pair in &keys {
            pair.check().map_err(|source| Error::Damaged { source })?;
        }
        let fingerprint = newest.fingerprint().map_err(|source| Error::Damaged { source })?;
        let mark = Mark::Ours(Handle { fingerprint: fingerprint.clone() });
        if let Some(recorded) = &params.certificate
            && super::pair::fingerprint(recorded).ok().as_ref() != Some(&fingerprint)
        {
            let diff = "git records another certificate than that of the vault".to_owned();
            return Ok(Verdict::Drifted { diff, mark });
        }
        let outputs = Outputs { certificate: newest.certificate.clone(), fingerprint };
        Ok(Verdict::Satisfied(Found { outputs, secrets: Secrets { keys }, mark }))
    }

    async fn apply(&self, cx: &Cx, _: &Params) -> Result<(), Error> {
        if !kept(cx)?.is_empty() {
            // Kept by an attempt whose outcome was lost.
            return Ok(());
        }
        let pair = cx.blocking(Pair::generate).await.map_err(|source| Error::Damaged { source })?;
        keep(cx, ENTRY, &[pair]).await
    }

    async fn exists(&self, cx: &Cx, handle: &Handle) -> Result<Presence, Error> {
        let keys = kept(cx)?;
        let Some(newest) = keys.first() else { return Ok(Presence::Gone) };
        let fingerprint = newest.fingerprint().map_err(|source| Error::Damaged { source })?;
        Ok(if fingerprint == handle.fingerprint { Presence::Ours } else { Presence::Foreign })
    }

    async fn destroy(&self, cx: &Cx, handle: &Handle) -> Result<(), Error> {
        if self.exists(cx, handle).await? != Presence::Ours {
            return Ok(());
        }
        let short: String = handle.fingerprint.chars().take(SHORT).collect();
        keep(cx, &format!("{ENTRY}-{short}"), &kept(cx)?).await?;
        keep(cx, ENTRY, &[]).await
    }
}

/// The vault's pairs. An empty list is what destroying leaves.
fn kept(cx: &Cx) -> Result<Vec<Pair>, Error> {
    let Some(value) = cx.kept(ENTRY)? else { return Ok(Vec::new()) };
    serde_json::from_value(value.into_revealed())
        .map_err(|_| Error::Damaged { source: BadPair::Form })
}

async fn keep(cx: &Cx, name: &str, keys: &[Pair]) -> Result<(), Error> {
    let value: Value = keys.iter().map(Pair::to_json).collect();
    Ok(cx.keep(name, Secret::new(value)).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn satisfied(cx: &Cx) -> Found<SealingKey> {
        match SealingKey.probe(cx, &Params::default()).await.unwrap() {
            Verdict::Satisfied(found) => found,
            Verdict::Absent(_) | Verdict::Drifted { .. } | Verdict::Underway(_) => {
                panic!("not satisfied")
            }
        }
    }

    #[tokio::test]
    async fn a_pair_is_made_once_and_archived_in_the_end() {
        let cx = Cx::default();
        let absent = SealingKey.probe(&cx, &Params::default()).await.unwrap();
        assert!(matches!(absent, Verdict::Absent(Mark::Nowhere)));
        SealingKey.apply(&cx, &Params::default()).await.unwrap();
        let found = satisfied(&cx).await;
        SealingKey.apply(&cx, &Params::default()).await.unwrap();
        assert!(satisfied(&cx).await.secrets == found.secrets);
        let other = Params { certificate: Some("other".to_owned()), ..Params::default() };
        let drifted = SealingKey.probe(&cx, &other).await.unwrap();
        assert!(matches!(drifted, Verdict::Drifted { .. }));
        let same = Params { certificate: Some(found.outputs.certificate), ..Params::default() };
        let same = SealingKey.probe(&cx, &same).await.unwrap();
        assert!(matches!(same, Verdict::Satisfied(_)));
        let Mark::Ours(handle) = found.mark else { panic!("not ours") };
        for expected in [Presence::Ours, Presence::Gone] {
            assert_eq!(SealingKey.exists(&cx, &handle).await.unwrap(), expected);
            SealingKey.destroy(&cx, &handle).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_key_that_git_needs_and_the_vault_lacks_is_lost() {
        let params = Params { sealed: vec!["k8s/a.yaml".to_owned()], certificate: None };
        let Err(error) = SealingKey.probe(&Cx::default(), &params).await else {
            panic!("no verdict is possible");
        };
        assert_eq!(error.retry(), Retry::Human);
        assert_eq!(error.to_string(), "the sealing key is lost: 1 sealed files in git need it");
    }
}
