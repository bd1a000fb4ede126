//! Outputs of a workflow: text raw, tables as TOML.

use serde_json::Value;

use super::text::{pad, width};

/// The most columns of a value in the list of all.
const VALUE: usize = 76;

/// What is known of one output.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Its value.
    Value(Value),
    /// A secret is in it.
    Secret,
    /// It is not known until this instance has succeeded.
    Until(String),
}

/// All outputs, one a line.
pub(crate) fn list(outputs: &[(String, Known)]) -> Vec<String> {
    let widest = outputs.iter().map(|(name, _)| width(name)).max().unwrap_or_default();
    let line = |(name, known): &(String, Known)| {
        format!("{}  {}", pad(name, widest), in_short(name, known)).trim_end().to_owned()
    };
    outputs.iter().map(line).collect()
}

/// What is known of an output, in one line.
pub(crate) fn in_short(name: &str, known: &Known) -> String {
    match known {
        Known::Value(value) => short(value),
        Known::Secret => format!("a secret: flow output {name} --reveal"),
        Known::Until(instance) => format!("not known until {instance} has succeeded"),
    }
}

/// The beginning of a value, in one line.
fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let first = text.trim_end().lines().next().unwrap_or_default();
    let whole = first.len() == text.trim_end().len();
    if whole && width(first) <= VALUE {
        return first.to_owned();
    }
    let cut: String = first.chars().take(VALUE - 2).collect();
    format!("{cut} …")
}

/// A value as data for other programs: text as it is, everything else as TOML.
///
/// Nothing is left of nulls, which TOML does not have.
pub(crate) fn raw(value: &Value) -> String {
    match value {
        Value::String(text) if text.ends_with('\n') => text.clone(),
        Value::String(text) => format!("{text}\n"),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) => format!("{value}\n"),
        Value::Array(_) => {
            let array = to_toml(value).unwrap_or(toml::Value::Array(Vec::new()));
            format!("{array}\n")
        }
        Value::Object(_) => match to_toml(value) {
            // Every table can be written; a value that is none has a spelling of its own.
            Some(toml::Value::Table(table)) => toml::to_string(&table).unwrap_or_default(),
            Some(other) => format!("{other}\n"),
            None => String::new(),
        },
    }
}

fn to_toml(value: &Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(flag) => toml::Value::Boolean(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => toml::Value::Integer(whole),
            None => toml::Value::Float(number.as_f64()?),
        },
        Value::String(text) => toml::Value::String(text.clone()),
        Value::Array(items) => toml::Value::Array(items.iter().filter_map(to_toml).collect()),
        Value::Object(fields) => toml::Value::Table(
            fields.iter().filter_map(|(key, field)| Some((key.clone(), to_toml(field)?))).collect(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use snapbox::{assert_data_eq, str};

    use super::*;

    #[test]
    fn text_is_raw_and_tables_are_toml() {
        assert_eq!(raw(&json!("https://10.2.3.1:6443")), "https://10.2.3.1:6443\n");
        assert_eq!(raw(&json!("two\nlines\n")), "two\nlines\n");
        assert_eq!(raw(&json!([1, "two"])), "[1, \"two\"]\n");
        let table = json!({ "api": { "first": "a", "vip": null }, "count": 3 });
        assert_data_eq!(
            raw(&table),
            str![[r#"
count = 3

[api]
first = "a"

"#]]
        );
    }

    #[test]
    fn the_list_shows_no_secret_and_no_second_line() {
        let outputs = [
            ("api".to_owned(), Known::Value(json!("https://10.2.3.1:6443"))),
            ("certificate".to_owned(), Known::Value(json!("-----BEGIN CERTIFICATE-----\nMII"))),
            ("password".to_owned(), Known::Secret),
            ("revision".to_owned(), Known::Until("flux-source".to_owned())),
        ];
        assert_data_eq!(
            list(&outputs).join("\n") + "\n",
            str![[r#"
api          https://10.2.3.1:6443
certificate  -----BEGIN CERTIFICATE----- …
password     a secret: flow output password --reveal
revision     not known until flux-source has succeeded

"#]]
        );
    }
}
