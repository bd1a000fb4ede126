//! A failure as it is stored, reported and shown: plain data, with every cause in words.

use serde::{Deserialize, Serialize};

use crate::kind::{KindError, Retry};

/// Why an instance failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The error's code, as `area::what`.
    pub code: String,
    /// What failed, with its subject.
    pub message: String,
    /// The causes, outermost first.
    pub causes: Vec<String>,
    /// What to do next.
    pub help: Option<String>,
    /// Whether trying again can help.
    pub retry: Retry,
    /// Whether the world has certainly not begun the change.
    pub refused: bool,
}

impl Failure {
    /// A failure of the engine's own, without a cause.
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>, retry: Retry) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            causes: Vec::new(),
            help: None,
            retry,
            refused: false,
        }
    }

    /// The same with a help text.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with its causes.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<String>) -> Self {
        self.causes = causes;
        self
    }

    /// Flattens a kind's error: code, words, causes, help and class.
    pub fn from_kind(error: &dyn KindError) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self {
            code: error.code().map_or_else(|| "flow::unnamed".to_owned(), |code| code.to_string()),
            message: error.to_string(),
            causes,
            help: error.help().map(|help| help.to_string()),
            retry: error.retry(),
            refused: error.refused(),
        }
    }
}
