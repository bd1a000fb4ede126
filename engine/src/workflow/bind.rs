//! Edges by reference: whom `${tasks.X…}` means, and what of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::draft::{Draft, Drafts};
use super::error::{Finding, Findings, Span, near, suggest};
use super::needs::{Edges, Need, find_instance, later_layer};
use super::schema;
use super::statics::{Statics, Written};
use crate::expr::reference::{Reference, Step};
use crate::expr::{Bound, Leaf, Target};

/// A reference to a task, understood once for all instances.
pub(crate) struct Plan {
    /// Number of the leaf that it is in.
    pub(crate) leaf: usize,
    pub(crate) span: Span,
    /// The task that is read.
    pub(crate) task: usize,
    pub(crate) whom: Whom,
    /// The output or secret; `None`: all of them.
    pub(crate) field: Option<Arc<str>>,
    pub(crate) secret: bool,
}

/// Which instances.
pub(crate) enum Whom {
    /// The only one.
    Single,
    /// The one of a key.
    Keyed(Step),
    /// All, as a table.
    All,
}

/// What the references of a value mean, in their order; `None`: it has a finding.
pub(crate) fn plan(
    drafts: &Drafts<'_>,
    statics: &Statics<'_>,
    written: &Written,
    findings: &mut Findings,
) -> Vec<Option<Plan>> {
    let leaves = written.compiled.leaves();
    let number = |leaf: &Leaf| leaves.iter().position(|other| std::ptr::eq(other, leaf));
    written
        .compiled
        .task_references()
        .map(|(leaf, reference)| {
            let at = number(leaf).unwrap_or(0);
            let place = written.places[at];
            let planner = Planner { drafts, statics, leaf, reference, place };
            planner.plan(at, findings)
        })
        .collect()
}

struct Planner<'a> {
    drafts: &'a Drafts<'a>,
    statics: &'a Statics<'a>,
    leaf: &'a Leaf,
    reference: &'a Reference,
    place: Span,
}

impl Planner<'_> {
    fn span(&self) -> Span {
        self.statics.inside(self.place, &self.reference.span)
    }

    fn plan(&self, leaf: usize, findings: &mut Findings) -> Option<Plan> {
        let name = match self.reference.path.first() {
            Some(Step::Name(name) | Step::Key(name)) => name,
            Some(Step::Index(_) | Step::Open) | None => {
                findings.push(
                    Finding::new(
                        "workflow::unknown-reference",
                        "`tasks` is no value by itself",
                        self.span(),
                        "names no task",
                    )
                    .help("name a task and what it puts out: `tasks.NAME.OUTPUT`"),
                );
                return None;
            }
        };
        let Some(task) = self.drafts.by_name.get(name.as_str()).copied() else {
            let text =
                self.reference.steps.first().map_or(self.reference.span.clone(), |step| {
                    self.reference.span.start..step.end
                });
            let span = self.statics.inside(self.place, &text);
            let names = self.drafts.names();
            let help = near(name, names.clone())
                .map(|near| format!("did you mean `tasks.{near}`?"))
                .or_else(|| suggest(name, names, "tasks"));
            findings.push(
                Finding::new(
                    "workflow::unknown-reference",
                    format!("`tasks.{name}` does not exist"),
                    span,
                    "no task has this name",
                )
                .maybe_help(help),
            );
            return None;
        };
        let draft = &self.drafts.list[task];
        let (whom, field_at) = self.whom(draft, findings)?;
        let (field, secret) = self.field(draft, field_at, findings)?;
        Some(Plan { leaf, span: self.span(), task, whom, field, secret })
    }

    /// Which instances are meant, and which step names the field.
    fn whom(&self, draft: &Draft<'_>, findings: &mut Findings) -> Option<(Whom, usize)> {
        let name = draft.syntax.name;
        if !draft.is_for_each() {
            return Some((Whom::Single, 1));
        }
        match self.reference.path.get(1) {
            Some(step @ (Step::Key(_) | Step::Index(_))) => Some((Whom::Keyed(step.clone()), 2)),
            Some(Step::Open) => Some((Whom::All, usize::MAX)),
            None if self.reference.collected => Some((Whom::All, usize::MAX)),
            Some(Step::Name(field)) => {
                let key = draft.keys.as_ref().filter(|keys| keys.contains(field));
                let help = if key.is_some() {
                    format!("take it by its key: `tasks.{name}[\"{field}\"]`")
                } else {
                    format!(
                        "take one by its key, `tasks.{name}[each.key].{field}`, or all of them, \
                         `values(tasks.{name})[*].{field}`"
                    )
                };
                findings.push(
                    Finding::new(
                        "workflow::unknown-reference",
                        format!("`{name}` has an instance for each key"),
                        self.span(),
                        "says no key",
                    )
                    .help(help),
                );
                None
            }
            None => {
                findings.push(
                    Finding::new(
                        "workflow::unknown-reference",
                        format!("`{name}` has an instance for each key"),
                        self.span(),
                        "says no key",
                    )
                    .help(format!(
                        "take one by its key, `tasks.{name}[each.key]`, or all of them, \
                         `values(tasks.{name})`"
                    )),
                );
                None
            }
        }
    }

    /// The field that is read, and whether it is a secret.
    fn field(
        &self,
        draft: &Draft<'_>,
        at: usize,
        findings: &mut Findings,
    ) -> Option<(Option<Arc<str>>, bool)> {
        let produces = draft.produces.as_ref()?;
        let outputs = schema::properties(produces.outputs());
        let secrets = schema::properties(produces.secrets());
        let Some(Step::Name(field) | Step::Key(field)) = self.reference.path.get(at) else {
            let mentioned = |name: &&str| self.leaf.found.mentions.contains(*name);
            let secret = secrets.iter().any(|name| mentioned(&name.as_str()));
            return Some((None, secret));
        };
        if secrets.contains(field) {
            return Some((Some(field.as_str().into()), true));
        }
        if outputs.contains(field) || schema::is_open(produces.outputs()) {
            self.deeper(produces.outputs(), at, findings);
            return Some((Some(field.as_str().into()), false));
        }
        let part = self.reference.steps.get(at).cloned().unwrap_or_default();
        let known: BTreeSet<&str> = outputs.iter().chain(&secrets).map(String::as_str).collect();
        let help = suggest(field, known, "outputs").map(|help| {
            if help.starts_with("there are no") {
                let kind = draft.syntax.kind.as_ref().map_or("", |used| used.kind.name());
                format!("the kind `{kind}` puts nothing out, as it is used here")
            } else {
                help
            }
        });
        findings.push(
            Finding::new(
                "workflow::unknown-output",
                format!("`{}` puts out no `{field}`", draft.syntax.name),
                self.statics.inside(self.place, &part),
                "no such output",
            )
            .maybe_help(help),
        );
        None
    }

    /// Fields within an output.
    fn deeper(&self, outputs: &serde_json::Value, at: usize, findings: &mut Findings) {
        let mut open = schema::Place::root(outputs);
        for (number, step) in self.reference.path.iter().enumerate().skip(at) {
            let (Step::Name(name) | Step::Key(name)) = step else { return };
            match open.field(name) {
                schema::Field::Known(next) => open = next,
                schema::Field::Anything => return,
                schema::Field::Missing(known) => {
                    let part = self.reference.steps[number].clone();
                    findings.push(
                        Finding::new(
                            "workflow::unknown-output",
                            format!("there is no `{name}` in this output"),
                            self.statics.inside(self.place, &part),
                            "no such field",
                        )
                        .maybe_help(suggest(
                            name,
                            known.iter().map(String::as_str).collect::<Vec<_>>(),
                            "fields",
                        )),
                    );
                    return;
                }
            }
        }
    }
}

/// What the references of one instance mean; its edges are added.
pub(crate) struct Binder<'a> {
    pub(crate) drafts: &'a Drafts<'a>,
    pub(crate) statics: &'a Statics<'a>,
    /// Whose references they are; `None`: those of `[outputs]`.
    pub(crate) draft: Option<&'a Draft<'a>>,
    pub(crate) written: &'a Written,
}

impl Binder<'_> {
    /// `None` if a reference has a finding.
    pub(crate) fn bind(
        &self,
        plans: &[Option<Plan>],
        at: usize,
        edges: &mut Edges,
        findings: &mut Findings,
    ) -> Option<Vec<Bound>> {
        let first = self.draft.map_or(0, |draft| draft.first);
        let needing = first + u32::try_from(at).unwrap_or(u32::MAX);
        let mut bound = Vec::with_capacity(plans.len());
        let mut whole = true;
        for plan in plans {
            let Some(plan) = plan else {
                whole = false;
                continue;
            };
            let target = match self.target(plan, at, findings) {
                Some(target) => target,
                None => {
                    whole = false;
                    continue;
                }
            };
            let need = match &target {
                Target::One(instance) => Need::Instance(*instance),
                Target::All(_) => Need::Task(plan.task),
            };
            if self.draft.is_some() {
                edges.need(self.drafts, need, needing, plan.span);
            }
            bound.push(Bound { target, field: plan.field.clone(), secret: plan.secret });
        }
        whole.then_some(bound)
    }

    fn target(&self, plan: &Plan, at: usize, findings: &mut Findings) -> Option<Target> {
        let producer = &self.drafts.list[plan.task];
        let key = match &plan.whom {
            Whom::Single => return Some(Target::One(producer.first)),
            Whom::All => return Some(Target::All(producer.instances().collect())),
            Whom::Keyed(Step::Key(key)) => key.clone(),
            Whom::Keyed(Step::Index(index)) => {
                let each = self.draft.and_then(|draft| draft.each_at(at));
                let leaf = &self.written.compiled.leaves()[plan.leaf];
                if let Some(key) = own_key(index, each) {
                    key
                } else {
                    let scope = self.statics.scope(each);
                    match scope.key(leaf, index) {
                        Ok(key) => key,
                        Err(error) => {
                            let place = self.written.places[plan.leaf];
                            findings.push(self.statics.failed(leaf, place, &scope, &error));
                            return None;
                        }
                    }
                }
            }
            Whom::Keyed(Step::Name(_) | Step::Open) => return None,
        };
        find_instance(producer, &key, plan.span, findings).map(Target::One)
    }
}

/// The key, where an index is just `each.key`.
fn own_key(index: &hcl::Expression, each: Option<&serde_json::Value>) -> Option<String> {
    let hcl::Expression::Traversal(traversal) = index else { return None };
    let hcl::Expression::Variable(root) = &traversal.expr else { return None };
    let [hcl::expr::TraversalOperator::GetAttr(name)] = traversal.operators.as_slice() else {
        return None;
    };
    (root.as_str() == "each" && name.as_str() == "key")
        .then(|| each?.get("key")?.as_str().map(str::to_owned))
        .flatten()
}

/// References may not lead into a later layer either.
pub(crate) fn layers(
    drafts: &Drafts<'_>,
    draft: &Draft<'_>,
    plans: &[Option<Plan>],
    findings: &mut Findings,
) {
    for plan in plans.iter().flatten() {
        later_layer(drafts, draft, plan.task, plan.span, findings);
    }
}
