//! What is wrong with a workflow: every problem of its files, each with its place and a remedy.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

/// A file is not TOML.
pub(crate) const SYNTAX: &str = "workflow::syntax";
/// Two things of one name.
pub(crate) const DUPLICATE: &str = "workflow::duplicate-name";

/// A secret stands in a file; no excerpt shows what its labels span.
pub(crate) const SECRET: &str = "workflow::literal-secret";

/// A stretch of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Span {
    /// Number of the file.
    pub(crate) file: u32,
    /// First byte.
    pub(crate) start: u32,
    /// First byte after it.
    pub(crate) end: u32,
}

/// One thing that is wrong with a workflow, and where.
#[derive(Debug, Clone)]
pub struct Problem {
    code: &'static str,
    message: String,
    help: Option<String>,
    labels: Vec<LabeledSpan>,
    source: Option<NamedSource<Arc<str>>>,
    line: usize,
    column: usize,
}

impl Problem {
    /// The code, as `workflow::unknown-key`.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The file, as it was named by its reader.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.source.as_ref().map(NamedSource::name)
    }

    /// Line and column of the place, both from 1, the column in characters.
    #[must_use]
    pub fn place(&self) -> (usize, usize) {
        (self.line, self.column)
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<&str> {
        self.help.as_deref()
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
        Some(Box::new(self.code))
    }

    fn severity(&self) -> Option<Severity> {
        Some(Severity::Error)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.labels.iter().cloned()))
    }
}

/// Everything that is wrong with a workflow, in the order of its files.
#[derive(Debug, Clone)]
pub struct Diagnostics {
    problems: Vec<Problem>,
    files: usize,
}

impl Diagnostics {
    /// A report of one problem that has no place in a file.
    pub(crate) fn without_place(code: &'static str, message: String, help: Option<String>) -> Self {
        let labels = Vec::new();
        let problem = Problem { code, message, help, labels, source: None, line: 0, column: 0 };
        Self { problems: vec![problem], files: 0 }
    }

    /// The problems.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        let plural = |n: usize| if n == 1 { "" } else { "s" };
        write!(f, "{count} error{}", plural(count))?;
        if self.files > 0 {
            write!(f, " in {} file{}", self.files, plural(self.files))?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

impl Diagnostic for Diagnostics {
    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        Some(Box::new(self.problems.iter().map(|problem| problem as &dyn Diagnostic)))
    }
}

/// A problem before its file is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) labels: Vec<(Span, String)>,
    pub(crate) help: Option<String>,
}

impl Finding {
    pub(crate) fn new(
        code: &'static str,
        message: impl Into<String>,
        span: Span,
        label: impl Into<String>,
    ) -> Self {
        Self { code, message: message.into(), labels: vec![(span, label.into())], help: None }
    }

    /// A finding about what no file says.
    pub(crate) fn nowhere(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), labels: Vec::new(), help: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    pub(crate) fn label(mut self, span: Span, label: impl Into<String>) -> Self {
        self.labels.push((span, label.into()));
        self
    }
}

/// One file of a workflow.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) text: Arc<str>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    pub(crate) fn push(&mut self, finding: Finding) {
        self.found.push(finding);
    }

    /// What is found of an instance that `when` leaves out: what it reads need not be there.
    pub(crate) fn append_left_out(&mut self, other: Self) {
        const FORGIVEN: [&str; 4] = [
            "workflow::unknown-reference",
            "workflow::unknown-instance",
            "workflow::expression",
            "workflow::type",
        ];
        let told = other.found.into_iter().filter(|finding| !FORGIVEN.contains(&finding.code));
        self.found.extend(told);
    }

    pub(crate) fn append(&mut self, mut other: Self) {
        self.found.append(&mut other.found);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.found.len()
    }

    /// The report. What is said twice of one place (by two instances of a task) is said once.
    pub(crate) fn into_diagnostics(mut self, files: &[File]) -> Diagnostics {
        self.found.sort_by_key(|finding| finding.labels.first().map(|(span, _)| *span));
        // What was read of a file that is not TOML is not what is meant by it.
        if self.found.iter().any(|finding| finding.code == SYNTAX) {
            self.found.retain(|finding| finding.code == SYNTAX || finding.code == DUPLICATE);
        }
        let mut seen = BTreeSet::new();
        self.found.retain(|finding| match finding.labels.first() {
            Some((span, _)) => seen.insert((finding.code, *span)),
            None => true,
        });
        let files = self.masked(files);
        let problems: Vec<Problem> =
            self.found.into_iter().map(|finding| problem(finding, &files)).collect();
        let named: BTreeSet<&str> = problems.iter().filter_map(Problem::file).collect();
        let files = named.len();
        Diagnostics { problems, files }
    }
}

impl Findings {
    /// The files as excerpts may show them: without the secrets that should not be there.
    fn masked(&self, files: &[File]) -> Vec<File> {
        let mut files = files.to_vec();
        for finding in self.found.iter().filter(|finding| finding.code == SECRET) {
            for (span, _) in &finding.labels {
                let Some(file) = files.get_mut(span.file as usize) else { continue };
                let (start, end) = (span.start as usize, span.end as usize);
                let Some(value) = file.text.get(start..end) else { continue };
                // Lines stay lines, so that the excerpt shows the right ones.
                let mask: String =
                    value.bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }).collect();
                file.text = [&file.text[..start], &mask, &file.text[end..]].concat().into();
            }
        }
        files
    }
}

fn problem(finding: Finding, files: &[File]) -> Problem {
    let placed = finding.labels.first().map(|(span, _)| *span);
    let place = placed.unwrap_or_default();
    let file = placed.and_then(|place| files.get(place.file as usize));
    let labels = finding
        .labels
        .iter()
        .filter(|(span, _)| span.file == place.file)
        .enumerate()
        .map(|(at, (span, label))| {
            let range = span.start as usize..span.end as usize;
            let label = (!label.is_empty()).then(|| label.clone());
            if at == 0 {
                LabeledSpan::new_primary_with_span(label, range)
            } else {
                LabeledSpan::new_with_span(label, range)
            }
        })
        .collect();
    // An excerpt shows one file; what is in another one is told in words.
    let elsewhere = finding.labels.iter().filter(|(span, _)| span.file != place.file);
    let elsewhere: Vec<String> = elsewhere
        .filter_map(|(span, label)| {
            let other = files.get(span.file as usize)?;
            let (line, _) = line_and_column(&other.text, span.start);
            Some(format!("{label}: {}:{line}", other.name))
        })
        .collect();
    let help = match (finding.help, elsewhere.as_slice()) {
        (help, []) => help,
        (None, others) => Some(others.join("; ")),
        (Some(help), others) => Some(format!("{}; {help}", others.join("; "))),
    };
    let (line, column) = file.map_or((0, 0), |file| line_and_column(&file.text, place.start));
    Problem {
        code: finding.code,
        message: finding.message,
        help,
        labels,
        source: file.map(|file| {
            NamedSource::new(file.name.clone(), Arc::clone(&file.text)).with_language("TOML")
        }),
        line,
        column,
    }
}

fn line_and_column(text: &str, at: u32) -> (usize, usize) {
    let before = text.get(..at as usize).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[start..].chars().count() + 1)
}

/// The word among `known` that was probably meant.
pub(crate) fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let limit = (length / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= limit && *distance < candidate.chars().count().max(length)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Help that names a near miss, or else everything there is, if that is not too much.
pub(crate) fn suggest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    what: &str,
) -> Option<String> {
    const SHOWN: usize = 12;

    if let Some(near) = near(word, known.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = known.into_iter().take(SHOWN + 1).collect();
    match all.len() {
        0 => Some(format!("there are no {what}")),
        1..=SHOWN => Some(format!("{what}: {}", all.join(", "))),
        _ => None,
    }
}

/// How many characters must be put in, left out, changed or swapped with the next one.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows = [vec![0; b.len() + 1], (0..=b.len()).collect(), vec![0; b.len() + 1]];
    for (i, x) in a.iter().enumerate() {
        rows[2][0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let mut best = (rows[1][j + 1] + 1).min(rows[2][j] + 1);
            best = best.min(rows[1][j] + usize::from(x != y));
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(rows[0][j - 1] + 1);
            }
            rows[2][j + 1] = best;
        }
        rows.rotate_left(1);
    }
    rows[1][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_miss_is_found() {
        let known = ["fetch-image", "bake-image", "create-vm"];
        assert_eq!(near("fetch-images", known), Some("fetch-image"));
        assert_eq!(near("crate-vm", known), Some("create-vm"));
        assert_eq!(near("whatever", known), None);
        assert_eq!(near("ot", ["to"]), Some("to"));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
