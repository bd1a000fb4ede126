//! Zstandard frames without compression but for runs of one byte, which disk images mostly are (RFC 8878).

const MAGIC: u32 = 0xFD2F_B528;
/// A single segment with an eight-byte content size, no checksum, no dictionary.
const DESCRIPTOR: u8 = 0b1110_0000;
/// No block may be larger.
const BLOCK: usize = 128 * 1024;
const RAW: u32 = 0;
const RUN: u32 = 1;

/// One frame that holds these bytes.
pub(crate) fn frame(content: &[u8]) -> Vec<u8> {
    let mut frame = MAGIC.to_le_bytes().to_vec();
    frame.push(DESCRIPTOR);
    frame.extend_from_slice(&(content.len() as u64).to_le_bytes());
    let mut blocks = content.chunks(BLOCK).peekable();
    if blocks.peek().is_none() {
        push_block(&mut frame, &[], true);
    }
    while let Some(block) = blocks.next() {
        push_block(&mut frame, block, blocks.peek().is_none());
    }
    frame
}

fn push_block(frame: &mut Vec<u8>, block: &[u8], last: bool) {
    let run = block.first().filter(|first| block.iter().all(|byte| byte == *first));
    let kind = if run.is_some() { RUN } else { RAW };
    let size = u32::try_from(block.len()).expect("a block is at most 128 KiB");
    let header = (size << 3) | (kind << 1) | u32::from(last);
    frame.extend_from_slice(&header.to_le_bytes()[..3]);
    match run {
        Some(byte) => frame.push(*byte),
        None => frame.extend_from_slice(block),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_one_byte() {
        let frame = frame(&vec![0; BLOCK + 1]);
        assert_eq!(frame.len(), 4 + 1 + 8 + 4 + 4);
        assert_eq!(frame[13..17], [0b010, 0, 0b10000, 0]);
    }

    #[test]
    fn other_bytes_are_copied() {
        let frame = frame(b"ab");
        assert_eq!(frame[13..], [0b10001, 0, 0, b'a', b'b']);
    }
}
