//! `with` against the kind's schema.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::{Finding, Findings, SECRET, Span, suggest};
use super::inputs::is_reference;
use super::schema::{self, Place, resolve};
use super::source::{Content, Node, Table};
use crate::expr::escaped;
use crate::expr::value::sort;

/// What is known at load of a string with an expression.
pub(crate) enum Known<'a> {
    /// Its value.
    Value(Value),
    /// Its types, for one that only a run can tell; `None`: any.
    Types(Option<BTreeSet<&'a str>>),
    /// It has a finding already.
    Nothing,
}

/// Walks a value and a schema side by side.
pub(crate) struct Checker<'a> {
    pub(crate) root: &'a Value,
    pub(crate) kind: &'a str,
    /// What is known of the strings with expressions, by JSON pointer.
    pub(crate) known: &'a BTreeMap<&'a str, Known<'a>>,
    /// Literal strings with escapes undone are taken from here.
    pub(crate) findings: &'a mut Findings,
}

/// Where the walk is.
#[derive(Clone, Copy)]
struct Here<'a> {
    node: &'a Node,
    pointer: &'a str,
    /// More schemas apply to this very value, so unknown keys are not for this one to say.
    open: bool,
}

impl Checker<'_> {
    /// Checks the whole of `with`.
    pub(crate) fn with(&mut self, node: &Node) {
        self.check(self.root, Here { node, pointer: "", open: false });
    }

    /// Checks a `with` that is not there.
    pub(crate) fn without(&mut self, task: &str, span: Span) {
        let required = required(resolve(self.root, self.root));
        if !required.is_empty() {
            self.findings.push(
                Finding::new(
                    "workflow::missing-parameter",
                    format!("the task `{task}` has no `with`"),
                    span,
                    format!("`{}` needs {}", self.kind, list(&required)),
                )
                .help(format!("`flow explain {}` shows an example", self.kind)),
            );
        }
    }

    fn check(&mut self, schema: &Value, here: Here<'_>) {
        let root = self.root;
        let schema = resolve(root, schema);
        if schema.get("writeOnly") == Some(&Value::Bool(true)) && self.is_literal_secret(here) {
            self.findings.push(literal_secret(here));
            return;
        }
        for key in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(key).and_then(Value::as_array) {
                self.one_of(schema, branches, here);
            }
        }
        let mut open = here.open;
        for branch in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            open = true;
            self.check(branch, Here { open: true, ..here });
        }
        open |= ["anyOf", "oneOf"].iter().any(|key| schema.get(key).is_some());
        self.own(schema, Here { open, ..here });
    }

    /// What the schema itself says, apart from its branches.
    fn own(&mut self, schema: &Value, here: Here<'_>) {
        match &here.node.content {
            Content::Text(_) => match self.known.get(here.pointer) {
                Some(Known::Value(value)) => {
                    let value = value.clone();
                    self.value(schema, &value, here);
                }
                Some(Known::Types(types)) => self.types(schema, types.as_ref(), here),
                Some(Known::Nothing) => {}
                None => self.value(schema, &here.node.to_json(), here),
            },
            Content::Integer(_) | Content::Float(_) | Content::Bool(_) => {
                self.value(schema, &here.node.to_json(), here);
            }
            Content::List(items) => self.items(schema, items, here),
            Content::Table(table) => self.fields(schema, table, here),
        }
    }

    fn is_literal_secret(&self, here: Here<'_>) -> bool {
        match &here.node.content {
            Content::Text(_) => match self.known.get(here.pointer) {
                Some(Known::Value(value)) => !is_reference(value) && !value.is_null(),
                Some(Known::Types(_) | Known::Nothing) => false,
                None => true,
            },
            Content::Integer(_) | Content::Float(_) | Content::Bool(_) => true,
            Content::List(_) | Content::Table(_) => false,
        }
    }

    fn one_of(&mut self, schema: &Value, branches: &[Value], here: Here<'_>) {
        let open = here.open || schema.get("properties").is_some();
        let mut best: Option<Findings> = None;
        let mut candidates = 0;
        for branch in branches {
            let mut trial = Findings::default();
            let mut inner = Checker { findings: &mut trial, ..*self };
            inner.check(branch, Here { open, ..here });
            if trial.is_empty() {
                return;
            }
            if self.may_fit(branch, here) {
                candidates += 1;
                if best.as_ref().is_none_or(|best| trial.len() < best.len()) {
                    best = Some(trial);
                }
            }
        }
        match best {
            Some(best) if candidates == 1 => self.findings.append(best),
            Some(_) | None => {
                let forms: BTreeSet<String> =
                    branches.iter().filter_map(|branch| self.form(branch)).collect();
                let forms: Vec<String> = forms.into_iter().collect();
                let found = self.found(here);
                self.findings.push(
                    Finding::new(
                        "workflow::type",
                        format!("{} {found}, which does not fit", subject(here.pointer)),
                        here.node.span,
                        "fits none of its forms",
                    )
                    .help(format!("expected {}", forms.join(" or "))),
                );
            }
        }
    }

    /// Whether a branch is about the same sort of value, so that its findings say something.
    fn may_fit(&self, branch: &Value, here: Here<'_>) -> bool {
        let place = Place::at(self.root, branch);
        let Some(types) = place.types() else { return true };
        let same = match &here.node.content {
            Content::Table(_) => types.contains("object"),
            Content::List(_) => types.contains("array"),
            Content::Text(_) => types.contains("string"),
            Content::Bool(_) => types.contains("boolean"),
            Content::Integer(_) | Content::Float(_) => {
                types.contains("integer") || types.contains("number")
            }
        };
        if let Content::Table(table) = &here.node.content
            && same
        {
            // A table form is recognised by a key of its own.
            let names = schema::properties_at(self.root, branch);
            return table.entries.iter().any(|entry| names.contains(&entry.key));
        }
        same
    }

    /// A form in words; null is not one that TOML can write.
    fn form(&self, branch: &Value) -> Option<String> {
        let schema = resolve(self.root, branch);
        let constants = schema
            .get("const")
            .into_iter()
            .chain(schema.get("enum").and_then(Value::as_array).into_iter().flatten());
        let constants: Vec<String> =
            constants.filter(|value| !value.is_null()).map(ToString::to_string).collect();
        if !constants.is_empty() {
            return Some(constants.join(", "));
        }
        let branches = ["anyOf", "oneOf"].into_iter().find_map(|key| schema.get(key)?.as_array());
        if let Some(branches) = branches {
            let forms: Vec<String> =
                branches.iter().filter_map(|branch| self.form(branch)).collect();
            return (!forms.is_empty()).then(|| forms.join(" or "));
        }
        let required = required(schema);
        if !required.is_empty() {
            let keys: Vec<String> = required.iter().map(|key| format!("{key} = …")).collect();
            return Some(format!("{{ {} }}", keys.join(", ")));
        }
        let types = Place::at(self.root, branch).types()?;
        (types != BTreeSet::from(["null"])).then(|| schema::words(&types))
    }

    fn found(&self, here: Here<'_>) -> &'static str {
        match self.known.get(here.pointer) {
            Some(Known::Value(value)) => match sort(value) {
                "null" => "is null",
                "a boolean" => "is a boolean",
                "a number" => "is a number",
                "a list" => "is a list",
                "a table" => "is a table",
                _ => "is a string",
            },
            Some(Known::Types(_) | Known::Nothing) => "is an expression",
            None => match here.node.sort() {
                "a number" => "is a number",
                "a boolean" => "is a boolean",
                "a list" => "is a list",
                "a table" => "is a table",
                _ => "is a string",
            },
        }
    }

    /// A value that is known, against a schema.
    fn value(&mut self, schema: &Value, value: &Value, here: Here<'_>) {
        let is_expression = self.known.contains_key(here.pointer);
        if let Err(words) = super::validate::value(self.root, schema, value, here.open) {
            let subject = subject(here.pointer);
            let (code, label) = if value.is_null() {
                ("workflow::null", "is null here")
            } else {
                ("workflow::type", "does not fit")
            };
            let finding = Finding::new(code, format!("{subject} {words}"), here.node.span, label);
            self.findings.push(if value.is_null() {
                finding.help("`coalesce(…, DEFAULT)` gives it a value where there is none")
            } else if is_expression {
                finding.help("the expression is evaluated at load; look at what it reads")
            } else {
                finding.help(format!("`flow explain {}` shows what it takes", self.kind))
            });
        }
    }

    /// A value whose types are known, against a schema.
    fn types(&mut self, schema: &Value, found: Option<&BTreeSet<&str>>, here: Here<'_>) {
        let Some(found) = found else { return };
        let Some(expected) = Place::at(self.root, schema).types() else { return };
        if found.iter().any(|found| schema::fits(found, &expected)) {
            return;
        }
        self.findings.push(
            Finding::new(
                "workflow::type",
                format!(
                    "{} must be {}, but this puts out {}",
                    subject(here.pointer),
                    schema::words(&expected),
                    schema::words(found)
                ),
                here.node.span,
                format!("is {}", schema::words(found)),
            )
            .help(
                "convert it: `tostring`, `tonumber`, `join`, `jsonencode`; or read another field",
            ),
        );
    }

    fn items(&mut self, schema: &Value, items: &[Node], here: Here<'_>) {
        if !self.is_allowed(schema, "array", here) {
            return;
        }
        let Some(item) = schema.get("items") else { return };
        for (at, node) in items.iter().enumerate() {
            let pointer = format!("{}/{at}", here.pointer);
            self.check(item, Here { node, pointer: &pointer, open: false });
        }
    }

    fn is_allowed(&mut self, schema: &Value, found: &str, here: Here<'_>) -> bool {
        let Some(expected) = schema::own_types(schema) else { return true };
        if expected.contains(found) {
            return true;
        }
        let expected = schema::words(&expected);
        self.findings.push(
            Finding::new(
                "workflow::type",
                format!(
                    "{} is {}, but must be {expected}",
                    subject(here.pointer),
                    here.node.sort()
                ),
                here.node.span,
                format!("expected {expected}"),
            )
            .help(format!("`flow explain {}` shows what it takes", self.kind)),
        );
        false
    }

    fn fields(&mut self, schema: &Value, table: &Table, here: Here<'_>) {
        if !self.is_allowed(schema, "object", here) {
            return;
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        let rest = schema.get("additionalProperties");
        let closed = !here.open
            && match rest {
                Some(rest) => rest == &Value::Bool(false),
                None => properties.is_some(),
            };
        for entry in &table.entries {
            let pointer = format!("{}/{}", here.pointer, escaped(&entry.key));
            let inner = Here { node: &entry.value, pointer: &pointer, open: false };
            match (properties.and_then(|known| known.get(&entry.key)), rest) {
                (Some(property), _) => self.check_optional(schema, property, &entry.key, inner),
                (None, Some(rest)) if rest.is_object() => self.check(rest, inner),
                (None, _) if closed => {
                    let known: Vec<&str> =
                        properties.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
                    self.unknown(&entry.key, entry.key_span, here, &known);
                }
                (None, _) => {}
            }
        }
        let missing: Vec<&str> = required(schema)
            .into_iter()
            .filter(|key| !table.entries.iter().any(|entry| entry.key == *key))
            .collect();
        if !missing.is_empty() {
            let holder = if here.pointer.is_empty() {
                format!("the kind `{}`", self.kind)
            } else {
                subject(here.pointer)
            };
            self.findings.push(
                Finding::new(
                    "workflow::missing-parameter",
                    format!("{holder} needs {}", list(&missing)),
                    here.node.span,
                    "not here",
                )
                .help(format!("`flow explain {}` shows an example", self.kind)),
            );
        }
    }

    /// A null is as good as no value, where none is required.
    fn check_optional(&mut self, schema: &Value, property: &Value, key: &str, here: Here<'_>) {
        let is_null = matches!(self.known.get(here.pointer), Some(Known::Value(Value::Null)));
        if is_null && !required(schema).contains(&key) {
            return;
        }
        self.check(property, here);
    }

    fn unknown(&mut self, key: &str, span: Span, here: Here<'_>, known: &[&str]) {
        let holder = if here.pointer.is_empty() {
            format!("the kind `{}`", self.kind)
        } else {
            subject(here.pointer)
        };
        let help = suggest(key, known.iter().copied(), "parameters")
            .unwrap_or_else(|| format!("`flow explain {}` shows what it takes", self.kind));
        self.findings.push(
            Finding::new(
                "workflow::unknown-key",
                format!("{holder} has no parameter `{key}`"),
                span,
                "unknown parameter",
            )
            .help(help),
        );
    }
}

fn literal_secret(here: Here<'_>) -> Finding {
    Finding::new(
        SECRET,
        format!("{} is secret and cannot stand in a file", subject(here.pointer)),
        here.node.span,
        "a secret here",
    )
    .help("read it from a task that made it, or from a secret input")
}

/// A place in `with`, as a person names it.
fn subject(pointer: &str) -> String {
    let path: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect();
    if path.is_empty() { "`with`".to_owned() } else { format!("`with.{}`", path.join(".")) }
}

fn required(schema: &Value) -> Vec<&str> {
    let keys = schema.get("required").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(Value::as_str).collect()
}

fn list(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
}
