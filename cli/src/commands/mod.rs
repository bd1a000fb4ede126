//! One command each: resolve, call, render.

mod explain;
mod graph;
mod lab;
mod logs;
mod output;
mod past;
mod plan;
mod recorded;
mod run;
mod status;
mod validate;
mod why;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::terminal::{self, Terminal};

/// Does what the command line says.
pub(crate) async fn dispatch(args: Args) -> Exit {
    let Args { global, command } = args;
    let terminal = Terminal::detect(global.json);
    let done = match command {
        Command::Graph(args) => graph::graph(terminal, &global, &args),
        Command::Status(args) => status::status(terminal, &global, &args),
        Command::Runs => status::runs(terminal, &global),
        Command::Logs(args) => logs::logs(terminal, &global, &args),
        Command::Output(args) => output::output(terminal, &global, &args),
        Command::Why(args) => why::why(terminal, &global, &args),
        Command::Explain(explain) => explain::explain(terminal, &explain),
        Command::Lab(lab) => lab::lab(terminal, &global, lab).await,
        Command::Run(run) => run::run(terminal, &global, &run).await,
        Command::Validate(workflow) => validate::validate(terminal, &global, &workflow),
        Command::Resume(resume) => run::resume(terminal, &global, &resume).await,
        Command::Plan(plan) => plan::plan(terminal, &global, &plan).await,
    };
    terminal::ended(done.unwrap_or_else(|abort| abort.show_on(terminal)))
}
