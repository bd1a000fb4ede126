//! A text with its lines joined, for what `base64`, PEM and YAML spread over several of them.

use std::borrow::Cow;

/// The most blanks after a line break that are taken for indentation.
const DEEPEST: usize = 64;

/// A text without the breaks that wrapping puts in: one line break, also one that JSON has
/// escaped, with the indentation after it. Empty lines stay.
#[derive(Debug)]
pub(super) struct Joined<'t> {
    pub(super) bytes: Cow<'t, [u8]>,
    /// From which place on how much was taken out in all, in order.
    cuts: Vec<(usize, usize)>,
}

impl<'t> Joined<'t> {
    /// The most bytes of a break that is not complete yet.
    pub(super) const PARTIAL: usize = 3;

    pub(super) fn new(text: &'t [u8]) -> Self {
        let first = (0..text.len()).find(|at| break_at(text, *at) > 0);
        let Some(first) = first else { return Self { bytes: text.into(), cuts: Vec::new() } };
        let mut bytes = text[..first].to_vec();
        let mut cuts = Vec::new();
        let mut at = first;
        let mut was_break = false;
        while at < text.len() {
            let length = if was_break { 0 } else { break_at(text, at) };
            was_break = length > 0;
            if was_break {
                at += length;
                cuts.push((bytes.len(), at - bytes.len()));
            } else {
                bytes.push(text[at]);
                at += 1;
            }
        }
        Self { bytes: bytes.into(), cuts }
    }

    /// Whether there was anything to join.
    pub(super) fn is_different(&self) -> bool {
        !self.cuts.is_empty()
    }

    /// Where a byte was before.
    pub(super) fn place(&self, at: usize) -> usize {
        let cut = self.cuts.partition_point(|(from, _)| *from <= at);
        at + cut.checked_sub(1).map_or(0, |cut| self.cuts[cut].1)
    }
}

/// The length of the break that begins here.
fn break_at(text: &[u8], at: usize) -> usize {
    let end_of = |at: usize, raw: u8, escaped: u8| match &text[at..] {
        [first, ..] if *first == raw => at + 1,
        [b'\\', second, ..] if *second == escaped => at + 2,
        _ => at,
    };
    let line = end_of(at, b'\r', b'r');
    let end = end_of(line, b'\n', b'n');
    if end == line {
        return 0;
    }
    let blanks = text[end..].iter().take(DEEPEST).take_while(|byte| b" \t".contains(byte)).count();
    end + blanks - at
}
