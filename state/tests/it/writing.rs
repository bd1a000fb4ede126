//! Batches, transactions, the lock, edits.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use flow_engine::event::{Body, RunEnded};
use flow_engine::journal::{Batch, SecretWrite, Store, StoreError, Vault};
use flow_engine::{RunId, Secret, Seq};
use flow_state::{LedgerEdit, Site, StateError};
use serde_json::json;

use crate::support::{
    Clerk, Place, WORKFLOW, begin, ended, intent, name, started, succeeded, vault,
};

/// The frames of a write-ahead log of the present generation, and how many end a transaction.
///
/// Read from the file itself (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>).
fn frames(database: &Path) -> (usize, usize) {
    let log = fs::read(database.with_extension("db-wal")).unwrap_or_default();
    if log.len() < 32 {
        return (0, 0);
    }
    let (header, frames) = log.split_at(32);
    let page = usize::try_from(u32::from_be_bytes(header[8..12].try_into().unwrap())).unwrap();
    let current = frames
        .chunks_exact(24 + page)
        .take_while(|frame| frame[8..16] == header[16..24])
        .map(|frame| frame[4..8] != [0; 4])
        .collect::<Vec<_>>();
    (current.len(), current.iter().filter(|commits| **commits).count())
}

#[tokio::test]
async fn a_batch_is_one_transaction_and_a_beginning_is_none() {
    let place = Place::new();
    let store = place.begin(100);
    let mut clerk = Clerk::of(&store);
    let (_, before) = frames(&place.dir.database());
    for number in 0..100 {
        let mut told = vec![intent(number), succeeded(number)];
        if number == 0 {
            told.insert(0, started(false));
        }
        clerk.tell(&store, told).await;
        let (_, commits) = frames(&place.dir.database());
        assert_eq!(commits - before, usize::try_from(number).unwrap() + 1);
    }
    assert_eq!(store.commits(), 100);
    store.append(Batch::default()).await.unwrap();
    assert_eq!(store.commits(), 100);
    store.settle().await.unwrap();
    store.settle().await.unwrap();
    assert_eq!(store.commits(), 101, "the second time there is nothing to fold");
}

/// The least that a store can do with the same batches: one table, one transaction for each.
fn floor(batches: &[Vec<Vec<u8>>]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("floor.db");
    let mut conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;
         CREATE TABLE event (seq INTEGER PRIMARY KEY, body BLOB NOT NULL);
         PRAGMA wal_checkpoint(TRUNCATE)",
    )
    .unwrap();
    for batch in batches {
        let tx = conn.transaction().unwrap();
        for body in batch {
            tx.execute("INSERT INTO event (body) VALUES (?1)", [body]).unwrap();
        }
        tx.commit().unwrap();
    }
    frames(&path).0
}

#[tokio::test]
async fn the_log_is_at_most_twice_the_floor_and_the_payload() {
    let place = Place::new();
    let store = place.begin(600);
    let mut clerk = Clerk::of(&store);
    clerk.tell(&store, vec![started(false)]).await;
    let (before, _) = frames(&place.dir.database());
    let mut bodies = Vec::new();
    for batch in 0..75 {
        let told: Vec<_> =
            (0..8).flat_map(|k| [intent(batch * 8 + k), succeeded(batch * 8 + k)]).collect();
        bodies.push(told.iter().map(|(_, body)| serde_json::to_vec(body).unwrap()).collect());
        clerk.tell(&store, told).await;
    }
    let frame = 4096 + 24;
    let bytes = (frames(&place.dir.database()).0 - before) * frame;
    let floor = floor(&bodies) * frame;
    let payload: usize = bodies.iter().flatten().map(Vec::len).sum();
    assert!(bytes <= 2 * floor + payload, "{bytes} bytes, floor {floor}, payload {payload}");
}

#[tokio::test]
async fn i9_a_second_writer_is_refused_by_name_and_a_later_one_goes_on() {
    let place = Place::new();
    let store = place.begin(1);
    let error = Site::open(&place.dir, "flow run").unwrap_err();
    assert!(matches!(error, StateError::Locked { .. }));
    assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    drop(store);
    place.open();
}

#[tokio::test]
async fn runs_are_counted_and_logs_are_never_written_over() {
    let place = Place::new();
    let store = place.begin(1);
    assert_eq!((store.run(), store.first_seq()), (RunId(1), Seq(1)));
    Clerk::of(&store).tell(&store, vec![started(false), ended(RunEnded::Complete)]).await;
    let again = begin(store.close().unwrap(), 1, Some(RunId(1)));
    assert_eq!((again.run(), again.first_seq()), (RunId(1), Seq(3)));
    drop(again);
    place.dir.create_run_logs(RunId(7)).unwrap();
    assert_eq!(place.begin(1).run(), RunId(8));
}

#[tokio::test]
async fn a_session_that_wrote_nothing_leaves_nothing() {
    let place = Place::new();
    drop(place.begin(3));
    assert!(place.reader().workflows().unwrap().is_empty());
    assert!(place.reader().runs().unwrap().is_empty());
}

#[tokio::test]
async fn a_batch_that_does_not_continue_the_history_ends_the_writing() {
    let place = Place::new();
    let store = place.begin(1);
    let mut clerk = Clerk::of(&store);
    let skipped = clerk.batch(vec![started(false)]);
    let late = clerk.batch(vec![intent(0)]);
    let error = store.append(late).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }));
    let error = store.append(skipped).await.unwrap_err();
    assert!(matches!(error, StoreError::Broken { .. }), "never written again");
    drop(store);
    assert_eq!(place.reader().last_seq().unwrap(), Seq(0));
}

#[tokio::test]
async fn secrets_are_durable_with_their_batch_and_not_in_the_database() {
    let place = Place::new();
    let store = place.begin(1);
    let mut batch = Clerk::of(&store).batch(vec![started(false), intent(0), succeeded(0)]);
    let value = Secret::new(json!("canary-51c0"));
    batch.secrets.push(SecretWrite { instance: name(0), name: "key".to_owned(), value });
    store.append(batch).await.unwrap();
    store.settle().await.unwrap();
    drop(store);
    let found = vault(&place.dir).of(WORKFLOW).secret(&name(0), "key").unwrap();
    assert_eq!(found.map(Secret::into_revealed), Some(json!("canary-51c0")));
    for entry in fs::read_dir(place.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let content = fs::read(&path).unwrap();
            assert!(!content.windows(11).any(|part| part == b"canary-51c0"), "{}", path.display());
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
    }
}

#[tokio::test]
async fn a_vault_that_cannot_be_written_stops_its_batch_only() {
    let place = Place::new();
    let store = place.begin(1);
    let mut clerk = Clerk::of(&store);
    clerk.tell(&store, vec![started(false)]).await;
    fs::write(place.dir.vault(), "garbage").unwrap();
    let mut batch = clerk.batch(vec![intent(0)]);
    let value = Secret::new(json!("canary-51c0"));
    batch.secrets.push(SecretWrite { instance: name(0), name: "key".to_owned(), value });
    let events = batch.events.clone();
    let error = store.append(batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Vault { .. }));
    assert_eq!(place.reader().last_seq().unwrap(), Seq(1), "nothing of the batch counts");
    store.append(Batch { events, ..Batch::default() }).await.unwrap();
}

#[tokio::test]
async fn an_edit_changes_rows_and_says_so() {
    let place = Place::new();
    let store = place.begin(2);
    let told = vec![started(false), intent(0), succeeded(0), intent(1)];
    Clerk::of(&store).tell(&store, told).await;
    let mut site = store.close().unwrap();
    let row = site.ledger(WORKFLOW).unwrap().row(&name(0)).cloned();
    let edit = LedgerEdit {
        workflow: WORKFLOW.to_owned(),
        user: "ada".to_owned(),
        what: "mv task/0 task/9".to_owned(),
        rows: vec![(name(0), None), (name(9), row.clone())],
    };
    assert_eq!(site.edit(&edit).unwrap(), Seq(5));
    drop(site);
    let site = place.open();
    let ledger = site.ledger(WORKFLOW).unwrap();
    assert_eq!((ledger.row(&name(0)), ledger.row(&name(9)).cloned()), (None, row));
    let open: Vec<_> = site.open_intents().unwrap();
    assert_eq!(open.iter().map(|open| open.name.clone()).collect::<Vec<_>>(), [name(1)]);
    let told = place.reader().events(RunId(0), Seq(0)).unwrap();
    assert!(told.is_empty(), "an edit belongs to no run");
    let store = begin(site, 2, None);
    assert_eq!(store.first_seq(), Seq(6));
}

#[tokio::test]
async fn old_history_can_go_but_open_intents_stay() {
    let place = Place::new();
    let store = place.begin(2);
    let told = vec![started(false), intent(0), succeeded(0), intent(1)];
    Clerk::of(&store).tell(&store, told).await;
    let store = begin(store.close().unwrap(), 2, None);
    Clerk::of(&store).tell(&store, vec![started(false), ended(RunEnded::Failed)]).await;
    store.settle().await.unwrap();
    let mut site = store.close().unwrap();
    let before = site.ledger(WORKFLOW).unwrap();
    assert_eq!(site.prune(RunId(2)).unwrap(), 3);
    assert_eq!(site.ledger(WORKFLOW).unwrap(), before);
    let left = place.reader().history(WORKFLOW, &name(1)).unwrap();
    assert!(matches!(left[..], [ref only] if matches!(only.event.body, Body::Intent(_))));
    assert_eq!(place.reader().runs().unwrap().len(), 1);
    assert_eq!(begin(site, 2, None).run(), RunId(3));
}
