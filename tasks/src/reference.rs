//! Where a secret or a certificate of the site comes from. A site file never holds one itself.

use std::path::PathBuf;
use std::time::Duration;

use flow_engine::Secret;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// The longest that a command may take to print a secret.
const COMMAND: Duration = Duration::from_secs(30);

/// A reference to a value that is kept elsewhere, as `{ file = "…" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Reference {
    /// An environment variable.
    Env(String),
    /// A file; a final newline is not part of the value.
    File(PathBuf),
    /// What a command prints; run without a shell, a final newline is not part of the value.
    Command(Vec<String>),
}

/// Why a reference could not be resolved.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum ReferenceError {
    /// The variable is not set, or is not text.
    #[error("the environment variable {name} is not set")]
    #[diagnostic(code(site::reference), help("set it, or change the reference in the site file"))]
    Env {
        /// Its name.
        name: String,
    },
    /// The file cannot be read.
    #[error("{} cannot be read", path.display())]
    #[diagnostic(code(site::reference), help("check the path in the site file"))]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The command cannot be run.
    #[error("the command `{program}` cannot be run")]
    #[diagnostic(code(site::reference), help("check the command in the site file"))]
    Spawn {
        /// Its program.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// The command failed, took too long or printed no text.
    #[error("the command `{program}` printed no value")]
    #[diagnostic(code(site::reference), help("run it by hand; it must exit 0 and print the value"))]
    Command {
        /// Its program.
        program: String,
    },
}

impl Reference {
    /// Reads the value.
    ///
    /// # Errors
    ///
    /// What could not be read, never what was in it.
    pub(crate) async fn read(&self) -> Result<Secret<String>, ReferenceError> {
        let text = match self {
            Self::Env(name) => {
                std::env::var(name).map_err(|_| ReferenceError::Env { name: name.clone() })?
            }
            Self::File(path) => std::fs::read_to_string(path)
                .map_err(|source| ReferenceError::File { path: path.clone(), source })?,
            Self::Command(argv) => run(argv).await?,
        };
        Ok(Secret::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
    }
}

async fn run(argv: &[String]) -> Result<String, ReferenceError> {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = || ReferenceError::Command { program: program.clone() };
    let output =
        Command::new(&program).args(argv.get(1..).unwrap_or_default()).kill_on_drop(true).output();
    let output = tokio::time::timeout(COMMAND, output)
        .await
        .map_err(|_| failed())?
        .map_err(|source| ReferenceError::Spawn { program: program.clone(), source })?;
    if !output.status.success() {
        return Err(failed());
    }
    String::from_utf8(output.stdout).map_err(|_| failed())
}

/// Certificate authorities: none, one reference, or several.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Authorities {
    /// Several, or none.
    Many(Vec<Reference>),
    /// One.
    One(Reference),
    /// Not said.
    #[default]
    None,
}

impl Authorities {
    /// All of them as one PEM text; `None` where there is none.
    ///
    /// # Errors
    ///
    /// One of them cannot be read.
    pub(crate) async fn read(&self) -> Result<Option<String>, ReferenceError> {
        let references = match self {
            Self::Many(references) => references.as_slice(),
            Self::One(reference) => std::slice::from_ref(reference),
            Self::None => &[],
        };
        let mut pem = String::new();
        for reference in references {
            pem.push_str(reference.read().await?.reveal());
            pem.push('\n');
        }
        Ok((!pem.is_empty()).then_some(pem))
    }
}
