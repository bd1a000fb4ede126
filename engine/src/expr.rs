//! HCL templates: static references and evaluation.

use serde_json::Value;

/// A TOML value whose strings may hold `${…}`.
#[derive(Debug, Clone, Default)]
pub struct Template {
    raw: Value,
}

impl Template {
    /// A value without expressions.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn literal(raw: Value) -> Self {
        Self { raw }
    }

    /// The value as written.
    #[must_use]
    pub fn raw(&self) -> &Value {
        &self.raw
    }
}
