//! Takes secrets out of whatever leaves the process, also where they come in pieces.
//!
//! A value is known raw, in base64 (three offsets, both alphabets), hex, URL and JSON escapes,
//! and each of its lines of 16 bytes or more. Anything shorter than eight bytes is no secret: it
//! would blacken innocent text, and is refused where secrets are made.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use crate::failure::Failure;

/// What stands where a secret was.
const COVER: &str = "***";
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

/// One automaton for what was learned between two uses: a secret that comes late does not make
/// all the others be compiled again.
#[derive(Clone, Default)]
struct Matcher {
    automata: Vec<Arc<AhoCorasick>>,
    longest: usize,
}

impl Redactor {
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
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.forms.contains(text.as_bytes()) {
            return;
        }
        known.add_forms(text);
        for line in secret_lines(text) {
            known.add_forms(line);
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

    fn matcher(&self) -> Option<Arc<Matcher>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
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

impl Matcher {
    /// The same with further forms.
    fn with(before: Option<&Self>, fresh: &BTreeSet<Vec<u8>>) -> Self {
        let mut matcher = before.cloned().unwrap_or_default();
        let automaton = AhoCorasick::builder()
            .kind(Some(AhoCorasickKind::NoncontiguousNFA))
            .match_kind(MatchKind::LeftmostLongest)
            .build(fresh)
            .expect("the secrets of a run are fewer and shorter than the limits of the automaton");
        matcher.automata.push(Arc::new(automaton));
        matcher.longest = fresh.iter().map(Vec::len).fold(matcher.longest, usize::max);
        matcher
    }

    /// Where secrets are: in order, without overlap.
    fn spans(&self, bytes: &[u8]) -> Vec<Range<usize>> {
        let found = self.automata.iter().flat_map(|automaton| automaton.find_iter(bytes));
        let mut found: Vec<_> = found.map(|found| found.range()).collect();
        found.sort_by_key(|span| span.start);
        let mut spans: Vec<Range<usize>> = Vec::new();
        for span in found {
            match spans.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                Some(_) | None => spans.push(span),
            }
        }
        spans
    }

    fn cover(&self, bytes: &[u8]) -> Vec<u8> {
        let mut clear = Vec::with_capacity(bytes.len());
        let mut from = 0;
        for span in self.spans(bytes) {
            clear.extend_from_slice(&bytes[from..span.start]);
            clear.extend_from_slice(COVER.as_bytes());
            from = span.end;
        }
        clear.extend_from_slice(&bytes[from..]);
        clear
    }
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
        // A secret that is not complete yet starts in the last `longest - 1` bytes.
        let safe = self.held.len().saturating_sub(matcher.longest - 1);
        let mut clear = Vec::with_capacity(safe);
        let mut from = 0;
        for span in matcher.spans(&self.held) {
            if span.start >= safe {
                break;
            }
            clear.extend_from_slice(&self.held[from..span.start]);
            clear.extend_from_slice(COVER.as_bytes());
            from = span.end;
        }
        let upto = safe.max(from);
        clear.extend_from_slice(&self.held[from..upto]);
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

/// Everything that a text looks like where it leaks.
fn forms(text: &str) -> BTreeSet<Vec<u8>> {
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
    add(url(text, false));
    add(url(text, true));
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

fn url(text: &str, form: bool) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else if form && byte == b' ' {
            escaped.push('+');
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
        escaped
    })
}

#[cfg(test)]
mod tests;
