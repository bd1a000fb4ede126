//! One prepared world, and a fresh copy of it for every variant.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use flow_lab::{Call, Count, Fault, Lab, Options};
use serde_json::Value;
use tempfile::TempDir;

/// The first second octet that is used here; below it are the labs of people.
const FIRST: u8 = 60;
/// How many octets are used here.
const OCTETS: u8 = 180;
/// How often another lab on our addresses is waited for.
const PATIENCE: usize = 600;
/// Seconds of the world in a real one: what takes minutes there is over at once.
const SPEED: f64 = 2000.0;

static NEXT: AtomicU8 = AtomicU8::new(0);

/// A running world of a test.
pub(crate) struct Laboratory {
    lab: Lab,
    dir: PathBuf,
    seen: Cell<usize>,
    tree: BTreeMap<String, Vec<u8>>,
    /// A copy goes with its world; declared last, since the lab must have ended before.
    folder: Option<TempDir>,
}

/// A call that a kind made.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// `SYSTEM[@MACHINE]:CALL` as faults name it, without what differs from run to run.
    pub(super) glob: String,
    pub(super) write: bool,
}

impl Laboratory {
    /// A world of its own, for a story that is no fault of a single call.
    pub(crate) fn fresh() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let world = start(folder.path(), octet(), &BTreeMap::new(), SPEED);
        Self { folder: Some(folder), ..world }
    }

    /// The same world after a power cut, at this speed; at speed 1 its seconds are ours.
    pub(crate) fn cut(self, speed: f64) -> Self {
        let Self { lab, dir, tree, folder, .. } = self;
        let octet = lab.octet();
        lab.stop();
        Self { folder, ..start(&dir, octet, &tree, speed) }
    }

    /// The world's folder, with `ca.pem` and `root-password`.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An address of the world: `127.N.C.D`.
    pub(crate) fn address(&self, c: u8, d: u8) -> String {
        format!("127.{}.{c}.{d}", self.lab.octet())
    }

    /// The URL of a server at `127.N.0.D`.
    pub(crate) fn https(&self, d: u8, port: u16) -> String {
        format!("https://{}:{port}", self.address(0, d))
    }

    /// What clients had written so far.
    pub(crate) fn counts(&self) -> Vec<Count> {
        self.lab.counts().expect("a running lab counts")
    }

    pub(crate) fn fault(&self, fault: &str) {
        let fault: Fault = fault.parse().unwrap_or_else(|error| panic!("{fault}: {error}"));
        self.lab.faults().add(fault);
    }

    /// Leaves the calls so far out of account.
    pub(super) fn forget(&self) {
        self.seen.set(self.lab.calls().len());
    }

    /// The calls since the world was copied.
    pub(super) fn calls(&self) -> Vec<Seen> {
        self.lab.calls()[self.seen.get()..].iter().map(seen).collect()
    }

    /// The calls that asked for a change since the world was copied. A login is none.
    pub(super) fn writes(&self) -> Vec<String> {
        let calls = self.lab.calls();
        let writes = calls[self.seen.get()..].iter().filter(|call| call.write);
        writes.map(|call| call.name.clone()).filter(|name| !name.ends_with("/ticket")).collect()
    }
}

fn seen(call: &Call) -> Seen {
    let machine = call.machine.as_ref().map(|name| format!("@{name}")).unwrap_or_default();
    Seen {
        glob: format!("{}{machine}:{}", call.system, without_ids(&call.name)),
        write: call.write,
    }
}

/// The same call in another run: the id of a server's task becomes a star.
fn without_ids(name: &str) -> String {
    let parts = name.split('/').map(|part| {
        let id = part.starts_with("UPID:") || part.starts_with("UPID%3A");
        if id { "UPID*" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

/// Runs a story in a fresh world of its own.
pub(crate) async fn in_a_world(story: impl AsyncFnOnce(&Laboratory)) {
    story(&Laboratory::fresh()).await;
}

/// The prepared world, at rest.
pub(super) struct Bench {
    template: TempDir,
    tree: BTreeMap<String, Vec<u8>>,
    octet: u8,
    /// What the preparation returned.
    pub(super) params: Value,
}

impl Bench {
    pub(super) async fn prepare(
        tree: BTreeMap<String, Vec<u8>>,
        prepare: impl AsyncFnOnce(&Laboratory) -> Value,
    ) -> Self {
        let octet = octet();
        let template = tempfile::tempdir().expect("a temporary folder");
        // Files that the params name are those of the template: all copies have the same.
        let world = start(template.path(), octet, &tree, SPEED);
        let params = prepare(&world).await;
        drop(world);
        Self { template, tree, octet, params }
    }

    /// A fresh copy, running.
    pub(super) fn world(&self) -> Laboratory {
        let copy = tempfile::tempdir().expect("a temporary folder");
        copy_folder(self.template.path(), copy.path());
        let world = start(copy.path(), self.octet, &self.tree, SPEED);
        Laboratory { folder: Some(copy), ..world }
    }
}

/// Addresses that no other world of this process uses.
fn octet() -> u8 {
    FIRST + NEXT.fetch_add(1, Ordering::Relaxed) % OCTETS
}

/// Copies a folder with the holes of its files: the disks of machines are nearly nothing else.
///
/// The standard library cannot see holes, and reading them through takes seconds a disk.
fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-Rp").arg(from.join(".")).arg(to).status();
    assert!(copied.expect("cp can be run").success(), "the template can be copied");
}

fn start(dir: &Path, octet: u8, tree: &BTreeMap<String, Vec<u8>>, speed: f64) -> Laboratory {
    let mut options = Options::new(dir);
    options.octet = octet;
    options.speed = speed;
    options.tree.clone_from(tree);
    for _ in 0..PATIENCE {
        match Lab::start(options.clone()) {
            Ok(lab) => {
                let seen = Cell::new(lab.calls().len());
                let (dir, tree) = (dir.to_owned(), tree.clone());
                return Laboratory { lab, dir, seen, tree, folder: None };
            }
            // Another process' tests use the same addresses for a moment.
            Err(flow_lab::Error::Listen { .. }) => wait(),
            Err(error) => panic!("the lab does not start: {error:?}"),
        }
    }
    panic!("the addresses 127.{octet}.0.0/16 stay in use");
}

#[allow(clippy::disallowed_methods, reason = "waits for another process, not for our runtime")]
fn wait() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}
