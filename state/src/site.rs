//! The state of a site, opened for writing.

use std::path::PathBuf;
use std::sync::Arc;

use flow_engine::event::Body;
use flow_engine::ledger::{Ledger, Row};
use flow_engine::{InstanceName, RunId, Seq};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior};
use time::OffsetDateTime;

use crate::backup::explain;
use crate::dir::SiteDir;
use crate::error::{QueryError, StateError};
use crate::ledger::{self, OpenIntent, to_sql};
use crate::lock::SiteLock;
use crate::migrations::Schema;
use crate::read;
use crate::retention;
use crate::store::EventStore;
use crate::vault::SiteVault;
use crate::{backup, codec, queries, wal};

/// The state of one site in the hands of its only writer.
///
/// The lock is held until this, and the [`EventStore`] made from it, is dropped.
#[derive(Debug)]
pub struct Site {
    /// Before the lock, so that it is closed before the lock is given back.
    pub(crate) conn: Connection,
    pub(crate) dir: SiteDir,
    _lock: SiteLock,
}

/// What a session writes its history for.
#[derive(Debug)]
pub struct Begin {
    /// The workflow.
    pub workflow: String,
    /// Its text, kept under its SHA-256.
    pub text: String,
    /// The instances, in the order of their numbers.
    pub names: Arc<[InstanceName]>,
    /// The run that goes on; `None` begins a new one.
    pub resumed: Option<RunId>,
}

/// A person's change of the ledger.
#[derive(Debug)]
pub struct LedgerEdit {
    /// The workflow.
    pub workflow: String,
    /// Who.
    pub user: String,
    /// What, in words.
    pub what: String,
    /// The rows as they are from now on; `None` for those that go.
    pub rows: Vec<(InstanceName, Option<Row>)>,
}

impl Site {
    /// Takes the lock of a site, opens its state, and folds what an earlier session left.
    ///
    /// Makes the folder and the database on first use. Never waits for another writer.
    ///
    /// # Errors
    ///
    /// [`StateError`]; nothing was overwritten then.
    pub fn open(dir: &SiteDir, command: &str) -> Result<Self, StateError> {
        Self::open_with(dir, command, Schema::CURRENT)
    }

    pub(crate) fn open_with(
        dir: &SiteDir,
        command: &str,
        schema: Schema,
    ) -> Result<Self, StateError> {
        dir.create()?;
        let lock = SiteLock::acquire(dir, command)?;
        let mut conn = schema.open(dir)?;
        ledger::fold_tail(&mut conn).map_err(|error| explain(dir, error))?;
        Ok(Self { conn, dir: dir.clone(), _lock: lock })
    }

    /// Where it lives.
    #[must_use]
    pub fn dir(&self) -> &SiteDir {
        &self.dir
    }

    /// What is known of a workflow.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn ledger(&self, workflow: &str) -> Result<Ledger, StateError> {
        self.explained(ledger::load(&self.conn, workflow))
    }

    /// The intents without an outcome of *all* workflows, in the order in which they were written.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn open_intents(&self) -> Result<Vec<OpenIntent>, StateError> {
        self.explained(ledger::open_rows(&self.conn))
    }

    /// Begins a session. Nothing is written before its first batch.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn begin(mut self, begin: Begin, vault: Arc<SiteVault>) -> Result<EventStore, StateError> {
        let dir = self.dir.clone();
        let reserved = wal::reserve(&mut self.conn, &dir).map_err(QueryError::Sqlite);
        self.explained(reserved)?;
        EventStore::begin(self, begin, vault).map_err(|error| explain(&dir, error))
    }

    /// Changes rows of the ledger and says so in the history, in one transaction.
    ///
    /// # Errors
    ///
    /// [`StateError`]; nothing was changed then.
    pub fn edit(&mut self, edit: &LedgerEdit) -> Result<Seq, StateError> {
        let edited = write_edit(&mut self.conn, edit);
        self.explained(edited)
    }

    /// Copies the database into the folder of backups; says under which name.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn backup(&self) -> Result<PathBuf, StateError> {
        backup::write(&self.conn, &self.dir)
    }

    /// The same, unless a backup was made on this day already (UTC).
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn backup_daily(&self) -> Result<Option<PathBuf>, StateError> {
        backup::is_due(&self.dir, OffsetDateTime::now_utc()).then(|| self.backup()).transpose()
    }

    /// Forgets the events of all runs before `first`, but for open intents.
    ///
    /// # Errors
    ///
    /// [`StateError`]; nothing was forgotten then.
    pub fn prune(&mut self, first: RunId) -> Result<usize, StateError> {
        let pruned = write_prune(&mut self.conn, first);
        self.explained(pruned)
    }

    /// Leaves the site tidy after a good run: a backup each day, and of the runs the newest.
    ///
    /// # Errors
    ///
    /// [`StateError`]; what was written before stays.
    pub fn tidy(&mut self) -> Result<(), StateError> {
        self.backup_daily()?;
        let runs = self.explained(read::run_ids(&self.conn))?;
        if let Some(first) = retention::first_kept(&runs, retention::RUNS)
            && runs.iter().any(|run| *run < first)
        {
            self.prune(first)?;
            self.dir.forget_logs(first);
        }
        Ok(())
    }

    fn explained<T>(&self, result: Result<T, QueryError>) -> Result<T, StateError> {
        result.map_err(|error| explain(&self.dir, error))
    }
}

/// Milliseconds since 1970; for display only.
fn wall_clock() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000_000).unwrap_or_default()
}

fn write_edit(conn: &mut Connection, edit: &LedgerEdit) -> Result<Seq, QueryError> {
    let LedgerEdit { workflow, user, what, rows } = edit;
    // An edit speaks of rows as they are, so nothing may wait to be folded into them.
    ledger::fold_tail(conn)?;
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let seq = ledger::last_seq(&tx)?.next();
    let mut concerned = None;
    for (name, row) in rows {
        let id = name_id(&tx, workflow, name)?;
        concerned = Some(id);
        match row {
            Some(row) => ledger::set_row(&tx, id, row.clone())?,
            None => {
                tx.prepare_cached(queries::REMOVE_ROW)?.execute([id])?;
            }
        }
    }
    let body = Body::Edit { user: user.clone(), what: what.clone() };
    let mut buffer = Vec::new();
    codec::write_body(&body, &mut buffer);
    let concerned = concerned.filter(|_| rows.len() == 1);
    let event = (to_sql(seq), 0, concerned, codec::kind(&body), wall_clock(), &buffer);
    tx.prepare_cached(queries::ADD_EVENT)?.execute(event)?;
    ledger::set_folded_seq(&tx, seq)?;
    tx.commit()?;
    Ok(seq)
}

fn write_prune(conn: &mut Connection, first: RunId) -> Result<usize, QueryError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let folded = ledger::folded_seq(&tx)?;
    let pruned = tx.execute(queries::PRUNE, (first.0, to_sql(folded)))?;
    tx.execute(queries::PRUNE_RUNS, [first.0])?;
    tx.commit()?;
    Ok(pruned)
}

/// The number of an instance, which it gets now if it has none.
fn name_id(conn: &Connection, workflow: &str, name: &InstanceName) -> Result<i64, QueryError> {
    let found: Option<i64> = conn
        .prepare_cached(queries::FIND_NAME)?
        .query_row((workflow, name.as_str()), |row| row.get(0))
        .optional()?;
    if let Some(id) = found {
        return Ok(id);
    }
    let last: i64 = conn.prepare_cached(queries::LAST_NAME)?.query_row([], |row| row.get(0))?;
    conn.prepare_cached(queries::ADD_NAME)?.execute((last + 1, workflow, name.as_str()))?;
    Ok(last + 1)
}
