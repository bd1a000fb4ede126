//! A diagnostic as it is shown: its causes told flatly and once, long lines cut to the place.

use std::error::Error;
use std::fmt;

use miette::{
    Diagnostic, LabeledSpan, MietteError, MietteSpanContents, NamedSource, SourceCode, SourceSpan,
    SpanContents,
};

/// The longest line of a source that is shown whole, in bytes: a formatter cannot pad to columns
/// beyond 65535, and nobody reads so far.
const LONGEST: usize = 500;
/// How much of a longer line is shown before the place.
const BEFORE: usize = 40;
/// Stands for what was cut.
const CUT: &str = "…";

/// A diagnostic that can be drawn, whatever its source and its causes are.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    of: &'a dyn Diagnostic,
    cause: Option<Box<Cause>>,
    excerpt: Option<(Excerpt, Vec<LabeledSpan>)>,
}

/// A cause in words, and its own.
#[derive(Debug, thiserror::Error)]
#[error("{words}")]
struct Cause {
    words: String,
    source: Option<Box<Cause>>,
}

impl<'a> Shown<'a> {
    /// A view of a diagnostic.
    pub(super) fn new(of: &'a dyn Diagnostic) -> Self {
        let cause = causes(of)
            .into_iter()
            .rev()
            .fold(None, |source, words| Some(Box::new(Cause { words, source })));
        Self { of, cause, excerpt: excerpt(of) }
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.of, f)
    }
}

impl Error for Shown<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &dyn Error)
    }
}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.of.code()
    }

    fn severity(&self) -> Option<miette::Severity> {
        self.of.severity()
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        help(self.of)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        match &self.excerpt {
            Some((excerpt, _)) => Some(excerpt),
            None => self.of.source_code(),
        }
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match &self.excerpt {
            Some((_, labels)) => Some(Box::new(labels.iter().cloned())),
            None => self.of.labels(),
        }
    }
}

/// What to do: its own word, else that of the first cause that has one.
pub(super) fn help<'a>(of: &'a dyn Diagnostic) -> Option<Box<dyn fmt::Display + 'a>> {
    of.help().or_else(|| help(of.diagnostic_source()?))
}

/// Why, from the failure to its root: each thing once.
pub(super) fn causes(of: &dyn Diagnostic) -> Vec<String> {
    let head = of.to_string();
    let mut told: Vec<String> = Vec::new();
    let mut next = of.source();
    while let Some(cause) = next {
        next = cause.source();
        let words = cause.to_string();
        if has(&head, &words) || told.iter().any(|said| has(said, &words)) {
            continue;
        }
        // Libraries like to repeat what their own cause says, and to add a little.
        match told.last_mut().filter(|last| has(&words, last)) {
            Some(last) => *last = words,
            None => told.push(words),
        }
    }
    told
}

fn has(words: &str, part: &str) -> bool {
    words.to_lowercase().contains(&part.to_lowercase())
}

/// The name of the file that a diagnostic points into.
pub(super) fn file(of: &dyn Diagnostic) -> Option<String> {
    let start = SourceSpan::from((0, 0));
    of.source_code()?.read_span(&start, 0, 0).ok()?.name().map(str::to_owned)
}

/// The source with its long lines cut, and the labels moved to where their places are then.
fn excerpt(of: &dyn Diagnostic) -> Option<(Excerpt, Vec<LabeledSpan>)> {
    let whole = of.source_code()?.read_span(&SourceSpan::from((0, 0)), 0, usize::MAX).ok()?;
    let text = std::str::from_utf8(whole.data()).ok()?;
    if text.lines().all(|line| line.len() <= LONGEST) {
        return None;
    }
    let labels: Vec<LabeledSpan> = of.labels()?.collect();
    let places: Vec<usize> = labels.iter().map(LabeledSpan::offset).collect();
    let excerpt = Excerpt::new(whole.name().unwrap_or_default(), text, &places);
    let moved = labels.iter().map(|label| {
        let begin = excerpt.moved(label.offset());
        let end = excerpt.moved(label.offset() + label.len());
        let words = label.label().map(str::to_owned);
        let span = (begin, end.saturating_sub(begin));
        if label.primary() {
            LabeledSpan::new_primary_with_span(words, span)
        } else {
            LabeledSpan::new_with_span(words, span)
        }
    });
    let moved = moved.collect();
    Some((excerpt, moved))
}

/// A source whose long lines are cut. It still knows the columns of the whole.
#[derive(Debug)]
struct Excerpt {
    source: NamedSource<String>,
    lines: Vec<Line>,
}

/// A line of the whole, and what is left of it.
#[derive(Debug)]
struct Line {
    /// Where it begins in the whole.
    whole: usize,
    /// Where it begins in what is left.
    left: usize,
    /// How much is cut off before, and what stands for that.
    cut: usize,
    mark: usize,
    /// How much is kept.
    kept: usize,
}

impl Excerpt {
    fn new(name: &str, text: &str, places: &[usize]) -> Self {
        let (mut left, mut lines, mut whole) = (String::new(), Vec::new(), 0);
        for written in text.split_inclusive('\n') {
            let body = written.trim_end_matches(['\r', '\n']);
            let inside = places.iter().filter_map(|place| place.checked_sub(whole));
            let first = inside.filter(|place| *place <= body.len()).min();
            let cut = match first {
                Some(place) if body.len() > LONGEST => {
                    body.floor_char_boundary(place.saturating_sub(BEFORE))
                }
                Some(_) | None => 0,
            };
            let end = body.floor_char_boundary(cut.saturating_add(LONGEST));
            let mark = if cut > 0 { CUT } else { "" };
            lines.push(Line { whole, left: left.len(), cut, mark: mark.len(), kept: end - cut });
            left.push_str(mark);
            left.push_str(&body[cut..end]);
            left.push_str(if end < body.len() { CUT } else { "" });
            left.push('\n');
            whole += written.len();
        }
        Self { source: NamedSource::new(name, left), lines }
    }

    /// Where a place of the whole is in what is left; the nearest one if it is cut.
    fn moved(&self, place: usize) -> usize {
        let at = self.lines.partition_point(|line| line.whole <= place);
        let Some(line) = self.lines.get(at.saturating_sub(1)) else { return 0 };
        let column = (place - line.whole).saturating_sub(line.cut).min(line.kept);
        line.left + line.mark + column
    }

    /// How much further to the right a place stands in the whole.
    fn shift(&self, place: usize) -> usize {
        let at = self.lines.partition_point(|line| line.left <= place);
        self.lines.get(at.saturating_sub(1)).map_or(0, |line| line.cut.saturating_sub(line.mark))
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let read = self.source.read_span(span, before, after)?;
        // Without a line of context the place itself is asked for.
        let shift = if before == 0 { self.shift(span.offset()) } else { 0 };
        Ok(Box::new(MietteSpanContents::new_named(
            self.source.name().to_owned(),
            read.data(),
            *read.span(),
            read.line(),
            read.column() + shift,
            read.line_count(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme};

    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("`tasks.b` does not exist")]
    struct Unknown {
        #[source_code]
        text: NamedSource<String>,
        #[label("no task has this name")]
        place: SourceSpan,
    }

    fn drawn(of: &dyn Diagnostic) -> String {
        let mut text = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut text, &Shown::new(of)).unwrap();
        text
    }

    #[test]
    fn a_place_far_to_the_right_is_shown_with_its_column() {
        let text = format!("a = 1\nb = \"ä{}${{tasks.b.c}}\"\n", "x".repeat(2_000_000));
        let place = (text.find("tasks.b").unwrap(), 7).into();
        let far = text.lines().nth(1).unwrap().find("tasks.b").unwrap() + 1;
        let error = Unknown { text: NamedSource::new("far.toml", text), place };
        let drawn = drawn(&error);
        assert!(drawn.contains(&format!("[far.toml:2:{far}]")), "{drawn}");
        assert!(drawn.contains("2 │ …xxx") && drawn.contains("x${tasks.b.c}\""), "{drawn}");
        assert!(drawn.len() < 2000, "{drawn}");
    }

    #[test]
    fn a_cause_is_told_once_and_its_help_is_that_of_the_whole() {
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("the run had to stop")]
        struct Outer {
            #[source]
            #[diagnostic_source]
            source: Inner,
        }
        #[derive(Debug, thiserror::Error, Diagnostic)]
        #[error("file is not a database")]
        #[diagnostic(help("free some space"))]
        struct Inner {
            source: std::io::Error,
        }
        let source = std::io::Error::other("Error code 26: file is not a database");
        let error = Outer { source: Inner { source } };
        assert_eq!(causes(&error), ["Error code 26: file is not a database"]);
        let drawn = drawn(&error);
        assert_eq!(drawn.matches("not a database").count(), 1, "{drawn}");
        assert_eq!(drawn.trim_end().lines().last().unwrap().trim(), "help: free some space");
    }
}
