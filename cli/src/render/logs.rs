//! What attempts printed, and how they ended.

use std::time::Duration;

use flow_engine::event::{Body, Outcome};
use flow_engine::{Attempt, InstanceName};
use flow_state::NamedEvent;

use super::report;
use super::time::took;
use crate::terminal::plain::word;

/// The file of a log, read back: `INSTANCE.ATTEMPT.log`, percent-encoded.
pub(crate) fn read_file_name(file: &str) -> Option<(InstanceName, Attempt)> {
    let (name, attempt) = file.strip_suffix(".log")?.rsplit_once('.')?;
    let mut bytes = Vec::new();
    let mut left = name.as_bytes();
    while let Some((first, rest)) = left.split_first() {
        left = rest;
        if *first == b'%' {
            let digits = rest.get(..2).and_then(|digits| std::str::from_utf8(digits).ok())?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            left = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    let name = String::from_utf8(bytes).ok()?;
    Some((InstanceName::parse(&name), Attempt(attempt.parse().ok()?)))
}

/// The line over what one attempt printed.
pub(crate) fn heading(name: &InstanceName, attempt: Attempt) -> String {
    format!("── {name}, attempt {attempt}")
}

/// How an instance ended, in lines; nothing for an event that tells no end.
pub(crate) fn ending(event: &NamedEvent) -> Vec<String> {
    let NamedEvent { name: Some(name), event } = event else { return Vec::new() };
    let Body::Outcome(outcome) = &event.body else { return Vec::new() };
    match outcome {
        Outcome::Succeeded(success) => {
            let time = success.probe_ms.saturating_add(success.apply_ms.unwrap_or_default());
            let time = took(Duration::from_millis(time));
            let mut lines = vec![format!("✓ {name}   {}, {time}", word(success.done))];
            let drift = success.drift.iter().map(|drift| format!("  ! {drift}"));
            lines.extend(drift);
            lines.extend(success.notes.iter().map(|note| format!("  ! {note}")));
            lines
        }
        Outcome::Unchanged { done, probe_ms } => {
            let time = took(Duration::from_millis(*probe_ms));
            vec![format!("✓ {name}   {}, {time}", word(*done))]
        }
        Outcome::Failed { failure, attempt, .. } => {
            report::failure(name.as_str(), failure, attempt.0)
        }
        Outcome::DidNotTakeHold => vec![format!("! {name}   did not take hold")],
        Outcome::Destroyed => vec![format!("✓ {name}   destroyed")],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::story::tests::{asked, failed};

    #[test]
    fn names_of_files_are_read_back() {
        let read = |file| read_file_name(file).map(|(name, attempt)| (name.to_string(), attempt.0));
        assert_eq!(read("create-vm%2Fworker0.2.log"), Some(("create-vm/worker0".into(), 2)));
        assert_eq!(read("v1.2.10.log"), Some(("v1.2".into(), 10)));
        assert_eq!(read("broken%2.1.log"), None);
        assert_eq!(read("none.log"), None);
    }

    #[test]
    fn only_outcomes_are_endings() {
        assert!(ending(&asked(1, "a")).is_empty());
        let lines = ["  × a   shell::exit, exit 1, 3 attempts", "  │ `false` ended with code 1"];
        assert_eq!(ending(&failed(1, "a", false)), lines);
    }
}
