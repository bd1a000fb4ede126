//! The raw disk: a GPT with the partitions of an amd64 image.

use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read, Seek, SeekFrom, Write},
};

use gpt::{
    GptConfig, disk::LogicalBlockSize, mbr::ProtectiveMBR, partition::Partition, partition_types,
};
use uuid::Uuid;

use super::{Image, adv};

const SECTOR: u64 = 512;
/// Sectors of one MiB, to which partitions are aligned.
const MIB: u64 = 1024 * 1024 / SECTOR;
/// Size of the disk: four partitions of one MiB, one before them and one after.
const SECTORS: u64 = 6 * MIB;
/// Where a built disk says what it boots. A real one holds kernel and initramfs there.
const RELEASE: &str = "BOOT";
const META: &str = "META";

/// What the boot partition of a built disk starts with.
const MARK: &str = "flow-lab-image\n";

/// The partitions in order; the identifiers are those of Talos 1.13 and later.
const PARTITIONS: [(&str, partition_types::Type, &str); 4] = [
    ("EFI", partition_types::EFI, "bca5174b-0118-8a6a-af0b-2c6e1585acae"),
    ("BIOS", partition_types::BIOS, "a2a02ff5-d88d-8e6e-9c95-26b9b6c80bc3"),
    (RELEASE, partition_types::LINUX_FS, "24c73076-4092-85dd-9d98-686a2dbf6d81"),
    (META, partition_types::LINUX_FS, "cf04f137-101e-8ec6-9627-fa3f51cdabb8"),
];

pub(super) fn build(image: &Image) -> io::Result<Vec<u8>> {
    let size = usize::try_from(SECTORS * SECTOR).map_err(io::Error::other)?;
    let mut device = Cursor::new(vec![0; size]);
    let last = u32::try_from(SECTORS - 1).map_err(io::Error::other)?;
    ProtectiveMBR::with_lb_size(last).overwrite_lba0(&mut device).map_err(io::Error::other)?;
    let mut partitions = BTreeMap::new();
    for (number, (name, part_type_guid, guid)) in (1..).zip(PARTITIONS) {
        let first_lba = u64::from(number) * MIB;
        let part_guid = Uuid::parse_str(guid).map_err(io::Error::other)?;
        let last_lba = first_lba + MIB - 1;
        let name = name.to_owned();
        let partition =
            Partition { part_type_guid, part_guid, first_lba, last_lba, flags: 0, name };
        partitions.insert(number, partition);
    }
    // The same schematic and version give the same disk.
    let identity = format!("{}/{}", image.schematic, image.version);
    let identity = Uuid::new_v5(&Uuid::NAMESPACE_URL, identity.as_bytes());
    let mut table = GptConfig::new()
        .writable(true)
        .logical_block_size(LogicalBlockSize::Lb512)
        .create_from_device(device, Some(identity))
        .map_err(io::Error::other)?;
    table.update_partitions(partitions).map_err(io::Error::other)?;
    let meta = offset(table.partitions(), META)?;
    let release = offset(table.partitions(), RELEASE)?;
    let mut device = table.write().map_err(io::Error::other)?;
    device.seek(SeekFrom::Start(release))?;
    write!(device, "{MARK}version={}\nschematic={}\n", image.version, image.schematic)?;
    device.seek(SeekFrom::Start(meta))?;
    device.write_all(&adv::write(&image.meta).map_err(io::Error::other)?)?;
    Ok(device.into_inner())
}

fn find<'a>(partitions: &'a BTreeMap<u32, Partition>, name: &str) -> Option<&'a Partition> {
    partitions.values().find(|partition| partition.name == name)
}

fn offset(partitions: &BTreeMap<u32, Partition>, name: &str) -> io::Result<u64> {
    find(partitions, name)
        .map(|partition| partition.first_lba * SECTOR)
        .ok_or_else(|| io::Error::other(format!("no partition {name}")))
}

pub(super) fn read(mut disk: impl Read + Seek + std::fmt::Debug) -> io::Result<Option<Image>> {
    let Ok(table) = GptConfig::new()
        .writable(false)
        .logical_block_size(LogicalBlockSize::Lb512)
        .open_from_device(ReadOnly(&mut disk))
    else {
        return Ok(None);
    };
    let partitions = table.partitions().clone();
    drop(table);
    let mut start = |name: &str, limit: usize| -> io::Result<Option<(u64, Vec<u8>)>> {
        let Some(partition) = find(&partitions, name) else { return Ok(None) };
        let size = (partition.last_lba + 1).saturating_sub(partition.first_lba) * SECTOR;
        let read = size.min(u64::try_from(limit).map_err(io::Error::other)?);
        disk.seek(SeekFrom::Start(partition.first_lba * SECTOR))?;
        let mut content = Vec::new();
        (&mut disk).take(read).read_to_end(&mut content)?;
        Ok(Some((size, content)))
    };
    let Some((_, release)) = start(RELEASE, 4096)? else { return Ok(None) };
    let release = String::from_utf8_lossy(&release);
    let Some(release) = release.strip_prefix(MARK) else { return Ok(None) };
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let (Some(version), Some(schematic)) = (field("version"), field("schematic")) else {
        return Ok(None);
    };
    // Talos ignores a META partition of another size, as if there were none.
    let meta = match start(META, adv::PARTITION)? {
        Some((size, partition)) if size == adv::PARTITION as u64 => adv::read(&partition),
        Some(_) | None => BTreeMap::new(),
    };
    Ok(Some(Image { version, schematic, meta }))
}

/// A disk that the partition table's reader cannot write to.
#[derive(Debug)]
struct ReadOnly<'a, D>(&'a mut D);

impl<D: Read> Read for ReadOnly<'_, D> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl<D: Seek> Seek for ReadOnly<'_, D> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

impl<D> Write for ReadOnly<'_, D> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Image {
        Image {
            version: "v1.13.4".to_owned(),
            schematic: "ab".repeat(32),
            meta: BTreeMap::from([(10, b"addresses: []".to_vec()), (17, b"dual-boot".to_vec())]),
        }
    }

    #[test]
    fn a_built_disk_is_read_back_and_its_bytes_are_stable() {
        let raw = build(&image()).unwrap();
        assert_eq!(raw, build(&image()).unwrap());
        assert_eq!(read(Cursor::new(raw)).unwrap(), Some(image()));
    }

    #[test]
    fn a_disk_that_has_grown_boots() {
        let mut raw = build(&image()).unwrap();
        raw.resize(raw.len() * 4, 0);
        assert_eq!(read(Cursor::new(raw)).unwrap(), Some(image()));
    }

    #[test]
    fn an_empty_disk_boots_nothing() {
        assert_eq!(read(Cursor::new(vec![0; 1 << 20])).unwrap(), None);
        assert_eq!(read(Cursor::new(Vec::new())).unwrap(), None);
    }
}
