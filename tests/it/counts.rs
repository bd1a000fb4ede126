//! How many transactions and bytes a run costs; the floor is one transaction a turn.

#[path = "../benches/ground.rs"]
#[expect(dead_code, reason = "only the benchmark looks at the time")]
mod ground;
#[path = "../benches/walker.rs"]
#[expect(dead_code, reason = "only the benchmark looks at the time")]
mod walker;

use ground::{CHAIN, LARGE, LAYERED, Shape, WIDE};
use rusqlite::Connection;
use walker::Payload;

/// What a run may take beyond the floor: its beginning, its end, and the fold.
const ALLOWANCE: u64 = 3;

#[track_caller]
fn assert_commits(shape: &Shape) {
    let folder = tempfile::tempdir().unwrap();
    let taken = ground::run(folder.path(), &shape.workflow());
    assert_eq!(taken.summary.counts().applied, shape.count as usize);
    let most = shape.commits + ALLOWANCE;
    assert!(taken.commits <= most, "{}: {} commits, not {most}", shape.name, taken.commits);
}

#[test]
fn a_thousand_in_layers() {
    assert_commits(&LAYERED);
}

#[test]
fn ten_thousand_in_layers() {
    assert_commits(&LARGE);
}

#[test]
fn a_thousand_side_by_side() {
    assert_commits(&WIDE);
}

#[test]
fn a_thousand_in_a_row() {
    assert_commits(&CHAIN);
}

#[test]
fn a_run_with_nothing_to_do_takes_five_commits_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = LAYERED.workflow();
    ground::run(folder.path(), &workflow);
    let again = ground::run(folder.path(), &workflow);
    assert_eq!(again.summary.counts().as_recorded, LAYERED.count as usize);
    assert!(again.commits <= 5, "{} commits", again.commits);
}

#[test]
fn the_wal_is_at_most_twice_the_floors_and_the_payload() {
    let folder = tempfile::tempdir().unwrap();
    ground::prepare(folder.path());
    // While somebody reads the state as it was, the WAL cannot begin anew: all of it stays.
    let reader = Connection::open(ground::database(folder.path())).unwrap();
    reader.execute_batch("BEGIN; SELECT * FROM meta").unwrap();
    let taken = ground::run(folder.path(), &LAYERED.workflow());
    drop(reader);
    let payload = Payload::read(&ground::database(folder.path()));
    let floor = walker::walk(folder.path(), &LAYERED, &payload, true);
    assert_eq!(floor.commits, LAYERED.commits);
    assert!(taken.wal > payload.bytes(), "the WAL began anew: {} bytes", taken.wal);
    let most = 2 * floor.wal + payload.bytes();
    assert!(taken.wal <= most, "{} bytes; the floor's are {}", taken.wal, floor.wal);
}
