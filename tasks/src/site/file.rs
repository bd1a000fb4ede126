//! Reading a site file: values, the place of each, and relative paths made absolute.

use std::collections::BTreeMap;
use std::path::Path;

use miette::{NamedSource, SourceSpan};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::derive;
use super::error::{Problem, SiteErrors};
use super::{forms, rules};

/// The tables that a site file may hold.
const TABLES: [&str; 22] = [
    "acme",
    "apps",
    "backup",
    "cilium",
    "dns",
    "edge",
    "flux",
    "gitops",
    "lab",
    "machines",
    "mesh",
    "network",
    "nodes",
    "proxmox",
    "secrets",
    "site",
    "talos",
    "timing",
    "trust",
    "users",
    "headscale",
    "ingress",
];

/// A site file that was read and is right in itself.
#[derive(Debug, Clone)]
pub struct Site {
    /// Its name: state folder, lock, confirmations.
    pub name: String,
    /// The owner mark on everything made.
    pub cluster: String,
    /// Whether it is a lab: only loopback addresses.
    pub is_lab: bool,
    /// What expressions read as `site.*`, with what is derived.
    pub value: Value,
}

/// A site file as written, with the place of every value.
pub(super) struct Written {
    pub(super) value: Value,
    pub(super) source: NamedSource<String>,
    spans: BTreeMap<String, SourceSpan>,
}

impl Written {
    /// The place of a value, by its path as `nodes.worker0.address`.
    pub(super) fn span(&self, path: &str) -> Option<SourceSpan> {
        self.spans.get(path).copied()
    }

    /// A value by its path.
    pub(super) fn get(&self, path: &str) -> Option<&Value> {
        path.split('.').try_fold(&self.value, |value, key| value.get(key))
    }

    /// A text by its path.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.get(path).and_then(Value::as_str)
    }

    /// A table by its path; empty where there is none.
    pub(super) fn table(&self, path: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.get(path).and_then(Value::as_object).into_iter().flatten()
    }
}

/// Reads a site file and checks it against itself.
///
/// `shown` names the file in messages. A relative `{ file = "…" }` is taken from `base`.
///
/// # Errors
///
/// Everything that is wrong with it, in one go, each with its place.
pub fn load(shown: &str, text: &str, base: &Path) -> Result<Site, SiteErrors> {
    let source = NamedSource::new(shown, text.to_owned()).with_language("TOML");
    let parsed = DeTable::parse(text).map_err(|error| {
        let help = "the file is not TOML: correct the place that is shown";
        let span = error.span().map(SourceSpan::from);
        SiteErrors(vec![Problem::new(&source, "syntax", error.message(), help).at(span, "here")])
    })?;
    let mut spans = BTreeMap::new();
    let value = table(parsed.get_ref(), "", &mut spans);
    let mut written = Written { value, source, spans };
    let mut problems = unknown_tables(&written);
    problems.extend(forms::check(&written));
    problems.extend(rules::check(&written));
    if !problems.is_empty() {
        return Err(SiteErrors(problems));
    }
    absolute(&mut written.value, base);
    let text = |path| written.text(path).unwrap_or_default().to_owned();
    Ok(Site {
        name: text("site.name"),
        cluster: text("site.cluster"),
        is_lab: written.text("site.kind") == Some("lab"),
        value: derive::derived(written.value.clone()),
    })
}

fn unknown_tables(written: &Written) -> Vec<Problem> {
    let keys = written.value.as_object().into_iter().flat_map(Map::keys);
    keys.filter(|key| !TABLES.contains(&key.as_str()))
        .map(|key| {
            let help = format!("a site has the tables {}", TABLES.join(", "));
            Problem::new(&written.source, "unknown-table", format!("no table `{key}`"), help)
                .at(written.span(key), "this one")
        })
        .collect()
}

fn table(table: &DeTable<'_>, path: &str, spans: &mut BTreeMap<String, SourceSpan>) -> Value {
    let fields = table.iter().map(|(key, field)| {
        let key = key.get_ref().to_string();
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        (key, value(field, &path, spans))
    });
    Value::Object(fields.collect())
}

fn value(
    written: &Spanned<DeValue<'_>>,
    path: &str,
    spans: &mut BTreeMap<String, SourceSpan>,
) -> Value {
    spans.insert(path.to_owned(), written.span().into());
    match written.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => number
            .to_string()
            .parse::<i64>()
            .map_or_else(|_| Value::String(number.to_string()), Value::from),
        DeValue::Float(number) => number
            .to_string()
            .parse::<f64>()
            .map_or_else(|_| Value::String(number.to_string()), Value::from),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let items = items.iter().enumerate();
            items.map(|(i, item)| value(item, &format!("{path}.{i}"), spans)).collect()
        }
        DeValue::Table(fields) => table(fields, path, spans),
    }
}

/// Makes the path of every `{ file = "…" }` absolute; `~/` is the user's home.
fn absolute(value: &mut Value, base: &Path) {
    match value {
        Value::Object(fields) => {
            if let (1, Some(Value::String(file))) = (fields.len(), fields.get_mut("file")) {
                let path = match (file.strip_prefix("~/"), std::env::var_os("HOME")) {
                    (Some(rest), Some(home)) => Path::new(&home).join(rest),
                    (Some(_) | None, _) => base.join(&*file),
                };
                *file = path.to_string_lossy().into_owned();
            }
            fields.values_mut().for_each(|field| absolute(field, base));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| absolute(item, base)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
