//! All kinds by name, behind one erased trait.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::Schema;
use serde_json::Value;

use crate::cx::Cx;
use crate::failure::Failure;
use crate::kind::{Effect, Kind, Manual, Mark, OnDrift, Presence, Retry, Settle, Verdict};
use crate::secret::{Secret, Secrets};

/// A kind as the engine calls it: parameters, outputs and handles are JSON.
///
/// Every [`Kind`] implements it. A kind whose effect or outputs depend on the task (`shell`)
/// implements it directly.
#[async_trait]
pub trait AnyKind: Send + Sync + 'static {
    /// The name that workflows use.
    fn name(&self) -> &'static str;
    /// What `flow explain` shows.
    fn manual(&self) -> Manual;
    /// What sort of change it makes, for these literal parameters.
    ///
    /// # Errors
    ///
    /// The words for a person, where the parameters contradict each other.
    fn effect(&self, with: &Value) -> Result<Effect, String>;
    /// How to poll.
    fn settle(&self) -> Settle;
    /// What happens to drift where the task does not say.
    fn on_drift(&self) -> OnDrift;
    /// Whether a probe that finds nothing proves that a `once` did not happen.
    fn conclusive(&self, with: &Value) -> bool;
    /// Whether a changed fingerprint makes a satisfied instance one to apply (`shell`).
    fn applies_on_change(&self, _with: &Value) -> bool {
        false
    }
    /// The JSON schema of `[tasks.X.with]`.
    fn params_schema(&self) -> Schema;
    /// The JSON schema of the outputs, for these literal parameters.
    fn outputs_schema(&self, with: &Value) -> Schema;
    /// The JSON schema of the secrets.
    fn secrets_schema(&self) -> Schema;
    /// Whether these resolved parameters can be read.
    ///
    /// # Errors
    ///
    /// `kind::params` with the reader's words.
    fn check(&self, params: &Value) -> Result<(), Failure>;
    /// See [`Kind::probe`].
    ///
    /// # Errors
    ///
    /// Unknown: the world did not answer.
    async fn probe(&self, cx: &Cx, params: &Value) -> Result<AnyVerdict, Failure>;
    /// See [`Kind::apply`].
    ///
    /// # Errors
    ///
    /// The change was refused, or is in doubt.
    async fn apply(&self, cx: &Cx, params: &Value) -> Result<(), Failure>;
    /// See [`Kind::exists`].
    ///
    /// # Errors
    ///
    /// Unknown: the world did not answer.
    async fn exists(&self, cx: &Cx, handle: &Value) -> Result<Presence, Failure>;
    /// See [`Kind::destroy`].
    ///
    /// # Errors
    ///
    /// The removal was refused, or is in doubt.
    async fn destroy(&self, cx: &Cx, handle: &Value) -> Result<(), Failure>;
}

/// What a probe found, erased.
#[derive(Debug, Clone, PartialEq)]
pub enum AnyVerdict {
    /// The world is as declared.
    Satisfied {
        /// What later tasks may read: an object.
        outputs: Value,
        /// What later tasks may read and nobody else may see.
        secrets: Secrets,
        /// Whose the thing is.
        mark: Mark<Value>,
    },
    /// It is not there, or half made and ours.
    Absent(Mark<Value>),
    /// It is there and differs.
    Drifted {
        /// What differs.
        diff: String,
        /// Whose it is.
        mark: Mark<Value>,
    },
    /// A change is in progress.
    Underway(String),
}

#[async_trait]
impl<K: Kind> AnyKind for K {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn manual(&self) -> Manual {
        K::MANUAL
    }

    fn effect(&self, _with: &Value) -> Result<Effect, String> {
        Ok(K::EFFECT)
    }

    fn settle(&self) -> Settle {
        K::SETTLE
    }

    fn on_drift(&self) -> OnDrift {
        K::ON_DRIFT
    }

    fn conclusive(&self, _with: &Value) -> bool {
        K::CONCLUSIVE
    }

    fn params_schema(&self) -> Schema {
        schemars::schema_for!(K::Params)
    }

    fn outputs_schema(&self, _with: &Value) -> Schema {
        schemars::schema_for!(K::Outputs)
    }

    fn secrets_schema(&self) -> Schema {
        schemars::schema_for!(K::Secrets)
    }

    fn check(&self, params: &Value) -> Result<(), Failure> {
        read_params::<K>(params).map(drop)
    }

    async fn probe(&self, cx: &Cx, params: &Value) -> Result<AnyVerdict, Failure> {
        let params = read_params::<K>(params)?;
        let verdict =
            Kind::probe(self, cx, &params).await.map_err(|error| Failure::from_kind(&error))?;
        erase(verdict)
    }

    async fn apply(&self, cx: &Cx, params: &Value) -> Result<(), Failure> {
        let params = read_params::<K>(params)?;
        Kind::apply(self, cx, &params).await.map_err(|error| Failure::from_kind(&error))
    }

    async fn exists(&self, cx: &Cx, handle: &Value) -> Result<Presence, Failure> {
        let handle = read_handle::<K>(handle)?;
        Kind::exists(self, cx, &handle).await.map_err(|error| Failure::from_kind(&error))
    }

    async fn destroy(&self, cx: &Cx, handle: &Value) -> Result<(), Failure> {
        let handle = read_handle::<K>(handle)?;
        Kind::destroy(self, cx, &handle).await.map_err(|error| Failure::from_kind(&error))
    }
}

fn read_params<K: Kind>(params: &Value) -> Result<K::Params, Failure> {
    // The reader's words may quote the value, so they must not pass where a secret is.
    K::Params::deserialize_checked(params).map_err(|words| {
        Failure::new(
            "kind::params",
            format!("`with` does not fit the kind `{}`", K::NAME),
            Retry::Never,
        )
        .with_causes(vec![words])
        .with_help(format!("`flow explain {}` shows what it takes", K::NAME))
    })
}

/// Reading without ever quoting what was read.
trait DeserializeChecked: Sized {
    fn deserialize_checked(value: &Value) -> Result<Self, String>;
}

impl<T: serde::de::DeserializeOwned> DeserializeChecked for T {
    fn deserialize_checked(value: &Value) -> Result<Self, String> {
        T::deserialize(value).map_err(|error| without_quotes(&error.to_string()))
    }
}

/// Serde quotes a wrong string with `"…"` and names fields with backticks: the former goes.
fn without_quotes(words: &str) -> String {
    words.split('"').enumerate().filter(|(i, _)| i % 2 == 0).map(|(_, part)| part).collect()
}

fn read_handle<K: Kind>(handle: &Value) -> Result<K::Handle, Failure> {
    K::Handle::deserialize_checked(handle).map_err(|words| {
        Failure::new(
            "kind::handle",
            format!("a recorded handle of the kind `{}` cannot be read", K::NAME),
            Retry::Human,
        )
        .with_causes(vec![words])
    })
}

fn erase<K: Kind>(verdict: Verdict<K>) -> Result<AnyVerdict, Failure> {
    Ok(match verdict {
        Verdict::Satisfied(found) => AnyVerdict::Satisfied {
            outputs: to_json::<K>(&found.outputs)?,
            secrets: erase_secrets(to_json::<K>(&found.secrets)?),
            mark: erase_mark::<K>(found.mark)?,
        },
        Verdict::Absent(mark) => AnyVerdict::Absent(erase_mark::<K>(mark)?),
        Verdict::Drifted { diff, mark } => {
            AnyVerdict::Drifted { diff, mark: erase_mark::<K>(mark)? }
        }
        Verdict::Underway(what) => AnyVerdict::Underway(what),
    })
}

fn erase_secrets(secrets: Value) -> Secrets {
    match secrets {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (name, Secret::new(value))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Secrets::new()
        }
    }
}

fn erase_mark<K: Kind>(mark: Mark<K::Handle>) -> Result<Mark<Value>, Failure> {
    Ok(match mark {
        Mark::Ours(handle) => Mark::Ours(to_json::<K>(&handle)?),
        Mark::Missing(handle) => Mark::Missing(to_json::<K>(&handle)?),
        Mark::Nowhere => Mark::Nowhere,
    })
}

fn to_json<K: Kind>(value: &impl serde::Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| {
        Failure::new(
            "kind::outputs",
            format!("what the kind `{}` found cannot be written as JSON", K::NAME),
            Retry::Never,
        )
        .with_causes(vec![error.to_string()])
    })
}

/// The kinds that a workflow can use.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Arc<dyn AnyKind>>,
}

impl Registry {
    /// The same with one kind more; a kind of the same name is replaced.
    #[must_use]
    pub fn with(mut self, kind: impl AnyKind) -> Self {
        self.kinds.insert(kind.name(), Arc::new(kind));
        self
    }

    /// The kind of this name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&Arc<dyn AnyKind>> {
        self.kinds.get(name)
    }

    /// All kinds, by name.
    pub fn kinds(&self) -> impl Iterator<Item = &Arc<dyn AnyKind>> {
        self.kinds.values()
    }
}
