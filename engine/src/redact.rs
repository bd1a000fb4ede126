//! Takes secrets out of whatever leaves the process, also where they come in pieces.
//!
//! A value is known raw, in base64 (three offsets, both alphabets), hex, URL and JSON escapes,
//! and each of its lines of 16 bytes or more; all of that also where it is wrapped. Anything
//! shorter than eight bytes is no secret: it would blacken innocent text, and is refused where
//! secrets are made.

mod forms;
mod joined;
mod matcher;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use crate::failure::Failure;
use crate::secret::Secrets;

use forms::forms;
pub(crate) use matcher::COVER;
use matcher::Matcher;

/// The shortest secret.
const SHORTEST: usize = 8;
/// The shortest line of a secret that is one by itself.
const SHORTEST_LINE: usize = 16;

/// Knows every secret of a run. See the [module documentation](self).
#[derive(Debug, Default)]
pub struct Redactor {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    forms: BTreeSet<Vec<u8>>,
    /// Forms that no matcher finds yet.
    fresh: BTreeSet<Vec<u8>>,
    matcher: Option<Arc<Matcher>>,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Known").field("forms", &self.forms.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// One that knows these secrets.
    pub(crate) fn knowing(secrets: &Secrets) -> Self {
        let redactor = Self::default();
        redactor.learn_all(secrets);
        redactor
    }

    /// Learns secrets that have names.
    pub(crate) fn learn_all(&self, secrets: &Secrets) {
        for secret in secrets.values() {
            self.learn(secret.reveal());
        }
    }

    /// Learns every string in a secret value.
    pub fn learn(&self, value: &Value) {
        match value {
            Value::String(text) => self.learn_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.learn(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.learn(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn learn_text(&self, text: &str) {
        if text.len() < SHORTEST || is_public(text) {
            return;
        }
        let mut known = self.known();
        if known.forms.contains(text.as_bytes()) {
            return;
        }
        known.add_forms(text);
        for line in secret_lines(text) {
            known.add_forms(line);
        }
    }

    /// Whether a known secret is in the text.
    pub(crate) fn finds(&self, text: &str) -> bool {
        self.matcher().is_some_and(|matcher| matcher.finds(text.as_bytes()))
    }

    /// Whether a known secret is in a string or a key of the value, strings apart that are one
    /// of `open` as a whole.
    pub(crate) fn finds_in(&self, value: &Value, open: &BTreeSet<&str>) -> bool {
        match value {
            Value::String(text) => !open.contains(text.as_str()) && self.finds(text),
            Value::Array(items) => items.iter().any(|item| self.finds_in(item, open)),
            Value::Object(fields) => {
                fields.iter().any(|(name, field)| self.finds(name) || self.finds_in(field, open))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// The text with every known secret covered.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        match self.matcher() {
            Some(matcher) => String::from_utf8_lossy(&matcher.cover(text.as_bytes())).into_owned(),
            None => text.to_owned(),
        }
    }

    /// The failure with every known secret covered.
    #[must_use]
    pub fn redact_failure(&self, failure: Failure) -> Failure {
        if self.matcher().is_none() {
            return failure;
        }
        let Failure { code, message, causes, help, retry, refused } = failure;
        Failure {
            code,
            message: self.redact(&message),
            causes: causes.iter().map(|cause| self.redact(cause)).collect(),
            help: help.map(|help| self.redact(&help)),
            retry,
            refused,
        }
    }

    /// The value with every known secret covered in its strings and keys.
    #[must_use]
    pub fn redact_value(&self, value: &Value) -> Value {
        if self.matcher().is_none() {
            return value.clone();
        }
        match value {
            Value::String(text) => Value::String(self.redact(text)),
            Value::Array(items) => items.iter().map(|item| self.redact_value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| (self.redact(name), self.redact_value(field)))
                .collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn matcher(&self) -> Option<Arc<Matcher>> {
        let mut known = self.known();
        if !known.fresh.is_empty() {
            let fresh = std::mem::take(&mut known.fresh);
            let before = known.matcher.take();
            known.matcher = Some(Arc::new(Matcher::with(before.as_deref(), &fresh)));
        }
        known.matcher.clone()
    }
}

impl Known {
    fn add_forms(&mut self, text: &str) {
        for form in forms(text) {
            if self.forms.insert(form.clone()) {
                self.fresh.insert(form);
            }
        }
    }
}

/// Every string in a value.
pub(crate) fn strings<'v>(value: &'v Value, into: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => {
            into.insert(text);
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| strings(field, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Whether a text is nothing but certificates, which a secret may hold beside their key.
fn is_public(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN CERTIFICATE-----")
        && secret_lines(text).next().is_none()
}

/// The lines of a secret that are secrets by themselves. A certificate is public by nature, and
/// the lines that only frame PEM are in every other key too.
fn secret_lines(text: &str) -> impl Iterator<Item = &str> {
    let mut public = false;
    text.lines().map(str::trim).filter(move |line| {
        let begins = line.contains("-----BEGIN ");
        if begins {
            public = line.contains("CERTIFICATE");
        }
        let frame = begins || line.contains("-----END ");
        let secret = !public && !frame && line.len() >= SHORTEST_LINE;
        if line.contains("-----END ") {
            public = false;
        }
        secret
    })
}

/// The output of one attempt on its way through the redactor, chunk by chunk.
#[derive(Debug, Default)]
pub struct Stream {
    held: Vec<u8>,
}

impl Stream {
    /// Takes a chunk, and hands out what can hold no beginning of a secret.
    #[must_use]
    pub fn push(&mut self, redactor: &Redactor, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let Some(matcher) = redactor.matcher() else {
            return std::mem::take(&mut self.held);
        };
        let (clear, upto) = matcher.begin(&self.held);
        self.held.drain(..upto);
        clear
    }

    /// Hands out the rest.
    #[must_use]
    pub fn finish(&mut self, redactor: &Redactor) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        match redactor.matcher() {
            Some(matcher) => matcher.cover(&held),
            None => held,
        }
    }
}

#[cfg(test)]
mod tests;
