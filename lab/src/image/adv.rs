//! The key-value store inside the META partition, as Talos lays it out.
//!
//! Layout: siderolabs/talos, internal/pkg/meta/internal/adv/talos.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

/// Size of the META partition: Talos looks for exactly this.
pub(super) const PARTITION: usize = 1024 * 1024;
/// Size of one of its two copies of the store.
const COPY: usize = 256 * 1024;
const HEAD: [u8; 4] = [0x5a, 0x4b, 0x3c, 0x2d];
const TAIL: [u8; 4] = [0xa5, 0xb4, 0xc3, 0xd2];
const RECORDS: std::ops::Range<usize> = 4..4 + 262_104;
const CHECKSUM: std::ops::Range<usize> = 262_108..262_140;

/// The values do not fit into the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the values do not fit into the META partition")]
pub(super) struct TooLarge;

/// The partition that holds these values.
pub(super) fn write(values: &BTreeMap<u8, Vec<u8>>) -> Result<Vec<u8>, TooLarge> {
    let mut copy = vec![0; COPY];
    copy[..4].copy_from_slice(&HEAD);
    copy[COPY - 4..].copy_from_slice(&TAIL);
    let mut records = Vec::new();
    for (tag, value) in values {
        let length = u32::try_from(value.len()).map_err(|_| TooLarge)?;
        records.extend_from_slice(&u32::from(*tag).to_be_bytes());
        records.extend_from_slice(&length.to_be_bytes());
        records.extend_from_slice(value);
    }
    if records.len() > RECORDS.len() {
        return Err(TooLarge);
    }
    copy[RECORDS.start..RECORDS.start + records.len()].copy_from_slice(&records);
    let checksum = Sha256::digest(&copy);
    copy[CHECKSUM].copy_from_slice(&checksum);
    let mut partition = copy.repeat(2);
    partition.resize(PARTITION, 0);
    Ok(partition)
}

/// The values of a partition: from its first copy that is whole, and none if no copy is.
pub(super) fn read(partition: &[u8]) -> BTreeMap<u8, Vec<u8>> {
    partition.chunks_exact(COPY).take(2).find_map(read_copy).unwrap_or_default()
}

fn read_copy(copy: &[u8]) -> Option<BTreeMap<u8, Vec<u8>>> {
    if !copy.starts_with(&HEAD) || !copy.ends_with(&TAIL) {
        return None;
    }
    let mut unsigned = copy.to_vec();
    unsigned[CHECKSUM].fill(0);
    if Sha256::digest(&unsigned).as_slice() != &copy[CHECKSUM] {
        return None;
    }
    let mut values = BTreeMap::new();
    let mut rest = &copy[RECORDS];
    while let Some((head, after)) = rest.split_at_checked(8) {
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let tag = word(0);
        if tag == 0 {
            break;
        }
        let (value, after) = after.split_at_checked(usize::try_from(word(4)).ok()?)?;
        values.insert(u8::try_from(tag).ok()?, value.to_vec());
        rest = after;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn values(pairs: &[(u8, &str)]) -> BTreeMap<u8, Vec<u8>> {
        pairs.iter().map(|(tag, value)| (*tag, value.as_bytes().to_vec())).collect()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
    }

    #[test]
    fn copies_equal_the_vectors() {
        for (pairs, expected) in [
            (&[][..], "befee9ff7877356cbac0a6fe13544c0182d13773281cdf00576a906f2a2ec155"),
            (
                &[(10, "foo"), (17, "dual-boot")],
                "ad1e46ca24decab6fbd73dc9ce23b1742f533dd819b3b44121dc17f6212e3b80",
            ),
            (
                &[(3, "value1"), (4, "value2"), (5, "value3")],
                "9496c5f795ee5c4ac282ecf0db5a18fd3f77be5d26c839fda84bd88759bafd5f",
            ),
        ] {
            let partition = write(&values(pairs)).unwrap();
            assert_eq!(hex(&Sha256::digest(&partition[..COPY])), expected);
            assert_eq!(read(&partition), values(pairs));
        }
        let partition = write(&values(&[(10, "foo")])).unwrap();
        assert_eq!(
            hex(&Sha256::digest(&partition)),
            "b2257bb93d338c539bb75e3f6ee0dd97520287c3c5f3720096d4df945cf207ac"
        );
    }

    #[test]
    fn the_second_copy_counts_when_the_first_is_damaged() {
        let mut partition = write(&values(&[(10, "foo")])).unwrap();
        partition[20] ^= 1;
        assert_eq!(read(&partition), values(&[(10, "foo")]));
        partition[COPY + 20] ^= 1;
        assert_eq!(read(&partition), BTreeMap::new());
        assert_eq!(read(&vec![0; PARTITION]), BTreeMap::new());
    }

    #[test]
    fn too_much_is_refused() {
        assert_eq!(write(&BTreeMap::from([(1, vec![0; COPY])])), Err(TooLarge));
    }
}
