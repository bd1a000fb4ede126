//! What a shell task says under `with`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flow_engine::Effect;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `[tasks.X.with]` of a shell task.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// Looks: exit 0 satisfied; 1 absent or, if `$FLOW_OUTPUT` says so, drifted; else unknown.
    pub(super) check: Option<Argv>,
    /// Changes: exit 0 means that the change was made or accepted.
    pub(super) apply: Option<Argv>,
    /// Removes what `apply` made.
    #[serde(default)]
    #[expect(dead_code, reason = "read as a literal for the handle, see Shell::probe")]
    pub(super) destroy: Option<Argv>,
    /// The effect; without it `converge` where there is a `check` or `creates`, else `action`.
    #[serde(default)]
    #[expect(dead_code, reason = "read as a literal before anything is resolved")]
    pub(super) effect: Option<EffectName>,
    /// Added to a small base environment.
    #[serde(default)]
    pub(super) env: BTreeMap<String, String>,
    /// The working directory; without it flow's own.
    pub(super) cwd: Option<PathBuf>,
    /// A file whose presence means satisfied: a check that costs nothing.
    pub(super) creates: Option<PathBuf>,
    /// Given to the standard input of `check` and `apply`; the place for a secret.
    #[serde(default)]
    pub(super) stdin: Option<String>,
    /// The outputs that other tasks read, all strings, written to `$FLOW_OUTPUT`.
    #[serde(default)]
    pub(super) outputs: Vec<String>,
    /// Whether a single string is a line for `sh -c`.
    #[serde(default)]
    pub(super) sh: bool,
    /// Whether a `check` that finds nothing proves that a `once` did not happen.
    #[serde(default)]
    #[expect(dead_code, reason = "read as a literal before anything is resolved")]
    pub(super) conclusive: bool,
    /// `"inputs"`: a satisfied `check` covers changed inputs too, so they do not run `apply`.
    #[serde(default)]
    #[expect(dead_code, reason = "read as a literal before anything is resolved")]
    pub(super) check_covers: Option<Covers>,
}

/// A program with its arguments, or a line for `sh -c`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Argv {
    /// A line; needs `sh = true`.
    Line(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

/// What a task may say of its effect.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EffectName {
    /// Safe to apply again at any time.
    Converge,
    /// Must never take effect twice.
    Once,
    /// Leaves nothing to look at.
    Action,
    /// Only looks.
    Gate,
}

/// What a satisfied `check` covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Covers {
    /// The inputs too.
    Inputs,
}

impl From<EffectName> for Effect {
    fn from(name: EffectName) -> Self {
        match name {
            EffectName::Converge => Self::Converge,
            EffectName::Once => Self::Once,
            EffectName::Action => Self::Action,
            EffectName::Gate => Self::Gate,
        }
    }
}

impl Argv {
    /// The words to execute, if the form is permitted by `sh`.
    pub(super) fn words(&self, sh: bool) -> Option<Vec<String>> {
        match self {
            Self::Words(words) if !words.is_empty() => Some(words.clone()),
            Self::Line(line) if sh => Some(vec!["sh".into(), "-c".into(), line.clone()]),
            Self::Words(_) | Self::Line(_) => None,
        }
    }
}

/// The effect that the literals of a `with` table say.
///
/// # Errors
///
/// What contradicts itself, in words for the author of the file.
pub(super) fn effect(with: &Value) -> Result<Effect, String> {
    can_be_executed(with)?;
    let has = |key: &str| with.get(key).is_some_and(|value| !value.is_null());
    let looks = has("check") || has("creates");
    let effect = match with.get("effect") {
        None | Some(Value::Null) if looks && !has("apply") => Effect::Gate,
        None | Some(Value::Null) if looks => Effect::Converge,
        None | Some(Value::Null) => Effect::Action,
        Some(name) => EffectName::deserialize(name)
            .map_err(|_| "`effect` is one of converge, once, action, gate".to_owned())?
            .into(),
    };
    match effect {
        Effect::Once if !has("check") => {
            Err("a `once` needs a `check`, by which its effect is found again".to_owned())
        }
        Effect::Gate if !looks => Err("a `gate` needs a `check` or `creates`".to_owned()),
        Effect::Gate if has("apply") => Err("a `gate` only looks: it takes no `apply`".to_owned()),
        Effect::Converge | Effect::Once | Effect::Action if !has("apply") => {
            Err("`apply` is missing: the command that makes the change".to_owned())
        }
        Effect::Converge if !has("check") && has("outputs") => {
            Err("`creates` cannot tell `outputs` again: add a `check` that writes them".to_owned())
        }
        Effect::Converge if !looks => Err("a `converge` needs a `check` or `creates`".to_owned()),
        Effect::Converge | Effect::Once | Effect::Action | Effect::Gate => Ok(effect),
    }
}

/// Finds what no command can be among the literals; what is still an expression is not judged.
fn can_be_executed(with: &Value) -> Result<(), String> {
    let is_expression = |text: &str| text.contains("${") || text.contains("%{");
    let sh = with.get("sh").is_some_and(|sh| *sh != Value::Bool(false));
    for key in ["check", "apply", "destroy"] {
        match with.get(key) {
            Some(Value::String(line)) if !sh && !is_expression(line) => {
                return Err(format!(
                    "`{key}` is a line of shell: set `sh = true`, or write it as a list of words"
                ));
            }
            Some(Value::Array(words)) if words.first().is_none_or(|program| program == "") => {
                return Err(format!("`{key}` names no program"));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_effect_follows_from_what_there_is() {
        assert_eq!(effect(&json!({ "apply": ["a"] })), Ok(Effect::Action));
        assert_eq!(effect(&json!({ "apply": ["a"], "check": ["c"] })), Ok(Effect::Converge));
        assert_eq!(effect(&json!({ "apply": ["a"], "creates": "f" })), Ok(Effect::Converge));
        assert_eq!(effect(&json!({ "check": ["c"] })), Ok(Effect::Gate));
        assert!(effect(&json!({ "apply": ["a"], "effect": "once" })).is_err());
        assert!(effect(&json!({ "apply": ["a"], "effect": "converge" })).is_err());
        assert!(effect(&json!({ "apply": ["a"], "creates": "f", "outputs": ["o"] })).is_err());
        assert!(effect(&json!({})).is_err());
    }

    #[test]
    fn what_cannot_be_executed_is_found_among_the_literals() {
        let line = "`apply` is a line of shell: set `sh = true`, or write it as a list of words";
        assert_eq!(effect(&json!({ "apply": "echo hi" })), Err(line.to_owned()));
        assert_eq!(effect(&json!({ "apply": "echo hi", "sh": false })), Err(line.to_owned()));
        for words in [json!([]), json!([""])] {
            let told = effect(&json!({ "apply": ["a"], "check": words }));
            assert_eq!(told, Err("`check` names no program".to_owned()));
        }
        for good in [
            json!({ "apply": "echo hi", "sh": true }),
            json!({ "apply": "echo hi", "sh": "${inputs.sh}" }),
            json!({ "apply": "${inputs.words}" }),
        ] {
            assert_eq!(effect(&good), Ok(Effect::Action));
        }
    }

    #[test]
    fn a_line_needs_leave_to_be_run_by_a_shell() {
        let line = Argv::Line("echo a | cat".to_owned());
        assert_eq!(line.words(false), None);
        assert_eq!(line.words(true).map(|words| words.len()), Some(3));
        assert_eq!(Argv::Words(vec![]).words(true), None);
    }
}
