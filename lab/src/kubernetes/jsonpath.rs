//! The JSON paths of printer columns: fields, indexes, `[?(@.type=="Ready")]` filters, quoted members and `[*]`.

use serde_json::Value;

/// The values that a path picks.
pub(crate) fn pick<'a>(object: &'a Value, path: &str) -> Vec<&'a Value> {
    let mut found = vec![object];
    let mut rest = path.trim().trim_start_matches(['{', '$']).trim_end_matches('}');
    while !rest.is_empty() && !found.is_empty() {
        let (step, after) = next_step(rest);
        found = found.into_iter().flat_map(|v| step_into(v, &step)).collect();
        rest = after;
    }
    found
}

enum Step {
    Member(String),
    Index(usize),
    All,
    Filter { field: String, equal: bool, value: String },
    Nothing,
}

fn next_step(rest: &str) -> (Step, &str) {
    if let Some(inside) = rest.strip_prefix('[') {
        let end = closing(inside);
        let after = inside.get(end + 1..).unwrap_or_default();
        return (bracket(&inside[..end]), after);
    }
    let rest = rest.strip_prefix('.').unwrap_or(rest);
    let mut name = String::new();
    let mut letters = rest.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '\\' => name.extend(letters.next().map(|(_, c)| c)),
            '.' | '[' => return (member(name), &rest[index..]),
            other => name.push(other),
        }
    }
    (member(name), "")
}

fn member(name: String) -> Step {
    match name.as_str() {
        "" => Step::Nothing,
        "*" => Step::All,
        _ => Step::Member(name),
    }
}

/// The end of a bracket: the first `]` outside quotes and parentheses.
fn closing(inside: &str) -> usize {
    let (mut quote, mut depth) = (None, 0_i32);
    for (index, letter) in inside.char_indices() {
        match (quote, letter) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, ']') if depth <= 0 => return index,
            (Some(_) | None, _) => {}
        }
    }
    inside.len()
}

fn bracket(inside: &str) -> Step {
    if inside == "*" {
        return Step::All;
    }
    if let Some(filter) = inside.strip_prefix("?(").and_then(|f| f.strip_suffix(')')) {
        let split = filter
            .split_once("==")
            .map(|p| (p, true))
            .or_else(|| filter.split_once("!=").map(|p| (p, false)));
        let Some(((field, value), equal)) = split else { return Step::Nothing };
        return Step::Filter {
            field: field.trim().trim_start_matches('@').trim_start_matches('.').to_owned(),
            equal,
            value: value.trim().trim_matches(['"', '\'']).to_owned(),
        };
    }
    match inside.parse() {
        Ok(index) => Step::Index(index),
        Err(_) => member(inside.trim_matches(['"', '\'']).replace("\\.", ".")),
    }
}

fn step_into<'a>(value: &'a Value, step: &Step) -> Vec<&'a Value> {
    match (step, value) {
        (Step::Nothing, _) => vec![value],
        (Step::Member(name), _) => value.get(name).into_iter().collect(),
        (Step::Index(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
        (Step::All, Value::Array(items)) => items.iter().collect(),
        (Step::All, Value::Object(members)) => members.values().collect(),
        (Step::Filter { field, equal, value }, Value::Array(items)) => items
            .iter()
            .filter(|item| {
                let held = pick(item, field);
                let same = held
                    .first()
                    .is_some_and(|h| h.as_str().map_or(h.to_string() == *value, |t| t == value));
                same == *equal
            })
            .collect(),
        (Step::Index(_) | Step::All | Step::Filter { .. }, _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_of_printer_columns_pick() {
        let object = json!({
            "metadata": { "labels": { "a.b/c": "x" } },
            "status": { "conditions": [
                { "type": "Reconciling", "status": "True" }, { "type": "Ready", "status": "False", "message": "m" },
            ] },
            "spec": { "hosts": ["one", "two"] },
        });
        let one =
            |path: &str| pick(&object, path).first().and_then(|v| v.as_str()).map(str::to_owned);
        assert_eq!(one(".status.conditions[?(@.type==\"Ready\")].message").as_deref(), Some("m"));
        assert_eq!(one(".status.conditions[?(@.type=='Ready')].status").as_deref(), Some("False"));
        assert_eq!(one(".spec.hosts[1]").as_deref(), Some("two"));
        assert_eq!(one(".metadata.labels['a\\.b/c']").as_deref(), Some("x"));
        assert_eq!(one(".metadata.labels.a\\.b/c").as_deref(), Some("x"));
        assert_eq!(pick(&object, ".spec.hosts[*]").len(), 2);
        assert_eq!(one(".status.nothing.here"), None);
    }
}
