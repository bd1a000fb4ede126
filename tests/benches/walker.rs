//! The floor: a bare walker that makes the same group commits of the same bytes.
//!
//! One transaction a turn: what came back and what starts next are durable together. It decides
//! nothing, evaluates nothing and encodes nothing; what it writes was written by a real run.

#![expect(clippy::disallowed_types, reason = "real time is what is measured")]

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};

use super::ground::{SLOTS, Shape};

const ADD: &str =
    "INSERT INTO event (seq, run, instance, kind, at, body) VALUES (?1, 1, ?2, ?3, 0, ?4)";
const TABLE: &str = "CREATE TABLE event (seq INTEGER PRIMARY KEY, run INTEGER NOT NULL,
    instance INTEGER, kind INTEGER NOT NULL, at INTEGER NOT NULL, body BLOB NOT NULL) STRICT";

/// The numbers of the sorts of events that a run without records has, as they are stored.
const INTENT: i64 = 2;
const OUTCOME: i64 = 4;

/// What a real run has written of each instance.
pub(crate) struct Payload {
    intents: Vec<Vec<u8>>,
    outcomes: Vec<Vec<u8>>,
}

impl Payload {
    /// Reads it from a database after one run.
    pub(crate) fn read(database: &Path) -> Self {
        let conn = Connection::open(database).unwrap();
        let bodies = |kind: i64| {
            let sql = "SELECT body FROM event WHERE kind = ?1 ORDER BY instance";
            let mut found = conn.prepare(sql).unwrap();
            let rows = found.query_map([kind], |row| row.get(0)).unwrap();
            rows.map(Result::unwrap).collect()
        };
        Self { intents: bodies(INTENT), outcomes: bodies(OUTCOME) }
    }

    /// How many bytes it is.
    pub(crate) fn bytes(&self) -> u64 {
        let all = self.intents.iter().chain(&self.outcomes);
        all.map(|body| u64::try_from(body.len()).unwrap()).sum()
    }
}

/// What one walk took.
pub(crate) struct Walked {
    pub(crate) took: Duration,
    pub(crate) commits: u64,
    pub(crate) wal: u64,
}

/// Walks a graph in a database of its own in this folder.
pub(crate) fn walk(folder: &Path, shape: &Shape, payload: &Payload, keep_wal: bool) -> Walked {
    let database = folder.join("floor.db");
    let made = Connection::open(&database).unwrap();
    made.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    made.execute_batch(TABLE).unwrap();
    // As a run does, it begins on a database that was closed, and makes a WAL of its own.
    made.close().unwrap();
    let mut conn = Connection::open(&database).unwrap();
    conn.execute_batch("PRAGMA synchronous = FULL").unwrap();
    if keep_wal {
        conn.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    }
    let started = Instant::now();
    let commits = visit_all(&mut conn, shape, payload);
    Walked { took: started.elapsed(), commits, wal: super::ground::wal(&database) }
}

fn visit_all(conn: &mut Connection, shape: &Shape, payload: &Payload) -> u64 {
    let needs: Vec<Vec<u32>> = shape.needs().collect();
    let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
    let mut children = vec![Vec::<usize>::new(); needs.len()];
    for (child, parents) in needs.iter().enumerate() {
        for parent in parents {
            children[*parent as usize].push(child);
        }
    }
    let mut ready: std::collections::VecDeque<usize> =
        (0..needs.len()).filter(|id| missing[*id] == 0).collect();
    let (mut running, mut seq, mut commits) = (Vec::<usize>::new(), 0_i64, 0);
    loop {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
        {
            let mut add = tx.prepare_cached(ADD).unwrap();
            for id in std::mem::take(&mut running) {
                seq += 1;
                add.execute((seq, number(id), OUTCOME, &payload.outcomes[id])).unwrap();
                for child in &children[id] {
                    missing[*child] -= 1;
                    if missing[*child] == 0 {
                        ready.push_back(*child);
                    }
                }
            }
            for id in ready.drain(..ready.len().min(SLOTS as usize)) {
                seq += 1;
                add.execute((seq, number(id), INTENT, &payload.intents[id])).unwrap();
                running.push(id);
            }
        }
        tx.commit().unwrap();
        commits += 1;
        if running.is_empty() {
            return commits;
        }
    }
}

/// What an instance is called in the database.
fn number(id: usize) -> i64 {
    i64::try_from(id).unwrap() + 1
}
