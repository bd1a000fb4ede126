//! The checkpoint store of a site: history, ledger and vault.
//!
//! * **Locking.** One writer for each site: [`Site::open`] takes a `flock` that dies with its
//!   holder, and never waits for it. [`Reader`]s take no lock and never wait.
//! * **Durability.** [`EventStore`] answers an append when it is on the disk: the vault first,
//!   then all events of the batch in one transaction (`SQLite`, WAL, `synchronous = FULL`). The
//!   ledger is folded from the history at the end of a session, or by the next writer.
//! * **Compatibility.** The schema only grows, by migrations with a backup before; a schema that
//!   is newer than this program is refused by name. Stored forms carry their version.
//! * **Trouble.** What is damaged, empty or unreadable is an error that names the newest backup;
//!   nothing is overwritten, and after a failed write nothing is written again.

mod backup;
mod codec;
mod dir;
mod error;
mod ledger;
mod lock;
mod migrations;
mod queries;
mod read;
mod retention;
mod site;
mod store;
mod vault;
mod wal;
mod writer;

pub use dir::SiteDir;
pub use error::{NewestBackup, StateError};
pub use ledger::OpenIntent;
pub use lock::{Owner, SiteLock};
pub use read::{NamedEvent, Reader, RunSummary};
pub use site::{Begin, LedgerEdit, Site};
pub use store::EventStore;
pub use vault::{Identity, SiteVault, VaultError, VaultPlace, WorkflowVault};
