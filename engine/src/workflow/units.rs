//! Durations and names as they are typed.

use std::time::Duration;

/// The longest duration that anybody may ask for: ten years, far from where clocks overflow.
const LONGEST: Duration = Duration::from_hours(24 * 3650);

/// A duration as `500ms`, `2s`, `10m`, `24h`, `7d` or several of them joined; ten years at most.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let seconds = match &rest[..letters] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        rest = &rest[letters..];
        total = total.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
    }
    (total <= LONGEST).then_some(total)
}

/// The rule of names: of workflows, tasks, inputs, pools, tags and layers.
pub(crate) fn is_name(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

/// A name that follows the rule and is close to a text that does not.
pub(crate) fn as_name(text: &str) -> Option<String> {
    let name: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .collect();
    let name = name.trim_matches('-').to_owned();
    is_name(&name).then_some(name)
}

/// Why a text cannot be the key of an instance.
pub(crate) fn key_fault(text: &str) -> Option<&'static str> {
    if text.is_empty() {
        return Some("a key is not empty");
    }
    if text.len() > 63 {
        return Some("a key has at most 63 bytes");
    }
    if text == "." || text == ".." {
        return Some("`.` and `..` are no keys");
    }
    if text.starts_with('-') {
        return Some("a key does not start with `-`");
    }
    if !text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Some("a key is made of letters, digits, `-`, `_` and `.`");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, milliseconds) in
            [("500ms", 500), ("2s", 2000), ("10m", 600_000), ("1h30m", 5_400_000), ("0.5s", 500)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "2 s", "-2s", "1w", "1e400s", "3651d", "200000000000000d"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn names_and_keys() {
        assert!(is_name("create-vm") && !is_name("Create") && !is_name("2nd") && !is_name(""));
        assert_eq!(as_name("Create_VM"), Some("create-vm".to_owned()));
        assert!(key_fault("worker0").is_none() && key_fault("münchen.1").is_none());
        assert!(
            key_fault("a/b").is_some() && key_fault("..").is_some() && key_fault("-x").is_some()
        );
    }
}
