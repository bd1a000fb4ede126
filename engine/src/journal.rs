//! What the engine asks of a disk: one batch of events at a time, and secrets.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::event::Event;
use crate::failure::Failure;
use crate::id::InstanceName;
use crate::secret::Secret;

/// What becomes durable together.
#[derive(Debug, Default)]
pub struct Batch {
    /// In the order of their `seq`, without a gap.
    pub events: Arc<[Event]>,
    /// Secrets that the events refer to: durable *before* them.
    pub secrets: Vec<SecretWrite>,
    /// Whether everything that runs waits for it, so that the caller's thread may be kept.
    pub all_wait: bool,
}

/// A secret on its way into the vault.
#[derive(Debug, Clone)]
pub struct SecretWrite {
    /// Whose it is.
    pub instance: InstanceName,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret<Value>,
}

/// A place where history becomes durable.
#[async_trait]
pub trait Store: Send + Sync {
    /// Makes a batch durable: the vault first, then all events in one transaction.
    ///
    /// The runner has at most one append in flight. On an error nothing of the batch counts.
    /// Blocks the caller's thread only if [`Batch::all_wait`].
    ///
    /// # Errors
    ///
    /// [`StoreError`]; after [`StoreError::Broken`] the store must not be written again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the batch may or may not become durable.
    async fn append(&self, batch: Batch) -> Result<(), StoreError>;
}

/// Why history could not be made durable.
#[derive(Debug, Clone, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// No space; trying again later can help.
    #[error("the disk is full")]
    #[diagnostic(code(state::full), help("free some space; nothing new is started meanwhile"))]
    Full,
    /// A write or fsync failed, or the file is damaged.
    #[error("the state cannot be written")]
    #[diagnostic(code(state::broken), help("nothing was overwritten; look at the disk first"))]
    Broken {
        /// Why.
        source: Failure,
    },
    /// The vault cannot be written.
    #[error("the vault cannot be written")]
    #[diagnostic(code(vault::broken), help("no effect that needs the secret was asked for"))]
    Vault {
        /// Why.
        source: Failure,
    },
}

/// Reading secrets, and comparing them without showing them.
pub trait Vault: Send + Sync {
    /// A secret of an instance.
    ///
    /// # Errors
    ///
    /// The vault exists and cannot be read. Never read that as "there is none".
    fn secret(&self, instance: &InstanceName, name: &str)
    -> Result<Option<Secret<Value>>, Failure>;

    /// A keyed digest, the same for the same value on this site, telling nothing about it.
    ///
    /// # Errors
    ///
    /// The identity that the key derives from cannot be read.
    fn digest(&self, value: &Value) -> Result<String, Failure>;
}
