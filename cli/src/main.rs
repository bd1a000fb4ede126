//! The command line of flow.

mod abort;
mod args;
mod assets;
mod commands;
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
    let args = match args::parse() {
        Ok(args) => args,
        Err(exit) => return exit.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let exit = match runtime {
        Ok(runtime) => runtime.block_on(commands::dispatch(args)),
        Err(error) => abort::Abort::bug("the async runtime cannot be built", &error).show(),
    };
    exit.into()
}
