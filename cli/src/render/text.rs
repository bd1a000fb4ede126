//! Lines of a given width.

use std::sync::OnceLock;

/// How wide a page is, where there is room for it.
pub(crate) const PAGE: usize = 100;

/// How wide the terminal is, where it is narrower than a page.
static NARROW: OnceLock<usize> = OnceLock::new();

/// Makes pages no wider than a terminal; said once, before anything is rendered.
pub(crate) fn narrow_to(columns: usize) {
    // Whoever comes second speaks of the same terminal.
    let _ = NARROW.set(columns);
}

/// How wide a page is here.
pub(crate) fn page() -> usize {
    NARROW.get().map_or(PAGE, |columns| PAGE.min(*columns))
}

/// How many columns a text takes; every glyph that flow prints takes one.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

/// A text with spaces behind it, up to a width.
pub(crate) fn pad(text: &str, to: usize) -> String {
    format!("{text}{}", " ".repeat(to.saturating_sub(width(text))))
}

/// Breaks words into lines of at most so many columns; a longer word has a line of its own.
///
/// Lines of the text stay lines, with their own indentation.
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for written in text.lines() {
        let indent: String = written.chars().take_while(|letter| *letter == ' ').collect();
        let mut line = String::new();
        for word in written.split_whitespace() {
            if line.is_empty() {
                line = format!("{indent}{word}");
            } else if width(&line) + 1 + width(word) > columns {
                lines.push(std::mem::replace(&mut line, format!("{indent}{word}")));
            } else {
                line.push(' ');
                line.push_str(word);
            }
        }
        lines.push(line);
    }
    lines
}

/// A text after a label, wrapped so that its further lines stand under the first.
pub(crate) fn hang(label: &str, text: &str) -> Vec<String> {
    let indent = width(label);
    let mut lines = wrap(text, page().saturating_sub(indent).max(20)).into_iter();
    let first = lines.next().unwrap_or_default();
    let mut hung = vec![format!("{label}{first}").trim_end().to_owned()];
    hung.extend(lines.map(|line| format!("{}{line}", " ".repeat(indent))));
    hung
}

/// `1 run`, `2 runs`.
pub(crate) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words_and_keep_their_indentation() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("on it:\n  sysctl -w", 40), ["on it:", "  sysctl -w"]);
        assert_eq!(wrap("unbreakable is kept", 4), ["unbreakable", "is", "kept"]);
        assert_eq!(hang("a  ", "b\nc"), ["a  b", "   c"]);
        assert_eq!((count(1, "run"), count(0, "run")), ("1 run".into(), "0 runs".into()));
    }
}
