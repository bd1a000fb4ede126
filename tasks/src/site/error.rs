//! What can be wrong with a site file, all of it in one report.

use std::fmt;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};

/// Everything that is wrong with one site file.
#[derive(Debug, thiserror::Error)]
#[error("the site file has errors")]
pub struct SiteErrors(pub Vec<Problem>);

/// One thing that is wrong, with the places that show it.
#[derive(Debug)]
pub struct Problem {
    code: &'static str,
    message: String,
    help: String,
    labels: Vec<LabeledSpan>,
    source: NamedSource<String>,
}

impl Problem {
    pub(super) fn new(
        source: &NamedSource<String>,
        code: &'static str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Self {
        Self {
            code,
            message: message.into(),
            help: help.into(),
            labels: Vec::new(),
            source: source.clone(),
        }
    }

    /// Points at a place in the file.
    pub(super) fn at(mut self, span: Option<SourceSpan>, label: &str) -> Self {
        self.labels
            .extend(span.map(|span| LabeledSpan::new_with_span(Some(label.to_owned()), span)));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(format!("site::{}", self.code)))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }
}
