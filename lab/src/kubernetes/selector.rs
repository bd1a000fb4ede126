//! Label and field selectors.

use serde_json::Value;

use super::{
    json::{at, map, text},
    refusal::Refusal,
    registry::ResourceType,
};

/// One requirement of a label selector.
#[derive(Debug, Clone, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Missing(String),
}

/// Which objects a list or a watch wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<(String, bool, String)>,
}

impl Selector {
    /// Reads the parameters `labelSelector` and `fieldSelector`.
    pub(crate) fn parse(kind: &ResourceType, labels: &str, fields: &str) -> Result<Self, Refusal> {
        Ok(Self { labels: parse_labels(labels)?, fields: parse_fields(kind, fields)? })
    }

    /// Whether the object is wanted.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.labels.iter().all(|r| r.matches(object))
            && self
                .fields
                .iter()
                .all(|(path, equal, value)| (field(object, path) == *value) == *equal)
    }
}

fn field(object: &Value, path: &str) -> String {
    let pointer = format!("/{}", path.replace('.', "/"));
    match at(object, &pointer) {
        Value::String(text) => text.clone(),
        Value::Null => match path {
            "spec.unschedulable" | "spec.hostNetwork" => "false".to_owned(),
            _ => String::new(),
        },
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

impl Requirement {
    fn matches(&self, object: &Value) -> bool {
        let value = |key: &str| {
            map(object, "/metadata/labels").and_then(|l| l.get(key)).and_then(Value::as_str)
        };
        match self {
            Self::In(key, values) => value(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::NotIn(key, values) => !value(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
        }
    }
}

fn parse_labels(text: &str) -> Result<Vec<Requirement>, Refusal> {
    split_outside_brackets(text).into_iter().map(|part| parse_requirement(part.trim())).collect()
}

fn split_outside_brackets(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_u32, 0);
    for (index, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.retain(|p| !p.trim().is_empty());
    parts
}

fn parse_requirement(part: &str) -> Result<Requirement, Refusal> {
    let unexpected = |found: &str| {
        Refusal::bad_request(format!(
            "found '{found}', expected: !, identifier, or 'end of string'"
        ))
    };
    if let Some(key) = part.strip_prefix('!')
        && !key.contains('=')
    {
        return Ok(Requirement::Missing(key.trim().to_owned()));
    }
    let set = |values: &str| -> Vec<String> {
        values.trim().trim_matches(['(', ')']).split(',').map(|v| v.trim().to_owned()).collect()
    };
    if let Some((key, values)) = part.split_once(" notin ") {
        return Ok(Requirement::NotIn(key.trim().to_owned(), set(values)));
    }
    if let Some((key, values)) = part.split_once(" in ") {
        return Ok(Requirement::In(key.trim().to_owned(), set(values)));
    }
    let Some(operator) = part.find(['=', '!']) else {
        return Ok(Requirement::Exists(part.to_owned()));
    };
    let (key, rest) = part.split_at(operator);
    let token: String = rest.chars().take_while(|c| matches!(c, '=' | '!')).take(2).collect();
    if key.trim().is_empty() {
        return Err(unexpected(&token));
    }
    let value = vec![rest[token.len()..].trim().to_owned()];
    match token.as_str() {
        "=" | "==" => Ok(Requirement::In(key.trim().to_owned(), value)),
        "!=" => Ok(Requirement::NotIn(key.trim().to_owned(), value)),
        other => Err(unexpected(other)),
    }
}

fn known_fields(kind: &ResourceType) -> &'static [&'static str] {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("", "pods") => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        ("", "nodes") => &["metadata.name", "spec.unschedulable"],
        ("", "namespaces") => &["metadata.name", "status.phase"],
        ("", "secrets") => &["metadata.name", "metadata.namespace", "type"],
        ("", "events") => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        ("", "services") => &["metadata.name", "metadata.namespace", "spec.clusterIP", "spec.type"],
        ("batch", "jobs") => &["metadata.name", "metadata.namespace", "status.successful"],
        _ => &["metadata.name", "metadata.namespace"],
    }
}

fn parse_fields(kind: &ResourceType, text: &str) -> Result<Vec<(String, bool, String)>, Refusal> {
    let mut fields = Vec::new();
    for part in text.split(',').filter(|p| !p.is_empty()) {
        let (path, equal, value) = if let Some((path, value)) = part.split_once("!=") {
            (path, false, value)
        } else if let Some((path, value)) = part.split_once("==") {
            (path, true, value)
        } else if let Some((path, value)) = part.split_once('=') {
            (path, true, value)
        } else {
            return Err(Refusal::bad_request(format!(
                "invalid selector: '{text}'; can't understand '{part}'"
            )));
        };
        let known = known_fields(kind);
        if !known.contains(&path) {
            let message = if kind.custom.is_some() {
                format!("field label not supported: {path}")
            } else {
                let names: Vec<String> = known.iter().map(|k| format!("\"{k}\"")).collect();
                format!("\"{path}\" is not a known field selector: only {}", names.join(", "))
            };
            return Err(Refusal::bad_request(message));
        }
        fields.push((path.to_owned(), equal, value.to_owned()));
    }
    Ok(fields)
}

/// Whether a `LabelSelector` object (`matchLabels`, `matchExpressions`) picks these labels. An empty one picks all.
pub(crate) fn picks(selector: &Value, object: &Value) -> bool {
    let label = |key: &str| super::json::label(object, key);
    let labels = map(selector, "/matchLabels")
        .is_none_or(|wanted| wanted.iter().all(|(k, v)| label(k) == v.as_str()));
    let expressions = super::json::list(selector, "/matchExpressions").iter().all(|e| {
        let value = label(text(e, "/key"));
        let listed = value
            .is_some_and(|v| super::json::list(e, "/values").iter().any(|w| w.as_str() == Some(v)));
        match text(e, "/operator") {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    });
    labels && expressions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes::registry::find;
    use serde_json::json;

    fn config_maps() -> ResourceType {
        struct Nothing;
        impl super::super::objects::View for Nothing {
            fn get(&self, _: &str, _: &str, _: &str) -> Option<std::sync::Arc<Value>> {
                None
            }
            fn list(&self, _: &str) -> Vec<std::sync::Arc<Value>> {
                Vec::new()
            }
            fn list_in(&self, _: &str, _: &str) -> Vec<std::sync::Arc<Value>> {
                Vec::new()
            }
        }
        find(&Nothing, "", "v1", "configmaps").unwrap()
    }

    #[test]
    fn labels_select() {
        let object =
            json!({ "metadata": { "name": "a", "labels": { "app": "web", "tier": "front" } } });
        let picks =
            |labels: &str| Selector::parse(&config_maps(), labels, "").unwrap().matches(&object);
        assert!(picks("app=web,tier in (front, back)"));
        assert!(picks("app==web,tier,!gone,tier!=back,x notin (y)"));
        assert!(!picks("app!=web"));
        assert!(!picks("!app"));
    }

    #[test]
    fn wrong_selectors_are_refused_in_the_server_s_words() {
        let label = Selector::parse(&config_maps(), "===", "").unwrap_err();
        assert_eq!(label.message(), "found '==', expected: !, identifier, or 'end of string'");
        let field = Selector::parse(&config_maps(), "", "spec.nope=1").unwrap_err();
        assert_eq!(
            field.message(),
            "\"spec.nope\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
    }
}
