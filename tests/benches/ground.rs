//! Runs of instances that do nothing, through the real runner and the real store.

#![expect(clippy::disallowed_types, reason = "real time is what is measured")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flow_engine::Registry;
use flow_engine::cx::{SiteContext, Stop};
use flow_engine::event::RunStarted;
use flow_engine::journal::Vault;
use flow_engine::report::Silent;
use flow_engine::runner::{Options, Run, Selected, Summary};
use flow_engine::workflow::{Given, Source, Sources, Workflow, load};
use flow_state::{Begin, Site, SiteDir, SiteVault, VaultPlace};
use nothing::Nothing;
use tokio::sync::watch;

#[path = "nothing.rs"]
mod nothing;

/// How many instances work at a time, in flow and on the floor.
pub(crate) const SLOTS: u32 = 8;

/// A graph of instances: in layers of `width`, each of which needs the whole layer before it.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) count: u32,
    pub(crate) width: u32,
    /// How many transactions the floor may take.
    pub(crate) commits: u64,
}

pub(crate) const LAYERED: Shape =
    Shape { name: "layered 1000", count: 1000, width: 8, commits: 126 };
pub(crate) const LARGE: Shape =
    Shape { name: "layered 10 000", count: 10_000, width: 8, commits: 1251 };
pub(crate) const WIDE: Shape = Shape { name: "wide 1000", count: 1000, width: 1000, commits: 127 };
pub(crate) const CHAIN: Shape = Shape { name: "chain 1000", count: 1000, width: 1, commits: 1001 };

impl Shape {
    /// Whom each instance needs.
    pub(crate) fn needs(&self) -> impl Iterator<Item = Vec<u32>> {
        let width = self.width;
        (0..self.count).map(move |id| match (id / width).checked_sub(1) {
            None => Vec::new(),
            Some(before) => (before * width..(before + 1) * width).collect(),
        })
    }

    /// Its file.
    pub(crate) fn text(&self) -> String {
        let mut text = "[workflow]\nname = \"shape\"\n".to_owned();
        for (id, needs) in self.needs().enumerate() {
            let needs: Vec<String> = needs.iter().map(|need| format!("t{need}")).collect();
            writeln!(text, "[tasks.t{id}]\nuses = \"do-nothing\"\nneeds = {needs:?}").unwrap();
        }
        text
    }

    /// Its workflow, of which nothing is done yet.
    pub(crate) fn workflow(&self) -> Arc<Workflow> {
        load_text(self.text())
    }
}

/// Loads a workflow of instances that do nothing.
pub(crate) fn load_text(text: String) -> Arc<Workflow> {
    let registry = Registry::default().with(Nothing::default());
    Arc::new(load(&Text(text), "shape.toml", &Given::default(), &registry).unwrap())
}

/// One workflow in memory.
struct Text(String);

impl Sources for Text {
    fn workflow(&self, name: &str, _: Option<&str>) -> Result<Source, String> {
        Ok(Source { name: name.to_owned(), text: self.0.clone() })
    }

    fn file(&self, path: &str, _: &str) -> Result<String, String> {
        Err(format!("there is no `{path}`"))
    }
}

/// What one run took.
pub(crate) struct Taken {
    pub(crate) summary: Summary,
    /// From the first event to the last one, durable.
    pub(crate) run: Duration,
    /// The same, with the state opened before and the ledger folded after.
    pub(crate) whole: Duration,
    /// Transactions, the fold among them.
    pub(crate) commits: u64,
    /// How large the WAL was when the run ended.
    pub(crate) wal: u64,
}

/// The database of the site in a folder.
pub(crate) fn database(folder: &Path) -> PathBuf {
    SiteDir::new(folder, "lab").database()
}

/// Makes the state of a site, so that no run pays for it.
pub(crate) fn prepare(folder: &Path) {
    Site::open(&SiteDir::new(folder, "lab"), "flow run").unwrap();
}

/// Runs a workflow on the state in a folder, as the command line does.
pub(crate) fn run(folder: &Path, workflow: &Arc<Workflow>) -> Taken {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(execute(folder, workflow))
}

async fn execute(folder: &Path, workflow: &Arc<Workflow>) -> Taken {
    let opened = Instant::now();
    let dir = SiteDir::new(folder, "lab");
    let place = VaultPlace::of(&dir, folder.join("identity"));
    let vault = Arc::new(SiteVault::new(VaultPlace { create_identity: true, ..place }));
    let site = Site::open(&dir, "flow run").unwrap();
    let ledger = site.ledger(&workflow.name).unwrap();
    let begin = Begin {
        workflow: workflow.name.clone(),
        text: workflow.text.clone(),
        names: workflow.names(),
        resumed: None,
    };
    let store = Arc::new(site.begin(begin, Arc::clone(&vault)).unwrap());
    let mut options = Options::new(store.run(), store.first_seq(), RunStarted::default());
    options.slots = SLOTS;
    let run = Run {
        workflow: Arc::clone(workflow),
        ledger,
        selected: Selected::all(workflow),
        site: Arc::new(SiteContext::default()),
        store: Arc::clone(&store) as Arc<_>,
        vault: Arc::new(vault.of(&workflow.name)) as Arc<dyn Vault>,
        options,
    };
    let (_keep, stop) = watch::channel(Stop::No);
    let started = Instant::now();
    let summary = run.execute(&mut Silent, stop).await.unwrap();
    let took = started.elapsed();
    let wal = wal(&dir.database());
    store.settle().await.unwrap();
    Taken { summary, run: took, whole: opened.elapsed(), commits: store.commits(), wal }
}

/// How large the WAL of a database is.
pub(crate) fn wal(database: &Path) -> u64 {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    std::fs::metadata(name).map_or(0, |file| file.len())
}
