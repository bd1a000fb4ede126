//! How deep a value may be nested that is stored.

use serde_json::Value;

use crate::failure::Failure;
use crate::kind::Retry;

/// The deepest that is taken. Readers of JSON give up at 127, and what is stored around a value
/// adds to its own levels: what is written deeper than they read can never be read again.
pub(crate) const DEEPEST: usize = 64;

/// Whether lists and tables in a value are nested deeper than [`DEEPEST`].
pub(crate) fn is_too_deep(value: &Value) -> bool {
    is_deeper(value, DEEPEST)
}

fn is_deeper(value: &Value, than: usize) -> bool {
    match value {
        Value::Array(items) => than == 0 || items.iter().any(|item| is_deeper(item, than - 1)),
        Value::Object(fields) => {
            than == 0 || fields.values().any(|field| is_deeper(field, than - 1))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Why a value is not taken; `subject` says whose it is.
pub(crate) fn too_deep(subject: &str) -> Failure {
    Failure::new(
        "engine::too-deep",
        format!("{subject} is nested more than {DEEPEST} levels deep"),
        Retry::Never,
    )
    .with_help("hand on the part that is needed, or the whole as text by `jsonencode`")
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Lists in lists.
    pub(crate) fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inner, _| json!([inner]))
    }

    #[test]
    fn the_deepest_is_taken_and_no_more() {
        assert!(!is_too_deep(&nested(DEEPEST)));
        assert!(is_too_deep(&nested(DEEPEST + 1)));
        assert!(is_too_deep(&json!({ "flat": 1, "deep": nested(DEEPEST) })));
    }
}
