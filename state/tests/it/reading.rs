//! Readers beside a writer.

use std::fs;

use flow_engine::event::{Body, RunEnded};
use flow_engine::{RunId, Seq};
use flow_state::Reader;

use crate::support::{Clerk, Place, WORKFLOW, begin, ended, intent, name, started, succeeded};

#[test]
fn there_is_nothing_to_read_before_the_first_run() {
    let place = Place::new();
    assert!(Reader::open(&place.dir).unwrap().is_none());
    assert!(!place.dir.path().exists(), "reading makes nothing");
}

#[tokio::test]
async fn a_reader_sees_each_batch_while_the_writer_goes_on() {
    let place = Place::new();
    let store = place.begin(50);
    let mut clerk = Clerk::of(&store);
    clerk.tell(&store, vec![started(false)]).await;
    let reader = place.reader();
    for number in 0..50 {
        clerk.tell(&store, vec![intent(number), succeeded(number)]).await;
        let seq = Seq(u64::from(number) * 2 + 3);
        assert_eq!(reader.last_seq().unwrap(), seq);
        let new = reader.events(RunId(1), Seq(seq.0 - 2)).unwrap();
        let names: Vec<_> = new.iter().map(|told| told.name.clone()).collect();
        assert_eq!(names, [Some(name(number)), Some(name(number))]);
        assert_eq!(reader.ledger(WORKFLOW).unwrap().rows().count() as u64, u64::from(number) + 1);
    }
    store.settle().await.unwrap();
    // No reader keeps the log from being emptied.
    let other = rusqlite::Connection::open(place.dir.database()).unwrap();
    let emptied = other.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    assert_eq!(emptied, Ok(0));
    assert_eq!(reader.last_seq().unwrap(), Seq(101));
    reader.verify().unwrap();
}

#[tokio::test]
async fn runs_tell_how_they_began_and_ended() {
    let place = Place::new();
    let store = place.begin(1);
    Clerk::of(&store).tell(&store, vec![started(false), ended(RunEnded::Failed)]).await;
    let store = begin(store.close().unwrap(), 1, None);
    Clerk::of(&store).tell(&store, vec![started(false)]).await;
    let run = place.reader().latest_run(None).unwrap().unwrap();
    assert_eq!((run.run, run.ended, run.ended_at), (RunId(2), None, None));
    let store = begin(store.close().unwrap(), 1, Some(RunId(1)));
    Clerk::of(&store).tell(&store, vec![started(true)]).await;
    let reader = place.reader();
    let run = reader.latest_run(Some(WORKFLOW)).unwrap().unwrap();
    assert_eq!((run.run, run.first, run.session), (RunId(1), Seq(1), Seq(4)));
    assert_eq!((run.ended, run.started.resumed), (None, true));
    assert_eq!(reader.latest_run(Some("other")).unwrap(), None);
    assert_eq!(reader.events(RunId(1), Seq(0)).unwrap().len(), 3);
    assert_eq!(reader.events(RunId(1), Seq(2)).unwrap().len(), 1);
}

#[tokio::test]
async fn texts_and_histories_are_found_again() {
    let place = Place::new();
    let store = place.begin(2);
    let told = vec![started(false), intent(0), intent(1), succeeded(1), succeeded(0)];
    Clerk::of(&store).tell(&store, told).await;
    let reader = place.reader();
    // printf '[workflow]\n' | sha256sum
    let hash = "6e9714e556d7b16c9a1b24cd866471f7beb1779f6a9bb337b63dcb558684a278";
    assert_eq!(reader.text(hash).unwrap().as_deref(), Some("[workflow]\n"));
    assert_eq!(reader.text("other").unwrap(), None);
    let history = reader.history(WORKFLOW, &name(0)).unwrap();
    let seqs: Vec<_> = history.iter().map(|told| told.event.seq).collect();
    assert_eq!(seqs, [Seq(2), Seq(5)]);
    assert!(matches!(history[1].event.body, Body::Outcome(_)));
    assert_eq!(reader.workflows().unwrap(), [WORKFLOW]);
    assert_eq!(reader.open_intents(WORKFLOW).unwrap(), []);
}

#[tokio::test]
async fn reading_leaves_the_database_as_it_is() {
    let place = Place::new();
    let store = place.begin(2);
    Clerk::of(&store).tell(&store, vec![started(false), intent(0)]).await;
    drop(store);
    let before = fs::read(place.dir.database()).unwrap();
    let reader = place.reader();
    assert_eq!(reader.open_intents(WORKFLOW).unwrap().len(), 1);
    reader.verify().unwrap();
    drop(reader);
    assert_eq!(fs::read(place.dir.database()).unwrap(), before);
    assert_eq!(place.open().open_intents().unwrap().len(), 1);
}
