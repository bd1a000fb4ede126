//! Tasks with their instances, before the instances are numbered.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};

use super::error::{Finding, Findings, suggest};
use super::kinds::{Literals, Produces};
use super::source::Node;
use super::statics::{Statics, Written};
use super::syntax::{At, wrong_type};
use super::task::{TaskSyntax, not_a_condition};
use super::units;
use crate::expr::reference::Root;
use crate::expr::value::sort;
use crate::expr::{Compiled, Leaf};
use crate::kind::Effect;

/// A task and its instances. Instances have provisional numbers, in the order of the file.
pub(crate) struct Draft<'a> {
    pub(crate) syntax: TaskSyntax<'a>,
    pub(crate) layer: Option<usize>,
    pub(crate) with: Option<Written>,
    pub(crate) effect: Effect,
    pub(crate) conclusive: bool,
    /// What others may read; `None` if the kind is not known.
    pub(crate) produces: Option<Produces>,
    /// The keys of a `for-each` task, sorted; `None` if they could not be found.
    pub(crate) keys: Option<Vec<String>>,
    /// `{ key, value }` of each instance of a `for-each` task.
    pub(crate) each: Vec<Value>,
    pub(crate) skipped: Vec<bool>,
    pub(crate) first: u32,
}

impl Draft<'_> {
    pub(crate) fn is_for_each(&self) -> bool {
        self.syntax.for_each.is_some()
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.skipped.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn instances(&self) -> Range<u32> {
        self.first..self.first + self.count()
    }

    /// `{ key, value }` of the instance at this place.
    pub(crate) fn each_at(&self, at: usize) -> Option<&Value> {
        self.each.get(at)
    }

    /// The key of the instance at this place, in a `for-each` task.
    pub(crate) fn key_at(&self, at: usize) -> Option<&str> {
        self.keys.as_ref()?.get(at).map(String::as_str)
    }

    /// The instance of a key.
    pub(crate) fn instance_of(&self, key: &str) -> Option<u32> {
        let keys = self.keys.as_ref()?;
        let at = keys.binary_search_by(|known| known.as_str().cmp(key)).ok()?;
        Some(self.first + u32::try_from(at).ok()?)
    }

    pub(crate) fn is_skipped(&self, instance: u32) -> bool {
        self.skipped.get((instance - self.first) as usize).copied().unwrap_or(false)
    }
}

/// All tasks, with a look-up by name.
pub(crate) struct Drafts<'a> {
    pub(crate) list: Vec<Draft<'a>>,
    pub(crate) by_name: BTreeMap<&'a str, usize>,
    pub(crate) layers: Vec<At<String>>,
}

impl<'a> Drafts<'a> {
    pub(crate) fn names(&self) -> Vec<&'a str> {
        self.by_name.keys().copied().collect()
    }

    /// The task of an instance.
    pub(crate) fn of(&self, instance: u32) -> &Draft<'a> {
        &self.list[self.task_of(instance)]
    }

    /// The number of the task of an instance.
    pub(crate) fn task_of(&self, instance: u32) -> usize {
        // Tasks without instances share their `first` with the next one, which comes later.
        self.list.partition_point(|draft| draft.first <= instance).saturating_sub(1)
    }

    pub(crate) fn count(&self) -> u32 {
        self.list.last().map_or(0, |last| last.first + last.count())
    }

    /// `TASK` or `TASK/KEY`.
    pub(crate) fn name_of(&self, instance: u32) -> String {
        let draft = self.of(instance);
        let key = draft.key_at((instance - draft.first) as usize);
        crate::id::InstanceName::new(draft.syntax.name, key).to_string()
    }
}

/// Finds the instances of a task.
pub(crate) fn draft<'a>(
    syntax: TaskSyntax<'a>,
    layers: &[At<String>],
    first: u32,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Draft<'a> {
    let layer = layer(&syntax, layers, findings);
    let with = syntax.with.map(|node| statics.compile(node, findings));
    let literals = literals(with.as_ref(), statics);
    let (effect, conclusive, produces) = by_kind(&syntax, literals, findings);
    let (keys, each) = match syntax.for_each {
        // What is left out as a whole need not have a table to make instances of.
        Some(node) if is_left_out(&syntax, statics) => {
            match instances(node, statics, &mut Findings::default()) {
                Some(pairs) => by_key(pairs),
                None => (Some(Vec::new()), Vec::new()),
            }
        }
        Some(node) => match instances(node, statics, findings) {
            Some(pairs) => by_key(pairs),
            None => (None, Vec::new()),
        },
        None => (Some(Vec::new()), Vec::new()),
    };
    let count = if syntax.for_each.is_some() { each.len() } else { 1 };
    let skipped = skipped(&syntax, &each, count, statics, findings);
    Draft { syntax, layer, with, effect, conclusive, produces, keys, each, skipped, first }
}

fn by_key(pairs: Vec<(String, Value)>) -> (Option<Vec<String>>, Vec<Value>) {
    let each = pairs.iter().map(|(k, v)| json!({ "key": k, "value": v })).collect();
    (Some(pairs.into_iter().map(|(key, _)| key).collect()), each)
}

/// Whether `when` is false whatever the instance.
fn is_left_out(syntax: &TaskSyntax<'_>, statics: &Statics<'_>) -> bool {
    let value = syntax.when.and_then(|node| {
        // What fails here is told when the instances are looked at.
        statics.value(node, None, &mut Findings::default())
    });
    value == Some(Value::Bool(false))
}

fn layer(syntax: &TaskSyntax<'_>, layers: &[At<String>], findings: &mut Findings) -> Option<usize> {
    let layer = syntax.layer.as_ref()?;
    let found = layers.iter().position(|known| known.value == layer.value);
    if found.is_none() {
        let known: Vec<&str> = layers.iter().map(|layer| layer.value.as_str()).collect();
        let help = if known.is_empty() {
            Some(format!("list it: [workflow] layers = [\"{}\"]", layer.value))
        } else {
            suggest(&layer.value, known, "layers")
        };
        findings.push(
            Finding::new(
                "workflow::unknown-layer",
                format!("there is no layer `{}`", layer.value),
                layer.span,
                "not among [workflow] layers",
            )
            .maybe_help(help),
        );
    }
    found
}

/// `with`, as far as it is the same for all instances: literals, and what site and inputs say.
fn literals(with: Option<&Written>, statics: &Statics<'_>) -> Literals {
    let Some(with) = with else { return Literals::Written(Arc::new(Compiled::nothing())) };
    let is_common = |leaf: &Leaf| {
        leaf.is_static() && leaf.found.references.iter().all(|found| found.root != Root::Each)
    };
    if !with.compiled.leaves().iter().any(is_common) {
        return Literals::Written(Arc::clone(&with.compiled));
    }
    // What fails here is told when the instances are checked.
    let mut ignored = Findings::default();
    let value = statics.evaluate(with, None, &mut |_, leaf| is_common(leaf), &mut ignored);
    Literals::Evaluated(value)
}

fn by_kind(
    syntax: &TaskSyntax<'_>,
    literals: Literals,
    findings: &mut Findings,
) -> (Effect, bool, Option<Produces>) {
    let Some(used) = &syntax.kind else { return (Effect::Converge, true, None) };
    let kind = &used.kind;
    let effect = kind.effect(literals.value()).unwrap_or_else(|words| {
        let span = syntax.with.map_or(syntax.span, |node| node.span);
        findings.push(
            Finding::new(
                "workflow::contradiction",
                format!("the parameters of `{}` contradict each other", syntax.name),
                span,
                words,
            )
            .help(format!("`flow explain {}` shows what goes together", kind.name())),
        );
        Effect::Converge
    });
    if let Some(fresh) = &syntax.fresh
        && effect != Effect::Action
    {
        findings.push(
            Finding::new(
                "workflow::not-an-action",
                format!("`fresh` means nothing for `{}`", syntax.name),
                fresh.span,
                "only an action can be fresh",
            )
            .help("only tasks that leave nothing to look at are run again after a while"),
        );
    }
    let conclusive = kind.conclusive(literals.value());
    (effect, conclusive, Some(Produces::new(Rc::clone(used), literals)))
}

/// Keys and values of a `for-each`, by key.
fn instances(
    node: &Node,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Option<Vec<(String, Value)>> {
    let value = statics.value(node, None, findings)?;
    let mut pairs: Vec<(String, Value)> = match value {
        Value::Object(fields) => fields.into_iter().collect(),
        Value::Array(items) => {
            let mut pairs = Vec::new();
            for item in items {
                let Value::String(key) = item else {
                    let found = sort(&item);
                    findings.push(
                        Finding::new(
                            "workflow::type",
                            format!("`for-each` takes a list of strings, and this has {found}"),
                            node.span,
                            "expected a table or a list of distinct strings",
                        )
                        .help("use a table to give each instance a value of its own"),
                    );
                    return None;
                };
                pairs.push((key.clone(), Value::String(key)));
            }
            pairs
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
            let expected = "a table or a list of distinct strings";
            findings.push(wrong_type("for-each", expected, &other, node.span));
            return None;
        }
    };
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    keys_are_good(node, &pairs, findings).then_some(pairs)
}

fn keys_are_good(node: &Node, pairs: &[(String, Value)], findings: &mut Findings) -> bool {
    let before = findings.len();
    let mut folded: BTreeMap<String, &str> = BTreeMap::new();
    for (key, _) in pairs {
        if let Some(fault) = units::key_fault(key) {
            findings.push(
                Finding::new(
                    "workflow::name",
                    format!("`{key}` cannot be a key"),
                    node.span,
                    "makes a bad key",
                )
                .help(fault),
            );
        }
        if let Some(other) = folded.insert(key.to_lowercase(), key) {
            findings.push(
                Finding::new(
                    "workflow::duplicate-name",
                    if other == key {
                        format!("the key `{key}` is there twice")
                    } else {
                        format!("the keys `{other}` and `{key}` differ by case only")
                    },
                    node.span,
                    "keys must be distinct",
                )
                .help("each key makes one instance, and names it in files as well"),
            );
        }
    }
    findings.len() == before
}

fn skipped(
    syntax: &TaskSyntax<'_>,
    each: &[Value],
    count: usize,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Vec<bool> {
    let Some(node) = syntax.when else { return vec![false; count] };
    (0..count)
        .map(|at| match statics.value(node, each.get(at), findings) {
            Some(Value::Bool(wanted)) => !wanted,
            Some(other) => {
                findings.push(not_a_condition(&other, node.span));
                false
            }
            None => false,
        })
        .collect()
}
