//! `[tasks.X]` as typed.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::definition::RetryPolicy;
use super::error::{Finding, Findings, Span, near, suggest};
use super::kinds::{Kinds, Used};
use super::names::bad_name;
use super::source::{Content, Entry, Node, Table};
use super::statics::Statics;
use super::syntax::{At, Fields, wrong_type};
use super::units;
use crate::kind::OnDrift;

/// The keys of a task.
const KEYS: &[&str] = &[
    "uses",
    "description",
    "layer",
    "needs",
    "lives-in",
    "capture",
    "protected",
    "on-drift",
    "on-crash",
    "retry",
    "timeout",
    "settle",
    "fresh",
    "expected",
    "finally",
    "was",
    "tags",
    "when",
    "for-each",
    "with",
    "pools",
];

/// One task, its static keys read.
pub(crate) struct TaskSyntax<'a> {
    pub(crate) name: &'a str,
    pub(crate) span: Span,
    pub(crate) kind: Option<Rc<Used>>,
    pub(crate) layer: Option<At<String>>,
    pub(crate) needs: Vec<&'a Node>,
    pub(crate) lives_in: Vec<&'a Node>,
    pub(crate) capture: Vec<At<String>>,
    pub(crate) protected: bool,
    pub(crate) on_drift: Option<OnDrift>,
    pub(crate) ask_on_crash: bool,
    pub(crate) retry: RetryPolicy,
    pub(crate) timeout: Option<Duration>,
    pub(crate) settle: Option<Duration>,
    pub(crate) fresh: Option<At<Duration>>,
    pub(crate) expected: Option<Duration>,
    pub(crate) finally: bool,
    pub(crate) was: Vec<At<String>>,
    pub(crate) tags: BTreeSet<String>,
    pub(crate) when: Option<&'a Node>,
    pub(crate) for_each: Option<&'a Node>,
    pub(crate) with: Option<&'a Node>,
    pub(crate) pools: Option<&'a Table>,
    /// What the fingerprint is made of, hashed.
    pub(crate) definition: String,
}

/// Reads a task; `None` if it is not even a table.
pub(crate) fn read<'a>(
    entry: &'a Entry,
    kinds: &mut Kinds<'_>,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Option<TaskSyntax<'a>> {
    let Content::Table(table) = &entry.value.content else {
        findings.push(
            Finding::new(
                "workflow::type",
                format!("the task `{}` is {}, but must be a table", entry.key, entry.value.sort()),
                entry.value.span,
                "expected a table",
            )
            .help(format!("write it as [tasks.{}]", entry.key)),
        );
        return None;
    };
    if !units::is_name(&entry.key) {
        findings.push(bad_name("a task", &entry.key, entry.key_span));
    }
    let mut fields = Fields { table, statics: Some(statics), findings };
    let kind = kind(entry, kinds, &mut fields);
    let params = || kind.iter().flat_map(|kind| &kind.parameters).map(String::as_str);
    fields.only(KEYS, |key| {
        if params().any(|param| param == key) {
            return Some(format!("parameters of the kind stand under `with`: `with.{key}`"));
        }
        let near_param = near(key, params());
        match near(key, KEYS.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None => near_param.map(|near| format!("did you mean `with.{near}`?")),
        }
    });
    let fresh = fields.node("fresh").map(|node| node.span);
    Some(TaskSyntax {
        name: &entry.key,
        span: entry.key_span,
        layer: fields.text("layer"),
        needs: needs("needs", &mut fields),
        lives_in: needs("lives-in", &mut fields),
        capture: fields.texts("capture"),
        protected: fields.flag("protected"),
        on_drift: fields.word(
            "on-drift",
            &[("fix", OnDrift::Fix), ("report", OnDrift::Report), ("ignore", OnDrift::Ignore)],
        ),
        ask_on_crash: fields.word("on-crash", &[("ask", true), ("rerun", false)]).unwrap_or(false),
        retry: retry(&mut fields),
        timeout: fields.duration("timeout"),
        settle: fields.duration("settle"),
        fresh: fields
            .duration("fresh")
            .map(|value| At { value, span: fresh.unwrap_or(entry.key_span) }),
        expected: fields.duration("expected"),
        finally: fields.flag("finally"),
        was: fields.texts("was"),
        tags: tags(&mut fields),
        when: when(&mut fields),
        for_each: fields.node("for-each"),
        with: with(&mut fields),
        pools: fields.table("pools").map(|(table, _)| table),
        definition: definition(table),
        kind,
    })
}

fn kind(entry: &Entry, kinds: &mut Kinds<'_>, fields: &mut Fields<'_, '_>) -> Option<Rc<Used>> {
    if fields.entry("uses").is_none() {
        fields.findings.push(
            Finding::new(
                "workflow::missing-key",
                format!("the task `{}` does not say what it uses", entry.key),
                entry.key_span,
                "no `uses`",
            )
            .help("name a kind: `uses = \"shell\"`; `flow explain` lists them all"),
        );
        return None;
    }
    let uses = fields.text("uses")?;
    let found = kinds.get(&uses.value);
    if found.is_none() {
        let help = suggest(&uses.value, kinds.names(), "kinds")
            .unwrap_or_else(|| "`flow explain` lists all kinds".to_owned());
        fields.findings.push(
            Finding::new(
                "workflow::unknown-kind",
                format!("there is no kind `{}`", uses.value),
                uses.span,
                "no kind has this name",
            )
            .help(help),
        );
    }
    found
}

fn one_or_list(node: Option<&Node>) -> Vec<&Node> {
    let Some(node) = node else { return Vec::new() };
    match &node.content {
        Content::List(items) => items.iter().collect(),
        Content::Text(_)
        | Content::Integer(_)
        | Content::Float(_)
        | Content::Bool(_)
        | Content::Table(_) => vec![node],
    }
}

/// What is needed; what cannot name anything is told even if the task has no instances.
fn needs<'a>(key: &str, fields: &mut Fields<'a, '_>) -> Vec<&'a Node> {
    let mut nodes = one_or_list(fields.node(key));
    nodes.retain(|node| match &node.content {
        Content::Text(_) | Content::Table(_) => true,
        Content::Integer(_) | Content::Float(_) | Content::Bool(_) | Content::List(_) => {
            fields.findings.push(
                wrong_type(key, "names of tasks", &node.to_json(), node.span)
                    .help("\"TASK\", \"TASK/KEY\", \"layer:LAYER\" or { task, each }"),
            );
            false
        }
    });
    nodes
}

/// The condition; what cannot be one is told even if the task has no instances.
fn when<'a>(fields: &mut Fields<'a, '_>) -> Option<&'a Node> {
    let node = fields.node("when")?;
    match &node.content {
        Content::Text(_) | Content::Bool(_) => Some(node),
        Content::Integer(_) | Content::Float(_) | Content::List(_) | Content::Table(_) => {
            fields.findings.push(not_a_condition(&node.to_json(), node.span));
            None
        }
    }
}

/// A condition that is neither true nor false.
pub(crate) fn not_a_condition(found: &Value, span: Span) -> Finding {
    wrong_type("when", "true or false", found, span)
        .help("compare, for example: `${site.edge != false}`")
}

fn with<'a>(fields: &mut Fields<'a, '_>) -> Option<&'a Node> {
    fields.table("with")?;
    fields.node("with")
}

fn tags(fields: &mut Fields<'_, '_>) -> BTreeSet<String> {
    let tags = fields.texts("tags");
    for tag in &tags {
        if !units::is_name(&tag.value) {
            fields.findings.push(bad_name("a tag", &tag.value, tag.span));
        }
    }
    tags.into_iter().map(|tag| tag.value).collect()
}

fn retry(fields: &mut Fields<'_, '_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let Some((table, _)) = fields.table("retry") else { return default };
    let mut inner = Fields { table, statics: fields.statics, findings: &mut *fields.findings };
    inner.only(&["attempts", "backoff", "max"], |key| {
        // The kind `shell` has one code for it, which no task has to name.
        (key == "on").then(|| "a command asks for another try by exit code 75".to_owned())
    });
    RetryPolicy {
        attempts: inner.count("attempts").map_or(default.attempts, |found| found.value),
        backoff: inner.duration("backoff").unwrap_or(default.backoff),
        max: inner.duration("max").unwrap_or(default.max),
    }
}

/// SHA-256 of what a task does, as written: a changed hint or layer makes nothing stale.
fn definition(table: &Table) -> String {
    let mut text = String::new();
    for key in ["uses", "with"] {
        if let Some(entry) = table.get(key) {
            text.push_str(key);
            text.push('=');
            entry.value.canonical(&mut text);
            text.push('\n');
        }
    }
    base16ct::lower::encode_string(&Sha256::digest(text))
}
