//! What differs between two values, place by place.

use std::collections::BTreeSet;

use serde_json::Value;

/// The key under which the digest of a secret stands in stored parameters.
const SECRET: &str = "$secret";
/// The most columns of one side of a change.
const SIDE: usize = 32;
/// How much of what is the same is shown before it.
const BEFORE: usize = 8;

/// One place that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Where, as `with.network.ntp`.
    pub(crate) place: String,
    /// What was there.
    pub(crate) from: String,
    /// What is there.
    pub(crate) to: String,
}

/// Every place at which two values differ, in order.
pub(crate) fn changes(root: &str, from: &Value, to: &Value) -> Vec<Changed> {
    let mut found = Vec::new();
    compare(root, from, to, &mut found);
    found
}

fn compare(place: &str, from: &Value, to: &Value, found: &mut Vec<Changed>) {
    if from == to {
        return;
    }
    match (from, to) {
        (Value::Object(before), Value::Object(after))
            if !before.contains_key(SECRET) && !after.contains_key(SECRET) =>
        {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let side = |fields: &serde_json::Map<String, Value>| {
                    fields.get(key).cloned().unwrap_or_default()
                };
                compare(&format!("{place}.{key}"), &side(before), &side(after), found);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (at, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{place}[{at}]"), before, after, found);
            }
        }
        (Value::String(before), Value::String(after)) if has_lines(before) && has_lines(after) => {
            found.push(in_lines(place, before, after));
        }
        (_, _) => found.push(side_by_side(place, &shown(from), &shown(to))),
    }
}

/// Both sides, cut to where they differ.
fn side_by_side(place: &str, from: &str, to: &str) -> Changed {
    let same = from.chars().zip(to.chars()).take_while(|(from, to)| from == to).count();
    let (before, after) = (cut(from, same), cut(to, same));
    let after = if from == to { format!("another {to}") } else { after };
    Changed { place: place.to_owned(), from: before, to: after }
}

fn has_lines(text: &str) -> bool {
    text.contains('\n')
}

/// The first line that differs, and whether others do.
fn in_lines(place: &str, from: &str, to: &str) -> Changed {
    let (before, after): (Vec<_>, Vec<_>) = (from.lines().collect(), to.lines().collect());
    let same = before.iter().zip(&after).take_while(|(before, after)| before == after).count();
    let line = |lines: &[&str]| {
        let text = lines.get(same).map_or("", |line| line.trim());
        if text.is_empty() { "nothing".to_owned() } else { text.to_owned() }
    };
    side_by_side(&format!("{place}, line {}", same + 1), &line(&before), &line(&after))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => text.lines().next().unwrap_or_default().to_owned(),
        Value::Object(fields) if fields.contains_key(SECRET) => "secret".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A long text from a little before the letter at which it differs.
fn cut(text: &str, differs: usize) -> String {
    let length = text.chars().count();
    if length <= SIDE {
        return text.to_owned();
    }
    let begin = differs.saturating_sub(BEFORE).min(length - (SIDE - 2));
    let part: String = text.chars().skip(begin).take(SIDE - 2).collect();
    let before = if begin > 0 { "…" } else { "" };
    let after = if begin + SIDE - 2 < length { "…" } else { "" };
    format!("{before}{}{after}", part.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_place_is_named_and_no_secret_is_shown() {
        let from = json!({
            "a": 1, "b": { "c": "x" }, "list": [1, 2], "key": { "$secret": "00" },
            "config": "one\n  two\nthree\n", "gone": true,
        });
        let to = json!({
            "a": 1, "b": { "c": "y" }, "list": [1, 3], "key": { "$secret": "01" },
            "config": "one\n  2\nthree\n",
        });
        let found: Vec<_> = changes("with", &from, &to)
            .into_iter()
            .map(|Changed { place, from, to }| format!("{place}: {from} → {to}"))
            .collect();
        assert_eq!(
            found,
            [
                "with.b.c: x → y",
                "with.config, line 2: two → 2",
                "with.gone: true → nothing",
                "with.key: secret → another secret",
                "with.list[1]: 2 → 3",
            ]
        );
        assert!(changes("with", &to, &to).is_empty());
        let long = |end: &str| json!(format!("{} {end}", "the same words ".repeat(4)));
        let [changed] = changes("with", &long("of old"), &long("and new")).try_into().unwrap();
        assert_eq!(
            (changed.from.as_str(), changed.to.as_str()),
            ("…e words the same words  of old", "… words the same words  and new")
        );
    }
}
