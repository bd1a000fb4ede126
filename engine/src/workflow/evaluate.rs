//! Evaluating `with` and `[outputs]` on what other instances have produced.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::definition::{Resolved, Unresolved, Values, Workflow};
use crate::expr::{Bound, EvalError, Leaf, Scope, Target, Template};
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
            self.take(&mut tasks, leaf, bound, values)?;
            if bound.secret {
                tainted.insert(leaf.pointer.clone());
            }
        }
        let scope = Scope {
            site: Some(&self.roots.site),
            inputs: Some(&self.roots.inputs),
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
            None => Ok(Resolved { params, secret: tainted }),
            Some((pointer, error)) => Err(Unresolved::Failed(failure(subject, &pointer, error))),
        }
    }

    /// Puts what a reference reads where the expression looks for it.
    fn take(
        &self,
        tasks: &mut Value,
        leaf: &Leaf,
        bound: &Bound,
        values: &dyn Values,
    ) -> Result<(), Unresolved> {
        match &bound.target {
            Target::One(instance) => self.take_one(tasks, leaf, bound, *instance, values),
            Target::All(instances) => instances
                .iter()
                .try_for_each(|instance| self.take_one(tasks, leaf, bound, *instance, values)),
        }
    }

    fn take_one(
        &self,
        tasks: &mut Value,
        leaf: &Leaf,
        bound: &Bound,
        instance: u32,
        values: &dyn Values,
    ) -> Result<(), Unresolved> {
        let instance = Instance(instance);
        let def = self.instance(instance);
        let task = table(&mut tasks[def.name.task()]);
        let place = match def.name.key() {
            Some(key) => table(&mut task[key]),
            None => task,
        };
        if def.skipped {
            match &bound.field {
                Some(field) => place[&**field] = Value::Null,
                None => {
                    for name in &leaf.found.mentions {
                        place[name.as_str()] = Value::Null;
                    }
                }
            }
            return Ok(());
        }
        let produced = values.produced(instance).ok_or(Unresolved::Unknown(instance))?;
        match &bound.field {
            Some(field) => {
                let secret = produced.secrets.get(&**field).filter(|_| bound.secret);
                place[&**field] = match secret {
                    Some(secret) => secret.reveal().clone(),
                    None => produced.outputs.get(&**field).cloned().unwrap_or(Value::Null),
                };
            }
            None => {
                for (name, value) in produced.outputs.as_object().into_iter().flatten() {
                    place[name.as_str()] = value.clone();
                }
                let asked = produced.secrets.iter().filter(|(name, _)| {
                    bound.secret && leaf.found.mentions.contains(name.as_str())
                });
                for (name, secret) in asked {
                    place[name.as_str()] = secret.reveal().clone();
                }
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
