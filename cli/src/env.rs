//! Every environment variable that flow itself reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The default site.
pub(crate) const SITE: &str = "FLOW_SITE";
/// The identity that opens the vault.
pub(crate) const IDENTITY: &str = "FLOW_AGE_IDENTITY";
/// Kills the process with SIGKILL once the event of this number is durable; for tests of recovery.
pub(crate) const CRASH_AT: &str = "FLOW_CRASH_AT";
/// Prefix of inputs: `FLOW_INPUT_X`.
pub(crate) const INPUT: &str = "FLOW_INPUT_";

/// The variables that give inputs.
pub(crate) fn inputs() -> BTreeMap<String, String> {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        // One that is no text belongs to somebody else, or is missed as an input by its name.
        Some((name.into_string().ok()?, value.into_string().ok()?))
    });
    variables.filter(|(name, _)| name.starts_with(INPUT)).collect()
}

/// The value of a variable; an empty one counts as not set.
pub(crate) fn text(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a user's own identity is, unless the variable says otherwise.
pub(crate) fn identity() -> Option<PathBuf> {
    let own = text(IDENTITY).map(PathBuf::from);
    own.or_else(|| Some(PathBuf::from(text("HOME")?).join(".config/flow/identity")))
}
