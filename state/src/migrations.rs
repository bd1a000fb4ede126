//! The schema: how it is made, brought up to date, and refused.
//!
//! Migrations are append-only; a released one never changes. A new database is made in a file
//! aside and gets its name when it is whole, so `state.db` is never an empty file of ours.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use rusqlite_migration::{M, Migrations};

use crate::backup::{damaged, explain, has_traces, newest};
use crate::dir::{SiteDir, sync_folder};
use crate::error::{QueryError, StateError};
use crate::{backup, queries};

const EVENTS: M<'static> =
    M::up(include_str!("migrations/0001-events.sql")).comment("events and ledger");

const SAID: M<'static> =
    M::up(include_str!("migrations/0002-said.sql")).comment("what a success said, apart");

/// Every migration that was ever released, in order.
const ALL: &[M<'static>] = &[EVENTS, SAID];

/// The version of flow that runs.
const THIS_FLOW: &str = env!("CARGO_PKG_VERSION");

/// How long a statement waits for another process that looks into the file.
const BUSY: std::time::Duration = std::time::Duration::from_secs(10);

/// A list of migrations; a test brings its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schema(&'static [M<'static>]);

impl Schema {
    /// The schema of this version of flow.
    pub(crate) const CURRENT: Self = Self(ALL);

    fn version(self) -> i64 {
        i64::try_from(self.0.len()).expect("there are few migrations")
    }

    fn migrations(self) -> Migrations<'static> {
        Migrations::from_slice(self.0)
    }

    /// Opens the database of a site for writing; makes it, or brings it up to date.
    ///
    /// The caller holds the lock of the site.
    pub(crate) fn open(self, dir: &SiteDir) -> Result<Connection, StateError> {
        if is_missing(dir)? {
            self.make(dir)?;
        }
        let mut conn = connect(dir, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let version = self.check(&conn, dir)?;
        let settle = |conn: &Connection| -> Result<(), rusqlite::Error> {
            conn.execute_batch(queries::WRITER)?;
            let mode: String = conn.query_row(queries::GET_JOURNAL_MODE, [], |row| row.get(0))?;
            if mode == "wal" {
                return Ok(());
            }
            conn.pragma_update(None, "journal_mode", "wal")
        };
        settle(&conn).map_err(|error| explain(dir, error.into()))?;
        if version < self.version() {
            backup::write(&conn, dir)?;
            self.migrate(&mut conn, dir)?;
        }
        Ok(conn)
    }

    /// Opens the database of a site for reading; `None` if there is none yet.
    pub(crate) fn open_read_only(self, dir: &SiteDir) -> Result<Option<Connection>, StateError> {
        if is_missing(dir)? {
            return Ok(None);
        }
        let conn = connect(dir, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let version = self.check(&conn, dir)?;
        if version < self.version() {
            let why = "it has an old schema; any command that writes brings it up to date";
            return Err(StateError::Database { path: dir.database(), source: why.into() });
        }
        Ok(Some(conn))
    }

    /// Refuses what is not ours, not whole, or too new; answers the schema's version.
    fn check(self, conn: &Connection, dir: &SiteDir) -> Result<i64, StateError> {
        let ask = |pragma| -> Result<i64, StateError> {
            conn.query_row(pragma, [], |row| row.get(0))
                .map_err(|error| explain(dir, QueryError::Sqlite(error)))
        };
        if ask(queries::GET_APPLICATION_ID)? != i64::from(queries::APPLICATION_ID) {
            return Err(damaged(dir, "it is a database, but not one of flow's"));
        }
        let version = ask(queries::GET_SCHEMA_VERSION)?;
        if version > self.version() {
            let writer = meta(conn, "writer").ok().flatten();
            let writer = writer.unwrap_or_else(|| format!("with schema {version}"));
            return Err(StateError::Newer { path: dir.database(), writer });
        }
        if version == 0 {
            return Err(damaged(dir, "it has no schema"));
        }
        Ok(version)
    }

    fn migrate(self, conn: &mut Connection, dir: &SiteDir) -> Result<(), StateError> {
        let migrated: Result<(), Box<dyn std::error::Error + Send + Sync>> = self
            .migrations()
            .to_latest(conn)
            .map_err(Into::into)
            .and_then(|()| set_meta(conn, "writer", THIS_FLOW).map_err(Into::into))
            .and_then(|()| checkpoint(conn).map_err(Into::into));
        migrated.map_err(|source| StateError::Database { path: dir.database(), source })
    }

    /// Makes a database: aside first, durable as a whole, then under its name.
    fn make(self, dir: &SiteDir) -> Result<(), StateError> {
        let path = dir.database();
        let disk = |source| StateError::disk(&path, source);
        let aside =
            tempfile::Builder::new().prefix(".state-").tempdir_in(dir.path()).map_err(disk)?;
        let new = aside.path().join("state.db");
        // SQLite gives its other files the permissions of the database.
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).map_err(disk)?;
        let mut conn = Connection::open(&new).map_err(|error| explain(dir, error.into()))?;
        conn.execute_batch(queries::NEW_DATABASE).map_err(|error| explain(dir, error.into()))?;
        self.migrate(&mut conn, dir)?;
        conn.close().map_err(|(_, error)| explain(dir, error.into()))?;
        File::open(&new)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&new, &path))
            .and_then(|()| sync_folder(dir.path()))
            .map_err(disk)
    }
}

/// Whether there is no database yet, and rightly so.
fn is_missing(dir: &SiteDir) -> Result<bool, StateError> {
    let path = dir.database();
    let size = |path: &Path| match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StateError::disk(path, source)),
    };
    let log = path.with_extension("db-wal");
    match size(&path)? {
        Some(0) if has_traces(dir) => Err(StateError::Lost { path, backup: newest(dir) }),
        Some(0) | None if size(&log)?.is_some_and(|bytes| bytes > 0) => {
            Err(damaged(dir, "its write-ahead log is there, but not the database itself"))
        }
        Some(0) | None => Ok(true),
        Some(_) => Ok(false),
    }
}

fn connect(dir: &SiteDir, flags: OpenFlags) -> Result<Connection, StateError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connect = || -> Result<Connection, rusqlite::Error> {
        let conn = Connection::open_with_flags(dir.database(), flags)?;
        conn.busy_timeout(BUSY)?;
        conn.execute_batch(queries::CONNECTION)?;
        conn.set_prepared_statement_cache_capacity(32);
        Ok(conn)
    };
    connect().map_err(|error| explain(dir, error.into()))
}

/// Moves all that is committed into the database file.
fn checkpoint(conn: &Connection) -> Result<(), rusqlite::Error> {
    conn.query_row(queries::CHECKPOINT, [], |_| Ok(()))
}

/// What the store says of itself.
pub(crate) fn meta(conn: &Connection, key: &str) -> Result<Option<String>, rusqlite::Error> {
    conn.prepare_cached(queries::GET_META)?.query_row([key], |row| row.get(0)).optional()
}

/// Changes what the store says of itself.
pub(crate) fn set_meta(conn: &Connection, key: &str, value: &str) -> Result<(), rusqlite::Error> {
    conn.prepare_cached(queries::SET_META)?.execute([key, value]).map(|_| ())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const NEXT: &[M<'static>] = &[EVENTS, SAID, M::up("ALTER TABLE run ADD COLUMN extra TEXT")];

    fn columns_of_run(conn: &Connection) -> BTreeSet<String> {
        let mut columns = conn.prepare("SELECT name FROM pragma_table_info('run')").unwrap();
        columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn an_old_database_is_copied_and_then_migrated() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        drop(Schema::CURRENT.open(&dir).unwrap());
        assert_eq!(newest(&dir).path(), None, "there was nothing to lose");

        let error = Schema(NEXT).open_read_only(&dir).unwrap_err();
        assert!(matches!(error, StateError::Database { .. }), "a reader does not migrate");
        let migrated = Schema(NEXT).open(&dir).unwrap();
        assert!(columns_of_run(&migrated).contains("extra"));
        let backup = newest(&dir);
        let backup = Connection::open(backup.path().unwrap()).unwrap();
        assert!(!columns_of_run(&backup).contains("extra"));
        drop(migrated);

        let error = Schema::CURRENT.open(&dir).unwrap_err();
        assert!(matches!(error, StateError::Newer { writer, .. } if writer == THIS_FLOW));
        // The same schema, whether it was made at once or step by step.
        let fresh = SiteDir::new(root.path(), "fresh");
        fresh.create().unwrap();
        let fresh = Schema(NEXT).open(&fresh).unwrap();
        let again = Schema(NEXT).open(&dir).unwrap();
        assert_eq!(columns_of_run(&fresh), columns_of_run(&again));
    }

    #[test]
    fn the_ledger_of_the_first_schema_is_folded_again() {
        const FIRST: &[M<'static>] = &[EVENTS];
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        let first = Schema(FIRST).open(&dir).unwrap();
        let intent = br#"{"attempt":1,"token":[],"from_absent":true}"#;
        first
            .execute_batch(
                "INSERT INTO name (id, workflow, instance) VALUES (7, 'w', 'a');
                INSERT INTO instance (name, open, body) VALUES (7, 1, x'08');
                UPDATE meta SET value = '1' WHERE key = 'folded_seq';",
            )
            .unwrap();
        let body = [&b"\x02"[..], &intent[..]].concat();
        first.execute(queries::ADD_EVENT, (1, 1, 7, 2, 0, body)).unwrap();
        drop(first);
        let site = crate::Site::open(&dir, "flow run").unwrap();
        let open = site.open_intents().unwrap();
        assert_eq!(open.len(), 1);
        assert_eq!((open[0].name.as_str(), open[0].open.seq.0), ("a", 1));
    }

    #[test]
    fn a_migration_that_fails_leaves_the_database_as_it_was() {
        const WRONG: &[M<'static>] =
            &[EVENTS, SAID, M::up("ALTER TABLE nothing ADD COLUMN extra TEXT")];
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        drop(Schema::CURRENT.open(&dir).unwrap());
        Schema(WRONG).open(&dir).unwrap_err();
        Schema::CURRENT.open(&dir).unwrap();
    }

    #[test]
    fn a_commit_of_the_writer_is_on_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        let conn = Schema::CURRENT.open(&dir).unwrap();
        let full: i64 = conn.query_row("PRAGMA synchronous", [], |row| row.get(0)).unwrap();
        let mode: String = conn.query_row(queries::GET_JOURNAL_MODE, [], |row| row.get(0)).unwrap();
        assert_eq!((full, mode.as_str()), (2, "wal"));
    }

    #[test]
    fn the_migrations_are_valid() {
        Schema::CURRENT.migrations().validate().unwrap();
    }
}
