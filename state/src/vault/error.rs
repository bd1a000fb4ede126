//! Why the vault cannot be used.

use std::io;
use std::path::PathBuf;

use flow_engine::{Failure, KindError, Retry};

/// Why the vault, or the identity that opens it, cannot be used. Nothing was overwritten.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum VaultError {
    /// There is no identity.
    #[error("there is no age identity at {}", path.display())]
    #[diagnostic(
        code("vault::no-identity"),
        help("put it back there, or name it: FLOW_AGE_IDENTITY=FILE")
    )]
    NoIdentity {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The identity's file holds something else.
    #[error("{} is not an age identity", path.display())]
    #[diagnostic(
        code(vault::identity),
        help("it must hold AGE-SECRET-KEY-1… lines; `flow doctor` says more")
    )]
    Identity {
        /// The file.
        path: PathBuf,
    },
    /// A recipient is not one.
    #[error("`{recipient}` is not an age recipient")]
    #[diagnostic(
        code(vault::recipient),
        help("a recipient starts with age1; correct the site file")
    )]
    Recipient {
        /// What was given.
        recipient: String,
    },
    /// The vault is there and cannot be opened.
    #[error("the vault {} cannot be opened", path.display())]
    #[diagnostic(
        code(vault::unreadable),
        help(
            "use the identity that it was written for, or an earlier vault from the site's folder backups"
        )
    )]
    Unreadable {
        /// The vault.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file system refuses.
    #[error("{} cannot be read or written", path.display())]
    #[diagnostic(code(vault::disk), help("nothing was overwritten; look at the disk first"))]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl VaultError {
    /// Whether trying again later can help.
    pub(crate) fn is_disk_full(&self) -> bool {
        matches!(self, Self::Disk { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

impl KindError for VaultError {
    fn retry(&self) -> Retry {
        match self {
            Self::NoIdentity { .. }
            | Self::Identity { .. }
            | Self::Recipient { .. }
            | Self::Unreadable { .. }
            | Self::Disk { .. } => Retry::Human,
        }
    }

    fn refused(&self) -> bool {
        true
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::from_kind(&error)
    }
}
