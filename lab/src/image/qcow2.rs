//! The qcow2 format, as far as an import needs it (QEMU, docs/interop/qcow2.txt).

use std::io::{self, Read, Seek, SeekFrom, Write};

/// What names of such files end in; the case counts.
const SUFFIX: &str = ".qcow2";
const MAGIC: [u8; 4] = *b"QFI\xfb";
/// The factory's clusters are of 8 KiB.
const CLUSTER_BITS: u32 = 13;
const CLUSTER: usize = 1 << CLUSTER_BITS;
const HEADER: usize = 104;
/// A cluster that is referred to once, as all of ours are.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// The bits of a table entry that are an offset.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// The cluster reads as zeros, whatever its offset (version 3).
const ZERO: u64 = 1;
/// The only incompatible feature that does not change what is read: refcounts may be stale.
const DIRTY: u64 = 1;

/// Whether a file of this name is taken for such an image.
pub(crate) fn is_named(name: &str) -> bool {
    name.ends_with(SUFFIX)
}

/// Why a file is not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("Image is not in qcow2 format")]
    Format,
    #[error("image has a backing file")]
    Backing,
    #[error("image uses a feature that is not supported")]
    Feature,
    #[error("image is damaged")]
    Damaged,
    #[error("could not read the image")]
    Read(#[from] io::Error),
}

/// The parts of a header that reading needs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    cluster_bits: u32,
    /// Bytes of the disk that is inside.
    pub(crate) virtual_size: u64,
    tables: u32,
    table_at: u64,
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) << 32 | u64::from(word(bytes, at + 4))
}

impl Header {
    /// Reads a header; refuses what an import refuses.
    pub(crate) fn read(image: &mut (impl Read + Seek)) -> Result<Self, Refused> {
        let mut bytes = [0; HEADER];
        image.seek(SeekFrom::Start(0))?;
        image.read_exact(&mut bytes[..72]).map_err(|_| Refused::Format)?;
        let version = word(&bytes, 4);
        if bytes[..4] != MAGIC || !matches!(version, 2 | 3) {
            return Err(Refused::Format);
        }
        if long(&bytes, 8) != 0 {
            return Err(Refused::Backing);
        }
        if version == 3 {
            image.read_exact(&mut bytes[72..]).map_err(|_| Refused::Damaged)?;
        }
        let incompatible = if version == 3 { long(&bytes, 72) } else { 0 };
        if word(&bytes, 32) != 0 || incompatible & !DIRTY != 0 {
            return Err(Refused::Feature);
        }
        let cluster_bits = word(&bytes, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(Refused::Damaged);
        }
        Ok(Self {
            cluster_bits,
            virtual_size: long(&bytes, 24),
            tables: word(&bytes, 36),
            table_at: long(&bytes, 40),
        })
    }

    fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }
}

fn table(image: &mut (impl Read + Seek), at: u64, entries: u64) -> Result<Vec<u64>, Refused> {
    let mut bytes = vec![0; usize::try_from(entries * 8).map_err(|_| Refused::Damaged)?];
    image.seek(SeekFrom::Start(at))?;
    image.read_exact(&mut bytes).map_err(|_| Refused::Damaged)?;
    Ok(bytes.chunks_exact(8).map(|entry| long(entry, 0)).collect())
}

/// Writes the disk inside an image to `target`, which must read as zeros; returns its size.
pub(crate) fn expand(
    image: &mut (impl Read + Seek),
    target: &mut (impl Write + Seek),
) -> Result<u64, Refused> {
    let header = Header::read(image)?;
    // An entry of the first table stands for a second table, of one cluster of 8-byte entries.
    let entries = header.cluster() / 8;
    let tables = table(image, header.table_at, u64::from(header.tables))?;
    let mut at = 0;
    for second in tables {
        if second & OFFSET == 0 {
            at += entries * header.cluster();
            continue;
        }
        for entry in table(image, second & OFFSET, entries)? {
            if at >= header.virtual_size {
                break;
            }
            copy_cluster(image, target, &header, (entry, at))?;
            at += header.cluster();
        }
    }
    Ok(header.virtual_size)
}

fn copy_cluster(
    image: &mut (impl Read + Seek),
    target: &mut (impl Write + Seek),
    header: &Header,
    (entry, at): (u64, u64),
) -> Result<(), Refused> {
    let size = header.cluster().min(header.virtual_size - at);
    let size = usize::try_from(size).map_err(|_| Refused::Damaged)?;
    let mut cluster = vec![0; size];
    if entry & COMPRESSED != 0 {
        let split = 62 - (header.cluster_bits - 8);
        let sectors = ((entry & !(COPIED | COMPRESSED)) >> split) + 1;
        let from = entry & ((1 << split) - 1);
        image.seek(SeekFrom::Start(from))?;
        let packed = image.take(sectors * 512 - (from & 511));
        flate2::read::DeflateDecoder::new(packed)
            .read_exact(&mut cluster)
            .map_err(|_| Refused::Damaged)?;
    } else if entry & ZERO != 0 || entry & OFFSET == 0 {
        return Ok(());
    } else {
        image.seek(SeekFrom::Start(entry & OFFSET))?;
        image.read_exact(&mut cluster).map_err(|_| Refused::Damaged)?;
    }
    target.seek(SeekFrom::Start(at))?;
    target.write_all(&cluster)?;
    Ok(())
}

/// An image of version 3 of a disk whose size is a multiple of a cluster; clusters of zeros take no room.
///
/// Order in the file: header, refcount table, refcount block, first table, second tables, data.
pub(crate) fn pack(disk: &[u8]) -> Vec<u8> {
    let entries = CLUSTER / 8;
    let clusters = disk.len().div_ceil(CLUSTER);
    let seconds = clusters.div_ceil(entries);
    let first_at = 3 * CLUSTER;
    let seconds_at = first_at + (seconds * 8).next_multiple_of(CLUSTER);
    let data_at = seconds_at + seconds * CLUSTER;
    let mut image = vec![0; data_at];
    let put = |image: &mut Vec<u8>, at: usize, entry: u64| {
        image[at..at + 8].copy_from_slice(&entry.to_be_bytes());
    };
    for second in 0..seconds {
        put(&mut image, first_at + second * 8, (seconds_at + second * CLUSTER) as u64 | COPIED);
    }
    for (number, cluster) in disk.chunks(CLUSTER).enumerate() {
        if cluster.iter().all(|byte| *byte == 0) {
            continue;
        }
        let at = image.len();
        put(&mut image, seconds_at + number * 8, at as u64 | COPIED);
        image.extend_from_slice(cluster);
        image.resize(image.len().next_multiple_of(CLUSTER), 0);
    }
    header(&mut image, disk.len() as u64, u32::try_from(seconds).expect("a disk of a few MiB"));
    // One block of 16-bit refcounts covers 4096 clusters, 32 MiB.
    let used = image.len() / CLUSTER;
    put(&mut image, CLUSTER, 2 * CLUSTER as u64);
    for cluster in 0..used {
        let at = 2 * CLUSTER + cluster * 2;
        image[at..at + 2].copy_from_slice(&1_u16.to_be_bytes());
    }
    image
}

fn header(image: &mut [u8], virtual_size: u64, seconds: u32) {
    let cluster = CLUSTER as u64;
    image[..4].copy_from_slice(&MAGIC);
    let words = [
        (4, 3),
        (20, CLUSTER_BITS),
        (36, seconds),
        (56, 1), // clusters of the refcount table
        (96, 4), // refcounts of 2^4 bits
        (100, u32::try_from(HEADER).expect("a constant")),
    ];
    for (at, value) in words {
        image[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    for (at, value) in [(24, virtual_size), (40, 3 * cluster), (48, cluster)] {
        image[at..at + 8].copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    #[test]
    fn a_packed_disk_expands_to_itself() {
        let mut disk = vec![0; 10 << 20];
        disk[5000..5010].fill(7);
        disk[(9 << 20) + 1] = 1;
        let packed = pack(&disk);
        assert!(packed.len() < 200_000, "{}", packed.len());
        let mut expanded = Cursor::new(vec![0; disk.len()]);
        let size = expand(&mut Cursor::new(packed), &mut expanded).unwrap();
        assert_eq!(size, disk.len() as u64);
        assert!(expanded.into_inner() == disk);
    }

    #[test]
    fn a_backing_file_is_refused() {
        let mut packed = pack(&vec![0; CLUSTER]);
        packed[15] = 104;
        assert!(matches!(Header::read(&mut Cursor::new(packed)), Err(Refused::Backing)));
        let text = Cursor::new(vec![b'x'; 200]);
        assert!(matches!(Header::read(&mut { text }), Err(Refused::Format)));
    }
}
