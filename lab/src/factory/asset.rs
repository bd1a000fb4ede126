//! Assets by their path names, and their bytes.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use flate2::{Compression, write::GzEncoder};

use crate::image::{Image, qcow2, zstd};

use super::schematic::Schematic;

/// The META key that says which boot loader a disk image was built for.
const BOOTLOADER: u8 = 17;

/// A disk image of the metal platform, as the last part of its path names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Raw,
    RawGz,
    RawZst,
    Qcow2,
}

impl Format {
    /// Reads `metal-amd64.raw`, `metal-amd64.qcow2` and so on.
    pub(super) fn parse(path: &str) -> Result<Self, String> {
        let Some((model, format)) = path.split_once('.') else {
            return Err(format!("invalid profile path: {path:?}"));
        };
        if !matches!(model, "metal-amd64" | "metal-x86_64") {
            return Err(format!("invalid profile path: {path:?}"));
        }
        match format {
            "raw" => Ok(Self::Raw),
            "raw.gz" => Ok(Self::RawGz),
            "raw.zst" => Ok(Self::RawZst),
            "qcow2" => Ok(Self::Qcow2),
            other => Err(format!("invalid disk image format: {other:?}")),
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Raw | Self::RawZst => "application/octet-stream",
            Self::RawGz => "application/gzip",
            Self::Qcow2 => "application/x-qemu-disk",
        }
    }

    /// The bytes of an image in this format.
    pub(super) fn encode(self, image: &Image) -> io::Result<Vec<u8>> {
        let raw = image.build()?;
        match self {
            Self::Raw => Ok(raw),
            Self::RawZst => Ok(zstd::frame(&raw)),
            Self::Qcow2 => Ok(qcow2::pack(&raw)),
            Self::RawGz => {
                let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
                packed.write_all(&raw)?;
                packed.finish()
            }
        }
    }
}

/// The image of a schematic: what it puts into META, and what a dual-boot image has there.
pub(super) fn image(id: &str, schematic: &Schematic, version: &str) -> Image {
    let mut meta = BTreeMap::from([(BOOTLOADER, b"dual-boot".to_vec())]);
    let asked = schematic.customization.meta.iter();
    meta.extend(asked.map(|entry| (entry.key, entry.value.clone().into_bytes())));
    Image { version: version.to_owned(), schematic: id.to_owned(), meta }
}
