//! One command each: resolve, call, render.

mod explain;
mod lab;
mod run;
mod validate;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::terminal::Terminal;

/// Does what the command line says.
pub(crate) async fn dispatch(args: Args) -> Exit {
    let Args { global, command } = args;
    let terminal = Terminal::detect(global.json);
    let done = match command {
        Command::Explain(explain) => explain::explain(terminal, &explain),
        Command::Lab(lab) => lab::lab(terminal, &global, lab).await,
        Command::Run(run) => run::run(terminal, &global, &run).await,
        Command::Validate(workflow) => validate::validate(terminal, &global, &workflow),
        Command::Resume(_)
        | Command::Plan(_)
        | Command::Graph(_)
        | Command::Status(_)
        | Command::Runs
        | Command::Logs(_)
        | Command::Why(_)
        | Command::Output(_) => Err(crate::abort::Abort::bug("not built", &"yet")),
    };
    done.unwrap_or_else(|abort| abort.show_on(terminal))
}
