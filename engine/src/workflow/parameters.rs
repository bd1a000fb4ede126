//! `with` of every instance, checked with all that is known at load.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::bind::Plan;
use super::check::{Checker, Known};
use super::draft::{Draft, Drafts};
use super::error::{Finding, Findings, Span, suggest};
use super::schema::{Field, Place};
use super::statics::{Statics, Written, each_outside};
use super::syntax::At;
use crate::expr::reference::{Reference, Root, Step};
use crate::expr::{Bound, Leaf, Scope};

/// The parameters of one task.
pub(crate) struct Parameters<'a> {
    pub(crate) drafts: &'a Drafts<'a>,
    pub(crate) statics: &'a Statics<'a>,
    pub(crate) draft: &'a Draft<'a>,
    pub(crate) plans: &'a [Option<Plan>],
    /// The workflows whose outputs may be read.
    pub(crate) reads: &'a [At<String>],
}

impl Parameters<'_> {
    /// Checks every instance; what `file` reads is added to `files`.
    pub(crate) fn check(
        &mut self,
        bound: &[Option<Vec<Bound>>],
        files: &mut Map<String, Value>,
        findings: &mut Findings,
    ) {
        let Some(written) = &self.draft.with else {
            self.without(findings);
            return;
        };
        let mut by_each = false;
        for (leaf, place) in written.compiled.leaves().iter().zip(&written.places) {
            for reference in &leaf.found.references {
                let span = self.statics.inside(*place, &reference.span);
                match reference.root {
                    Root::Each if !self.draft.is_for_each() => findings.push(each_outside(span)),
                    Root::Each => by_each = true,
                    Root::Workflows => self.other_workflow(reference, span, findings),
                    Root::Site | Root::Inputs | Root::Tasks | Root::Run => {}
                }
            }
        }
        for at in 0..self.draft.skipped.len() {
            if self.draft.skipped[at] {
                continue;
            }
            let own = bound.get(self.draft.first as usize + at).and_then(Option::as_ref);
            files.extend(self.instance(written, at, own, findings));
            // All instances are alike, unless they read what is their own or left out.
            if !by_each && self.plans.is_empty() {
                break;
            }
        }
    }

    fn without(&self, findings: &mut Findings) {
        let Some(kind) = &self.draft.syntax.kind else { return };
        if self.draft.skipped.iter().all(|skipped| *skipped) {
            return;
        }
        let known = BTreeMap::new();
        let (root, name) = (&kind.params, kind.kind.name());
        let mut checker = Checker { root, kind: name, known: &known, findings };
        checker.without(self.draft.syntax.name, self.draft.syntax.span);
    }

    fn other_workflow(&self, reference: &Reference, span: Span, findings: &mut Findings) {
        let name = match reference.path.first() {
            Some(Step::Name(name) | Step::Key(name)) => name.as_str(),
            Some(Step::Index(_) | Step::Open) | None => "",
        };
        if self.reads.iter().any(|read| read.value == name) {
            return;
        }
        let known: Vec<&str> = self.reads.iter().map(|read| read.value.as_str()).collect();
        let help = if known.is_empty() {
            Some(format!("name it: [workflow] reads = [\"{name}\"]"))
        } else {
            suggest(name, known, "workflows")
        };
        findings.push(
            Finding::new(
                "workflow::unknown-reference",
                format!("the workflow `{name}` is not among those that are read"),
                span,
                "not in `reads`",
            )
            .maybe_help(help),
        );
    }

    /// Checks one instance; gives what `file` has read for it.
    fn instance(
        &self,
        written: &Written,
        at: usize,
        bound: Option<&Vec<Bound>>,
        findings: &mut Findings,
    ) -> Map<String, Value> {
        let each = self.draft.each_at(at);
        let before = findings.len();
        let nulls = self.nulls(bound);
        let mut files = Map::new();
        for (leaf, place) in written.compiled.leaves().iter().zip(&written.places) {
            files.extend(self.statics.read_files(leaf, *place, each, findings));
        }
        let read = Value::Object(files.clone());
        let scope =
            Scope { each, files: Some(&read), tasks: Some(&nulls), ..self.statics.scope(None) };
        let bound = bound.map_or(&[][..], Vec::as_slice);
        let mut known: BTreeMap<&str, Known<'_>> = BTreeMap::new();
        for (number, leaf) in written.compiled.leaves().iter().enumerate() {
            let fact = if self.is_known(leaf, written, bound) {
                self.value(leaf, written.places[number], &scope, findings)
            } else {
                self.tell_missing(leaf, written.places[number], &scope, findings);
                Known::Types(self.types(leaf, number))
            };
            known.insert(&leaf.pointer, fact);
        }
        self.against_schema(&known, findings);
        let all_known = known.values().all(|fact| matches!(fact, Known::Value(_)));
        if all_known && findings.len() == before {
            self.by_kind(written, &scope, findings);
        }
        files
    }

    /// Whether the value of a leaf is known at load.
    fn is_known(&self, leaf: &Leaf, written: &Written, bound: &[Bound]) -> bool {
        leaf.found.unknown.is_empty()
            && leaf.found.references.iter().all(|reference| match reference.root {
                Root::Inputs => self.statics.secret_input(reference).is_none(),
                Root::Site | Root::Each => true,
                Root::Tasks => self.is_left_out(reference, written, bound),
                Root::Run | Root::Workflows => false,
            })
    }

    fn value(
        &self,
        leaf: &Leaf,
        place: Span,
        scope: &Scope<'_>,
        findings: &mut Findings,
    ) -> Known<'static> {
        match leaf.evaluate_in(scope) {
            Ok(value) => Known::Value(value),
            Err(error) => {
                findings.push(self.statics.failed(leaf, place, scope, &error));
                Known::Nothing
            }
        }
    }

    /// Tells what a leaf reads of site, inputs and `each` that is not there.
    fn tell_missing(&self, leaf: &Leaf, place: Span, scope: &Scope<'_>, findings: &mut Findings) {
        for reference in leaf.found.references.iter().filter(|found| !found.guarded) {
            if let Some(finding) = self.statics.missing(reference, place, scope) {
                findings.push(finding);
            }
        }
    }

    fn against_schema(&self, known: &BTreeMap<&str, Known<'_>>, findings: &mut Findings) {
        let (Some(kind), Some(node)) = (&self.draft.syntax.kind, self.draft.syntax.with) else {
            return;
        };
        Checker { root: &kind.params, kind: kind.kind.name(), known, findings }.with(node);
    }

    /// What a schema cannot say, the kind itself can.
    fn by_kind(&self, written: &Written, scope: &Scope<'_>, findings: &mut Findings) {
        let (Some(kind), Some(node)) = (&self.draft.syntax.kind, self.draft.syntax.with) else {
            return;
        };
        let params = written.compiled.evaluate(scope, |_, _| true, |_, _| {});
        if let Err(failure) = kind.kind.check(&params) {
            let words = failure.causes.first().cloned().unwrap_or_default();
            findings.push(
                Finding::new("workflow::parameters", failure.message, node.span, words)
                    .maybe_help(failure.help),
            );
        }
    }

    /// Whether all that a reference reads is left out by `when`, and null therefore.
    fn is_left_out(&self, reference: &Reference, written: &Written, bound: &[Bound]) -> bool {
        let mut references = written.compiled.task_references().zip(bound);
        references.find(|((_, other), _)| std::ptr::eq(*other, reference)).is_some_and(
            |(_, bound)| {
                let mut instances = bound.target.instances().iter();
                instances.all(|instance| self.drafts.of(*instance).is_skipped(*instance))
            },
        )
    }

    /// The outputs of what is left out: null, all of them.
    fn nulls(&self, bound: Option<&Vec<Bound>>) -> Value {
        let mut tasks = Map::new();
        for bound in bound.into_iter().flatten() {
            for instance in bound.target.instances() {
                let draft = self.drafts.of(*instance);
                if !draft.is_skipped(*instance) {
                    continue;
                }
                let at = (*instance - draft.first) as usize;
                let fields = tasks
                    .entry(draft.syntax.name.to_owned())
                    .or_insert_with(|| Value::Object(Map::new()));
                let fields = match draft.key_at(at) {
                    Some(key) => &mut fields[key],
                    None => fields,
                };
                if fields.is_null() {
                    *fields = Value::Object(Map::new());
                }
                for name in draft.produces.iter().flat_map(super::kinds::Produces::names) {
                    fields[name.as_str()] = Value::Null;
                }
            }
        }
        Value::Object(tasks)
    }

    /// The types of what only a run can tell.
    fn types(&self, leaf: &Leaf, number: usize) -> Option<BTreeSet<&str>> {
        if !leaf.is_whole() {
            return Some(BTreeSet::from(["string"]));
        }
        let reference = leaf.plain_reference()?;
        if self.statics.secret_input(reference).is_some() {
            return Some(BTreeSet::from(["string"]));
        }
        let plan = self.plans.iter().flatten().find(|plan| plan.leaf == number)?;
        let field = plan.field.as_ref()?;
        let produces = self.drafts.list[plan.task].produces.as_ref()?;
        let schema = if plan.secret { produces.secrets() } else { produces.outputs() };
        let at = reference.path.iter().position(
            |step| matches!(step, Step::Name(name) | Step::Key(name) if **name == **field),
        )?;
        let mut place = Place::root(schema);
        for step in &reference.path[at..] {
            let (Step::Name(name) | Step::Key(name)) = step else { return None };
            match place.field(name) {
                Field::Known(next) => place = next,
                Field::Anything | Field::Missing(_) => return None,
            }
        }
        place.types()
    }
}
