//! `[inputs]`: what a user may set, and what was set.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::error::{Finding, Findings, suggest};
use super::source::{Content, Entry, Table};
use super::statics::Statics;
use super::syntax::{Fields, wrong_type};
use super::units;
use crate::depth::{DEEPEST, is_too_deep};
use crate::expr::value::sort;
use crate::secret::{Secret, Secrets};

/// What a workflow is given at load.
#[derive(Debug, Clone, Default)]
pub struct Given {
    /// `site.*`, with what is derived; an empty table without a site.
    pub site: Value,
    /// `run.*`.
    pub run: Value,
    /// `workflows.W.*`: the outputs of other workflows of the site.
    pub workflows: Value,
    /// Inputs by `--set`: text, read as the input's type says.
    pub set: BTreeMap<String, String>,
    /// Inputs by the environment: variables `FLOW_INPUT_*` with their names.
    pub environment: BTreeMap<String, String>,
    /// Inputs by `--inputs FILE`.
    pub file: BTreeMap<String, Value>,
}

/// The type of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    String,
    Integer,
    Number,
    Boolean,
    List,
    Table,
}

const TYPES: &[(&str, Type)] = &[
    ("string", Type::String),
    ("integer", Type::Integer),
    ("number", Type::Number),
    ("boolean", Type::Boolean),
    ("list", Type::List),
    ("table", Type::Table),
];

impl Type {
    fn words(self) -> &'static str {
        match self {
            Self::String => "a string",
            Self::Integer => "a whole number",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::List => "a list",
            Self::Table => "a table",
        }
    }

    fn holds(self, value: &Value) -> bool {
        match self {
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64(),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
            Self::List => value.is_array(),
            Self::Table => value.is_object(),
        }
    }

    /// Stands in for a value that has an error, so that its readers have none.
    fn stand_in(self) -> Value {
        match self {
            Self::String => Value::from(""),
            Self::Integer | Self::Number => Value::from(1),
            Self::Boolean => Value::from(true),
            Self::List => Value::Array(Vec::new()),
            Self::Table => Value::Object(Map::new()),
        }
    }

    /// Reads what was typed on a command line.
    fn read(self, text: &str) -> Option<Value> {
        match self {
            Self::String => Some(Value::from(text)),
            Self::Integer => text.trim().parse::<i64>().ok().map(Value::from),
            Self::Number => text.trim().parse::<f64>().ok().map(Value::from),
            Self::Boolean => text.trim().parse::<bool>().ok().map(Value::from),
            Self::List | Self::Table => {
                // As in the file: `--set nodes='["a", "b"]'`.
                let document: toml::Table = format!("value = {text}").parse().ok()?;
                let value = serde_json::to_value(document.get("value")?).ok()?;
                self.holds(&value).then_some(value)
            }
        }
    }
}

/// The value of every input; of a secret one its reference, and the secret apart.
pub(crate) fn resolve(
    entries: &[Entry],
    given: &Given,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> (Value, Secrets) {
    let mut values = Map::new();
    let mut secrets = Secrets::new();
    for entry in entries {
        let set = input(entry, given, statics, findings);
        let value = match set {
            Set::Open(value) => value,
            Set::Secret(reference) => {
                if let Some(secret) = follow(entry, &reference, statics, findings) {
                    secrets.insert(entry.key.clone(), secret);
                }
                reference
            }
            Set::Unknown(declared) => {
                if declared.secret {
                    secrets.insert(entry.key.clone(), unknown_secret());
                }
                declared.sort.stand_in()
            }
        };
        values.insert(entry.key.clone(), value);
    }
    let known = || entries.iter().map(|entry| entry.key.as_str());
    for (name, how) in given
        .set
        .keys()
        .map(|name| (name, "--set"))
        .chain(given.file.keys().map(|name| (name, "--inputs")))
    {
        if !known().any(|known| known == name) {
            findings.push(
                Finding::nowhere(
                    "workflow::unknown-input",
                    format!("`{how}` names `{name}`, which the workflow does not take"),
                )
                .maybe_help(suggest(name, known().collect::<Vec<_>>(), "inputs")),
            );
        }
    }
    (Value::Object(values), secrets)
}

/// What an input is set to.
enum Set<'a> {
    /// Its value.
    Open(Value),
    /// Where its value is.
    Secret(Value),
    /// Nothing, or what it does not take: it has a finding.
    Unknown(Declared<'a>),
}

/// Stands in for a secret that has an error, so that its readers have none.
fn unknown_secret() -> Secret<Value> {
    Secret::new(Type::String.stand_in())
}

/// The secret behind a reference; `None` if references are not followed here.
fn follow(
    entry: &Entry,
    reference: &Value,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Option<Secret<Value>> {
    /// What is shorter cannot be told from other text, so it could not be kept out of logs.
    const SHORTEST: usize = 8;

    let name = &entry.key;
    let words = match statics.sources.secret(reference)? {
        Ok(secret) if secret.len() >= SHORTEST => return Some(Secret::new(Value::from(secret))),
        Ok(_) => format!("is shorter than {SHORTEST} bytes"),
        Err(words) => words,
    };
    findings.push(
        Finding::new(
            "workflow::input",
            format!("the secret input `{name}` cannot be used"),
            entry.key_span,
            words,
        )
        .help(format!("`--set {name}=env:NAME` or `--set {name}=file:PATH`")),
    );
    Some(unknown_secret())
}

const KEYS: &[&str] = &["type", "default", "description", "secret", "one-of", "pattern"];

/// An input's declaration.
struct Declared<'a> {
    entry: &'a Entry,
    sort: Type,
    secret: bool,
    default: Option<Value>,
    one_of: Option<Vec<Value>>,
    pattern: Option<regex::Regex>,
}

fn input<'a>(
    entry: &'a Entry,
    given: &Given,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Set<'a> {
    let Content::Table(table) = &entry.value.content else {
        let found = entry.value.to_json();
        let finding = wrong_type(&entry.key, "a table", &found, entry.value.span);
        findings.push(finding.help(format!("declare it as [inputs.{}]", entry.key)));
        return Set::Open(Value::Null);
    };
    let declared = declare(entry, table, statics, findings);
    let variable = format!("FLOW_INPUT_{}", entry.key.to_uppercase().replace('-', "_"));
    let environment = given
        .environment
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(&variable))
        .map(|(_, value)| value);
    let (value, how) = if let Some(text) = given.set.get(&entry.key) {
        (declared.typed(text), "--set".to_owned())
    } else if let Some(text) = environment {
        (declared.typed(text), format!("the variable {variable}"))
    } else if let Some(value) = given.file.get(&entry.key) {
        (Some(value.clone()), "--inputs".to_owned())
    } else if let Some(value) = declared.default.clone() {
        (Some(value), "`default`".to_owned())
    } else {
        findings.push(
            Finding::new(
                "workflow::missing-input",
                format!("the input `{}` has no value", entry.key),
                entry.key_span,
                "no default, and none given",
            )
            .help(format!("give it by `--set {}=…` or {variable}", entry.key)),
        );
        return Set::Unknown(declared);
    };
    match declared.accept(value, &how, findings) {
        Some(reference) if declared.secret => Set::Secret(reference),
        Some(value) => Set::Open(value),
        None => Set::Unknown(declared),
    }
}

fn declare<'a>(
    entry: &'a Entry,
    table: &Table,
    statics: &Statics<'_>,
    findings: &mut Findings,
) -> Declared<'a> {
    if !units::is_name(&entry.key) {
        findings.push(super::names::bad_name("an input", &entry.key, entry.key_span));
    }
    let default =
        table.get("default").and_then(|default| statics.value(&default.value, None, findings));
    let mut fields = Fields { table, statics: Some(statics), findings };
    fields.only(KEYS, |_| None);
    fields.text("description");
    let secret = fields.flag("secret");
    let guessed = default.as_ref().map_or(Type::String, |default| {
        let matching = TYPES.iter().map(|(_, sort)| *sort).find(|sort| sort.holds(default));
        matching.unwrap_or(Type::String)
    });
    let sort = fields.word("type", TYPES).unwrap_or(guessed);
    let pattern = fields.text("pattern").and_then(|pattern| {
        let compiled = regex::Regex::new(&format!("^(?:{})$", pattern.value));
        if let Err(error) = &compiled {
            fields.findings.push(
                Finding::new(
                    "workflow::type",
                    "`pattern` is not a regular expression",
                    pattern.span,
                    "cannot be read",
                )
                .help(error.to_string()),
            );
        }
        compiled.ok()
    });
    let one_of = table.get("one-of").and_then(|entry| {
        let value = statics.value(&entry.value, None, findings)?;
        if let Value::Array(items) = value {
            return Some(items);
        }
        findings.push(wrong_type("one-of", "a list", &value, entry.value.span));
        None
    });
    Declared { entry, sort, secret, default, one_of, pattern }
}

impl Declared<'_> {
    /// What was typed on a command line or in the environment.
    fn typed(&self, text: &str) -> Option<Value> {
        if !self.secret {
            return self.sort.read(text);
        }
        let (how, what) = text.split_once(':')?;
        matches!(how, "env" | "file")
            .then(|| Value::Object(Map::from_iter([(how.to_owned(), Value::from(what))])))
    }

    fn accept(&self, value: Option<Value>, how: &str, findings: &mut Findings) -> Option<Value> {
        let name = &self.entry.key;
        let mut refuse = |words: String, help: String| {
            findings.push(
                Finding::new(
                    "workflow::input",
                    format!("the input `{name}` {words}"),
                    self.entry.key_span,
                    format!("as {how} says"),
                )
                .help(help),
            );
            None
        };
        if self.secret {
            return match value {
                Some(value) if is_reference(&value) => Some(value),
                _ => refuse(
                    "is secret and takes a reference only".to_owned(),
                    format!("`--set {name}=env:NAME` or `--set {name}=file:PATH`"),
                ),
            };
        }
        let sort_words = self.sort.words();
        let Some(value) = value else {
            return refuse(format!("must be {sort_words}"), format!("expected {sort_words}"));
        };
        if !self.sort.holds(&value) {
            return refuse(
                format!("is {}, but must be {sort_words}", sort(&value)),
                format!("expected {sort_words}"),
            );
        }
        if is_too_deep(&value) {
            let words = format!("is nested more than {DEEPEST} levels deep");
            return refuse(words, "give it as text, or in a file that the task reads".to_owned());
        }
        if let Some(one_of) = &self.one_of
            && !one_of.contains(&value)
        {
            let all: Vec<String> = one_of.iter().map(ToString::to_string).collect();
            return refuse(format!("cannot be {value}"), format!("one of {}", all.join(", ")));
        }
        if let (Some(pattern), Some(text)) = (&self.pattern, value.as_str())
            && !pattern.is_match(text)
        {
            let inner = pattern.as_str();
            let inner = inner.trim_start_matches("^(?:").trim_end_matches(")$");
            return refuse(format!("cannot be {value}"), format!("it must match `{inner}`"));
        }
        Some(value)
    }
}

/// Whether a value says where a secret is, instead of being one.
pub(crate) fn is_reference(value: &Value) -> bool {
    value.as_object().is_some_and(|fields| {
        ["env", "file", "command", "sops", "age", "ask"].iter().any(|how| fields.contains_key(*how))
    })
}
