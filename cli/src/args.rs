//! The command line as typed. Doc comments are its help.

use std::path::PathBuf;

use flow_engine::event::SelectionArgs;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::exit::Exit;

/// Runs workflows of idempotent tasks: killed anywhere, resumed, never twice.
#[derive(Debug, Parser)]
#[command(name = "flow", version)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Global {
    /// The site: a name of `./sites/NAME.toml`, a shipped one, or a path ending in `.toml`
    #[arg(long, global = true, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// One JSON object a line on stdout, in place of text
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look, decide and act until everything is as declared
    Run(Run),
    /// Go on with a run that failed, was stopped or was killed
    Resume(Resume),
    /// Show what a run would do, and do nothing
    Plan(Plan),
    /// Show the tasks and who needs whom
    Graph(Graph),
    /// Show how the site's last run stands
    Status(Status),
    /// List the runs of the site
    Runs,
    /// Show what an instance printed
    Logs(Logs),
    /// Explain why an instance would run, ran or did not
    Why(Why),
    /// Print the outputs of the workflow
    Output(Output),
    /// Check workflow and site, all errors at once
    Validate(Workflow),
    /// Explain a kind; without a name, list them
    Explain(Explain),
    /// The embedded lab: loopback servers that speak the real protocols
    #[command(subcommand)]
    Lab(Lab),
}

/// Which workflow.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Workflow {
    /// A name of `./workflows/NAME.toml`, a shipped one, or a path ending in `.toml`
    #[arg(default_value = "bootstrap")]
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) inputs: Inputs,
}

/// Values for `[inputs]`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Inputs {
    /// Set an input; a secret one only as `NAME=env:VAR` or `NAME=file:PATH`
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) set: Vec<String>,
    /// Read inputs from a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs: Option<PathBuf>,
}

/// Which instances. A selector is NAME, NAME/KEY, a glob, `layer:X` or `tag:X`.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct Selection {
    /// Exactly these; what they need must hold already
    #[arg(long, value_name = "SELECTOR", conflicts_with_all = ["until", "from"])]
    pub(crate) only: Vec<String>,
    /// These and all that they need
    #[arg(long, value_name = "SELECTOR", conflicts_with = "from")]
    pub(crate) until: Vec<String>,
    /// These and all that needs them
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) from: Vec<String>,
    /// Not these
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) skip: Vec<String>,
    /// Apply these though they are as declared
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) force: Vec<String>,
    /// Do this `once` instance again
    #[arg(long, value_name = "INSTANCE")]
    pub(crate) redo: Vec<String>,
}

impl From<&Selection> for SelectionArgs {
    fn from(typed: &Selection) -> Self {
        let Selection { only, until, from, skip, force, redo } = typed.clone();
        Self { only, until, from, skip, force, redo }
    }
}

/// How to run.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Execution {
    /// Instances at a time
    #[arg(short, long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) jobs: u32,
    /// Start nothing new after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Do not ask before the first write to a real site
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) lab: LabOptions,
}

/// How the lab behaves, for a site that is one.
#[derive(Debug, Clone, Default, ClapArgs)]
pub(crate) struct LabOptions {
    /// How much faster than real the lab's time runs
    #[arg(long, value_name = "X")]
    pub(crate) lab_speed: Option<f64>,
    /// A fault, as `SYSTEM[@MACHINE]:CALL:FAULT[:COUNT]`
    #[arg(long, value_name = "FAULT")]
    pub(crate) lab_fault: Vec<String>,
}

/// `flow run`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) workflow: Workflow,
    #[command(flatten)]
    pub(crate) selection: Selection,
    #[command(flatten)]
    pub(crate) execution: Execution,
}

/// `flow resume`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Resume {
    /// Which run; the last one by default
    pub(crate) run: Option<u32>,
    #[command(flatten)]
    pub(crate) execution: Execution,
}

/// `flow plan`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Plan {
    #[command(flatten)]
    pub(crate) workflow: Workflow,
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Exit 2 when changes are pending, 3 when some are unknown
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) lab: LabOptions,
}

/// How a graph is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Text,
    /// For Graphviz
    Dot,
    /// For programs
    Json,
}

/// `flow graph`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) workflow: Workflow,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

/// `flow status`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Status {
    /// Whose last run, where a site has several workflows
    #[arg(short, long)]
    pub(crate) workflow: Option<String>,
}

/// `flow logs`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Logs {
    /// Which instance; all of the run by default
    pub(crate) instance: Option<String>,
    /// Of which run; the last one by default
    #[arg(long)]
    pub(crate) run: Option<u32>,
}

/// `flow why`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Why {
    /// Which instance
    pub(crate) instance: String,
    /// Of which workflow; that of the last run by default
    #[arg(short, long)]
    pub(crate) workflow: Option<String>,
}

/// `flow output`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Output {
    /// Which output, or a field of it as `NAME.FIELD`; all by default
    pub(crate) name: Option<String>,
    /// Print a secret, on a terminal only
    #[arg(long)]
    pub(crate) reveal: bool,
    /// Write it to a file that only you can read
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Of which workflow; that of the last run by default
    #[arg(short, long)]
    pub(crate) workflow: Option<String>,
}

/// `flow explain`.
#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Explain {
    /// Which kind
    pub(crate) kind: Option<String>,
}

/// `flow lab`.
#[derive(Debug, Subcommand)]
pub(crate) enum Lab {
    /// Run the lab until it is interrupted
    Serve(LabOptions),
    /// Run a command beside the lab, with KUBECONFIG and TALOSCONFIG set
    Exec {
        /// The command and its arguments
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
    /// Show the lab's world and what was written to it
    Status,
    /// Throw the lab's world away, and what flow knows of it
    Reset,
}

/// Reads the command line; help and version are printed here.
///
/// # Errors
///
/// How to exit: 0 after help and version, 64 after a wrong command line.
pub(crate) fn parse() -> Result<Args, Exit> {
    Args::try_parse().map_err(|error| {
        // Nothing can be done where not even this can be printed.
        let _ = error.print();
        if error.use_stderr() { Exit::Usage } else { Exit::Ok }
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Args::command().debug_assert();
    }
}
