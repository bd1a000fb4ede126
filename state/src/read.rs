//! Reading without a lock: what `status`, `runs`, `logs`, `why` and `output` ask.
//!
//! Every answer comes from one short read transaction, so a reader neither waits for the writer
//! nor keeps its log from being reused.

use flow_engine::event::{Body, Event, RunEnded, RunStarted};
use flow_engine::ledger::Ledger;
use flow_engine::{InstanceName, RunId, Seq};
use rusqlite::{Connection, OptionalExtension};

use crate::backup::{damaged, explain};
use crate::dir::SiteDir;
use crate::error::{QueryError, StateError};
use crate::ledger::{self, OpenIntent, from_sql, to_sql};
use crate::migrations::Schema;
use crate::{codec, queries};

/// A read-only view of the state of a site. It always answers with what is durable by then.
#[derive(Debug)]
pub struct Reader {
    conn: Connection,
    dir: SiteDir,
}

/// One run as a list shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// Its number.
    pub run: RunId,
    /// Its workflow.
    pub workflow: String,
    /// Its first event.
    pub first: Seq,
    /// When it began, in milliseconds since 1970.
    pub started_at: i64,
    /// When its last session ended by itself; `None` if it goes on or was cut off.
    pub ended_at: Option<i64>,
    /// How its last session ended; `None` likewise.
    pub ended: Option<RunEnded>,
    /// The beginning of its last session.
    pub session: Seq,
    /// How that session began.
    pub started: RunStarted,
}

/// An event with the name of whom it concerns.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedEvent {
    /// Whom it concerns; `None` for the run itself.
    pub name: Option<InstanceName>,
    /// The event. Its `instance` is `None`: that number means nothing here.
    pub event: Event,
}

impl Reader {
    /// Opens the state of a site; `None` if nothing was ever written there.
    ///
    /// # Errors
    ///
    /// [`StateError`], never [`StateError::Locked`].
    pub fn open(dir: &SiteDir) -> Result<Option<Self>, StateError> {
        let conn = Schema::CURRENT.open_read_only(dir)?;
        Ok(conn.map(|conn| Self { conn, dir: dir.clone() }))
    }

    /// All runs, oldest first.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn runs(&self) -> Result<Vec<RunSummary>, StateError> {
        self.explained(runs(&self.conn))
    }

    /// The newest run, of one workflow or of any.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn latest_run(&self, workflow: Option<&str>) -> Result<Option<RunSummary>, StateError> {
        let mut runs = self.runs()?;
        runs.retain(|run| workflow.is_none_or(|workflow| workflow == run.workflow));
        Ok(runs.into_iter().max_by_key(|run| run.session))
    }

    /// The events of a run after a place in the history, in order. [`Seq`] 0 gives all.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn events(&self, run: RunId, after: Seq) -> Result<Vec<NamedEvent>, StateError> {
        self.explained(named(&self.conn, queries::EVENTS_OF_RUN, (run.0, to_sql(after))))
    }

    /// How many sessions a run has had.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn sessions(&self, run: RunId) -> Result<u32, StateError> {
        let sessions = self
            .conn
            .prepare_cached(queries::SESSIONS)
            .and_then(|mut count| count.query_row([run.0], |row| row.get(0)));
        self.explained(sessions.map_err(QueryError::from))
    }

    /// All that is still known to have happened to an instance, in order.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn history(
        &self,
        workflow: &str,
        name: &InstanceName,
    ) -> Result<Vec<NamedEvent>, StateError> {
        let of = (workflow, name.as_str());
        self.explained(named(&self.conn, queries::EVENTS_OF_INSTANCE, of))
    }

    /// What is known of a workflow, up to the last durable event.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn ledger(&self, workflow: &str) -> Result<Ledger, StateError> {
        self.explained(ledger::load(&self.conn, workflow))
    }

    /// The workflows that ever ran here, by name.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn workflows(&self) -> Result<Vec<String>, StateError> {
        self.explained(workflows(&self.conn))
    }

    /// The intents of a workflow that have no outcome, in order.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn open_intents(&self, workflow: &str) -> Result<Vec<OpenIntent>, StateError> {
        Ok(ledger::open_intents(workflow, &self.ledger(workflow)?))
    }

    /// A workflow's text, by [`RunStarted::text`].
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn text(&self, hash: &str) -> Result<Option<String>, StateError> {
        let text = self
            .conn
            .prepare_cached(queries::TEXT)
            .and_then(|mut text| text.query_row([hash], |row| row.get(0)).optional());
        self.explained(text.map_err(QueryError::from))
    }

    /// The last durable event; moves on while a writer works.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn last_seq(&self) -> Result<Seq, StateError> {
        self.explained(ledger::last_seq(&self.conn))
    }

    /// Reads every page of the database and says whether they fit together.
    ///
    /// # Errors
    ///
    /// [`StateError::Damaged`] if they do not.
    pub fn verify(&self) -> Result<(), StateError> {
        let found: Result<String, _> =
            self.conn.query_row(queries::QUICK_CHECK, [], |row| row.get(0));
        let found = self.explained(found.map_err(QueryError::from))?;
        if found == "ok" { Ok(()) } else { Err(damaged(&self.dir, found)) }
    }

    fn explained<T>(&self, result: Result<T, QueryError>) -> Result<T, StateError> {
        result.map_err(|error| explain(&self.dir, error))
    }
}

/// The workflows that have left anything.
pub(crate) fn workflows(conn: &Connection) -> Result<Vec<String>, QueryError> {
    let mut statement = conn.prepare_cached(queries::WORKFLOWS)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The numbers of all runs that are not forgotten.
pub(crate) fn run_ids(conn: &Connection) -> Result<Vec<RunId>, QueryError> {
    let mut statement = conn.prepare_cached(queries::RUN_IDS)?;
    let rows = statement.query_map([], |row| row.get(0).map(RunId))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn runs(conn: &Connection) -> Result<Vec<RunSummary>, QueryError> {
    let mut statement = conn.prepare_cached(queries::RUNS)?;
    let mut rows = statement.query([])?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(6)?;
        let body = row.get_ref(7)?.as_blob().map_err(rusqlite::Error::from)?;
        let ended: Option<String> = row.get(5)?;
        let Body::Run(started) = ledger::decode_body(seq, body)? else {
            let why = "it is not the beginning of a run".into();
            return Err(QueryError::Content { table: "event", row: seq, source: why });
        };
        runs.push(RunSummary {
            run: RunId(row.get(0)?),
            workflow: row.get(1)?,
            first: from_sql(row.get(2)?),
            started_at: row.get(3)?,
            ended_at: row.get(4)?,
            ended: ended.as_deref().and_then(codec::read_ended),
            session: from_sql(seq),
            started: *started,
        });
    }
    Ok(runs)
}

fn named(
    conn: &Connection,
    query: &str,
    of: impl rusqlite::Params,
) -> Result<Vec<NamedEvent>, QueryError> {
    let mut statement = conn.prepare_cached(query)?;
    let mut rows = statement.query(of)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        let name: Option<String> = row.get(2)?;
        let name = name.as_deref().map(InstanceName::parse);
        events.push(NamedEvent { name, event: ledger::read_event(row)? });
    }
    Ok(events)
}
