use std::sync::Arc;
use std::time::Duration;

use crate::cx::SiteContext;
use crate::event::{Body, Done, Outcome, RunEnded};
use crate::failure::Failure;
use crate::id::Instance;
use crate::kind::{Effect, Retry};
use crate::runner::{Ending, Run, RunError, Selected, Summary};
use crate::testing::{Reaction, Simulated, Sketch, Stage, execute, options, workflow};
use crate::workflow::Workflow;

mod counts;
mod crash;
mod data;
mod semantics;
mod wishes;

fn sketch(stage: &Stage, name: &str, effect: Effect, needs: &[u32]) -> Sketch {
    Sketch::new(name, Simulated::new(&stage.world, effect), needs.iter().copied())
}

fn one(stage: &Stage, effect: Effect) -> Sketch {
    sketch(stage, "t", effect, &[])
}

async fn run(stage: &Stage, sketches: Vec<Sketch>) -> Summary {
    let workflow = workflow(sketches, &[]);
    execute(&workflow, &stage.store, options(&stage.store, 1)).await.unwrap()
}

fn prepared(stage: &Stage, workflow: &Arc<Workflow>, selected: Selected) -> Run {
    Run {
        workflow: Arc::clone(workflow),
        ledger: stage.store.ledger(&workflow.names()),
        selected,
        site: Arc::new(SiteContext::default()),
        store: Arc::clone(&stage.store) as Arc<dyn crate::journal::Store>,
        vault: Arc::clone(&stage.store) as Arc<dyn crate::journal::Vault>,
        options: options(&stage.store, 1),
    }
}

fn done(summary: &Summary, index: usize) -> Done {
    let Ending::Succeeded { done, .. } = &summary.endings[index] else {
        panic!("{:?}", summary.endings[index])
    };
    *done
}

fn failure(summary: &Summary, index: usize) -> &Failure {
    let Ending::Failed { failure, .. } = &summary.endings[index] else {
        panic!("{:?}", summary.endings[index])
    };
    failure
}

fn refusal(retry: Retry) -> Reaction {
    let mut failure = Failure::new("world::refused", "refused", retry);
    failure.refused = true;
    Reaction::Refuse(failure)
}

fn open(stage: &Stage, workflow: &Workflow, index: usize) -> bool {
    let ledger = stage.store.ledger(&workflow.names());
    ledger.row(&workflow.instances[index].name).is_some_and(|row| row.open.is_some())
}
