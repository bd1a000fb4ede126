//! Drives as clients write them.

use super::properties::Properties;

/// Where a drive's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A volume that is there.
    Volume(String),
    /// A new, empty volume of so many GiB.
    Allocate { store: String, gib: u64 },
    /// A new volume with the content of an image.
    Import { store: String, from: String },
    /// A CD-ROM drive, with or without a disc.
    Disc(String),
}

/// A drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drive {
    pub(super) source: Source,
    /// All options but the volume.
    pub(super) options: Properties,
}

const DISK: [&str; 18] = [
    "aio",
    "backup",
    "cache",
    "detect_zeroes",
    "discard",
    "format",
    "import-from",
    "iops",
    "mbps",
    "media",
    "replicate",
    "ro",
    "rerror",
    "werror",
    "serial",
    "shared",
    "size",
    "snapshot",
];
const BOOLEANS: [&str; 8] =
    ["backup", "iothread", "pre-enrolled-keys", "replicate", "ro", "shared", "snapshot", "ssd"];

/// The names of drives: a bus and how many it has.
const BUSES: [(&str, u8); 4] = [("ide", 4), ("sata", 6), ("scsi", 31), ("virtio", 16)];

/// Whether a configuration key is a drive.
pub(super) fn is_drive(key: &str) -> bool {
    matches!(key, "efidisk0" | "tpmstate0")
        || BUSES.iter().any(|(bus, count)| {
            key.strip_prefix(bus).is_some_and(|at| at.parse::<u8>().is_ok_and(|at| at < *count))
        })
}

/// The options that a drive of this key may have.
fn options(key: &str) -> Vec<&'static str> {
    let more: &[&str] = match key {
        "efidisk0" => {
            return vec![
                "efitype",
                "format",
                "import-from",
                "ms-cert",
                "pre-enrolled-keys",
                "size",
            ];
        }
        "tpmstate0" => return vec!["import-from", "size", "version"],
        key if key.starts_with("scsi") => &["iothread", "queues", "scsiblock", "ssd", "wwn"],
        key if key.starts_with("virtio") => &["iothread"],
        _ => &["ssd", "wwn"],
    };
    DISK.iter().chain(more).copied().collect()
}

impl Drive {
    /// Reads a drive's value; the text says what is wrong with it.
    pub(super) fn parse(key: &str, value: &str) -> Result<Self, String> {
        let properties = Properties::parse(value)?.default_key(&["file", "volume"])?;
        let mut options = properties.only(&options(key))?.booleans(&BOOLEANS)?;
        let volume = options.first.take().ok_or(
            "invalid format - format error\nfile: property is missing and it is not optional",
        )?;
        let disc = options.rest.get("media").is_some_and(|media| media == "cdrom");
        let import = options.rest.remove("import-from");
        let allocated = volume.split_once(':').and_then(|(store, size)| {
            let size: f64 = size.parse().ok().filter(|size: &f64| *size >= 0.0)?;
            Some((store.to_owned(), size))
        });
        let source = match (allocated, import) {
            (Some((store, 0.0)), Some(from)) => Source::Import { store, from },
            (Some(_) | None, Some(from)) => {
                return Err(format!(
                    "'import-from' requires special syntax - use <storage ID>:0,import-from={from}"
                ));
            }
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "no disk has a fraction of a GiB, or 2^53 of them"
            )]
            (Some((store, size)), None) => Source::Allocate { store, gib: size.ceil() as u64 },
            (None, None) if disc => Source::Disc(volume),
            (None, None) if volume == "none" || volume.contains(":iso/") => {
                return Err(format!("drive '{key}' needs media=cdrom for '{volume}'"));
            }
            (None, None) if volume.contains(':') => Source::Volume(volume),
            (None, None) => return Err(format!("unable to parse volume ID '{volume}'")),
        };
        Ok(Self { source, options })
    }

    /// The drive's value with the volume that it got.
    pub(super) fn value(&self, volume: &str, size: Option<u64>) -> String {
        let mut options = self.options.clone();
        options.first = Some(volume.to_owned());
        options.rest.remove("format");
        if let Some(size) = size {
            options.rest.insert("size".to_owned(), super::properties::size(size));
        }
        options.to_string()
    }
}

/// The volume of a drive's stored value; none for an empty CD-ROM drive.
pub(super) fn volume(value: &str) -> Option<&str> {
    value.split(',').next().filter(|volume| *volume != "none")
}

/// Whether a drive's stored value is a CD-ROM.
pub(super) fn is_disc(value: &str) -> bool {
    value.split(',').any(|part| part == "media=cdrom")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_come_from_volumes_sizes_images_and_discs() {
        let source = |text: &str| Drive::parse("scsi0", text).map(|drive| drive.source);
        let store = "local-zfs".to_owned();
        assert_eq!(source("local-zfs:32"), Ok(Source::Allocate { store: store.clone(), gib: 32 }));
        assert_eq!(
            source("local-zfs:0,import-from=local:import/x.qcow2,discard=on"),
            Ok(Source::Import { store, from: "local:import/x.qcow2".to_owned() })
        );
        assert_eq!(
            source("file=local-zfs:vm-100-disk-0"),
            Ok(Source::Volume("local-zfs:vm-100-disk-0".to_owned()))
        );
        assert_eq!(source("none,media=cdrom"), Ok(Source::Disc("none".to_owned())));
        for wrong in
            ["local-zfs:5,import-from=x", "local:iso/a.iso", "nonsense", "local-zfs:1,colour=red"]
        {
            assert!(source(wrong).is_err(), "{wrong}");
        }
        assert!(Drive::parse("virtio0", "local-zfs:1,ssd=1").is_err());
    }

    #[test]
    fn a_drive_is_shown_without_what_made_it() {
        let drive = Drive::parse("scsi0", "local-zfs:0,import-from=a:b,ssd=on,iothread=1").unwrap();
        assert_eq!(
            drive.value("local-zfs:vm-1-disk-0", Some(6 << 20)),
            "local-zfs:vm-1-disk-0,iothread=1,size=6M,ssd=1"
        );
        assert!(is_drive("scsi30") && !is_drive("scsi31") && !is_drive("scsihw"));
    }
}
