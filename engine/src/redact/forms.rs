//! What a secret looks like where it leaks.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use super::SHORTEST;

/// What everybody leaves as it is in a URL, and what some leave beside that: `quote` of Python,
/// which means a path, and `encodeURIComponent` of JavaScript.
const UNESCAPED: [&[u8]; 3] = [b"-._~", b"-._~/", b"-._~!'()*"];

/// Everything that a text looks like where it leaks, but for line breaks in it.
pub(super) fn forms(text: &str) -> BTreeSet<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut forms = BTreeSet::new();
    let mut add = |form: String| {
        if form.len() >= SHORTEST {
            forms.insert(form.into_bytes());
        }
    };
    add(text.to_owned());
    for offset in 0..3 {
        add(base64_at(&STANDARD_NO_PAD, bytes, offset));
        add(base64_at(&URL_SAFE_NO_PAD, bytes, offset));
    }
    add(base16ct::lower::encode_string(bytes));
    add(base16ct::upper::encode_string(bytes));
    for unescaped in UNESCAPED {
        let url = url(text, unescaped);
        add(url.replace("%20", "+"));
        add(lower_escapes(&url));
        add(url);
    }
    let json = Value::String(text.to_owned()).to_string();
    add(json[1..json.len() - 1].to_owned());
    // Many writers of JSON also escape the slash.
    add(json[1..json.len() - 1].replace('/', "\\/"));
    forms
}

/// The characters that the value certainly has in base64 if it starts `offset` bytes into a
/// group of three: those that mix with its neighbours are cut off.
fn base64_at(engine: &impl base64::Engine, bytes: &[u8], offset: usize) -> String {
    let mut padded = vec![0; offset];
    padded.extend_from_slice(bytes);
    let text = engine.encode(&padded);
    let start = (offset * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    text.get(start..end).unwrap_or_default().to_owned()
}

fn url(text: &str, unescaped: &[u8]) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || unescaped.contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

/// The same with `%2f` instead of `%2F`.
fn lower_escapes(url: &str) -> String {
    let mut parts = url.split('%');
    let mut lower = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escape, rest) = part.split_at(2);
        lower.push('%');
        lower.push_str(&escape.to_ascii_lowercase());
        lower.push_str(rest);
    }
    lower
}
