//! `flow validate`: everything that is wrong, at once, and nothing run.

use serde_json::json;

use crate::abort::Abort;
use crate::args::{Global, Workflow};
use crate::assets;
use crate::exit::Exit;
use crate::render::text::count;
use crate::site;
use crate::terminal::{Mark, Terminal};
use crate::workflow::{self, Set};

/// Checks a workflow for a site.
///
/// # Errors
///
/// Everything that is wrong with either.
pub(crate) fn validate(
    terminal: Terminal,
    global: &Global,
    args: &Workflow,
) -> Result<Exit, Abort> {
    let asset = assets::workflow(&args.workflow)?;
    let site = site::resolve(global.site.as_deref(), Some(&asset))?;
    let workflow = workflow::load(&asset, &site, Set::from_args(&args.inputs)?)?;
    let (tasks, instances) = (workflow.tasks.len(), workflow.instances.len());
    if terminal.json {
        terminal.object(&json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "validated",
            "workflow": workflow.name,
            "site": site.site.name,
            "tasks": tasks,
            "instances": instances,
        }));
    } else {
        let mark = terminal.mark(Mark::Good);
        let (name, site) = (&workflow.name, &site.site.name);
        let (tasks, instances) = (count(tasks, "task"), count(instances, "instance"));
        terminal.data(format!("{mark} {name} on {site}: {tasks}, {instances}"));
    }
    Ok(Exit::Ok)
}
