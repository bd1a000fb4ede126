//! `postBuild`: `${name}`, `${name:=default}`, `${name:-default}`, `${name:pos:len}`, `${name/a/b}`; `$${x}` stays.

use std::collections::BTreeMap;

/// Puts variables into a text.
///
/// # Errors
/// The message for a variable without value and default, or an expression that is none.
pub(super) fn substitute(
    text: &str,
    variables: &BTreeMap<String, String>,
) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, after) = rest.split_at(start);
        if let Some(escaped) = before.strip_suffix('$') {
            result.push_str(escaped);
            result.push_str("${");
            rest = &after[2..];
            continue;
        }
        result.push_str(before);
        let inside = &after[2..];
        let end = inside
            .find('}')
            .ok_or_else(|| "unable to parse variable: missing closing brace".to_owned())?;
        result.push_str(&value(&inside[..end], variables)?);
        rest = &inside[end + 1..];
    }
    result.push_str(rest);
    Ok(result)
}

fn value(expression: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let end = expression
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(expression.len());
    let (name, operation) = expression.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("unable to parse variable name".to_owned());
    }
    let held = variables.get(name);
    for default in [":=", ":-", "="] {
        if let Some(preset) = operation.strip_prefix(default) {
            return Ok(held
                .filter(|h| !h.is_empty())
                .cloned()
                .unwrap_or_else(|| preset.to_owned()));
        }
    }
    let Some(held) = held else {
        return Err(format!("variable not set (strict mode): \"{name}\""));
    };
    if let Some(range) = operation.strip_prefix(':') {
        let (start, length) = range.split_once(':').unwrap_or((range, ""));
        let start: usize =
            start.parse().map_err(|_| "unable to parse variable: bad position".to_owned())?;
        let length = length.parse().unwrap_or(usize::MAX);
        return Ok(held.chars().skip(start).take(length).collect());
    }
    if let Some(pair) = operation.strip_prefix('/') {
        let (old, new) = pair.split_once('/').unwrap_or((pair, ""));
        return Ok(held.replace(old, new));
    }
    if operation.is_empty() {
        Ok(held.clone())
    } else {
        Err(format!("unable to parse variable: {expression}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_in_or_missed() {
        let variables = BTreeMap::from([("domain".to_owned(), "lab.test".to_owned())]);
        let put = |text: &str| substitute(text, &variables);
        assert_eq!(put("a ${domain} $x $${domain}").unwrap(), "a lab.test $x ${domain}");
        assert_eq!(put("${other:=7} ${domain:-8}").unwrap(), "7 lab.test");
        assert_eq!(put("${domain:0:3} ${domain/lab/dev}").unwrap(), "lab dev.test");
        assert_eq!(put("${missing}").unwrap_err(), "variable not set (strict mode): \"missing\"");
    }
}
