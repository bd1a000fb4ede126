//! The command line of flow.

mod abort;
mod args;
mod assets;
mod bug;
mod commands;
mod confirm;
mod env;
mod execution;
mod exit;
mod lab;
mod logs;
mod render;
mod signals;
mod site;
mod terminal;
mod workflow;

use std::process::ExitCode;

fn main() -> ExitCode {
    bug::watch();
    let exit = match args::parse() {
        Ok(args) => bug::caught(|| dispatch(args)),
        Err(exit) => exit,
    };
    exit.into()
}

fn dispatch(args: args::Args) -> exit::Exit {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let exit = runtime.block_on(commands::dispatch(args));
            // Work on other threads (a key, a compression) belongs to what was dropped.
            runtime.shutdown_background();
            exit
        }
        Err(error) => abort::Abort::bug("the async runtime cannot be built", &error).show(),
    }
}
