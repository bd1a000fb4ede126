//! From drafts to the workflow that runs: instances get their final numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::definition::{InstanceDef, Roots, Task, Workflow};
use super::draft::{Draft, Drafts};
use super::pools::Pools;
use super::schema;
use super::syntax::Head;
use crate::expr::{Bound, Compiled, Target, Template};
use crate::graph::Numbered;
use crate::id::{Instance, InstanceName};
use crate::kind::Settle;

/// The longest that one apply call may take, where the task does not say.
const TIMEOUT: std::time::Duration = std::time::Duration::from_mins(10);

/// Everything that a workflow without findings is made of.
pub(crate) struct Build<'a> {
    pub(crate) drafts: &'a Drafts<'a>,
    pub(crate) numbered: &'a Numbered,
    pub(crate) hosts: Vec<Vec<u32>>,
    pub(crate) bound: Vec<Option<Vec<Bound>>>,
    pub(crate) pools: Pools,
}

impl Build<'_> {
    pub(crate) fn workflow(&self, head: &Head, entry: &str) -> Workflow {
        let name = head.name.as_ref().map_or_else(|| stem(entry), |name| name.value.clone());
        Workflow {
            name,
            description: head.description.clone(),
            layers: self.drafts.layers.iter().map(|layer| layer.value.clone()).collect(),
            tasks: self.drafts.list.iter().map(task).collect(),
            instances: self.instances(),
            graph: self.numbered.graph.clone(),
            pools: self.pools.list.clone(),
            outputs: BTreeMap::new(),
            roots: Roots::default(),
            text: String::new(),
        }
    }

    fn instances(&self) -> Vec<InstanceDef> {
        let count = self.drafts.count() as usize;
        let mut skipped = vec![false; count];
        let mut old_of = vec![0; count];
        for draft in &self.drafts.list {
            for old in draft.instances() {
                let new = self.numbered.number[old as usize];
                skipped[new as usize] = draft.is_skipped(old);
                old_of[new as usize] = old;
            }
        }
        let empty = Arc::new(Compiled::nothing());
        let mut instances = Vec::with_capacity(count);
        for (new, old) in old_of.into_iter().enumerate() {
            let task = self.drafts.task_of(old);
            let draft = &self.drafts.list[task];
            let at = (old - draft.first) as usize;
            let with = draft.with.as_ref().map_or(&empty, |written| &written.compiled);
            let bound = self.bound[old as usize].clone().unwrap_or_default();
            let new = u32::try_from(new).expect("there are at most u32::MAX instances");
            let needs = self.numbered.graph.needs(new, |vertex| skipped[vertex as usize]);
            instances.push(InstanceDef {
                name: InstanceName::new(draft.syntax.name, draft.key_at(at)),
                task,
                each: draft.each_at(at).map(|each| each["value"].clone()),
                with: Template::new(Arc::clone(with), self.renumber(bound)),
                needs: needs.into_iter().map(Instance).collect(),
                lives_in: self.renumbered(&self.hosts[old as usize]),
                pools: self.pools.taken[old as usize].clone(),
                skipped: skipped[new as usize],
            });
        }
        instances
    }

    fn renumbered(&self, old: &[u32]) -> Vec<Instance> {
        let mut new: Vec<Instance> =
            old.iter().map(|old| Instance(self.numbered.number[*old as usize])).collect();
        new.sort_unstable();
        new
    }

    /// The same references with final numbers.
    pub(crate) fn renumber(&self, bound: Vec<Bound>) -> Vec<Bound> {
        let number = |old: &u32| self.numbered.number[*old as usize];
        let renumbered = bound.into_iter().map(|bound| Bound {
            target: match bound.target {
                Target::One(old) => Target::One(number(&old)),
                Target::All(old) => Target::All(old.iter().map(number).collect()),
            },
            ..bound
        });
        renumbered.collect()
    }
}

fn task(draft: &Draft<'_>) -> Task {
    let syntax = &draft.syntax;
    let used = syntax.kind.as_ref().expect("a task of an unknown kind has a finding");
    let kind = Arc::clone(&used.kind);
    let settle = kind.settle();
    Task {
        name: syntax.name.to_owned(),
        effect: draft.effect,
        conclusive: draft.conclusive,
        layer: draft.layer,
        protected: syntax.protected,
        on_drift: syntax.on_drift.unwrap_or_else(|| kind.on_drift()),
        fixes_found: syntax.on_drift == Some(crate::kind::OnDrift::Fix),
        retry: syntax.retry,
        timeout: syntax.timeout.unwrap_or(TIMEOUT),
        settle: Settle { within: syntax.settle.unwrap_or(settle.within), ..settle },
        fresh: syntax.fresh.as_ref().map(|fresh| fresh.value),
        expected: syntax.expected,
        finally: syntax.finally,
        was: syntax.was.iter().map(|was| was.value.clone()).collect(),
        tags: syntax.tags.clone(),
        definition: Arc::from(&*syntax.definition),
        has_secrets: !schema::properties(&used.secrets).is_empty(),
        ask_on_crash: syntax.ask_on_crash,
        for_each: draft.is_for_each(),
        kind,
    }
}

/// The name of a workflow that does not give itself one: that of its file.
fn stem(entry: &str) -> String {
    let file = entry.rsplit(['/', '\\']).next().unwrap_or(entry);
    file.strip_suffix(".toml").unwrap_or(file).to_owned()
}
