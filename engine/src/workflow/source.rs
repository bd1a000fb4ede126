//! Files as trees of values, each with its place.

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::error::{DUPLICATE, File, Finding, Findings, SYNTAX, Span};

/// Where the text of workflows, and of files that they read, comes from.
///
/// The engine reads no disk: whoever loads a workflow says what a name means.
pub trait Sources {
    /// A workflow file: the entry, or what an `include` names, relative to its includer.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words.
    fn workflow(&self, name: &str, includer: Option<&str>) -> Result<Source, String>;

    /// The text of a file that the function `file` names, relative to the file that says so.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words.
    fn file(&self, path: &str, reader: &str) -> Result<String, String>;

    /// The secret that an input's reference leads to, as `{ env = "NAME" }`. `None`: references
    /// are not followed here; tasks get them as they are.
    ///
    /// # Errors
    ///
    /// Why it cannot be read, in words that never quote it.
    fn secret(&self, reference: &serde_json::Value) -> Option<Result<String, String>> {
        let _ = reference;
        None
    }
}

/// A workflow file.
#[derive(Debug, Clone)]
pub struct Source {
    /// How to name it: in messages, and as includer. The same file has the same name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) content: Content,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    List(Vec<Node>),
    Table(Table),
}

/// A table in the order of the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// One entry of a table.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

impl Node {
    /// What sort of value it is, with an article.
    pub(crate) fn sort(&self) -> &'static str {
        match self.content {
            Content::Text(_) => "a string",
            Content::Integer(_) | Content::Float(_) => "a number",
            Content::Bool(_) => "a boolean",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
        }
    }

    /// The value as text that does not depend on the order of keys.
    pub(crate) fn canonical(&self, into: &mut String) {
        match &self.content {
            Content::Table(table) => {
                let mut entries: Vec<&Entry> = table.entries.iter().collect();
                entries.sort_by(|a, b| a.key.cmp(&b.key));
                into.push('{');
                for entry in entries {
                    into.push_str(&Value::from(entry.key.as_str()).to_string());
                    into.push(':');
                    entry.value.canonical(into);
                    into.push(',');
                }
                into.push('}');
            }
            Content::List(items) => {
                into.push('[');
                for item in items {
                    item.canonical(into);
                    into.push(',');
                }
                into.push(']');
            }
            Content::Text(_) | Content::Integer(_) | Content::Float(_) | Content::Bool(_) => {
                into.push_str(&self.to_json().to_string());
            }
        }
    }

    /// The value as JSON, strings as written.
    pub(crate) fn to_json(&self) -> Value {
        match &self.content {
            Content::Text(text) => Value::String(text.clone()),
            Content::Integer(number) => Value::from(*number),
            Content::Float(number) => Value::from(*number),
            Content::Bool(value) => Value::Bool(*value),
            Content::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Content::Table(table) => table.to_json(),
        }
    }
}

impl Table {
    pub(crate) fn to_json(&self) -> Value {
        let fields = self.entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json()));
        Value::Object(fields.collect::<Map<_, _>>())
    }
}

/// Parses a file, as far as that is possible.
pub(crate) fn parse(file: &File, number: u32, findings: &mut Findings) -> Table {
    let (document, errors) = DeTable::parse_recoverable(&file.text);
    let clean = errors.is_empty();
    let mut errors = errors;
    errors.sort_by_key(|error| error.span().map(|span| span.start));
    let mut line = None;
    for error in errors {
        let at = error.span().map_or(0, |span| span.start.min(file.text.len()));
        let here = file.text.get(..at).map(|before| before.matches('\n').count());
        // One error in a line is enough to find it.
        if here != line {
            findings.push(syntax(&error, number, &file.text));
        }
        line = here;
        // After brackets that do not close, everything looks wrong.
        if ["array", "inline table", "unclosed"].iter().any(|word| error.message().contains(word)) {
            break;
        }
    }
    let mut reader = Reader { file: number, clean, findings };
    reader.table(document.into_inner())
}

fn syntax(error: &toml::de::Error, file: u32, text: &str) -> Finding {
    let range = error.span().unwrap_or(0..0);
    let start = range.start.min(text.len());
    let span = span(file, start..range.end.clamp(start, text.len()));
    let message = error.message();
    if message.contains("duplicate key") {
        let name = text.get(range).unwrap_or_default().trim_matches(['"', '\'']);
        return Finding::new(DUPLICATE, format!("`{name}` is there twice"), span, "the second one")
            .help("a name may be used once in a table; rename or remove one of the two");
    }
    let word = text.get(span.start as usize..span.end as usize).unwrap_or_default();
    let is_word = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/'));
    if is_word && message.starts_with("invalid") {
        return Finding::new(SYNTAX, format!("`{word}` is not a value"), span, "no quotes")
            .help(format!("a string stands in quotes: \"{word}\""));
    }
    let mut lines = message.lines();
    let first = lines.next().unwrap_or("this is not TOML").to_owned();
    let rest: Vec<&str> = lines.collect();
    let help = if quotes_in_quotes(text, start) {
        "an expression with quotes stands in single ones: '${join(\",\", …)}'".to_owned()
    } else if rest.is_empty() {
        "the file must be TOML: strings in quotes, one key for each line".to_owned()
    } else {
        rest.join("; ")
    };
    Finding::new(SYNTAX, first, span, "here").help(help)
}

/// Whether the line up to here is an expression that its own quotes cut off.
fn quotes_in_quotes(text: &str, at: usize) -> bool {
    let before = &text[..at];
    let line = &before[before.rfind('\n').map_or(0, |newline| newline + 1)..];
    line.rsplit_once("${").is_some_and(|(before, inner)| {
        before.contains('"') && inner.contains('"') && !inner.contains('}')
    })
}

pub(crate) fn span(file: u32, range: std::ops::Range<usize>) -> Span {
    let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    Span { file, start: small(range.start), end: small(range.end) }
}

struct Reader<'a> {
    file: u32,
    /// The file is TOML.
    clean: bool,
    findings: &'a mut Findings,
}

/// The parser bounds how deep values nest, so recursion is safe here.
impl Reader<'_> {
    fn table(&mut self, table: DeTable<'_>) -> Table {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| Entry {
                key_span: span(self.file, key.span()),
                key: key.into_inner().into_owned(),
                value: self.node(value),
            })
            .collect();
        entries.sort_by_key(|entry| entry.key_span);
        Table { entries }
    }

    fn node(&mut self, value: toml::Spanned<DeValue<'_>>) -> Node {
        let span = span(self.file, value.span());
        let content = match value.into_inner() {
            DeValue::String(text) => Content::Text(text.into_owned()),
            DeValue::Boolean(value) => Content::Bool(value),
            DeValue::Datetime(value) => Content::Text(value.to_string()),
            DeValue::Array(items) => {
                Content::List(items.into_iter().map(|item| self.node(item)).collect())
            }
            DeValue::Table(table) => Content::Table(self.table(table)),
            DeValue::Integer(number) => {
                let digits = number.as_str().replace('_', "");
                match i64::from_str_radix(&digits, number.radix()) {
                    Ok(number) => Content::Integer(number),
                    Err(_) => self.no_number(span),
                }
            }
            DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
                Ok(number) if number.is_finite() => Content::Float(number),
                Ok(_) | Err(_) => self.no_number(span),
            },
        };
        Node { span, content }
    }

    fn no_number(&mut self, span: Span) -> Content {
        if !self.clean {
            return Content::Integer(0);
        }
        self.findings.push(
            Finding::new(SYNTAX, "this number is out of range", span, "not a 64-bit number")
                .help("write it as a string if it is not meant to be reckoned with"),
        );
        Content::Integer(0)
    }
}
