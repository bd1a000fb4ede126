//! From places in a string to places in the TOML that it was written as.

use std::ops::Range;

/// Where bytes of a TOML string's value stand in its source, delimiters included.
///
/// `written` is the string as it stands in the file, with its quotes; `place` counts bytes of the
/// value. What cannot be mapped gives the whole string.
pub(crate) fn in_source(written: &str, place: &Range<usize>) -> Range<usize> {
    let Some((body, escapes)) = body(written) else { return 0..written.len() };
    let mut map = Mapper { text: &written[body.clone()], at: 0, value: 0, escapes };
    let start = map.source_of(place.start);
    let end = map.source_of(place.end);
    match (start, end) {
        (Some(start), Some(end)) if start <= end => body.start + start..body.start + end,
        _ => 0..written.len(),
    }
}

/// The part between the quotes, and whether it has escapes.
fn body(written: &str) -> Option<(Range<usize>, bool)> {
    for (quote, escapes) in [("\"\"\"", true), ("'''", false)] {
        if written.len() >= 6 && written.starts_with(quote) && written.ends_with(quote) {
            let rest = &written[3..];
            // A line break right after the opening quotes is not part of the value.
            let skipped =
                if rest.starts_with("\r\n") { 2 } else { usize::from(rest.starts_with('\n')) };
            return Some((3 + skipped..written.len() - 3, escapes));
        }
    }
    for (quote, escapes) in [('"', true), ('\'', false)] {
        if written.len() >= 2 && written.starts_with(quote) && written.ends_with(quote) {
            return Some((1..written.len() - 1, escapes));
        }
    }
    None
}

/// Walks source and value side by side, forward only.
struct Mapper<'a> {
    text: &'a str,
    at: usize,
    value: usize,
    escapes: bool,
}

impl Mapper<'_> {
    fn source_of(&mut self, place: usize) -> Option<usize> {
        while self.value < place {
            let rest = self.text.get(self.at..)?;
            let first = rest.chars().next()?;
            if self.escapes && first == '\\' {
                let (source, value) = escape(rest)?;
                self.at += source;
                self.value += value;
            } else {
                self.at += first.len_utf8();
                self.value += first.len_utf8();
            }
        }
        Some(self.at)
    }
}

/// How long an escape is in the source, and how long what it stands for.
fn escape(rest: &str) -> Option<(usize, usize)> {
    let code = |digits: usize| {
        let code = u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?;
        Some((2 + digits, char::from_u32(code)?.len_utf8()))
    };
    match rest[1..].chars().next()? {
        'b' | 't' | 'n' | 'f' | 'r' | 'e' | '"' | '\\' => Some((2, 1)),
        'x' => code(2),
        'u' => code(4),
        'U' => code(8),
        // A backslash at the end of a line takes all white space after it away.
        _ => Some((1 + rest[1..].len() - rest[1..].trim_start().len(), 0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every expression of a value is found where it is written.
    fn mapped(written: &str, part: &str) -> String {
        let toml = format!("x = {written}");
        let parsed: toml::Table = toml.parse().unwrap();
        let value = parsed["x"].as_str().unwrap().to_owned();
        let at = value.find(part).unwrap();
        written[in_source(written, &(at..at + part.len()))].to_owned()
    }

    #[test]
    fn places_survive_quotes_escapes_and_lines() {
        for written in [
            r#""${a.b}""#,
            "'${a.b}'",
            r#""tab\t quote\" ${a.b} end""#,
            r#""caf\u00e9 \U0001F600 \x41 é ${a.b}""#,
            "\"\"\"\r\nfirst\r\nsecond ${a.b}\r\n\"\"\"",
            "\"\"\"\\\n   joined \\\n\n   ${a.b}\"\"\"",
            "'''\nraw \\n ${a.b}'''",
        ] {
            assert_eq!(mapped(written, "a.b"), "a.b", "{written}");
        }
    }

    #[test]
    fn what_is_no_string_is_taken_whole() {
        assert_eq!(in_source("12", &(0..1)), 0..2);
    }
}
