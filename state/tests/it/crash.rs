//! A writer that is killed at any time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flow_engine::journal::Store;
use flow_engine::{RunId, Seq};
use flow_state::{Reader, SiteDir, SiteLock};

use crate::support::{Clerk, Place, WORKFLOW, begin, intent, started, succeeded};

const CHILD: &str = "FLOW_STATE_TEST_ROOT";

/// Not a test by itself: the process that the other test kills.
#[tokio::test]
async fn child_that_appends_until_it_is_killed() {
    let Ok(root) = std::env::var(CHILD) else { return };
    let dir = SiteDir::new(Path::new(&root), "lab");
    let store = begin(flow_state::Site::open(&dir, "flow run").unwrap(), 100_000, None);
    let mut clerk = Clerk::of(&store);
    store.append(clerk.batch(vec![started(false)])).await.unwrap();
    let mut out = std::io::stdout();
    for number in 0..100_000 {
        let batch = clerk.batch(vec![intent(number), succeeded(number)]);
        let last = batch.events[1].seq;
        store.append(batch).await.unwrap();
        writeln!(out, "durable {last}").unwrap();
    }
}

#[test]
fn what_was_answered_survives_the_death_of_the_writer() {
    let place = Place::new();
    let root = place.dir.path().ancestors().nth(3).unwrap();
    let mut before = 0;
    for round in 1..=5_u32 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_appends_until_it_is_killed", "--nocapture"])
            .env(CHILD, root)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut answered = 0;
        for _ in 0..round * 7 {
            let line = lines.by_ref().map(Result::unwrap).find(|line| line.starts_with("durable"));
            answered = line.unwrap()["durable ".len()..].parse().unwrap();
        }
        assert!(SiteLock::holder(&place.dir).unwrap().is_some_and(|who| who.pid == child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        let answered = Seq(answered);
        let reader = Reader::open(&place.dir).unwrap().unwrap();
        let last = reader.last_seq().unwrap();
        assert!(last >= answered && answered.0 > before, "{answered} answered, {last} found");
        reader.verify().unwrap();
        let seen = reader.ledger(WORKFLOW).unwrap();
        let events = reader.events(RunId(round), Seq(0)).unwrap();
        assert_eq!(events.len() % 2, 1, "a batch is whole or not there");
        before = last.0;
        // The next writer takes the lock at once and folds the same.
        assert_eq!(SiteLock::holder(&place.dir).unwrap(), None);
        assert_eq!(place.open().ledger(WORKFLOW).unwrap(), seen);
    }
}
