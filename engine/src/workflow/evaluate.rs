//! Evaluating `with` and `[outputs]` on what other instances have produced.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::definition::{Resolved, Unresolved, Values, Workflow};
use super::statics::secret_input;
use crate::depth::{is_too_deep, too_deep};
use crate::expr::{Bound, EvalError, Leaf, Scope, Template};
use crate::failure::Failure;
use crate::id::Instance;
use crate::kind::Retry;

/// What an instance reads of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Whom.
    pub instance: Instance,
    /// The output or secret; `None`: all outputs.
    pub field: Option<Arc<str>>,
    /// Whether a secret is among it.
    pub secret: bool,
}

impl Workflow {
    /// Evaluates the parameters of an instance on what others have produced.
    ///
    /// # Errors
    ///
    /// What it reads is not known yet, or the expression fails on the values at hand.
    pub fn resolve(&self, instance: Instance, values: &dyn Values) -> Result<Resolved, Unresolved> {
        let def = self.instance(instance);
        let each = def.each.as_ref().map(|value| json!({ "key": def.name.key(), "value": value }));
        self.evaluate(&def.with, each.as_ref(), values, def.name.as_str())
    }

    /// What an instance reads of others, in the order of its parameters.
    #[must_use]
    pub fn reads(&self, instance: Instance) -> Vec<Read> {
        reads(&self.instance(instance).with)
    }

    /// What an output of the workflow reads; nothing if there is no such output.
    #[must_use]
    pub fn output_reads(&self, name: &str) -> Vec<Read> {
        self.outputs.get(name).map(reads).unwrap_or_default()
    }

    /// Evaluates one of `[outputs]`; `None`: there is none of this name.
    ///
    /// # Errors
    ///
    /// As [`Workflow::resolve`].
    pub fn resolve_output(
        &self,
        name: &str,
        values: &dyn Values,
    ) -> Option<Result<Resolved, Unresolved>> {
        let template = self.outputs.get(name)?;
        Some(self.evaluate(template, None, values, name))
    }

    fn evaluate(
        &self,
        template: &Template,
        each: Option<&Value>,
        values: &dyn Values,
        subject: &str,
    ) -> Result<Resolved, Unresolved> {
        let mut tasks = Value::Object(Map::new());
        let mut bound = template.bound().iter();
        let mut tainted: BTreeSet<String> = BTreeSet::new();
        for ((leaf, _), bound) in template.compiled().task_references().zip(&mut bound) {
            Taker { workflow: self, leaf, bound, values }.take(&mut tasks)?;
            if bound.secret {
                tainted.insert(leaf.pointer.clone());
            }
        }
        let inputs = self.inputs(template, &mut tainted);
        let scope = Scope {
            site: Some(&self.roots.site),
            inputs: Some(&inputs),
            run: Some(&self.roots.run),
            workflows: Some(&self.roots.workflows),
            files: Some(&self.roots.files),
            each,
            tasks: Some(&tasks),
        };
        let mut failed: Option<(String, EvalError)> = None;
        let params = template.compiled().evaluate(
            &scope,
            |_, _| true,
            |leaf, error| {
                failed.get_or_insert((leaf.pointer.clone(), error));
            },
        );
        match failed {
            None if is_too_deep(&params) => {
                let subject = format!("what `{subject}` is given");
                Err(Unresolved::Failed(too_deep(&subject)))
            }
            None => Ok(Resolved { params, secret: tainted }),
            Some((pointer, error)) => Err(Unresolved::Failed(failure(subject, &pointer, error))),
        }
    }

    /// The inputs, with the secret ones that the template reads.
    fn inputs(&self, template: &Template, tainted: &mut BTreeSet<String>) -> Cow<'_, Value> {
        let mut inputs = Cow::Borrowed(&self.roots.inputs);
        if self.roots.secret_inputs.is_empty() {
            return inputs;
        }
        for leaf in template.compiled().leaves() {
            for reference in &leaf.found.references {
                let Some(name) = secret_input(&self.roots, reference) else { continue };
                if let Some(secret) = self.roots.secret_inputs.get(name) {
                    inputs.to_mut()[name] = secret.reveal().clone();
                    tainted.insert(leaf.pointer.clone());
                }
            }
        }
        inputs
    }
}

/// One reference, read.
struct Taker<'a> {
    workflow: &'a Workflow,
    leaf: &'a Leaf,
    bound: &'a Bound,
    values: &'a dyn Values,
}

impl Taker<'_> {
    /// Puts what the reference reads where the expression looks for it.
    fn take(&self, tasks: &mut Value) -> Result<(), Unresolved> {
        let instances = self.bound.target.instances();
        instances.iter().try_for_each(|instance| self.one(tasks, Instance(*instance)))
    }

    fn one(&self, tasks: &mut Value, instance: Instance) -> Result<(), Unresolved> {
        let def = self.workflow.instance(instance);
        let task = table(&mut tasks[def.name.task()]);
        let place = match def.name.key() {
            Some(key) => table(&mut task[key]),
            None => task,
        };
        let mentions = &self.leaf.found.mentions;
        if def.skipped {
            let own = self.bound.field.as_deref();
            let all = mentions.iter().map(String::as_str).filter(|_| own.is_none());
            own.into_iter().chain(all).for_each(|name| place[name] = Value::Null);
            return Ok(());
        }
        let produced = self.values.produced(instance).ok_or(Unresolved::Unknown(instance))?;
        if let Some(field) = &self.bound.field {
            let secret = produced.secrets.get(&**field).filter(|_| self.bound.secret);
            place[&**field] = match secret {
                Some(secret) => secret.reveal().clone(),
                None => produced.outputs.get(&**field).cloned().unwrap_or(Value::Null),
            };
            return Ok(());
        }
        for (name, value) in produced.outputs.as_object().into_iter().flatten() {
            place[name.as_str()] = value.clone();
        }
        if self.bound.secret {
            let asked = produced.secrets.iter().filter(|(name, _)| mentions.contains(*name));
            for (name, secret) in asked {
                place[name.as_str()] = secret.reveal().clone();
            }
        }
        Ok(())
    }
}

fn table(value: &mut Value) -> &mut Value {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value
}

fn reads(template: &Template) -> Vec<Read> {
    let mut reads = Vec::new();
    for bound in template.bound() {
        for instance in bound.target.instances() {
            let read = Read {
                instance: Instance(*instance),
                field: bound.field.clone(),
                secret: bound.secret,
            };
            if !reads.contains(&read) {
                reads.push(read);
            }
        }
    }
    reads
}

fn failure(subject: &str, pointer: &str, error: EvalError) -> Failure {
    let path = pointer.trim_start_matches('/').replace('/', ".");
    let place = if path.is_empty() { String::new() } else { format!(" `with.{path}`") };
    let failure = Failure::new(
        "workflow::expression",
        format!("the expression{place} of `{subject}` fails"),
        Retry::Never,
    )
    .with_causes(vec![error.message]);
    match error.help {
        Some(help) => failure.with_help(help),
        None => failure.with_help("look at the values that it reads: `flow why` shows them"),
    }
}
