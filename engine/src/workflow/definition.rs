//! A workflow after loading and checking: everything static is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::expr::Template;
use crate::failure::Failure;
use crate::graph::Graph;
use crate::id::{Instance, InstanceName};
use crate::kind::{Effect, OnDrift, Settle};
use crate::registry::AnyKind;
use crate::secret::Secrets;

/// A loaded and checked workflow. Instances are numbered in topological order.
pub struct Workflow {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The layers, in order.
    pub layers: Vec<String>,
    /// The tasks, in the order of the file.
    pub tasks: Vec<Task>,
    /// The instances; [`Instance`] is an index of this.
    pub instances: Vec<InstanceDef>,
    /// Who needs whom; barriers are vertices of their own after all instances.
    pub graph: Graph,
    /// Pools in the order of their numbers (keyed ones already one for each key).
    pub pools: Vec<Pool>,
    /// `[outputs]`.
    pub outputs: BTreeMap<String, Template>,
    /// Site, inputs: what static and other expressions read.
    pub roots: Roots,
    /// The text as loaded, includes joined, for the record of the run.
    pub text: String,
}

/// The values that are known at load.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    /// `site.*`, with what is derived.
    pub site: Value,
    /// `inputs.*`.
    pub inputs: Value,
    /// `run.*`.
    pub run: Value,
    /// `workflows.W.*`: the outputs of other workflows of the site.
    pub workflows: Value,
    /// What the function `file` has read, by path.
    pub files: Value,
    /// The values of secret inputs, of which `inputs` holds the references.
    pub secret_inputs: Secrets,
}

/// One `[tasks.X]`.
#[expect(clippy::struct_excessive_bools, reason = "they are the flags of the file format")]
pub struct Task {
    /// Its name.
    pub name: String,
    /// What it uses.
    pub kind: Arc<dyn AnyKind>,
    /// Its effect, computed from the literals of `with` where the kind asks for that.
    pub effect: Effect,
    /// Whether its kind's "absent" proves that a `once` did not happen.
    pub conclusive: bool,
    /// Index of its layer.
    pub layer: Option<usize>,
    /// Whether `destroy` leaves it.
    pub protected: bool,
    /// What happens to drift.
    pub on_drift: OnDrift,
    /// Whether the task itself says `on-drift = "fix"`, so that even what was found is changed.
    pub fixes_found: bool,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The longest one apply call may take.
    pub timeout: Duration,
    /// How to poll, with the task's own limit in force.
    pub settle: Settle,
    /// How long an action's last success counts.
    pub fresh: Option<Duration>,
    /// How long it usually takes, as the file says.
    pub expected: Option<Duration>,
    /// Whether it runs when all others have ended.
    pub finally: bool,
    /// Earlier names.
    pub was: Vec<String>,
    /// Tags, for selection.
    pub tags: BTreeSet<String>,
    /// Hash of the definition as written.
    pub definition: Arc<str>,
    /// Whether its kind hands out secrets.
    pub has_secrets: bool,
    /// Whether the task says `on-crash = "ask"`.
    pub ask_on_crash: bool,
    /// Whether it is in a `for-each`.
    pub for_each: bool,
}

/// When and how often to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Tries in all.
    pub attempts: u32,
    /// The first pause; each one is twice the one before.
    pub backoff: Duration,
    /// The longest pause.
    pub max: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3, backoff: Duration::from_secs(2), max: Duration::from_mins(1) }
    }
}

/// One instance.
pub struct InstanceDef {
    /// `TASK` or `TASK/KEY`.
    pub name: InstanceName,
    /// Index of its task.
    pub task: usize,
    /// `each.value`, for a `for-each` task.
    pub each: Option<Value>,
    /// `with`, unevaluated.
    pub with: Template,
    /// Instances that must have succeeded, transitively through skipped ones and barriers.
    pub needs: Vec<Instance>,
    /// What it lives in.
    pub lives_in: Vec<Instance>,
    /// Pools and how much of each: (pool's number, amount).
    pub pools: Vec<(usize, u32)>,
    /// `when` is false.
    pub skipped: bool,
}

/// A counted resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name, as `NAME` or `NAME:KEY`.
    pub name: String,
    /// How much there is.
    pub size: u32,
}

/// What an instance has produced.
#[derive(Clone, Copy)]
pub struct Produced<'a> {
    /// Its outputs: an object.
    pub outputs: &'a Value,
    /// Its secrets.
    pub secrets: &'a Secrets,
}

/// Where evaluation finds what other instances have produced.
pub trait Values {
    /// `None`: not known (yet).
    fn produced(&self, instance: Instance) -> Option<Produced<'_>>;
}

/// `with`, evaluated.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    /// The parameters, secrets included: never to be stored or shown.
    pub params: Value,
    /// JSON pointers of the values that a secret went into.
    pub secret: BTreeSet<String>,
}

/// Why `with` could not be evaluated.
#[derive(Debug, Clone)]
pub enum Unresolved {
    /// It reads what this instance has not produced yet.
    Unknown(Instance),
    /// The expression fails on the values at hand.
    Failed(Failure),
}

impl Workflow {
    /// The task of an instance.
    #[must_use]
    pub fn task_of(&self, instance: Instance) -> &Task {
        &self.tasks[self.instances[instance.index()].task]
    }

    /// The definition of an instance.
    #[must_use]
    pub fn instance(&self, instance: Instance) -> &InstanceDef {
        &self.instances[instance.index()]
    }

    /// All instances, in topological order.
    ///
    /// # Panics
    ///
    /// Never: a workflow of more than `u32::MAX` instances is refused at load.
    pub fn ids(&self) -> impl Iterator<Item = Instance> + use<> {
        let count =
            u32::try_from(self.instances.len()).expect("a workflow is checked for its size");
        (0..count).map(Instance)
    }

    /// The instance of this name.
    #[must_use]
    pub fn find(&self, name: &InstanceName) -> Option<Instance> {
        self.ids().find(|id| self.instance(*id).name == *name)
    }

    /// The names in the order of the numbers.
    #[must_use]
    pub fn names(&self) -> Arc<[InstanceName]> {
        self.instances.iter().map(|def| def.name.clone()).collect()
    }
}
