//! `flow run`: look, decide and act until everything is as declared.

use flow_engine::event::{RunEnded, SelectionArgs};

use crate::abort::Abort;
use crate::args::{Global, Run, Selection};
use crate::assets;
use crate::execution::{Execute, Executed};
use crate::exit::Exit;
use crate::site;
use crate::terminal::Terminal;
use crate::workflow::Set;

/// Runs a workflow.
///
/// # Errors
///
/// Nothing was run, or the run could not be written down.
pub(crate) async fn run(terminal: Terminal, global: &Global, args: &Run) -> Result<Exit, Abort> {
    let asset = assets::workflow(&args.workflow.workflow)?;
    let site = site::resolve(global.site.as_deref(), Some(&asset))?;
    let execute = Execute {
        terminal,
        asset: &asset,
        site: &site,
        set: Set::from_args(&args.workflow.inputs)?,
        selection: selection(&args.selection),
        how: &args.execution,
        resumed: None,
    };
    let executed = execute.execute().await?;
    Ok(exit(&executed))
}

fn selection(typed: &Selection) -> SelectionArgs {
    let Selection { only, until, from, skip, force, redo } = typed.clone();
    SelectionArgs { only, until, from, skip, force, redo }
}

/// The exit code of a run that came to its end.
pub(crate) fn exit(executed: &Executed) -> Exit {
    match executed.summary.ended {
        RunEnded::Complete => Exit::Ok,
        RunEnded::Interrupted => executed.interrupted,
        RunEnded::Failed if executed.summary.needs_a_human() => Exit::NeedsHuman,
        RunEnded::Failed => Exit::Failed,
    }
}
