//! `flow graph`: the tasks, who needs whom, and what takes longest.

use flow_engine::ledger::Ledger;
use flow_state::{Reader, SiteDir};

use crate::abort::Abort;
use crate::args::{Format, Global, Graph};
use crate::assets;
use crate::execution;
use crate::exit::Exit;
use crate::render::graph::{self, Picture};
use crate::site;
use crate::terminal::Terminal;
use crate::workflow::{self, Set};

/// Shows a workflow as a picture. Takes no lock.
///
/// # Errors
///
/// Workflow or site are wrong, or the state is there and cannot be read.
pub(crate) fn graph(terminal: Terminal, global: &Global, args: &Graph) -> Result<Exit, Abort> {
    let asset = assets::workflow(&args.workflow.workflow)?;
    let site = site::resolve(global.site.as_deref(), Some(&asset))?;
    let workflow = workflow::load(&asset, &site, Set::from_args(&args.workflow.inputs)?)?;
    let dir = SiteDir::new(&site::root(), &site.site.name);
    let reader = Reader::open(&dir).map_err(execution::state)?;
    let ledger = match reader {
        Some(reader) => reader.ledger(&workflow.name).map_err(execution::state)?,
        None => Ledger::default(),
    };
    let picture = Picture::new(&workflow, &ledger);
    let format = if terminal.json { Format::Json } else { args.format };
    match format {
        Format::Text => {
            for line in graph::text(&picture) {
                terminal.data(line);
            }
        }
        Format::Dot => terminal.raw(graph::dot(&picture).as_bytes()),
        Format::Json => terminal.object(&graph::object(&picture)),
    }
    Ok(Exit::Ok)
}
