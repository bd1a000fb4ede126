//! What a command says through the file `$FLOW_OUTPUT`: a JSON object, or lines of `key=value`.

use std::path::Path;

use serde_json::{Map, Value};

/// The most that a command may write, in bytes.
const LIMIT: u64 = 1 << 20;

/// Why the file could not be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadOutput {
    /// It cannot be read.
    #[error("the file cannot be read")]
    Io(#[source] std::io::Error),
    /// It is larger than one mebibyte.
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// A line is neither `key=value` nor empty. It is not quoted, for it may be a secret.
    #[error("line {0} is not `key=value`, and the whole is not a JSON object")]
    Line(usize),
}

/// Reads the file; an empty one is an empty object.
///
/// # Errors
///
/// It cannot be read, or is neither of both forms.
pub(super) fn read(path: &Path) -> Result<Map<String, Value>, BadOutput> {
    let size = std::fs::metadata(path).map_err(BadOutput::Io)?.len();
    if size > LIMIT {
        return Err(BadOutput::TooLarge);
    }
    parse(&std::fs::read_to_string(path).map_err(BadOutput::Io)?)
}

fn parse(text: &str) -> Result<Map<String, Value>, BadOutput> {
    if let Ok(Value::Object(fields)) = serde_json::from_str(text) {
        return Ok(fields);
    }
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let (key, value) = line
                .split_once('=')
                .map(|(key, value)| (key.trim(), value))
                .filter(|(key, _)| is_key(key))
                .ok_or(BadOutput::Line(number + 1))?;
            Ok((key.to_owned(), Value::String(value.to_owned())))
        })
        .collect()
}

/// Whether somebody meant this to be a key.
fn is_key(text: &str) -> bool {
    text.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && text.chars().all(|one| one.is_alphanumeric() || "-_.".contains(one))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_are_understood() {
        assert_eq!(
            Value::Object(parse("ip=10.0.0.1\n\na=b=c\n").unwrap()),
            json!({
                "ip": "10.0.0.1", "a": "b=c"
            })
        );
        assert_eq!(Value::Object(parse(r#"{ "n": 1 }"#).unwrap()), json!({ "n": 1 }));
        assert!(parse("").unwrap().is_empty());
        for bad in ["a=1\nnonsense", "a=1\nc2VjcmV0/c2VjcmV0=", "a=1\n=b"] {
            assert!(matches!(parse(bad), Err(BadOutput::Line(2))));
        }
    }
}
