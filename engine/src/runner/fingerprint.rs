//! What an instance is made from, in a form that may be stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::attempt::Lent;
use crate::event::Fingerprint;
use crate::redact::COVER;
use crate::workflow::Resolved;

/// The key under which the digest of a secret stands in stored parameters.
pub(crate) const SECRET: &str = "$secret";

/// The fingerprint of resolved parameters; secrets enter by a keyed digest.
pub(crate) fn fingerprint(definition: &Arc<str>, resolved: &Resolved, lent: &Lent) -> Fingerprint {
    let mut params = resolved.params.clone();
    for pointer in &resolved.secret {
        if let Some(value) = params.pointer_mut(pointer) {
            // Without the identity no digest can be had: "unknown", which equals itself only.
            let digest = lent.vault.digest(value).unwrap_or_else(|_| "unknown".to_owned());
            *value = Value::Object(Map::from_iter([(SECRET.to_owned(), Value::String(digest))]));
        }
    }
    // A secret may also have come in by a way that nobody declared.
    if lent.redactor.finds_in(&params, &BTreeSet::new()) {
        params = lent.redactor.redact_value(&params);
    }
    let mut hash = Sha256::new();
    feed(&mut hash, &params);
    let inputs = base16ct::lower::encode_string(&hash.finalize());
    let definition = Arc::clone(definition);
    Fingerprint { definition, inputs, params, files: BTreeMap::new() }
}

/// Whether a secret was taken out of these stored parameters.
pub(crate) fn lacks_secrets(params: &Value) -> bool {
    match params {
        Value::Object(fields) => fields.contains_key(SECRET) || fields.values().any(lacks_secrets),
        Value::Array(items) => items.iter().any(lacks_secrets),
        Value::String(text) => text.contains(COVER),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Feeds a value in one fixed spelling, whatever order its keys are kept in.
fn feed(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            hash.update(b"{");
            for name in names {
                hash.update(Value::String(name.clone()).to_string());
                hash.update(b":");
                feed(hash, &fields[name]);
                hash.update(b",");
            }
            hash.update(b"}");
        }
        Value::Array(items) => {
            hash.update(b"[");
            for item in items {
                feed(hash, item);
                hash.update(b",");
            }
            hash.update(b"]");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            hash.update(value.to_string());
        }
    }
}
