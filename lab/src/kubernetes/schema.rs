//! Structural schemas of custom resources: defaults, unknown fields, and what is wrong.

use serde_json::{Map, Value};

use super::{
    json::{at, list, map, text},
    refusal::Cause,
    shape::item_key,
};

/// Durations as Flux writes them.
const DURATION: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$";
/// The keyword of rules in CEL.
const RULES: &str = "x-kubernetes-validations";
/// URLs of git repositories as Flux takes them.
const GIT_URL: &str = "^(http|https|ssh)://.*$";

/// Whether a text matches a pattern; those that the lab does not know match everything.
fn matches(text: &str, pattern: &str) -> bool {
    match pattern {
        DURATION => duration(text).is_some(),
        GIT_URL => ["http://", "https://", "ssh://"].iter().any(|scheme| text.starts_with(scheme)),
        _ => true,
    }
}

/// Fills in the defaults.
pub(crate) fn default(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(object) => {
            let Some(properties) = map(schema, "/properties") else {
                if let Some(inner) = schema.get("additionalProperties").filter(|a| a.is_object()) {
                    object.values_mut().for_each(|v| default(v, inner));
                }
                return;
            };
            for (name, inner) in properties {
                if let Some(preset) = inner.get("default")
                    && !object.contains_key(name)
                {
                    object.insert(name.clone(), preset.clone());
                }
                if let Some(held) = object.get_mut(name) {
                    default(held, inner);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for item in items {
                    default(item, inner);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes out the fields that the schema does not know; answers their paths.
pub(crate) fn prune(value: &mut Value, schema: &Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Value::Object(object) = value {
        // The root's own fields are known to every object.
        for (name, inner) in object
            .iter_mut()
            .filter(|(n, _)| !matches!(n.as_str(), "apiVersion" | "kind" | "metadata"))
        {
            match map(schema, "/properties").and_then(|p| p.get(name)) {
                Some(known) => prune_at(inner, known, name, &mut unknown),
                None if preserves(schema) => {}
                None => unknown.push(name.clone()),
            }
        }
        let roots: Vec<String> = unknown.iter().filter(|p| !p.contains('.')).cloned().collect();
        for root in roots {
            object.remove(&root);
        }
    }
    unknown
}

fn preserves(schema: &Value) -> bool {
    at(schema, "/x-kubernetes-preserve-unknown-fields") == &Value::Bool(true)
}

fn prune_at(value: &mut Value, schema: &Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(object) => prune_members(object, schema, path, unknown),
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for (index, item) in items.iter_mut().enumerate() {
                    prune_at(item, inner, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn prune_members(
    object: &mut Map<String, Value>,
    schema: &Value,
    path: &str,
    unknown: &mut Vec<String>,
) {
    let open = schema.get("additionalProperties");
    let mut gone = Vec::new();
    for (name, inner) in object.iter_mut() {
        let at = format!("{path}.{name}");
        if let Some(known) = map(schema, "/properties").and_then(|p| p.get(name)) {
            prune_at(inner, known, &at, unknown);
        } else if let Some(open) = open {
            prune_at(inner, open, &at, unknown);
        } else if !preserves(schema) && !schema_is_embedded(schema) {
            unknown.push(at);
            gone.push(name.clone());
        }
    }
    for name in gone {
        object.remove(&name);
    }
}

fn schema_is_embedded(schema: &Value) -> bool {
    at(schema, "/x-kubernetes-embedded-resource") == &Value::Bool(true)
}

/// What is wrong with a value.
pub(crate) fn check(value: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_at(value, schema, "", &mut causes);
    causes
}

/// Whether some rule of the schema was not looked at because of other errors.
pub(crate) fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.iter().any(|(key, v)| key == RULES || has_rules(v)),
        Value::Array(items) => items.iter().any(has_rules),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The cause that stands for rules that were not looked at.
pub(crate) fn unchecked_rules() -> Cause {
    let message = "some validation rules were not checked because the object was invalid; correct the existing errors to \
                   complete validation";
    Cause::invalid("<nil>", &Value::Null, message)
}

/// What a change breaks: fields whose only rule is that they stay as they are.
pub(crate) fn check_change(old: &Value, new: &Value, schema: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_change_at((old, new), schema, "", &mut causes);
    causes
}

fn check_change_at(
    (old, new): (&Value, &Value),
    schema: &Value,
    path: &str,
    causes: &mut Vec<Cause>,
) {
    let pinned = list(schema, &format!("/{RULES}"))
        .iter()
        .find(|rule| text(rule, "/rule") == "self == oldSelf");
    if let Some(rule) = pinned
        && old != new
    {
        causes.push(Cause::invalid(path, new, text(rule, "/message")));
    }
    for (name, inner) in map(schema, "/properties").into_iter().flatten() {
        if let (Some(before), Some(after)) = (old.get(name), new.get(name)) {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            check_change_at((before, after), inner, &path, causes);
        }
    }
}

/// Whether the value has the schema's type; the type it should have if not.
fn wrong_type<'a>(value: &Value, schema: &'a Value) -> Option<&'a str> {
    if at(schema, "/x-kubernetes-int-or-string") == &Value::Bool(true) {
        return (!value.is_string() && !value.is_i64()).then_some("integer");
    }
    let wanted = text(schema, "/type");
    let fits = match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        _ => true,
    };
    let null = value.is_null() && at(schema, "/nullable") == &Value::Bool(true);
    (!fits && !null).then_some(wanted)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_i64() || n.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_at(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if let Some(wanted) = wrong_type(value, schema) {
        let got = type_name(value);
        causes.push(Cause {
            reason: "FieldValueTypeInvalid",
            field: path.to_owned(),
            message: format!(
                "Invalid value: \"{got}\": {path} in body must be of type {wanted}: \"{got}\""
            ),
        });
        return;
    }
    check_scalar(value, schema, path, causes);
    let join =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(object) => {
            for name in list(schema, "/required").iter().filter_map(Value::as_str) {
                if !object.contains_key(name) {
                    causes.push(Cause::required(join(name), ""));
                }
            }
            for (name, inner) in object {
                let known = map(schema, "/properties").and_then(|p| p.get(name));
                if let Some(inner_schema) =
                    known.or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()))
                {
                    check_at(inner, inner_schema, &join(name), causes);
                }
            }
        }
        Value::Array(items) => {
            if let Some(inner) = schema.get("items") {
                for (index, item) in items.iter().enumerate() {
                    check_at(item, inner, &format!("{path}[{index}]"), causes);
                }
            }
            check_twins(items, schema, path, causes);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Items of a keyed list that have the same keys.
fn check_twins(items: &[Value], schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    if text(schema, "/x-kubernetes-list-type") != "map" {
        return;
    }
    let keys: Vec<String> = list(schema, "/x-kubernetes-list-map-keys")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let found: Vec<Option<String>> = items.iter().map(|item| item_key(item, &keys)).collect();
    for (index, key) in found.iter().enumerate() {
        if let Some(key) = key
            && found[..index].contains(&Some(key.clone()))
        {
            causes.push(Cause {
                reason: "FieldValueDuplicate",
                field: format!("{path}[{index}]"),
                message: format!("Duplicate value: {key}"),
            });
        }
    }
}

fn check_scalar(value: &Value, schema: &Value, path: &str, causes: &mut Vec<Cause>) {
    let choices = list(schema, "/enum");
    if !choices.is_empty() && !choices.contains(value) {
        let listed: Vec<String> = choices.iter().map(Value::to_string).collect();
        causes.push(Cause {
            reason: "FieldValueNotSupported",
            field: path.to_owned(),
            message: format!("Unsupported value: {value}: supported values: {}", listed.join(", ")),
        });
    }
    if let (Some(number), Some(least)) = (value.as_f64(), at(schema, "/minimum").as_f64())
        && number < least
    {
        let message = format!("{path} in body should be greater than or equal to {least}");
        causes.push(Cause::invalid(path, value, &message));
    }
    if let (Some(number), Some(most)) = (value.as_f64(), at(schema, "/maximum").as_f64())
        && number > most
    {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body should be less than or equal to {most}"),
        ));
    }
    let Some(held) = value.as_str() else { return };
    if let Some(most) = at(schema, "/maxLength").as_u64()
        && held.chars().count() as u64 > most
    {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            field: path.to_owned(),
            message: format!("Too long: may not be more than {most} bytes"),
        });
    }
    if let Some(least) = at(schema, "/minLength").as_u64()
        && (held.chars().count() as u64) < least
    {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body should be at least {least} chars long"),
        ));
    }
    let pattern = text(schema, "/pattern");
    if !matches(held, pattern) {
        causes.push(Cause::invalid(
            path,
            value,
            &format!("{path} in body should match '{pattern}'"),
        ));
    }
}

/// Reads a duration such as `1m30s`; none if it is not one.
pub(crate) fn duration(text: &str) -> Option<std::time::Duration> {
    let mut total = 0.0_f64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ms" => 0.001,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then(|| std::time::Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema() -> Value {
        json!({ "type": "object", "required": ["spec"], "properties": { "spec": {
            "type": "object", "required": ["size", "mode"], "properties": {
                "size": { "type": "integer", "minimum": 1, "maximum": 9 },
                "replicas": { "type": "integer", "default": 1 },
                "mode": { "type": "string", "enum": ["fast", "slow"] },
                "zone": { "type": "string", "maxLength": 10 },
                "interval": { "type": "string", "pattern": DURATION },
            },
        } } })
    }

    #[test]
    fn what_is_wrong_is_said_in_the_server_s_words() {
        let bad = json!({ "spec": { "size": 0, "zone": "12345678901", "interval": "ten", "mode": "medium" } });
        let texts: Vec<String> =
            check(&bad, &schema()).iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        for expected in [
            "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
            "spec.zone: Too long: may not be more than 10 bytes",
            "spec.interval: Invalid value: \"ten\": spec.interval in body should match \
             '^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$'",
            "spec.mode: Unsupported value: \"medium\": supported values: \"fast\", \"slow\"",
        ] {
            assert!(texts.iter().any(|t| t == expected), "{expected} is not in {texts:?}");
        }
        let wrong = check(&json!({ "spec": { "size": "x", "mode": "fast" } }), &schema());
        assert_eq!(
            wrong[0].message,
            "Invalid value: \"string\": spec.size in body must be of type integer: \"string\""
        );
        assert_eq!(check(&json!({}), &schema())[0], Cause::required("spec", ""));
    }

    #[test]
    fn defaults_come_and_unknown_fields_go() {
        let mut object = json!({ "kind": "Widget", "spec": { "size": 1, "mode": "fast", "typo": 1 }, "extra": 2 });
        let mut unknown = prune(&mut object, &schema());
        unknown.sort();
        assert_eq!(unknown, ["extra", "spec.typo"]);
        default(&mut object, &schema());
        assert_eq!(
            object,
            json!({ "kind": "Widget", "spec": { "size": 1, "mode": "fast", "replicas": 1 } })
        );
    }

    #[test]
    fn durations_are_read() {
        assert_eq!(duration("1m30s"), Some(std::time::Duration::from_secs(90)));
        assert_eq!(duration("ten"), None);
        assert_eq!(duration(""), None);
    }
}
