//! Scalars of Proxmox' JSON, which come as numbers, strings or booleans as they please.

use serde_json::Value;

/// A scalar as text; booleans as `1` and `0`.
pub(crate) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(u8::from(*yes).to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A whole number, also one in a string.
pub(crate) fn number(value: &Value) -> Option<u64> {
    text(value)?.parse().ok()
}

/// Whether a value says yes: `1`, `true`, `on`, `yes`.
pub(super) fn yes(value: &Value) -> bool {
    text(value).is_some_and(|text| is_yes(&text))
}

/// Whether a text says yes.
pub(super) fn is_yes(text: &str) -> bool {
    matches!(text, "1" | "true" | "on" | "yes")
}

/// The parts of a list that is separated by comma, semicolon or space.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';', ' ', '\0']).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_read_as_they_come() {
        assert_eq!(number(&json!("2048")), Some(2048));
        assert_eq!(number(&json!(2048)), Some(2048));
        assert_eq!(number(&json!({})), None);
        assert!(yes(&json!(1)) && yes(&json!("1")) && yes(&json!(true)) && yes(&json!("on")));
        assert!(!yes(&json!(0)) && !yes(&json!("0")) && !yes(&json!(null)));
        assert_eq!(list("a;b, c").collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
