//! The rules of names and keys.

use std::collections::BTreeMap;

use super::error::{Finding, Findings, Span};
use super::units;

/// A name that breaks the rule.
pub(crate) fn bad_name(what: &str, name: &str, span: Span) -> Finding {
    let help = units::as_name(name).map_or_else(
        || "a name is made of a-z, 0-9 and `-`, starts with a letter and has at most 63".to_owned(),
        |better| format!("names are made of a-z, 0-9 and `-`: `{better}`"),
    );
    Finding::new(
        "workflow::name",
        format!("`{name}` cannot be the name of {what}"),
        span,
        "not a name",
    )
    .help(help)
}

/// Names that a person takes for one another.
pub(crate) fn confusable<'a>(
    names: impl Iterator<Item = (&'a str, Span)>,
    what: &str,
    findings: &mut Findings,
) {
    let mut seen: BTreeMap<String, (&str, Span)> = BTreeMap::new();
    for (name, span) in names {
        let folded = skeleton(name);
        match seen.get(&folded) {
            Some((other, _)) if *other == name => {}
            Some((other, before)) => findings.push(
                Finding::new(
                    "workflow::confusable-name",
                    format!("the {what}s `{other}` and `{name}` look alike"),
                    span,
                    "looks like the other one",
                )
                .label(*before, "first here")
                .help(format!("rename one of the two {what}s")),
            ),
            None => {
                seen.insert(folded, (name, span));
            }
        }
    }
}

/// What is left of a name for an eye that does not look closely.
fn skeleton(name: &str) -> String {
    let letters: Vec<char> = name.to_lowercase().chars().collect();
    let letter = |at: Option<usize>| at.and_then(|at| letters.get(at));
    let is_letter = |c: &char| c.is_alphabetic() && !matches!(c, 'l' | 'o');
    // A hyphen between numbers tells them apart: `t1-11` and `t11-1`.
    let dropped = |at: usize| {
        letter(at.checked_sub(1)).is_some_and(is_letter)
            && letter(Some(at + 1)).is_some_and(is_letter)
    };
    let seen = letters.iter().enumerate().filter(|(at, c)| **c != '-' || !dropped(*at));
    seen.map(|(_, c)| match c {
        'l' => '1',
        'o' => '0',
        other => *other,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_alike() {
        for (one, other) in [("kube-api", "kubeapi"), ("node-l", "node-1"), ("foo", "f00")] {
            assert_eq!(skeleton(one), skeleton(other));
        }
        for (one, other) in [("t1-11", "t11-1"), ("mail", "mall"), ("create-vm", "create-vms")] {
            assert_ne!(skeleton(one), skeleton(other));
        }
    }
}
