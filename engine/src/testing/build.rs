//! Workflows without files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;

use crate::cx::{SiteContext, Stop};
use crate::event::RunStarted;
use crate::expr::Template;
use crate::graph::Graph;
use crate::id::{Instance, InstanceName, RunId};
use crate::report::Silent;
use crate::runner::{Options, Run, RunError, Selected, Summary};
use crate::workflow::{InstanceDef, Pool, RetryPolicy, Roots, Task, Workflow};

use super::{MemoryStore, Simulated};

/// One task with one instance, on its way into a workflow.
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of a task")]
#[derive(Clone)]
pub struct Sketch {
    /// Its name.
    pub name: String,
    /// What it uses.
    pub kind: Simulated,
    /// Its `with`.
    pub with: Value,
    /// Whom it needs, by position; only earlier ones.
    pub needs: Vec<u32>,
    /// What it lives in, by position; also in `needs`.
    pub lives_in: Vec<u32>,
    /// Pools, by position, and how much of each.
    pub pools: Vec<(usize, u32)>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The longest apply.
    pub timeout: Duration,
    /// Whether its probe proves that nothing happened.
    pub conclusive: bool,
    /// How long a success counts.
    pub fresh: Option<Duration>,
    /// Whether an interrupted action asks.
    pub ask_on_crash: bool,
    /// Whether even what was found is changed.
    pub fixes_found: bool,
    /// Whether it is left out.
    pub skipped: bool,
    /// Whether it runs last, however the others end.
    pub finally: bool,
}

impl Sketch {
    /// A task that needs these.
    #[must_use]
    pub fn new(name: &str, kind: Simulated, needs: impl IntoIterator<Item = u32>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            with: Value::Null,
            needs: needs.into_iter().collect(),
            lives_in: Vec::new(),
            pools: Vec::new(),
            retry: RetryPolicy::default(),
            timeout: Duration::from_mins(10),
            conclusive: true,
            fresh: None,
            ask_on_crash: false,
            fixes_found: false,
            skipped: false,
            finally: false,
        }
    }
}

/// The workflow of these tasks, with pools of these sizes.
///
/// # Panics
///
/// A task needs a later one.
#[must_use]
pub fn workflow(sketches: Vec<Sketch>, pools: &[u32]) -> Arc<Workflow> {
    let edges: Vec<(u32, u32)> = (0_u32..)
        .zip(&sketches)
        .flat_map(|(child, sketch)| sketch.needs.iter().map(move |parent| (*parent, child)))
        .collect();
    assert!(edges.iter().all(|(parent, child)| parent < child), "a task needs a later one");
    let graph = Graph::new(sketches.len(), 0, &edges).expect("edges lead forward").graph;
    let (tasks, instances) =
        sketches.into_iter().enumerate().map(|(index, sketch)| parts(index, sketch)).unzip();
    let pool = |(index, size): (usize, &u32)| Pool { name: format!("pool{index}"), size: *size };
    Arc::new(Workflow {
        name: "sketch".to_owned(),
        description: String::new(),
        layers: Vec::new(),
        tasks,
        instances,
        graph,
        pools: pools.iter().enumerate().map(pool).collect(),
        outputs: BTreeMap::new(),
        roots: Roots::default(),
        text: String::new(),
    })
}

fn parts(index: usize, sketch: Sketch) -> (Task, InstanceDef) {
    let numbers = |list: Vec<u32>| list.into_iter().map(Instance).collect();
    let task = Task {
        name: sketch.name.clone(),
        effect: sketch.kind.effect,
        conclusive: sketch.conclusive,
        layer: None,
        protected: false,
        on_drift: sketch.kind.on_drift,
        fixes_found: sketch.fixes_found,
        retry: sketch.retry,
        timeout: sketch.timeout,
        settle: sketch.kind.settle,
        has_secrets: sketch.kind.secret.is_some(),
        kind: Arc::new(sketch.kind),
        fresh: sketch.fresh,
        expected: None,
        finally: sketch.finally,
        was: Vec::new(),
        tags: BTreeSet::new(),
        definition: sketch.with.to_string().into(),
        ask_on_crash: sketch.ask_on_crash,
        for_each: false,
    };
    let def = InstanceDef {
        name: InstanceName::new(&sketch.name, None),
        task: index,
        each: None,
        with: Template::literal(sketch.with),
        needs: numbers(sketch.needs),
        lives_in: numbers(sketch.lives_in),
        pools: sketch.pools,
        skipped: sketch.skipped,
    };
    (task, def)
}

/// Options of the first run on an empty disk, or of the next one.
#[must_use]
pub fn options(store: &MemoryStore, run: u32) -> Options {
    Options::new(RunId(run), store.next_seq(), RunStarted::default())
}

/// Runs all of a workflow on a disk, as it stands.
///
/// # Errors
///
/// As [`Run::execute`].
pub async fn execute(
    workflow: &Arc<Workflow>,
    store: &Arc<MemoryStore>,
    options: Options,
) -> Result<Summary, RunError> {
    let run = Run {
        workflow: Arc::clone(workflow),
        ledger: store.ledger(&workflow.names()),
        selected: Selected::all(workflow),
        site: Arc::new(SiteContext::default()),
        store: Arc::clone(store) as Arc<dyn crate::journal::Store>,
        vault: Arc::clone(store) as Arc<dyn crate::journal::Vault>,
        options,
    };
    let (_keep, stop) = watch::channel(Stop::No);
    run.execute(&mut Silent, stop).await
}
