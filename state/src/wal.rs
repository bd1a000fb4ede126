//! Room in the write-ahead log before it is needed.
//!
//! A commit that makes the log longer also waits for the journal of the file system; one that
//! writes over what is there does not, and takes about half the time. Databases recycle their logs
//! for that reason, and so does `SQLite` from the first checkpoint on, which few runs ever reach.

use std::fs;

use rusqlite::{Connection, TransactionBehavior};

use crate::dir::SiteDir;
use crate::queries;

/// How long the log is from the beginning, in bytes: some 500 pages.
const RESERVED: u64 = 2 << 20;

/// Makes the log as long as most runs need, by a transaction that is taken back.
///
/// What it leaves in the log is never committed, so no reader and no recovery sees it. Where it
/// cannot be done, the log grows as it is written.
pub(crate) fn reserve(conn: &mut Connection, dir: &SiteDir) -> Result<(), rusqlite::Error> {
    let mut log = dir.database().into_os_string();
    log.push("-wal");
    if fs::metadata(log).is_ok_and(|log| log.len() >= RESERVED) {
        return Ok(());
    }
    conn.execute_batch(queries::SPILL)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // A disk without that room may still have enough for what is to be written.
    let _ = tx.execute(queries::RESERVE, []);
    tx.finish()?;
    conn.execute_batch(queries::KEEP)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::migrations::Schema;

    #[test]
    fn what_is_reserved_is_seen_by_nobody() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        let mut conn = Schema::CURRENT.open(&dir).unwrap();
        reserve(&mut conn, &dir).unwrap();
        let log = dir.path().join("state.db-wal");
        assert!(fs::metadata(&log).unwrap().len() >= RESERVED);
        // As after a power cut: what recovery finds in the log.
        let copy = SiteDir::new(root.path(), "copy");
        copy.create().unwrap();
        fs::copy(dir.database(), copy.database()).unwrap();
        fs::copy(&log, copy.path().join("state.db-wal")).unwrap();
        for conn in [conn, Schema::CURRENT.open(&copy).unwrap()] {
            let events: i64 =
                conn.query_row("SELECT count(*) FROM event", [], |row| row.get(0)).unwrap();
            let sound: String = conn.query_row(queries::QUICK_CHECK, [], |row| row.get(0)).unwrap();
            assert_eq!((events, sound.as_str()), (0, "ok"));
        }
    }
}
