//! The file as typed: tables with known keys.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::{DUPLICATE, Finding, Findings, Span, near};
use super::source::{Content, Entry, Node, Table};
use super::statics::Statics;
use super::units;

/// A value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// The keys of a table, read one after the other.
pub(crate) struct Fields<'a, 'f> {
    pub(crate) table: &'a Table,
    pub(crate) statics: Option<&'f Statics<'f>>,
    pub(crate) findings: &'f mut Findings,
}

impl<'a> Fields<'a, '_> {
    /// Refuses every key that is not among `known`; `elsewhere` may know where it belongs.
    pub(crate) fn only(&mut self, known: &[&str], elsewhere: impl Fn(&str) -> Option<String>) {
        for entry in &self.table.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let key = &entry.key;
            let help = elsewhere(key)
                .or_else(|| {
                    near(key, known.iter().copied()).map(|k| format!("did you mean `{k}`?"))
                })
                .unwrap_or_else(|| format!("keys here: {}", known.join(", ")));
            self.findings.push(
                Finding::new(
                    "workflow::unknown-key",
                    format!("there is no key `{key}` here"),
                    entry.key_span,
                    "unknown key",
                )
                .help(help),
            );
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.table.get(key)
    }

    pub(crate) fn node(&self, key: &str) -> Option<&'a Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A value, its expressions evaluated.
    fn value(&mut self, key: &str) -> Option<At<Value>> {
        let node = self.node(key)?;
        let value = match self.statics {
            Some(statics) => statics.value(node, None, self.findings)?,
            None => node.to_json(),
        };
        Some(At { value, span: node.span })
    }

    pub(crate) fn wrong(&mut self, key: &str, expected: &str, found: &At<Value>) {
        self.findings.push(wrong_type(key, expected, &found.value, found.span));
    }

    pub(crate) fn text(&mut self, key: &str) -> Option<At<String>> {
        let found = self.value(key)?;
        if let Value::String(text) = found.value {
            return Some(At { value: text, span: found.span });
        }
        self.wrong(key, "a string", &found);
        None
    }

    pub(crate) fn flag(&mut self, key: &str) -> bool {
        let Some(found) = self.value(key) else { return false };
        if let Value::Bool(value) = found.value {
            return value;
        }
        self.wrong(key, "true or false", &found);
        false
    }

    pub(crate) fn count(&mut self, key: &str) -> Option<At<u32>> {
        let found = self.value(key)?;
        let count = found.value.as_u64().and_then(|count| u32::try_from(count).ok());
        if let Some(value) = count.filter(|count| *count > 0) {
            return Some(At { value, span: found.span });
        }
        self.wrong(key, "a whole number of 1 or more", &found);
        None
    }

    pub(crate) fn duration(&mut self, key: &str) -> Option<std::time::Duration> {
        let found = self.value(key)?;
        if let Some(duration) = found.value.as_str().and_then(units::duration) {
            return Some(duration);
        }
        self.findings.push(
            Finding::new(
                "workflow::type",
                format!("`{key}` is not a duration"),
                found.span,
                "not a duration",
            )
            .help(
                "write a number with its unit, ten years at most: \"500ms\", \"10m\", \"1h30m\", \"7d\"",
            ),
        );
        None
    }

    /// A string or a list of strings.
    pub(crate) fn texts(&mut self, key: &str) -> Vec<At<String>> {
        let Some(node) = self.node(key) else { return Vec::new() };
        let nodes = match &node.content {
            Content::List(items) => items.iter().collect(),
            Content::Text(_)
            | Content::Integer(_)
            | Content::Float(_)
            | Content::Bool(_)
            | Content::Table(_) => vec![node],
        };
        let mut texts = Vec::new();
        for node in nodes {
            if let Content::Text(text) = &node.content {
                texts.push(At { value: text.clone(), span: node.span });
            } else {
                self.findings.push(wrong_type(key, "strings", &node.to_json(), node.span));
            }
        }
        texts
    }

    /// One of some words.
    pub(crate) fn word<T: Copy>(&mut self, key: &str, words: &[(&str, T)]) -> Option<T> {
        let found = self.text(key)?;
        let known = words.iter().find(|(word, _)| *word == found.value);
        if known.is_none() {
            let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            self.findings.push(
                Finding::new(
                    "workflow::type",
                    format!("`{key}` cannot be \"{}\"", found.value),
                    found.span,
                    "not one of the words",
                )
                .help(format!("`{key}` is one of {}", all.join(", "))),
            );
        }
        known.map(|(_, value)| *value)
    }

    /// A table of its own.
    pub(crate) fn table(&mut self, key: &str) -> Option<(&'a Table, Span)> {
        let entry = self.entry(key)?;
        if let Content::Table(table) = &entry.value.content {
            return Some((table, entry.value.span));
        }
        let found = entry.value.to_json();
        self.findings.push(wrong_type(key, "a table", &found, entry.value.span));
        None
    }
}

pub(crate) fn wrong_type(key: &str, expected: &str, found: &Value, span: Span) -> Finding {
    // Where the sort is right, the value is not.
    let found = if found.is_number() && expected.contains("number") {
        found.to_string()
    } else {
        crate::expr::value::sort(found).to_owned()
    };
    let example = match expected {
        "a string" | "strings" => "\"…\"",
        "true or false" => "true",
        "a whole number of 1 or more" => "3",
        "a table" => "{ … = … }",
        "a list" => "[…]",
        "a list of keys" => "[\"KEY\", …]",
        "names of tasks" => "[\"TASK\", \"TASK/KEY\", …]",
        _ => "…",
    };
    Finding::new(
        "workflow::type",
        format!("`{key}` is {found}, but must be {expected}"),
        span,
        format!("expected {expected}"),
    )
    .help(format!("for example: {key} = {example}"))
}

/// The head of a workflow, and its sections.
#[derive(Debug, Default)]
pub(crate) struct Head {
    pub(crate) name: Option<At<String>>,
    pub(crate) description: String,
    pub(crate) requires: Option<At<String>>,
    pub(crate) layers: Vec<At<String>>,
    pub(crate) timeout: Option<std::time::Duration>,
    pub(crate) reads: Vec<At<String>>,
}

/// All files of a workflow, their sections joined.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    pub(crate) head: Head,
    pub(crate) inputs: Vec<Entry>,
    pub(crate) pools: Vec<Entry>,
    pub(crate) tasks: Vec<Entry>,
    pub(crate) outputs: Vec<Entry>,
}

const ROOT: &[&str] = &["workflow", "inputs", "pools", "tasks", "outputs", "include", "reads"];
const WORKFLOW: &[&str] =
    &["name", "description", "requires", "layers", "timeout", "include", "reads"];

/// Takes the sections of a file in; gives what it includes.
pub(crate) fn sections(
    mut table: Table,
    entry: bool,
    into: &mut Sections,
    findings: &mut Findings,
) -> Vec<At<String>> {
    let mut fields = Fields { table: &table, statics: None, findings };
    fields.only(ROOT, |key| {
        near(key, ["task", "input", "pool", "output"])
            .map(|near| format!("did you mean `{near}s`?"))
    });
    let mut includes = fields.texts("include");
    let reads = fields.texts("reads");
    into.head.reads.extend(reads);
    for key in ["inputs", "pools", "tasks", "outputs"] {
        fields.table(key);
    }
    if let Some((table, _)) = fields.table("workflow") {
        includes.extend(head(table, entry, &mut into.head, fields.findings));
    }
    for found in &mut table.entries {
        let Content::Table(section) = &mut found.value.content else { continue };
        let all = match found.key.as_str() {
            "inputs" => &mut into.inputs,
            "pools" => &mut into.pools,
            "tasks" => &mut into.tasks,
            "outputs" => &mut into.outputs,
            _ => continue,
        };
        all.append(&mut section.entries);
    }
    includes
}

fn head(table: &Table, entry: bool, into: &mut Head, findings: &mut Findings) -> Vec<At<String>> {
    let mut fields = Fields { table, statics: None, findings };
    fields.only(WORKFLOW, |_| None);
    let name = fields.text("name");
    let description = fields.text("description");
    let requires = fields.text("requires");
    let layers = fields.texts("layers");
    let timeout = fields.duration("timeout");
    if entry {
        into.name = name;
        into.description = description.map(|found| found.value).unwrap_or_default();
        into.timeout = timeout;
    }
    into.requires = into.requires.take().or(requires);
    for layer in layers {
        if !into.layers.iter().any(|known| known.value == layer.value) {
            into.layers.push(layer);
        } else if entry {
            fields.findings.push(
                Finding::new(
                    DUPLICATE,
                    format!("the layer `{}` is there twice", layer.value),
                    layer.span,
                    "the second one",
                )
                .help("each layer stands once, in the order in which they are shown"),
            );
        }
    }
    into.reads.extend(fields.texts("reads"));
    fields.texts("include")
}

/// What stands twice in different files.
pub(crate) fn duplicates(entries: &[Entry], what: &str, findings: &mut Findings) {
    let mut first: BTreeMap<&str, Span> = BTreeMap::new();
    for entry in entries {
        if let Some(before) = first.get(entry.key.as_str()) {
            findings.push(
                Finding::new(
                    DUPLICATE,
                    format!("the {what} `{}` is there twice", entry.key),
                    entry.key_span,
                    "and again here",
                )
                .label(*before, "first here")
                .help(format!("rename one of the two {what}s")),
            );
        } else {
            first.insert(&entry.key, entry.key_span);
        }
    }
}
