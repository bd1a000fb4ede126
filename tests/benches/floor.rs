//! flow beside a bare walker that makes the same group commits, in the same folder.
//!
//! `cargo bench -p flow-tests --bench floor`. Pairs are interleaved, and each pair changes who
//! goes first; what counts is the ratio of medians. `TMPDIR` says on which disk.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on has nothing to say")]
#![expect(clippy::disallowed_types, reason = "real time is what is measured")]
#![expect(clippy::print_stdout, reason = "figures are what it is for")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use walker::Payload;

use ground::{CHAIN, LARGE, LAYERED, Shape, WIDE};

mod ground;
mod walker;

/// What the benchmark calls itself with, to measure the memory of one run.
const ONE_RUN: &str = "one-run";

fn main() {
    if std::env::args().any(|argument| argument == ONE_RUN) {
        one_run();
        return;
    }
    println!("shape             floor µs  flow µs  ratio  whole µs   commits    WAL bytes");
    for (shape, pairs) in [(&LAYERED, 9), (&WIDE, 9), (&CHAIN, 9), (&LARGE, 3)] {
        compare(shape, pairs);
    }
    nothing_to_do();
    memory();
    loading();
    starting();
}

/// The middle of an odd number of measurements.
fn median<T: Ord + Copy>(mut all: Vec<T>) -> T {
    all.sort_unstable();
    all[all.len() / 2]
}

fn micros(took: Duration, count: u32) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(count)
}

fn flow(shape: &Shape) -> (ground::Taken, Payload) {
    let folder = tempfile::tempdir().unwrap();
    ground::prepare(folder.path());
    let taken = ground::run(folder.path(), &shape.workflow());
    let payload = Payload::read(&ground::database(folder.path()));
    (taken, payload)
}

fn compare(shape: &Shape, pairs: u32) {
    let (_, payload) = flow(shape);
    let walk = || {
        let folder = tempfile::tempdir().unwrap();
        walker::walk(folder.path(), shape, &payload, false)
    };
    let (mut flows, mut floors) = (Vec::new(), Vec::new());
    for pair in 0..pairs {
        if pair % 2 == 0 {
            floors.push(walk());
            flows.push(flow(shape).0);
        } else {
            flows.push(flow(shape).0);
            floors.push(walk());
        }
    }
    assert!(floors.iter().all(|walk| walk.commits <= shape.commits));
    assert!(flows.iter().all(|run| run.summary.counts().applied == shape.count as usize));
    let floor = micros(median(floors.iter().map(|walk| walk.took).collect()), shape.count);
    let ours = micros(median(flows.iter().map(|run| run.run).collect()), shape.count);
    let whole = micros(median(flows.iter().map(|run| run.whole).collect()), shape.count);
    println!(
        "{:16} {floor:9.1} {ours:8.1} {:6.2} {whole:9.1} {:>5}/{:<5} {}/{}, payload {}",
        shape.name,
        ours / floor,
        flows[0].commits,
        floors[0].commits,
        flows[0].wal,
        floors[0].wal,
        payload.bytes(),
    );
}

fn nothing_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = LARGE.workflow();
    ground::run(folder.path(), &workflow);
    let again: Vec<_> = (0..5).map(|_| ground::run(folder.path(), &workflow)).collect();
    let unchanged = |taken: &ground::Taken| taken.summary.counts().as_recorded;
    assert!(again.iter().all(|taken| unchanged(taken) == LARGE.count as usize));
    let run = micros(median(again.iter().map(|taken| taken.run).collect()), LARGE.count);
    let whole = micros(median(again.iter().map(|taken| taken.whole).collect()), LARGE.count);
    let commits = again.iter().map(|taken| taken.commits).max().unwrap();
    println!("10 000 with nothing to do: {run:.1} µs each, {whole:.1} whole; {commits} commits");
}

/// What the benchmark does when it is called to run once.
fn one_run() {
    let folder = tempfile::tempdir().unwrap();
    let before = peak();
    let workflow = LARGE.workflow();
    ground::run(folder.path(), &workflow);
    println!("10 000 instances: {} resident at most, {before} before", peak());
}

/// The most memory that this process had, in words.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown", str::trim).to_owned()
}

fn memory() {
    let this = std::env::current_exe().unwrap();
    assert!(Command::new(this).arg(ONE_RUN).status().unwrap().success());
}

fn loading() {
    for (name, width) in [("chain", 1), ("wide", 100_000)] {
        let text = Shape { name, count: 100_000, width, commits: 0 }.text();
        let started = Instant::now();
        ground::load_text(text);
        println!("{name} 100 000: {:.2} s to load", started.elapsed().as_secs_f64());
    }
}

/// How long the built binary takes to say what it can do.
fn starting() {
    let this = std::env::current_exe().unwrap();
    let Some(binary) = this.ancestors().nth(2).map(|folder| folder.join("flow")) else { return };
    if !binary.exists() {
        println!("flow --help: {} is not built", binary.display());
        return;
    }
    let all: Vec<_> = (0..25).map(|_| helps(&binary)).collect();
    println!("flow --help: {:.1} ms", micros(median(all), 1000));
}

fn helps(binary: &Path) -> Duration {
    let started = Instant::now();
    let mut command = Command::new(binary);
    command.arg("--help").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert!(command.status().unwrap().success());
    started.elapsed()
}
