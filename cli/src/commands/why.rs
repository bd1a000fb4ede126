//! `flow why`: what is recorded of an instance against what is declared, without a look at the
//! world.

use std::collections::BTreeSet;
use std::time::Duration;

use flow_engine::event::{Body, Outcome};
use flow_engine::journal::Vault;
use flow_engine::ledger::{Ledger, Row};
use flow_engine::workflow::{Resolved, Unresolved, Workflow};
use flow_engine::{Effect, Failure, Instance, InstanceName, RunId, Seq};
use flow_state::{NamedEvent, Owner, RunSummary, SiteLock};
use serde_json::{Value, json};

use super::past::{Past, name_of, now};
use super::recorded::Recorded;
use super::status;
use crate::abort::Abort;
use crate::args::{Global, Why};
use crate::execution;
use crate::exit::Exit;
use crate::render::change::{Changed, changes};
use crate::render::story::Story;
use crate::render::time::took;
use crate::render::why::{self as lines, Inputs, Trouble, WhyView};
use crate::terminal::Terminal;
use crate::terminal::plain::word;

/// Explains one instance.
///
/// # Errors
///
/// There is no such instance, nothing has run yet, or the state cannot be read.
pub(crate) fn why(terminal: Terminal, global: &Global, args: &Why) -> Result<Exit, Abort> {
    let past = Past::find(global, args.workflow.as_deref())?;
    let workflow = args.workflow.as_deref().map(name_of).transpose()?;
    let run = past.run(None, workflow.as_deref())?;
    let workflow = past.workflow(&run, args.workflow.as_deref())?;
    let name = InstanceName::parse(&args.instance);
    let instance = workflow.find(&name).ok_or_else(|| unknown(&workflow, &args.instance))?;
    let reader = past.reader()?;
    let of_run = reader.events(run.run, Seq(0)).map_err(execution::state)?;
    let asked = Asked {
        ledger: reader.ledger(&run.workflow).map_err(execution::state)?,
        history: reader.history(&run.workflow, &name).map_err(execution::state)?,
        story: Story::of(&of_run, None),
        past: &past,
        run: &run,
        workflow: &workflow,
        instance,
        writer: SiteLock::holder(&past.dir).map_err(execution::state)?,
    };
    let view = asked.view();
    if terminal.json {
        terminal.object(&view.object());
    } else {
        for line in lines::why(&view) {
            terminal.data(line);
        }
    }
    Ok(Exit::Ok)
}

fn unknown(workflow: &Workflow, asked: &str) -> Abort {
    let of_task: Vec<_> = workflow
        .instances
        .iter()
        .filter(|def| def.name.task() == asked)
        .map(|def| def.name.as_str())
        .collect();
    let help = if of_task.is_empty() {
        "`flow graph` shows all tasks".to_owned()
    } else {
        format!("its instances are {}", of_task.join(", "))
    };
    let message = format!("the workflow `{}` has no instance `{asked}`", workflow.name);
    Abort::words(Exit::Usage, "state::no-instance", message, help)
}

/// What is asked, and where the answer comes from.
struct Asked<'a> {
    past: &'a Past,
    run: &'a RunSummary,
    workflow: &'a Workflow,
    instance: Instance,
    /// Who writes to the site at this moment.
    writer: Option<Owner>,
    ledger: Ledger,
    history: Vec<NamedEvent>,
    story: Story,
}

impl Asked<'_> {
    fn name(&self) -> &InstanceName {
        &self.workflow.instance(self.instance).name
    }

    fn row(&self) -> Option<&Row> {
        self.ledger.row(self.name())
    }

    fn view(&self) -> WhyView {
        let (workflow, instance) = (self.workflow, self.instance);
        let (def, task) = (workflow.instance(instance), workflow.task_of(instance));
        let success = self.row().and_then(|row| row.success.as_ref());
        let recorded = success.map(|success| (success.run, age(success.at)));
        let stale = match (task.effect, task.fresh, success) {
            (Effect::Action, Some(fresh), Some(success)) => {
                success.applied_at.is_none_or(|at| age(at) > fresh)
            }
            (Effect::Action | Effect::Converge | Effect::Once | Effect::Gate, _, _) => false,
        };
        WhyView {
            name: def.name.to_string(),
            site: self.past.site.site.name.clone(),
            site_flag: self.past.site.flag(),
            kind: task.kind.name().to_owned(),
            effect: task.effect,
            on_drift: task.on_drift,
            applies_on_change: task.kind.applies_on_change(def.with.raw()),
            stale,
            recorded,
            redefined: success.is_some_and(|s| s.said.fingerprint.definition != task.definition),
            inputs: self.inputs(instance),
            upstream: self.upstream(),
            trouble: self.trouble(),
            drift: success.and_then(|success| success.said.drift.clone()),
            notes: success.map(|success| success.said.notes.clone()).unwrap_or_default(),
            needs: def.needs.iter().map(|id| workflow.instance(*id).name.to_string()).collect(),
            history: history(&self.history),
        }
    }

    /// Resolves the parameters on what is recorded, and compares them with those of then.
    fn inputs(&self, instance: Instance) -> Inputs {
        let name = &self.workflow.instance(instance).name;
        let success = self.ledger.row(name).and_then(|row| row.success.as_ref());
        let Some(success) = success else { return Inputs::Compared(Vec::new()) };
        let vault = execution::vault(&self.past.dir, &self.past.site).of(&self.run.workflow);
        let reads = self.workflow.reads(instance);
        let values = match Recorded::for_reads(self.workflow, &self.ledger, &vault, &reads) {
            Ok(values) => values,
            Err(failure) => return Inputs::Unreadable(failure.message),
        };
        let resolved = match self.workflow.resolve(instance, &values) {
            Ok(resolved) => resolved,
            Err(Unresolved::Unknown(id)) => {
                return Inputs::Until(self.workflow.instance(id).name.to_string());
            }
            Err(Unresolved::Failed(failure)) => return Inputs::Unreadable(failure.message),
        };
        let mut before = success.said.fingerprint.params.clone();
        if values.lacks_secret {
            forget_unknown(&resolved, &mut before);
        }
        match stored(resolved, &vault) {
            Ok(params) => Inputs::Compared(changes("with", &before, &params)),
            Err(failure) => Inputs::Unreadable(failure.message),
        }
    }

    /// The gates that it reads of and that will say something else, with what changed for them.
    fn upstream(&self) -> Vec<(String, Vec<Changed>)> {
        let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
        let mut left = vec![self.instance];
        while let Some(reader) = left.pop() {
            for read in self.workflow.reads(reader) {
                let id = read.instance;
                let is_gate = self.workflow.task_of(id).effect == Effect::Gate;
                if !is_gate || !seen.insert(id) {
                    continue;
                }
                left.push(id);
                match self.inputs(id) {
                    Inputs::Compared(changed) if !changed.is_empty() => {
                        found.push((self.workflow.instance(id).name.to_string(), changed));
                    }
                    Inputs::Compared(_) | Inputs::Until(_) | Inputs::Unreadable(_) => {}
                }
            }
        }
        found
    }

    fn trouble(&self) -> Trouble {
        if self.workflow.instance(self.instance).skipped {
            return Trouble::LeftOut;
        }
        let row = self.row();
        if let Some(open) = row.and_then(|row| row.open.as_ref()) {
            return match self.writer.as_ref().filter(|_| open.run == self.run.run) {
                Some(owner) => Trouble::Working(open.run, status::by(owner)),
                None => Trouble::Open(open.run),
            };
        }
        if let Some(failed) = row.and_then(|row| row.failure.as_ref()) {
            let tries = attempts(&self.history, failed.run);
            return Trouble::Failed(failed.run, Box::new(failed.failure.clone()), tries);
        }
        if self.story.instances.contains_key(self.name()) {
            return Trouble::None;
        }
        let ancestors = self.workflow.graph.ancestors([self.instance.0]);
        let before: BTreeSet<_> = ancestors
            .into_iter()
            .filter(|vertex| *vertex < self.workflow.graph.instances())
            .map(|vertex| &self.workflow.instance(Instance(vertex)).name)
            .collect();
        let by = self.story.failed().map(|(name, _, _)| name).filter(|name| before.contains(name));
        let by: Vec<_> = by.map(ToString::to_string).collect();
        if by.is_empty() { Trouble::None } else { Trouble::Blocked(self.run.run, by) }
    }
}

fn age(at: i64) -> Duration {
    Duration::from_millis(u64::try_from(now().saturating_sub(at)).unwrap_or_default())
}

/// Takes out of recorded parameters what cannot be compared: secrets of which nothing is kept.
fn forget_unknown(resolved: &Resolved, before: &mut Value) {
    for pointer in &resolved.secret {
        let unknown = resolved.params.pointer(pointer).is_none_or(Value::is_null);
        if let Some(value) = before.pointer_mut(pointer).filter(|_| unknown) {
            *value = Value::Null;
        }
    }
}

/// Parameters as the ledger keeps them: a keyed digest in the place of each secret.
fn stored(resolved: Resolved, vault: &dyn Vault) -> Result<Value, Failure> {
    let Resolved { mut params, secret } = resolved;
    for pointer in &secret {
        if let Some(value) = params.pointer_mut(pointer).filter(|value| !value.is_null()) {
            *value = json!({ "$secret": vault.digest(value)? });
        }
    }
    Ok(params)
}

/// The last try of a run.
fn attempts(history: &[NamedEvent], run: RunId) -> u32 {
    let of_run = history.iter().filter(|event| event.event.run == run);
    let tries = of_run.filter_map(|event| match &event.event.body {
        Body::Outcome(Outcome::Failed { attempt, .. }) => Some(attempt.0),
        Body::Intent(intent) => Some(intent.attempt.0),
        Body::Outcome(_)
        | Body::Run(_)
        | Body::Record { .. }
        | Body::Edit { .. }
        | Body::End(_) => None,
    });
    tries.max().unwrap_or_default()
}

/// What became of it, newest run first.
fn history(events: &[NamedEvent]) -> Vec<(RunId, String)> {
    let mut told: Vec<(RunId, String)> = Vec::new();
    for event in events.iter().rev() {
        let how = match &event.event.body {
            Body::Outcome(outcome) => how(outcome),
            Body::Edit { user, what } => format!("{what} by {user}"),
            Body::Intent(_) | Body::Run(_) | Body::Record { .. } | Body::End(_) => continue,
        };
        // Of each run, its last word.
        if told.last().is_none_or(|(run, _)| *run != event.event.run) {
            told.push((event.event.run, how));
        }
    }
    told
}

fn how(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Succeeded(success) => match success.apply_ms {
            Some(ms) => format!("{}, {}", word(success.done), took(Duration::from_millis(ms))),
            None => word(success.done).to_owned(),
        },
        Outcome::Unchanged { done, .. } => word(*done).to_owned(),
        Outcome::Failed { failure, .. } => format!("failed: {}", failure.code),
        Outcome::DidNotTakeHold => "did not take hold".to_owned(),
        Outcome::Destroyed => "destroyed".to_owned(),
    }
}
