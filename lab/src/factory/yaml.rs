//! YAML as Go's encoder writes it: a schematic's id is the hash of exactly these bytes.
//!
//! Rules: go-yaml v3, encode.go (`stringv`) and emitterc.go (`yaml_emitter_analyze_scalar`).

use std::fmt::Write as _;

/// A node to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A scalar that is no string.
    Plain(String),
    Text(String),
    Sequence(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// Spaces of one level.
const INDENT: usize = 4;

impl Node {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn texts(texts: &[String]) -> Self {
        Self::Sequence(texts.iter().map(|text| Self::text(text)).collect())
    }

    pub(super) fn map(entries: Vec<(&str, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// A value of unknown shape; keys that are no strings are left out.
    pub(super) fn value(value: &serde_yaml_ng::Value) -> Self {
        use serde_yaml_ng::Value;
        match value {
            Value::Null => Self::Plain("null".to_owned()),
            Value::Bool(value) => Self::Plain(value.to_string()),
            Value::Number(value) => Self::Plain(value.to_string()),
            Value::String(value) => Self::text(value),
            Value::Sequence(values) => Self::Sequence(values.iter().map(Self::value).collect()),
            Value::Mapping(entries) => {
                let entries = entries.iter();
                let entries =
                    entries.filter_map(|(k, v)| Some((k.as_str()?.to_owned(), Self::value(v))));
                Self::Map(entries.collect())
            }
            Value::Tagged(tagged) => Self::value(&tagged.value),
        }
    }

    /// The whole document, with its newline at the end.
    pub(super) fn document(&self) -> String {
        let mut out = String::new();
        self.block(&mut out, 0);
        if !out.ends_with('\n') {
            out.push('\n');
        }
        out
    }

    /// Writes a node that starts a line at this indent, or continues one behind `- `.
    fn block(&self, out: &mut String, indent: usize) {
        match self {
            Self::Plain(text) => out.push_str(text),
            Self::Text(text) => scalar(out, text, indent),
            Self::Sequence(items) if items.is_empty() => out.push_str("[]"),
            Self::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Sequence(items) => {
                for (number, item) in items.iter().enumerate() {
                    start(out, number, indent);
                    out.push_str("- ");
                    item.block(out, indent + 2);
                    end(out);
                }
            }
            Self::Map(entries) => {
                for (number, (key, value)) in entries.iter().enumerate() {
                    start(out, number, indent);
                    scalar(out, key, indent);
                    out.push(':');
                    value.after_key(out, indent);
                    end(out);
                }
            }
        }
    }

    fn after_key(&self, out: &mut String, indent: usize) {
        // A map inside a list item is indented by two; what it holds is at the next multiple of four.
        let inner = (indent / INDENT + 1) * INDENT;
        let collection = match self {
            Self::Plain(_) | Self::Text(_) => false,
            Self::Sequence(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
        };
        if collection {
            out.push('\n');
            out.push_str(&" ".repeat(inner));
        } else {
            out.push(' ');
        }
        self.block(out, inner);
    }
}

fn start(out: &mut String, number: usize, indent: usize) {
    if number > 0 {
        out.push_str(&" ".repeat(indent));
    }
}

fn end(out: &mut String) {
    if !out.ends_with('\n') {
        out.push('\n');
    }
}

fn scalar(out: &mut String, text: &str, indent: usize) {
    let special = text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{feff}');
    let trailing = text.split('\n').any(|line| line.ends_with(' '));
    if text.contains('\n') && !special && !trailing {
        literal(out, text, indent);
    } else if special || text.contains('\n') || resolves(text) {
        double_quoted(out, text);
    } else if plain(text) {
        out.push_str(text);
    } else {
        // Writing to a string cannot fail.
        let _ = write!(out, "'{}'", text.replace('\'', "''"));
    }
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push_str(&INDENT.to_string());
    }
    let body = text.trim_end_matches('\n');
    match text.len() - body.len() {
        0 => out.push('-'),
        1 => {}
        _ => out.push('+'),
    }
    out.push('\n');
    let last = text.strip_suffix('\n').unwrap_or(text);
    for line in last.split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent.max(INDENT)));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        // Writing to a string cannot fail.
        let _ = match c {
            '"' => write!(out, "\\\""),
            '\\' => write!(out, "\\\\"),
            '\n' => write!(out, "\\n"),
            '\t' => write!(out, "\\t"),
            '\r' => write!(out, "\\r"),
            '\0' => write!(out, "\\0"),
            '\u{1b}' => write!(out, "\\e"),
            c if c.is_control() || c == '\u{feff}' => {
                let code = u32::from(c);
                if code <= 0xff {
                    write!(out, "\\x{code:02X}")
                } else {
                    write!(out, "\\u{code:04X}")
                }
            }
            c => write!(out, "{c}"),
        };
    }
    out.push('"');
}

/// Whether a text without newlines may stand without quotes in block style.
fn plain(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let blank_at = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t'));
    let Some(first) = chars.first() else { return false };
    if text.starts_with("---") || text.starts_with("...") || *first == ' ' || text.ends_with(' ') {
        return false;
    }
    let indicator =
        "#,[]{}&*!|>'\"%@`".contains(*first) || (matches!(first, '?' | ':' | '-') && blank_at(1));
    let inside = chars.iter().enumerate().skip(1).any(|(at, c)| match c {
        ':' => blank_at(at + 1),
        '#' => blank_at(at - 1),
        _ => false,
    });
    !indicator && !inside
}

/// Whether a plain text would be read as something else than a string.
fn resolves(text: &str) -> bool {
    const WORDS: [&str; 15] = [
        "", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", "-.inf",
        ".nan", "<<",
    ];
    let lower = text.to_ascii_lowercase();
    let starts = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c));
    let number = starts && is_number(&lower.replace('_', ""));
    WORDS.contains(&lower.as_str()) || lower == "+.inf" || number || is_date(text)
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let radix = |prefix: &str, radix: u32| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|digits| u64::from_str_radix(digits, radix).is_ok())
    };
    let sixties = unsigned.contains(':')
        && unsigned
            .split(':')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    radix("0x", 16)
        || radix("0o", 8)
        || radix("0b", 2)
        || sixties
        || (unsigned.bytes().any(|b| b.is_ascii_digit())
            && unsigned.bytes().all(|b| b.is_ascii_digit() || b".e+-".contains(&b))
            && unsigned.parse::<f64>().is_ok())
}

/// Whether a text starts as a timestamp does: four digits, a dash.
fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 8
        && bytes[..4].iter().all(u8::is_ascii_digit)
        && bytes[4] == b'-'
        && bytes[5..].iter().all(|b| b.is_ascii_digit() || b"-:.TtZz+ ".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> String {
        Node::map(vec![("a", Node::text(text))]).document()
    }

    #[test]
    fn strings_are_quoted_as_go_does() {
        for (text, expected) in [
            ("net.ifnames=0", "a: net.ifnames=0\n"),
            ("-console", "a: -console\n"),
            ("true", "a: \"true\"\n"),
            ("10", "a: \"10\"\n"),
            ("0x1f", "a: \"0x1f\"\n"),
            ("1.2.3.4", "a: 1.2.3.4\n"),
            ("{\"a\": 1}", "a: '{\"a\": 1}'\n"),
            ("it's: so", "a: 'it''s: so'\n"),
            ("a b #c", "a: 'a b #c'\n"),
            ("- a", "a: '- a'\n"),
            ("x\ny", "a: |-\n    x\n    y\n"),
            ("x\n\ny\n", "a: |\n    x\n\n    y\n"),
            ("tab\t", "a: \"tab\\t\"\n"),
        ] {
            assert_eq!(written(text), expected, "{text:?}");
        }
    }
}
