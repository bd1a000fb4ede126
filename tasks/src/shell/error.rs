//! Why a command did not do what was asked.

use std::path::PathBuf;

use flow_engine::{Cx, Failure, KindError, NotRecorded, Retry};

use super::output::BadOutput;

/// How many lines of what a command printed are shown when it has failed; its log has all.
const LAST_LINES: usize = 5;

/// How many characters of each.
const LONGEST_LINE: usize = 200;

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    #[error("`{program}` cannot be run")]
    #[diagnostic(code(shell::spawn), help("check that the program exists and may be executed"))]
    Spawn { program: String, source: std::io::Error },
    #[error("the {what} ended with {how}")]
    #[diagnostic(
        code(shell::failed),
        help("`flow logs INSTANCE` shows what it printed; exit code 75 means: try again")
    )]
    Failed { what: &'static str, how: String, again: bool },
    #[error("the check ended with {how}, which says neither yes nor no")]
    #[diagnostic(
        code(shell::unknown),
        help("a check exits 0 for satisfied, 1 for not; `flow logs INSTANCE` shows its words")
    )]
    Unknown { how: String },
    #[error("what the {what} wrote to $FLOW_OUTPUT cannot be understood")]
    #[diagnostic(code(shell::output), help("write a JSON object, or lines of `key=value`"))]
    Output { what: &'static str, source: BadOutput },
    #[error("the {what} did not write {}", quoted(names))]
    #[diagnostic(
        code("shell::no-output"),
        help("write NAME=VALUE to the file $FLOW_OUTPUT, or take it out of `outputs`")
    )]
    NoOutput { what: &'static str, names: Vec<String> },
    #[error("the output `{name}` holds a secret, and would be stored in the clear")]
    #[diagnostic(
        code("shell::secret-in-output"),
        help(
            "the command has run; keep the secret out of its outputs, and give it to their readers \
             as it is given here"
        )
    )]
    SecretOutput { name: String },
    #[error("the folder `{}` cannot be entered", folder.display())]
    #[diagnostic(code(shell::cwd), help("check `cwd`; it is taken from where flow was started"))]
    Cwd { folder: PathBuf, source: std::io::Error },
    #[error("`{what}` is not a list of words")]
    #[diagnostic(
        code(shell::argv),
        help("write [\"program\", \"argument\"], or set `sh = true` for a line of shell")
    )]
    Argv { what: &'static str },
    #[error(transparent)]
    #[diagnostic(transparent)]
    NotRecorded(#[from] NotRecorded),
    #[error("a file for $FLOW_OUTPUT cannot be made")]
    #[diagnostic(
        code(shell::scratch),
        help("check that the folder for temporary files is writable")
    )]
    Scratch { source: std::io::Error },
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Failed { again: true, .. } | Self::Unknown { .. } | Self::Scratch { .. } => {
                Retry::Backoff
            }
            Self::Failed { again: false, .. }
            | Self::Spawn { .. }
            | Self::Output { .. }
            | Self::NoOutput { .. }
            | Self::SecretOutput { .. }
            | Self::Cwd { .. }
            | Self::Argv { .. }
            | Self::NotRecorded(_) => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Spawn { .. } | Self::Cwd { .. } | Self::Argv { .. } | Self::Scratch { .. } => {
                true
            }
            Self::Failed { .. }
            | Self::Unknown { .. }
            | Self::Output { .. }
            | Self::NoOutput { .. }
            | Self::SecretOutput { .. }
            | Self::NotRecorded(_) => false,
        }
    }
}

impl Error {
    /// The same as plain data; a command that ended badly with the last that it printed.
    pub(super) fn into_failure(self, cx: &Cx) -> Failure {
        let mut failure = Failure::from_kind(&self);
        match self {
            Self::Failed { .. } | Self::Unknown { .. } | Self::Output { .. } => {
                let said = cx.take_last_lines(LAST_LINES);
                failure.causes.extend(said.iter().map(|line| shown(line)));
            }
            Self::Spawn { .. }
            | Self::NoOutput { .. }
            | Self::SecretOutput { .. }
            | Self::Cwd { .. }
            | Self::Argv { .. }
            | Self::NotRecorded(_)
            | Self::Scratch { .. } => {}
        }
        failure
    }
}

/// A line of a command as a person is shown it.
fn shown(line: &str) -> String {
    let text: String = line.chars().filter(|one| !one.is_control()).take(LONGEST_LINE).collect();
    format!("> {}", text.trim())
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
