//! Finding what is known.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::joined::Joined;

/// What stands where a secret was.
pub(crate) const COVER: &str = "***";

/// One automaton for what was learned between two uses: a secret that comes late does not make
/// all the others be compiled again.
#[derive(Clone, Default)]
pub(super) struct Matcher {
    automata: Vec<Arc<AhoCorasick>>,
    longest: usize,
}

impl Matcher {
    /// The same with further forms.
    pub(super) fn with(before: Option<&Self>, fresh: &BTreeSet<Vec<u8>>) -> Self {
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

    /// Whether a secret is anywhere in it.
    pub(super) fn finds(&self, bytes: &[u8]) -> bool {
        !self.spans(bytes, &Joined::new(bytes)).is_empty()
    }

    /// The same with every secret covered.
    pub(super) fn cover(&self, bytes: &[u8]) -> Vec<u8> {
        cover(bytes, &self.spans(bytes, &Joined::new(bytes)), bytes.len())
    }

    /// What of a text may go out before the rest of it is known, secrets covered, and how many
    /// bytes of the text that is.
    pub(super) fn begin(&self, bytes: &[u8]) -> (Vec<u8>, usize) {
        let joined = Joined::new(bytes);
        // A secret that is not complete yet starts in the last bytes.
        let open = self.longest - 1 + Joined::PARTIAL;
        let Some(safe) = joined.bytes.len().checked_sub(open) else { return (Vec::new(), 0) };
        let safe = joined.place(safe);
        let spans = self.spans(bytes, &joined);
        let complete = spans.partition_point(|span| span.end <= safe);
        // One that reaches beyond waits: more may belong to it.
        let upto = spans.get(complete).map_or(safe, |span| span.start.min(safe));
        (cover(bytes, &spans[..complete], upto), upto)
    }

    /// Where secrets are: in order, without overlap.
    fn spans(&self, bytes: &[u8], joined: &Joined<'_>) -> Vec<Range<usize>> {
        let find = |automaton: &AhoCorasick, bytes: &[u8]| -> Vec<Range<usize>> {
            automaton.find_iter(bytes).map(|found| found.range()).collect()
        };
        let mut found = Vec::new();
        for automaton in &self.automata {
            found.extend(find(automaton, bytes));
            if joined.is_different() {
                let spans = find(automaton, &joined.bytes).into_iter();
                found.extend(
                    spans.map(|span| joined.place(span.start)..joined.place(span.end - 1) + 1),
                );
            }
        }
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
}

/// The first bytes with these spans of them covered.
fn cover(bytes: &[u8], spans: &[Range<usize>], upto: usize) -> Vec<u8> {
    let mut clear = Vec::with_capacity(upto);
    let mut from = 0;
    for span in spans {
        clear.extend_from_slice(&bytes[from..span.start]);
        clear.extend_from_slice(COVER.as_bytes());
        from = span.end;
    }
    clear.extend_from_slice(&bytes[from..upto]);
    clear
}
