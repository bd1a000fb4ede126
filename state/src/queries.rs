//! Every SQL string, beside the migrations.

/// `application_id` of our databases: "FLOW".
pub(crate) const APPLICATION_ID: i32 = 0x464C_4F57;

/// What every connection is told before anything else.
pub(crate) const CONNECTION: &str = "PRAGMA temp_store = MEMORY; PRAGMA foreign_keys = OFF;
    PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON";

/// What the writing connection is told: an answered append is on the disk.
pub(crate) const WRITER: &str = "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864";

/// What the connection that makes a new database in a file aside is told; synced as a whole.
pub(crate) const NEW_DATABASE: &str = "PRAGMA synchronous = OFF; PRAGMA journal_mode = WAL;
    PRAGMA application_id = 1179406167";

/// More bytes than are to be reserved, as some of them stay in the cache; see `wal`.
pub(crate) const RESERVE: &str = "INSERT INTO event (seq, run, kind, at, body)
    VALUES (9223372036854775807, 0, 0, 0, zeroblob(2359296))";
/// A cache that spills into the log at once, and the usual one.
pub(crate) const SPILL: &str = "PRAGMA cache_size = 16";
pub(crate) const KEEP: &str = "PRAGMA cache_size = -2000";

/// Everything into the database file, so that it is whole without its WAL.
pub(crate) const CHECKPOINT: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

pub(crate) const GET_APPLICATION_ID: &str = "PRAGMA application_id";
pub(crate) const GET_SCHEMA_VERSION: &str = "PRAGMA user_version";
pub(crate) const GET_JOURNAL_MODE: &str = "PRAGMA journal_mode";
pub(crate) const QUICK_CHECK: &str = "PRAGMA quick_check(1)";
pub(crate) const COPY_INTO: &str = "VACUUM INTO ?1";

pub(crate) const GET_META: &str = "SELECT value FROM meta WHERE key = ?1";
pub(crate) const SET_META: &str = "INSERT INTO meta (key, value) VALUES (?1, ?2)
    ON CONFLICT (key) DO UPDATE SET value = excluded.value";

pub(crate) const NAMES_OF: &str = "SELECT id, instance FROM name WHERE workflow = ?1";
pub(crate) const LAST_NAME: &str = "SELECT coalesce(max(id), 0) FROM name";
pub(crate) const ADD_NAME: &str = "INSERT INTO name (id, workflow, instance) VALUES (?1, ?2, ?3)";
pub(crate) const FIND_NAME: &str = "SELECT id FROM name WHERE workflow = ?1 AND instance = ?2";
pub(crate) const WORKFLOWS: &str = "SELECT DISTINCT workflow FROM name UNION
    SELECT DISTINCT workflow FROM run ORDER BY 1";

pub(crate) const ADD_TEXT: &str = "INSERT OR IGNORE INTO text (hash, body) VALUES (?1, ?2)";
pub(crate) const TEXT: &str = "SELECT body FROM text WHERE hash = ?1";

pub(crate) const RUN_IDS: &str = "SELECT id FROM run";
/// A session begins with a RUN event.
pub(crate) const SESSIONS: &str = "SELECT count(*) FROM event WHERE run = ?1 AND kind = 1
    AND seq >= (SELECT first FROM run WHERE id = ?1)";
pub(crate) const LAST_RUN: &str = "SELECT coalesce(max(id), 0) FROM run";
pub(crate) const RUN_STARTS: &str = "INSERT INTO run (id, workflow, first, start, started)
    VALUES (?1, ?2, ?3, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET start = excluded.start,
        finish = NULL, finished = NULL, ended = NULL";
pub(crate) const RUN_ENDS: &str =
    "UPDATE run SET finish = ?2, finished = ?3, ended = ?4 WHERE id = ?1";
pub(crate) const RUNS: &str = "SELECT run.id, run.workflow, run.first, run.started, run.finished,
    run.ended, event.seq, event.body
    FROM run JOIN event ON event.seq = run.start ORDER BY run.id";

pub(crate) const ADD_EVENT: &str =
    "INSERT INTO event (seq, run, instance, kind, at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
pub(crate) const LAST_EVENT: &str = "SELECT coalesce(max(seq), 0) FROM event";
pub(crate) const EVENTS_OF_RUN: &str = "SELECT event.seq, event.run, name.instance, event.kind,
    event.at, event.body
    FROM event LEFT JOIN name ON name.id = event.instance
    WHERE event.run = ?1 AND event.seq > ?2
        AND event.seq >= (SELECT first FROM run WHERE id = ?1)
    ORDER BY event.seq";
pub(crate) const EVENTS_OF_INSTANCE: &str = "SELECT event.seq, event.run, ?2, event.kind,
    event.at, event.body
    FROM event
    WHERE event.instance = (SELECT id FROM name WHERE workflow = ?1 AND instance = ?2)
    ORDER BY event.seq";

/// The events that the ledger does not know, each instance's together and in order.
pub(crate) const TAIL: &str = "SELECT event.seq, event.run, event.instance, event.kind,
    event.at, event.body
    FROM event WHERE event.seq > ?1 AND event.kind IN (2, 3, 4) AND event.instance IS NOT NULL
    ORDER BY event.instance, event.seq";
/// The same of one workflow, by name.
pub(crate) const TAIL_OF: &str = "SELECT event.seq, event.run, name.instance, event.kind,
    event.at, event.body
    FROM event JOIN name ON name.id = event.instance
    WHERE event.seq > ?1 AND event.kind IN (2, 3, 4) AND name.workflow = ?2
    ORDER BY event.seq";
pub(crate) const ROW: &str = "SELECT body, said FROM instance WHERE name = ?1";
pub(crate) const SET_ROW: &str = "INSERT INTO instance (name, open, said, body)
    VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name)
    DO UPDATE SET open = excluded.open, said = excluded.said, body = excluded.body";
/// The same without what was said.
pub(crate) const TOUCH_ROW: &str = "UPDATE instance SET open = ?2, body = ?3 WHERE name = ?1";
pub(crate) const REMOVE_ROW: &str = "DELETE FROM instance WHERE name = ?1";
pub(crate) const ROWS_OF: &str = "SELECT name.id, name.instance, instance.body, instance.said
    FROM instance JOIN name ON name.id = instance.name WHERE name.workflow = ?1";

/// The rows with an open INTENT, in the order of these.
pub(crate) const OPEN_ROWS: &str = "SELECT name.id, name.workflow, name.instance, instance.body,
    instance.said FROM instance JOIN name ON name.id = instance.name
    WHERE instance.open IS NOT NULL ORDER BY instance.open";

/// Forgets history that is folded, of runs before one, but never an open INTENT or its records.
pub(crate) const PRUNE: &str = "DELETE FROM event WHERE run < ?1 AND seq <= ?2
    AND NOT EXISTS (SELECT 1 FROM instance
        WHERE instance.name = event.instance AND instance.open <= event.seq)";
pub(crate) const PRUNE_RUNS: &str = "DELETE FROM run WHERE id < ?1
    AND NOT EXISTS (SELECT 1 FROM event WHERE event.seq = run.start)";
