//! Why state cannot be opened, read or changed.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use flow_engine::journal::StoreError;
use flow_engine::{Failure, Instance, Retry, Seq};
use rusqlite::ErrorCode;

use crate::lock::Owner;

/// Why the state of a site cannot be opened, read or changed. Nothing was overwritten.
///
/// [`StateError::Locked`] means that the site is in use; everything else that the state itself
/// is unusable.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StateError {
    /// Another process writes.
    #[error("site {site} is in use by {owner}")]
    #[diagnostic(
        code(state::locked),
        help("wait for it, or end that process; `flow status` shows how far it is")
    )]
    Locked {
        /// The site.
        site: String,
        /// Who says to hold it.
        owner: Box<Owner>,
    },
    /// The folder is on a file system whose locks and fsync cannot be trusted.
    #[error("{} is on {file_system}", path.display())]
    #[diagnostic(
        code(state::place),
        help("locks and fsync cannot be trusted there; run flow in a folder on a local disk")
    )]
    Place {
        /// The folder.
        path: PathBuf,
        /// The file system.
        file_system: &'static str,
    },
    /// A later flow has changed the schema.
    #[error("{} was written by flow {writer}, which is newer than this one", path.display())]
    #[diagnostic(code(state::newer), help("use flow {writer} or later; nothing was changed"))]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version that can read it.
        writer: String,
    },
    /// The file is not a database of ours, is cut short, or its content makes no sense.
    #[error("{} is damaged", path.display())]
    #[diagnostic(code(state::damaged), help("nothing was overwritten; {backup}"))]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What to go back to.
        backup: NewestBackup,
        /// What is wrong.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The database is empty although runs have left traces beside it.
    #[error("{} is empty, but earlier runs have left logs or backups beside it", path.display())]
    #[diagnostic(
        code(state::lost),
        help(
            "nothing was overwritten; {backup}; to start anew from what the world shows, remove the empty file"
        )
    )]
    Lost {
        /// The database.
        path: PathBuf,
        /// What to go back to.
        backup: NewestBackup,
    },
    /// No space is left.
    #[error("no space is left for {}", path.display())]
    #[diagnostic(code(state::full), help("free some space and try again"))]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The file system refuses.
    #[error("{} cannot be read or written", path.display())]
    #[diagnostic(code(state::disk), help("nothing was overwritten; look at the disk first"))]
    Disk {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database refuses.
    #[error("{} cannot be used", path.display())]
    #[diagnostic(code(state::database), help("nothing was overwritten; look at the disk first"))]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StateError {
    pub(crate) fn disk(path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::StorageFull {
            return Self::Full { path: path.to_owned() };
        }
        Self::Disk { path: path.to_owned(), source }
    }
}

/// The newest backup of a database, in words that a help text ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewestBackup(pub(crate) Option<PathBuf>);

impl NewestBackup {
    /// Its path, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_deref()
    }
}

impl fmt::Display for NewestBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(path) => write!(f, "the newest backup is {}", path.display()),
            None => f.write_str("there is no backup"),
        }
    }
}

/// Why a query failed, before anyone knows the file that it concerned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    /// `SQLite` refused.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// What is stored is not what this version, or any, has written.
    #[error("row {row} of {table} cannot be read")]
    Content {
        /// The table.
        table: &'static str,
        /// Its integer key.
        row: i64,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A batch does not continue the history.
    #[error("event {found} was to follow where {expected} is the next")]
    Gap {
        /// The next place.
        expected: Seq,
        /// The place that the event claims.
        found: Seq,
    },
    /// An event speaks of an instance that the session did not begin with.
    #[error("instance {instance} is not one of this session's")]
    Stranger {
        /// Its number.
        instance: Instance,
    },
    /// There can be no thread that writes.
    #[error("the store thread cannot be started")]
    Thread {
        /// Why.
        source: io::Error,
    },
}

/// What a failed query means for the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The disk is full.
    Full,
    /// The content makes no sense.
    Damaged,
    /// Anything else.
    Other,
}

impl QueryError {
    pub(crate) fn trouble(&self) -> Trouble {
        match self {
            Self::Content { .. } => Trouble::Damaged,
            Self::Gap { .. } | Self::Stranger { .. } | Self::Thread { .. } => Trouble::Other,
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(ErrorCode::DiskFull) => Trouble::Full,
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Trouble::Damaged,
                Some(_) | None => Trouble::Other,
            },
        }
    }

    /// The words of this error and of its causes.
    fn causes(&self) -> Vec<String> {
        let mut causes = vec![self.to_string()];
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        causes
    }
}

impl From<QueryError> for StoreError {
    fn from(error: QueryError) -> Self {
        match error.trouble() {
            Trouble::Full => Self::Full,
            Trouble::Damaged | Trouble::Other => Self::Broken {
                source: Failure::new("state::broken", "history was not written", Retry::Never)
                    .with_causes(error.causes()),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn store_error(code: i32) -> StoreError {
        QueryError::Sqlite(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)).into()
    }

    #[test]
    fn only_a_full_disk_is_worth_another_try() {
        assert!(matches!(store_error(ffi::SQLITE_FULL), StoreError::Full));
        for code in [
            ffi::SQLITE_IOERR,
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_READONLY,
            ffi::SQLITE_BUSY,
        ] {
            assert!(matches!(store_error(code), StoreError::Broken { .. }), "{code}");
        }
    }
}
