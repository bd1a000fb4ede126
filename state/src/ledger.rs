//! The ledger as rows: folding the history into them, reading and changing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use flow_engine::event::{Body, Event, Success};
use flow_engine::ledger::{Ledger, Open, Row};
use flow_engine::{InstanceName, RunId, Seq};
use rusqlite::{Connection, TransactionBehavior};

use crate::codec;
use crate::error::QueryError;
use crate::migrations::{meta, set_meta};
use crate::queries;

const FOLDED: &str = "folded_seq";

/// An effect that was asked for and has no outcome yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenIntent {
    /// The workflow.
    pub workflow: String,
    /// The instance.
    pub name: InstanceName,
    /// The intent.
    pub open: Open,
}

/// Takes into the rows what happened since they were last written, in one transaction.
///
/// Answers whether there was anything to take. Holds one instance in memory at a time.
pub(crate) fn fold_tail(conn: &mut Connection) -> Result<bool, QueryError> {
    let last = last_seq(conn)?;
    let folded = folded_seq(conn)?;
    if last <= folded {
        return Ok(false);
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    {
        let mut tail = tx.prepare_cached(queries::TAIL)?;
        let mut events = tail.query([to_sql(folded)])?;
        let mut pending: Option<Pending> = None;
        while let Some(row) = events.next()? {
            let id: i64 = row.get(2)?;
            let event = read_event(row)?;
            let mut current = match pending.take() {
                Some(same) if same.id == id => same,
                before => {
                    before.map_or(Ok(()), |done| done.write(&tx))?;
                    Pending::read(&tx, id)?
                }
            };
            current.row.fold(&event);
            pending = Some(current);
        }
        if let Some(done) = pending {
            done.write(&tx)?;
        }
    }
    set_folded_seq(&tx, last)?;
    tx.commit()?;
    Ok(true)
}

/// One instance while its part of the tail is folded.
struct Pending {
    id: i64,
    row: Row,
    /// What is stored as said.
    stored: Option<Arc<Success>>,
}

impl Pending {
    fn read(conn: &Connection, id: i64) -> Result<Self, QueryError> {
        let mut stored = conn.prepare_cached(queries::ROW)?;
        let mut found = stored.query([id])?;
        let row = match found.next()? {
            Some(columns) => decode_row(id, columns, 0)?,
            None => Row::default(),
        };
        let stored = row.success.as_ref().map(|recorded| Arc::clone(&recorded.said));
        Ok(Self { id, row, stored })
    }

    fn write(self, conn: &Connection) -> Result<(), QueryError> {
        let Self { id, row, stored } = self;
        match (&stored, &row.success) {
            (Some(stored), Some(recorded)) if Arc::ptr_eq(stored, &recorded.said) => {
                let open = open_of(&row);
                let mut body = Vec::new();
                codec::write_row(row, &mut body);
                conn.prepare_cached(queries::TOUCH_ROW)?.execute((id, open, &body))?;
                Ok(())
            }
            _ => set_row(conn, id, row),
        }
    }
}

/// Writes one row.
pub(crate) fn set_row(conn: &Connection, id: i64, row: Row) -> Result<(), QueryError> {
    let open = open_of(&row);
    let said = row.success.as_ref().map(|recorded| {
        let mut said = Vec::new();
        codec::write_said(&recorded.said, &mut said);
        said
    });
    let mut body = Vec::new();
    codec::write_row(row, &mut body);
    conn.prepare_cached(queries::SET_ROW)?.execute((id, open, said, &body))?;
    Ok(())
}

fn open_of(row: &Row) -> Option<i64> {
    row.open.as_ref().map(|open| to_sql(open.seq))
}

/// What is known of a workflow: its rows, and what happened since they were written.
///
/// Reads in one short transaction of its own, so that both belong together.
pub(crate) fn load(conn: &Connection, workflow: &str) -> Result<Ledger, QueryError> {
    let tx = conn.unchecked_transaction()?;
    let folded = folded_seq(&tx)?;
    let mut rows = BTreeMap::new();
    let mut stored = tx.prepare_cached(queries::ROWS_OF)?;
    let mut found = stored.query([workflow])?;
    while let Some(row) = found.next()? {
        let name: String = row.get(1)?;
        rows.insert(InstanceName::parse(&name), decode_row(row.get(0)?, row, 2)?);
    }
    let mut ledger = Ledger::from_rows(rows);
    let mut tail = tx.prepare_cached(queries::TAIL_OF)?;
    let mut events = tail.query((to_sql(folded), workflow))?;
    while let Some(row) = events.next()? {
        let name: String = row.get(2)?;
        ledger.fold(&InstanceName::parse(&name), &read_event(row)?);
    }
    Ok(ledger)
}

/// The open intents of all workflows, in order; of what is folded.
pub(crate) fn open_rows(conn: &Connection) -> Result<Vec<OpenIntent>, QueryError> {
    let mut open = conn.prepare_cached(queries::OPEN_ROWS)?;
    let mut rows = open.query([])?;
    let mut intents = Vec::new();
    while let Some(row) = rows.next()? {
        let (workflow, name): (String, String) = (row.get(1)?, row.get(2)?);
        let name = InstanceName::parse(&name);
        let open = decode_row(row.get(0)?, row, 3)?.open;
        intents.extend(open.map(|open| OpenIntent { workflow, name, open }));
    }
    Ok(intents)
}

/// The open intents of a ledger, in the order in which they were written.
pub(crate) fn open_intents(workflow: &str, ledger: &Ledger) -> Vec<OpenIntent> {
    let mut intents: Vec<OpenIntent> = ledger
        .rows()
        .filter_map(|(name, row)| {
            let open = row.open.clone()?;
            Some(OpenIntent { workflow: workflow.to_owned(), name: name.clone(), open })
        })
        .collect();
    intents.sort_by_key(|intent| intent.open.seq);
    intents
}

/// Reads columns 0 (seq), 1 (run), 4 (at) and 5 (body); whom it concerns stands beside it.
pub(crate) fn read_event(row: &rusqlite::Row<'_>) -> Result<Event, QueryError> {
    let seq: i64 = row.get(0)?;
    let body = row.get_ref(5)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok(Event {
        seq: from_sql(seq),
        run: RunId(row.get(1)?),
        instance: None,
        at: row.get(4)?,
        body: decode_body(seq, body)?,
    })
}

/// Reads a ledger row from a column and the one after it.
fn decode_row(id: i64, columns: &rusqlite::Row<'_>, first: usize) -> Result<Row, QueryError> {
    let body = columns.get_ref(first)?.as_blob().map_err(rusqlite::Error::from)?;
    let said = columns.get_ref(first + 1)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    codec::read_row(body, said).map_err(|error| QueryError::Content {
        table: "instance",
        row: id,
        source: Box::new(error),
    })
}

/// Reads an event's body.
pub(crate) fn decode_body(seq: i64, stored: &[u8]) -> Result<Body, QueryError> {
    codec::read_body(stored).map_err(|error| QueryError::Content {
        table: "event",
        row: seq,
        source: Box::new(error),
    })
}

/// The last event that there ever was.
pub(crate) fn last_seq(conn: &Connection) -> Result<Seq, QueryError> {
    let last: i64 = conn.prepare_cached(queries::LAST_EVENT)?.query_row([], |row| row.get(0))?;
    // The history may be pruned, and what is folded stays counted.
    Ok(from_sql(last).max(folded_seq(conn)?))
}

/// The last event that the rows know.
pub(crate) fn folded_seq(conn: &Connection) -> Result<Seq, QueryError> {
    let stored = meta(conn, FOLDED)?.unwrap_or_default();
    stored.parse().map(Seq).map_err(|error| QueryError::Content {
        table: "meta",
        row: 0,
        source: Box::new(error),
    })
}

/// Notes up to where the rows know the history.
pub(crate) fn set_folded_seq(conn: &Connection, seq: Seq) -> Result<(), QueryError> {
    Ok(set_meta(conn, FOLDED, &seq.to_string())?)
}

/// A place in the history as `SQLite` keeps it.
pub(crate) fn to_sql(seq: Seq) -> i64 {
    i64::try_from(seq.0).expect("no history reaches 2^63 events")
}

/// A place in the history as `SQLite` has kept it.
pub(crate) fn from_sql(seq: i64) -> Seq {
    Seq(u64::try_from(seq).unwrap_or_default())
}
