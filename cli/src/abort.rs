//! Why a command could not do its work: diagnostics, and the exit code that goes with them.

use miette::{Diagnostic, Report};

use crate::exit::Exit;

/// The end of a command that could not do its work.
#[derive(Debug)]
pub(crate) struct Abort {
    /// What to exit with.
    pub(crate) exit: Exit,
    /// What to tell, each with code, cause and help.
    pub(crate) reports: Vec<Report>,
}

/// A failure of the command line's own, in words.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Words {
    code: &'static str,
    message: String,
    help: Option<String>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Diagnostic for Words {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(self.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn std::fmt::Display + 'a>)
    }
}

impl Abort {
    /// One diagnostic.
    pub(crate) fn new(exit: Exit, report: impl Into<Report>) -> Self {
        Self { exit, reports: vec![report.into()] }
    }

    /// A sentence with a code and what to do.
    pub(crate) fn words(
        exit: Exit,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        let (message, help) = (message.into(), Some(help.into()));
        Self::new(exit, Report::new(Words { code, message, help, source: None }))
    }

    /// An error of the file system, with its subject.
    pub(crate) fn io(exit: Exit, message: impl Into<String>, source: std::io::Error) -> Self {
        let source: Option<Box<dyn std::error::Error + Send + Sync>> = Some(Box::new(source));
        let words = Words { code: "flow::io", message: message.into(), help: None, source };
        Self::new(exit, Report::new(words))
    }

    /// Something that must not happen.
    pub(crate) fn bug(message: &str, error: &dyn std::fmt::Display) -> Self {
        let help = "this is a bug in flow; please report it with the command that led here";
        Self::words(Exit::Bug, "flow::bug", format!("{message}: {error}"), help)
    }
}
