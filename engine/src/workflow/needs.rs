//! Edges: what `needs` and `lives-in` say.

use std::collections::BTreeMap;

use serde_json::Value;

use super::draft::{Draft, Drafts};
use super::error::{Finding, Findings, Span, suggest};
use super::source::{Content, Node};
use super::statics::Statics;
use super::syntax::wrong_type;

/// From how many instances on, needing all of a task goes through a barrier of its own.
const MANY: u32 = 8;

/// Edges between provisional numbers; barriers are numbered after all instances.
#[derive(Default)]
pub(crate) struct Edges {
    /// `(needed, needing)`.
    pub(crate) list: Vec<(u32, u32)>,
    pub(crate) spans: Vec<Span>,
    /// What each barrier stands for.
    pub(crate) barriers: Vec<Barrier>,
    layers: BTreeMap<usize, u32>,
    tasks: BTreeMap<usize, u32>,
}

/// What a hidden vertex stands for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Barrier {
    Layer(usize),
    Task(usize),
}

/// What somebody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Layer(usize),
    Task(usize),
    Instance(u32),
}

impl Edges {
    pub(crate) fn add(&mut self, needed: u32, needing: u32, span: Span) {
        self.list.push((needed, needing));
        self.spans.push(span);
    }

    /// One instance needs something.
    pub(crate) fn need(&mut self, drafts: &Drafts<'_>, need: Need, needing: u32, span: Span) {
        match need {
            Need::Instance(instance) => self.add(instance, needing, span),
            Need::Task(task) => {
                let draft = &drafts.list[task];
                if draft.count() > MANY {
                    let barrier = self.task_barrier(drafts, task, span);
                    self.add(barrier, needing, span);
                } else {
                    draft.instances().for_each(|instance| self.add(instance, needing, span));
                }
            }
            Need::Layer(layer) => {
                let barrier = self.layer_barrier(drafts, layer, span);
                self.add(barrier, needing, span);
            }
        }
    }

    fn task_barrier(&mut self, drafts: &Drafts<'_>, task: usize, span: Span) -> u32 {
        if let Some(barrier) = self.tasks.get(&task) {
            return *barrier;
        }
        let barrier = self.barrier(drafts, Barrier::Task(task));
        self.tasks.insert(task, barrier);
        for instance in drafts.list[task].instances() {
            self.add(instance, barrier, span);
        }
        barrier
    }

    fn layer_barrier(&mut self, drafts: &Drafts<'_>, layer: usize, span: Span) -> u32 {
        if let Some(barrier) = self.layers.get(&layer) {
            return *barrier;
        }
        let barrier = self.barrier(drafts, Barrier::Layer(layer));
        self.layers.insert(layer, barrier);
        for draft in &drafts.list {
            if draft.layer == Some(layer) && !draft.syntax.finally {
                draft.instances().for_each(|instance| self.add(instance, barrier, span));
            }
        }
        barrier
    }

    fn barrier(&mut self, drafts: &Drafts<'_>, stands_for: Barrier) -> u32 {
        let number = drafts.count() + u32::try_from(self.barriers.len()).unwrap_or(u32::MAX);
        self.barriers.push(stands_for);
        number
    }
}

/// Reads `needs` and `lives-in` of every task; gives the hosts of each instance.
pub(crate) fn read(
    drafts: &Drafts<'_>,
    statics: &Statics<'_>,
    edges: &mut Edges,
    findings: &mut Findings,
) -> Vec<Vec<u32>> {
    let mut hosts = vec![Vec::new(); drafts.count() as usize];
    for draft in &drafts.list {
        for (at, instance) in draft.instances().enumerate() {
            let mut own = Findings::default();
            let reader = Reader { drafts, statics, draft, key: "needs" };
            hosts[instance as usize] = reader.read(at, instance, edges, &mut own);
            if draft.skipped[at] {
                findings.append_left_out(own);
            } else {
                findings.append(own);
            }
        }
    }
    for hosts in &mut hosts {
        hosts.sort_unstable();
        hosts.dedup();
    }
    hosts
}

struct Reader<'a> {
    drafts: &'a Drafts<'a>,
    statics: &'a Statics<'a>,
    draft: &'a Draft<'a>,
    key: &'a str,
}

impl Reader<'_> {
    /// Adds the edges of an instance; gives its hosts.
    fn read(
        self,
        at: usize,
        instance: u32,
        edges: &mut Edges,
        findings: &mut Findings,
    ) -> Vec<u32> {
        let each = self.draft.each_at(at);
        for node in &self.draft.syntax.needs {
            for (need, span) in self.needs(node, each, findings) {
                edges.need(self.drafts, need, instance, span);
            }
        }
        let mut hosts = Vec::new();
        let reader = Reader { key: "lives-in", ..self };
        for node in &reader.draft.syntax.lives_in {
            for (need, span) in reader.needs(node, each, findings) {
                edges.need(reader.drafts, need, instance, span);
                hosts.extend(reader.hosts(need, span, findings));
            }
        }
        hosts
    }

    /// What an instance lives in; refuses what would not survive its guest.
    fn hosts(&self, need: Need, span: Span, findings: &mut Findings) -> Vec<u32> {
        let (host, instances) = match need {
            Need::Task(task) => {
                let host = &self.drafts.list[task];
                (host, host.instances())
            }
            Need::Instance(instance) => (self.drafts.of(instance), instance..instance + 1),
            Need::Layer(_) => {
                findings.push(
                    Finding::new(
                        "workflow::type",
                        "nothing lives in a layer",
                        span,
                        "expected tasks or instances",
                    )
                    .help("name the tasks without which this one cannot exist"),
                );
                return Vec::new();
            }
        };
        if self.draft.syntax.protected && !host.syntax.protected {
            let (guest, name) = (self.draft.syntax.name, host.syntax.name);
            findings.push(
                Finding::new(
                    "workflow::protected-in-unprotected",
                    format!("`{guest}` is protected, but lives in `{name}`, which is not"),
                    span,
                    "would be destroyed under it",
                )
                .label(host.syntax.span, "not protected")
                .help(format!("add `protected = true` to `{name}`, or take it from `{guest}`")),
            );
        }
        // What is left out is no host: the guest can exist without it.
        instances.filter(|instance| !host.is_skipped(*instance)).collect()
    }

    fn needs(
        &self,
        node: &Node,
        each: Option<&Value>,
        findings: &mut Findings,
    ) -> Vec<(Need, Span)> {
        match &node.content {
            Content::Text(_) => {
                let Some(value) = self.statics.value(node, each, findings) else {
                    return Vec::new();
                };
                let names = if let Value::Array(items) = value { items } else { vec![value] };
                let mut needs = Vec::new();
                for name in names {
                    let Value::String(name) = name else {
                        findings.push(wrong_type(self.key, "names of tasks", &name, node.span));
                        continue;
                    };
                    needs.extend(self.named(&name, node.span, findings).map(|n| (n, node.span)));
                }
                needs
            }
            Content::Table(table) => self.keyed(table, node.span, each, findings),
            // Told when the task was read.
            Content::List(_) | Content::Integer(_) | Content::Float(_) | Content::Bool(_) => {
                Vec::new()
            }
        }
    }

    /// `NAME`, `NAME/KEY` or `layer:NAME`.
    fn named(&self, name: &str, span: Span, findings: &mut Findings) -> Option<Need> {
        if let Some(layer) = name.strip_prefix("layer:") {
            return self.layer(layer, span, findings);
        }
        let (task, key) = name.split_once('/').map_or((name, None), |(t, k)| (t, Some(k)));
        let at = find_task(self.drafts, task, span, findings)?;
        later_layer(self.drafts, self.draft, at, span, findings);
        match key {
            None => Some(Need::Task(at)),
            Some(key) => self.instance(at, key, span, findings).map(Need::Instance),
        }
    }

    fn instance(&self, at: usize, key: &str, span: Span, findings: &mut Findings) -> Option<u32> {
        find_instance(&self.drafts.list[at], key, span, findings)
    }

    fn layer(&self, name: &str, span: Span, findings: &mut Findings) -> Option<Need> {
        let layers = &self.drafts.layers;
        let Some(layer) = layers.iter().position(|layer| layer.value == name) else {
            let known: Vec<&str> = layers.iter().map(|layer| layer.value.as_str()).collect();
            findings.push(
                Finding::new(
                    "workflow::unknown-layer",
                    format!("there is no layer `{name}`"),
                    span,
                    "not among [workflow] layers",
                )
                .maybe_help(suggest(name, known, "layers")),
            );
            return None;
        };
        match self.draft.layer {
            Some(own) if own == layer => {
                findings.push(
                    Finding::new(
                        "workflow::cycle",
                        format!(
                            "`{}` waits for the layer that it is part of",
                            self.draft.syntax.name
                        ),
                        span,
                        "would wait for itself",
                    )
                    .help("name the tasks of the layer that it needs"),
                );
                return None;
            }
            Some(own) if own < layer => {
                findings.push(later(self.draft, &format!("the layer `{name}`"), span));
                return None;
            }
            Some(_) | None => {}
        }
        Some(Need::Layer(layer))
    }

    /// `{ task = "X", each = LIST }`.
    fn keyed(
        &self,
        table: &super::source::Table,
        span: Span,
        each: Option<&Value>,
        findings: &mut Findings,
    ) -> Vec<(Need, Span)> {
        let mut fields = super::syntax::Fields { table, statics: Some(self.statics), findings };
        fields.only(&["task", "each"], |_| None);
        let task = fields.text("task");
        let keys = table.get("each");
        let (Some(task), Some(keys)) = (task, keys) else {
            findings.push(
                Finding::new(
                    "workflow::missing-key",
                    "this need has no `task` or no `each`",
                    span,
                    "incomplete",
                )
                .help("{ task = \"TASK\", each = [\"KEY\", …] }"),
            );
            return Vec::new();
        };
        let Some(at) = find_task(self.drafts, &task.value, task.span, findings) else {
            return Vec::new();
        };
        later_layer(self.drafts, self.draft, at, task.span, findings);
        let Some(value) = self.statics.value(&keys.value, each, findings) else {
            return Vec::new();
        };
        let keys_span = keys.value.span;
        let names: Vec<String> = match &value {
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            }
            Value::Object(fields) => fields.keys().cloned().collect(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {
                findings.push(wrong_type("each", "a list of keys", &value, keys_span));
                return Vec::new();
            }
        };
        names
            .iter()
            .filter_map(|key| self.instance(at, key, keys_span, findings))
            .map(|instance| (Need::Instance(instance), span))
            .collect()
    }
}

/// The task of a name, or a finding.
pub(crate) fn find_task(
    drafts: &Drafts<'_>,
    name: &str,
    span: Span,
    findings: &mut Findings,
) -> Option<usize> {
    let found = drafts.by_name.get(name).copied();
    if found.is_none() {
        findings.push(
            Finding::new(
                "workflow::unknown-task",
                format!("there is no task `{name}`"),
                span,
                "no task has this name",
            )
            .maybe_help(suggest(name, drafts.names(), "tasks")),
        );
    }
    found
}

/// The instance of a key, or a finding; nothing at all if the keys are not known.
pub(crate) fn find_instance(
    draft: &Draft<'_>,
    key: &str,
    span: Span,
    findings: &mut Findings,
) -> Option<u32> {
    let keys = draft.keys.as_ref()?;
    let found = draft.instance_of(key);
    if found.is_none() {
        let task = draft.syntax.name;
        let help = if draft.is_for_each() {
            suggest(key, keys.iter().map(String::as_str).collect::<Vec<_>>(), "keys")
        } else {
            Some(format!("`{task}` has no `for-each`; write `{task}`"))
        };
        findings.push(
            Finding::new(
                "workflow::unknown-instance",
                format!("there is no instance `{task}/{key}`"),
                span,
                "no instance has this key",
            )
            .maybe_help(help),
        );
    }
    found
}

/// A task may need its own layer or an earlier one.
pub(crate) fn later_layer(
    drafts: &Drafts<'_>,
    needing: &Draft<'_>,
    needed: usize,
    span: Span,
    findings: &mut Findings,
) {
    let needed = &drafts.list[needed];
    if needed.syntax.finally && !needing.syntax.finally {
        findings.push(
            Finding::new(
                "workflow::finally",
                format!("`{}` runs when all others have ended", needed.syntax.name),
                span,
                "comes last",
            )
            .help(format!("add `finally = true` to `{}` as well", needing.syntax.name)),
        );
        return;
    }
    if let (Some(own), Some(other)) = (needing.layer, needed.layer)
        && other > own
    {
        let layer = &drafts.layers[other].value;
        let what = format!("`{}`, which is in the layer `{layer}`", needed.syntax.name);
        findings.push(later(needing, &what, span));
    }
}

fn later(needing: &Draft<'_>, what: &str, span: Span) -> Finding {
    let name = needing.syntax.name;
    let layer = needing.syntax.layer.as_ref().map_or("", |layer| layer.value.as_str());
    Finding::new(
        "workflow::later-layer",
        format!("`{name}` of the layer `{layer}` needs {what}"),
        span,
        "a later layer",
    )
    .help(format!("a task needs its own or an earlier layer: move one of the two, or `{name}` on"))
}
