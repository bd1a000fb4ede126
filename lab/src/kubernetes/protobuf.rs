//! The few protobuf bodies that kubectl sends: `auth can-i`, `auth whoami`, `create namespace`, `create configmap`,
//! options of deletions.
//!
//! A body is the magic `k8s\0` and a `runtime.Unknown`: field 1 the type (1 apiVersion, 2 kind), field 2 the object.
//! Field numbers: kubernetes/api `generated.proto` of each group.

use serde_json::{Value, json};

/// Their media type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// A field of a message.
enum Field<'a> {
    Bytes(&'a [u8]),
    Number(u64),
}

/// The fields of a message, in order.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (held, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(held)
            }
            _ => return None,
        };
        all.push((tag >> 3, field));
    }
    Some(all)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn nested(bytes: &[u8], number: u64) -> Option<&[u8]> {
    fields(bytes)?.into_iter().find_map(|(n, f)| match f {
        Field::Bytes(held) if n == number => Some(held),
        Field::Bytes(_) | Field::Number(_) => None,
    })
}

fn text(bytes: &[u8], number: u64) -> String {
    nested(bytes, number).map(|b| String::from_utf8_lossy(b).into_owned()).unwrap_or_default()
}

/// A `map<string, string>` at a field.
fn pairs(bytes: &[u8], number: u64) -> Option<Value> {
    let mut map = json!({});
    for (at, field) in fields(bytes)? {
        if let (true, Field::Bytes(entry)) = (at == number, field) {
            map[text(entry, 1)] = json!(text(entry, 2));
        }
    }
    Some(map)
}

/// The strings named at fields, those that are not empty.
fn named(bytes: &[u8], keys: &[(u64, &str)]) -> Value {
    let mut object = json!({});
    for (number, key) in keys {
        let held = text(bytes, *number);
        if !held.is_empty() {
            object[*key] = json!(held);
        }
    }
    object
}

/// Reads one of the bodies above; none if it is another.
pub(crate) fn decode(body: &[u8]) -> Option<Value> {
    let unknown = body.strip_prefix(b"k8s\0")?;
    let kind = nested(unknown, 1)?;
    let (version, kind) = (text(kind, 1), text(kind, 2));
    let raw = nested(unknown, 2).unwrap_or_default();
    let mut object = match kind.as_str() {
        "SelfSubjectReview" => json!({}),
        "SelfSubjectAccessReview" => {
            let spec = nested(raw, 2)?;
            let resource = nested(spec, 1).map(|r| {
                named(
                    r,
                    &[
                        (1, "namespace"),
                        (2, "verb"),
                        (3, "group"),
                        (4, "version"),
                        (5, "resource"),
                        (6, "subresource"),
                        (7, "name"),
                    ],
                )
            });
            let path = nested(spec, 2).map(|p| named(p, &[(1, "path"), (2, "verb")]));
            let mut spec = json!({});
            if let Some(resource) = resource {
                spec["resourceAttributes"] = resource;
            }
            if let Some(path) = path {
                spec["nonResourceAttributes"] = path;
            }
            json!({ "spec": spec })
        }
        "Namespace" => json!({ "metadata": metadata(raw)? }),
        "ConfigMap" => json!({ "metadata": metadata(raw)?, "data": pairs(raw, 2)? }),
        "DeleteOptions" => {
            let mut options = named(raw, &[(4, "propagationPolicy")]);
            for (number, field) in fields(raw)? {
                if let (1, Field::Number(seconds)) = (number, field) {
                    options["gracePeriodSeconds"] = json!(seconds);
                }
            }
            options
        }
        _ => return None,
    };
    object["apiVersion"] = json!(version);
    object["kind"] = json!(kind);
    Some(object)
}

fn metadata(raw: &[u8]) -> Option<Value> {
    let Some(held) = nested(raw, 1) else { return Some(json!({})) };
    let mut metadata = named(held, &[(1, "name"), (2, "generateName"), (3, "namespace")]);
    for (number, key) in [(11, "labels"), (12, "annotations")] {
        let map = pairs(held, number)?;
        if map.as_object().is_some_and(|m| !m.is_empty()) {
            metadata[key] = map;
        }
    }
    Some(metadata)
}
