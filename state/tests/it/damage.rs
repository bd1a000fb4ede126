//! Files that are not what they should be. Nothing is overwritten, and the backup is named.

use std::fs;

use flow_engine::RunId;
use flow_engine::event::RunEnded;
use flow_state::{Reader, Site, StateError};
use miette::Diagnostic;

use crate::support::{Clerk, Place, WORKFLOW, ended, intent, name, started, succeeded};

/// A site with a run and a backup.
async fn lived_in() -> Place {
    let place = Place::new();
    let store = place.begin(200);
    let mut clerk = Clerk::of(&store);
    clerk.tell(&store, vec![started(false)]).await;
    for number in 0..200 {
        clerk.tell(&store, vec![intent(number), succeeded(number)]).await;
    }
    clerk.tell(&store, vec![ended(RunEnded::Complete)]).await;
    store.settle().await.unwrap();
    let site = store.close().unwrap();
    assert!(site.backup_daily().unwrap().is_some());
    assert_eq!(site.backup_daily().unwrap(), None);
    place
}

fn refused(place: &Place) -> StateError {
    let database = place.dir.database();
    let before = fs::read(&database).ok();
    let error = Site::open(&place.dir, "flow run").unwrap_err();
    assert_eq!(fs::read(&database).ok(), before, "nothing is overwritten");
    Reader::open(&place.dir).unwrap_err();
    assert_eq!(fs::read(&database).ok(), before, "nothing is overwritten");
    error
}

fn names_the_backup(error: &StateError) {
    let help = error.help().unwrap().to_string();
    assert!(help.contains("the newest backup is "), "{help}");
    assert!(help.contains("/backups/state-"), "{help}");
}

#[tokio::test]
async fn what_is_not_a_database_is_refused() {
    let place = lived_in().await;
    let whole = fs::read(place.dir.database()).unwrap();
    let mut foreign = whole.clone();
    foreign[68..72].copy_from_slice(&[0; 4]);
    for content in [
        b"x".to_vec(),
        vec![0; 4096],
        b"garbage ".repeat(4096),
        whole[..whole.len() - 4096].to_vec(),
        whole[..whole.len() / 2].to_vec(),
        whole[..100].to_vec(),
        whole[..16].to_vec(),
        foreign,
    ] {
        fs::write(place.dir.database(), &content).unwrap();
        let error = refused(&place);
        assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
        names_the_backup(&error);
    }
    fs::write(place.dir.database(), &whole).unwrap();
    assert_eq!(place.open().ledger(WORKFLOW).unwrap().rows().count(), 200);
}

#[tokio::test]
async fn an_empty_database_beside_traces_is_not_a_first_run() {
    let place = lived_in().await;
    fs::write(place.dir.database(), "").unwrap();
    let error = refused(&place);
    assert!(matches!(error, StateError::Lost { .. }), "{error:?}");
    names_the_backup(&error);
    fs::remove_dir_all(place.dir.backups()).unwrap();
    place.dir.create_run_logs(RunId(1)).unwrap();
    assert!(matches!(refused(&place), StateError::Lost { .. }));
    fs::remove_dir_all(place.dir.runs()).unwrap();
    place.open();
}

#[tokio::test]
async fn a_missing_database_is_a_first_run_even_beside_traces() {
    let place = lived_in().await;
    fs::remove_file(place.dir.database()).unwrap();
    assert!(Reader::open(&place.dir).unwrap().is_none());
    assert_eq!(place.open().ledger(WORKFLOW).unwrap().rows().count(), 0);
}

#[tokio::test]
async fn a_log_without_its_database_is_damage() {
    let place = lived_in().await;
    let log = place.dir.database().with_extension("db-wal");
    fs::remove_file(place.dir.database()).unwrap();
    fs::write(&log, "committed, but not yet in the database").unwrap();
    assert!(matches!(refused(&place), StateError::Damaged { .. }));
    assert!(log.exists());
}

#[tokio::test]
async fn a_database_is_whole_without_its_log_from_its_first_moment() {
    let place = Place::new();
    let site = place.open();
    let database = fs::read(place.dir.database()).unwrap();
    drop(site);
    let copy = Place::new();
    copy.dir.create().unwrap();
    fs::write(copy.dir.database(), database).unwrap();
    copy.open();
}

#[tokio::test]
async fn a_backup_can_take_the_place_of_the_database() {
    let place = lived_in().await;
    fs::write(place.dir.database(), "garbage").unwrap();
    let StateError::Damaged { backup, .. } = refused(&place) else { panic!("it is garbage") };
    fs::copy(backup.path().unwrap(), place.dir.database()).unwrap();
    let site = place.open();
    assert!(site.ledger(WORKFLOW).unwrap().row(&name(199)).unwrap().success.is_some());
}

#[tokio::test]
async fn five_backups_are_kept() {
    let place = lived_in().await;
    let site = place.open();
    for _ in 0..8 {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        site.backup().unwrap();
    }
    assert_eq!(fs::read_dir(place.dir.backups()).unwrap().count(), 5);
}

#[tokio::test]
async fn a_newer_schema_is_refused_by_name() {
    let place = lived_in().await;
    let conn = rusqlite::Connection::open(place.dir.database()).unwrap();
    conn.execute_batch(
        "UPDATE meta SET value = '7.8.9' WHERE key = 'writer'; PRAGMA user_version = 99",
    )
    .unwrap();
    drop(conn);
    let error = refused(&place);
    assert!(matches!(&error, StateError::Newer { writer, .. } if writer == "7.8.9"), "{error:?}");
    assert_eq!(error.help().unwrap().to_string(), "use flow 7.8.9 or later; nothing was changed");
}

#[tokio::test]
async fn an_event_of_a_later_form_is_never_skipped() {
    let place = lived_in().await;
    let conn = rusqlite::Connection::open(place.dir.database()).unwrap();
    conn.execute_batch(
        "UPDATE meta SET value = '0' WHERE key = 'folded_seq';
         UPDATE event SET body = x'637B7D' WHERE seq = 9",
    )
    .unwrap();
    drop(conn);
    let error = Site::open(&place.dir, "flow run").unwrap_err();
    assert!(matches!(error, StateError::Damaged { .. }), "{error:?}");
    names_the_backup(&error);
}
