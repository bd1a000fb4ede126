//! Reads the YAML documents of a machine configuration the way Talos' loader does.

use serde::Deserialize as _;
use serde_yaml_ng::{Mapping, Value};

use super::schema::{self, Shape};

/// One document of a configuration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// `v1alpha1` for the one that has no kind.
    pub(super) kind: String,
    /// The field `name`, or nothing.
    pub(super) name: String,
    /// All its fields.
    pub(super) fields: Mapping,
}

impl Document {
    /// How Talos names a document in its messages.
    pub(super) fn id(&self) -> String {
        if self.kind == schema::MAIN {
            return "v1alpha1.Config".to_owned();
        }
        let named = schema::document(&self.kind).is_some_and(|kind| kind.keys.has("name"));
        if named { format!("{}/{}", self.kind, self.name) } else { self.kind.clone() }
    }
}

/// Reads all documents; the error is the message of the real loader.
pub(super) fn documents(text: &str, minor: u32) -> Result<Vec<Document>, String> {
    let mut documents = Vec::<Document>::new();
    for (line, part) in split(text) {
        let value = Value::deserialize(serde_yaml_ng::Deserializer::from_str(&part))
            .map_err(|error| format!("decode error: yaml: {error}"))?;
        let fields = match value {
            Value::Null => continue,
            Value::Mapping(fields) => fields,
            Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => return Err(format!("expected a YAML document at line {line}")),
        };
        let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let version = text("apiVersion").to_owned();
        let kind = Some(text("kind")).filter(|kind| !kind.is_empty());
        let kind = kind.unwrap_or(schema::MAIN).to_owned();
        let name = text("name").to_owned();
        let id = format!("{version}/{kind}/{name}");
        if documents.iter().any(|known| known.kind == kind && known.name == name) {
            return Err(format!("duplicate document {id} is not allowed (line {line})"));
        }
        check(&fields, minor)
            .map_err(|error| format!("error decoding document {id} (line {line}): {error}"))?;
        documents.push(Document { kind, name, fields });
    }
    if documents.is_empty() { Err("config not found".to_owned()) } else { Ok(documents) }
}

/// The documents of a stream with the line that each begins on.
fn split(text: &str) -> Vec<(usize, String)> {
    let mut parts = Vec::new();
    let mut part = (1, String::new());
    for (number, line) in text.lines().enumerate() {
        if let Some(rest) = line.strip_prefix("---")
            && (rest.is_empty() || rest.starts_with(char::is_whitespace))
        {
            parts.push(std::mem::replace(&mut part, (number + 2, rest.trim().to_owned())));
            part.1.push('\n');
            continue;
        }
        if part.1.trim().is_empty() {
            part.0 = number + 1;
        }
        part.1.push_str(line);
        part.1.push('\n');
    }
    parts.push(part);
    parts.retain(|(_, text)| !text.trim().is_empty());
    parts
}

fn check(fields: &Mapping, minor: u32) -> Result<(), String> {
    let text = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let main =
        ["machine", "cluster", "debug", "persist"].iter().any(|key| fields.contains_key(key));
    let version = if main || text("version") == "v1alpha1" && !fields.contains_key("kind") {
        "v1alpha1"
    } else {
        text("apiVersion")
    };
    let kind = match (version, text("kind")) {
        ("v1alpha1", "") => schema::MAIN,
        (_, "") => return Err("missing kind".to_owned()),
        ("", _) => return Err("missing apiVersion".to_owned()),
        (_, kind) => kind,
    };
    let known = schema::document(kind)
        .filter(|document| version == "v1alpha1" && document.since <= minor)
        .ok_or_else(|| format!("\"{kind}\" \"{version}\": not registered"))?;
    let Shape::Fields(shapes) = &known.keys else { return Ok(()) };
    let mut fields = fields.clone();
    if kind != schema::MAIN {
        fields.remove("apiVersion");
        fields.remove("kind");
    }
    let mut wrong = Vec::new();
    let unknown = shapes.unknown(&fields, minor, &mut wrong);
    if !wrong.is_empty() {
        let what = if kind == schema::MAIN { "*v1alpha1.Config" } else { kind };
        return Err(format!(
            "error decoding {} to {what}: yaml: construct errors:\n  {}",
            if kind == schema::MAIN { "" } else { kind },
            wrong.join("\n  ")
        ));
    }
    match unknown {
        Some(unknown) => {
            Err(format!("unknown keys found during decoding:\n{}", indented(&unknown)))
        }
        None => Ok(()),
    }
}

/// YAML with the indentation of Go's.
fn indented(value: &Value) -> String {
    let text = serde_yaml_ng::to_string(value).unwrap_or_default();
    let lines = text.lines().map(|line| {
        let depth = line.len() - line.trim_start().len();
        format!("{:depth$}{line}\n", "")
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        documents(text, 13).unwrap_err()
    }

    #[test]
    fn unknown_keys_are_shown_where_they_are() {
        assert_eq!(
            error(
                "version: v1alpha1\nmachine:\n  type: worker\n  tokem: a\n  ca: {crt: x, kez: y}\n"
            ),
            "error decoding document /v1alpha1/ (line 1): unknown keys found during decoding:\n\
             machine:\n    ca:\n        kez: y\n    tokem: a\n"
        );
    }

    #[test]
    fn documents_need_a_known_kind_and_version() {
        assert_eq!(error(""), "config not found");
        assert_eq!(
            error("machine: {}\n---\napiVersion: v1alpha1\nkind: Nonsense\n"),
            "error decoding document v1alpha1/Nonsense/ (line 3): \"Nonsense\" \"v1alpha1\": not registered"
        );
        assert_eq!(error("foo: 1\n"), "error decoding document /v1alpha1/ (line 1): missing kind");
        assert_eq!(
            error("kind: HostnameConfig\n"),
            "error decoding document /HostnameConfig/ (line 1): missing apiVersion"
        );
        assert_eq!(
            error("machine: {}\n---\nmachine: {}\n"),
            "duplicate document /v1alpha1/ is not allowed (line 3)"
        );
    }

    #[test]
    fn an_older_release_refuses_newer_documents_and_keys() {
        let text = "apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n";
        assert!(documents(text, 12).is_ok());
        assert!(documents(text, 11).unwrap_err().contains("not registered"));
        let text = "machine: {install: {grubUseUKICmdline: true}}";
        assert!(documents(text, 12).is_ok());
        assert!(documents(text, 11).unwrap_err().contains("unknown keys"));
    }

    #[test]
    fn shapes_are_checked() {
        assert!(error("machine: {install: {wipe: maybe}}").contains("cannot construct"));
        assert!(documents("machine: {install: {wipe: yes}, type: 5}", 13).is_ok());
        assert!(
            documents("machine: {kubelet: {extraArgs: {v: [1]}}, sysctls: {a: 1}}", 13).is_ok()
        );
    }
}
