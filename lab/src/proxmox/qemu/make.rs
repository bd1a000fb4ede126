//! Making volumes: empty ones, and ones with an image's content.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _},
    path::PathBuf,
    time::Duration,
};

use crate::image::qcow2;

use super::{
    super::{
        Proxmox,
        reply::Refused,
        storage::{Plugin, Store},
        task::Log,
    },
    LOCK_WAIT,
    drive::{Drive, Source},
};

/// How long the host takes to make an empty volume.
const ALLOCATE: Duration = Duration::from_millis(500);
/// How long it takes to copy an image to a volume.
const IMPORT: Duration = Duration::from_secs(28);
/// No VM has more volumes in a store.
const DEVICES: u32 = 1000;
/// The size of a volume for EFI variables or a TPM's state.
const SMALL: u64 = 1 << 20;
const TPM: u64 = 4 << 20;

/// A drive that was made.
#[derive(Debug)]
pub(super) struct Made {
    /// Its value in the configuration.
    pub(super) value: String,
    /// Whether an image was imported for it.
    pub(super) imported: bool,
}

impl Proxmox {
    /// Makes what a drive needs. Volumes are listed as soon as they exist.
    pub(super) async fn make_drive(
        &self,
        vmid: u32,
        (key, value): (&str, &str),
        (log, volumes): (&Log, &mut Vec<String>),
    ) -> Result<Made, String> {
        let drive = Drive::parse(key, value)?;
        match &drive.source {
            Source::Disc(disc) => {
                if disc.contains(":iso/") && self.volume(disc).map_err(text)?.is_none() {
                    return Err(format!("volume '{disc}' does not exist"));
                }
                Ok(Made { value: drive.value(disc, None), imported: false })
            }
            Source::Volume(id) => {
                let found = self.volume(id).map_err(text)?;
                let found = found.ok_or_else(|| format!("volume '{id}' does not exist"))?;
                Ok(Made { value: drive.value(id, Some(found.size)), imported: false })
            }
            Source::Allocate { store, gib } => {
                let size = match key {
                    "efidisk0" => SMALL,
                    "tpmstate0" => TPM,
                    _ => gib << 30,
                };
                let (id, _) = self.allocate(vmid, (store, size), (log, volumes)).await?;
                Ok(Made { value: drive.value(&id, Some(size)), imported: false })
            }
            Source::Import { store, from } => {
                let mut image = self.open_image(from)?;
                let size = image.size();
                let (id, path) = self.allocate(vmid, (store, size), (log, volumes)).await?;
                log.line(format!("transferred 0.0 B of {size} B (0.00%)"));
                log.takes(IMPORT / 2).await?;
                image.copy(&path)?;
                log.takes(IMPORT / 2).await?;
                log.line(format!("transferred {size} B of {size} B (100.00%)"));
                log.line(format!("{key}: successfully created disk '{id}'"));
                Ok(Made { value: drive.value(&id, Some(size)), imported: true })
            }
        }
    }

    /// Makes an empty volume of a VM.
    async fn allocate(
        &self,
        vmid: u32,
        (store, size): (&str, u64),
        (log, volumes): (&Log, &mut Vec<String>),
    ) -> Result<(String, PathBuf), String> {
        let store = self.store(store).map_err(text)?;
        takes_disks(&store)?;
        let longest = self.world().clock().scaled(LOCK_WAIT);
        let lock = self.storage_lock();
        let Ok(_held) = tokio::time::timeout(longest, lock.lock()).await else {
            let file = format!("/var/lock/pve-manager/pve-storage-{}", store.name);
            return Err(format!("can't lock file '{file}' - got timeout"));
        };
        log.takes(ALLOCATE).await?;
        let taken = store.volumes().map_err(|error| error.to_string())?;
        let id = |number: u32| format!("{}:vm-{vmid}-disk-{number}", store.name);
        let number =
            (0..DEVICES).find(|number| taken.iter().all(|volume| volume.id != id(*number)));
        let number = number.ok_or("no free volume name")?;
        let name = format!("vm-{vmid}-disk-{number}");
        store.need_room(size, &name)?;
        let path = store.device(&name);
        let failed = |error: io::Error| format!("zfs error: cannot create '{name}': {error}");
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        volumes.push(id(number));
        File::create_new(&path).and_then(|file| file.set_len(size)).map_err(failed)?;
        Ok((id(number), path))
    }

    /// Removes a volume; none with this name is fine.
    pub(super) fn free(&self, id: &str) -> Result<(), String> {
        match self.volume(id).map_err(text)? {
            Some(volume) => fs::remove_file(volume.path).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    fn open_image(&self, from: &str) -> Result<Content, String> {
        let volume = self.volume(from).map_err(text)?;
        let volume = volume.ok_or_else(|| format!("volume '{from}' does not exist"))?;
        let mut file = File::open(&volume.path).map_err(|error| error.to_string())?;
        if !qcow2::is_named(from) {
            return Ok(Content::Raw(file, volume.size));
        }
        let header = qcow2::Header::read(&mut file).map_err(|refused| refused.to_string())?;
        Ok(Content::Qcow2(file, header.virtual_size))
    }
}

fn text(refused: Refused) -> String {
    refused.into_text()
}

fn takes_disks(store: &Store) -> Result<(), String> {
    let takes = store.content.iter().any(|content| content == "images");
    match store.plugin {
        Plugin::Zfs if takes => Ok(()),
        Plugin::Zfs | Plugin::Dir => {
            Err(format!("storage '{}' does not support content-type 'images'", store.name))
        }
    }
}

/// An image to import, and the size of the disk in it.
#[derive(Debug)]
enum Content {
    Raw(File, u64),
    Qcow2(File, u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Self::Raw(_, size) | Self::Qcow2(_, size) => *size,
        }
    }

    fn copy(&mut self, target: &PathBuf) -> Result<(), String> {
        let failed = |error: io::Error| format!("qemu-img: error while writing: {error}");
        let mut target = File::options().write(true).open(target).map_err(failed)?;
        match self {
            Self::Raw(file, _) => {
                file.rewind().map_err(failed)?;
                let mut content = Vec::new();
                file.read_to_end(&mut content).map_err(failed)?;
                io::Write::write_all(&mut target, &content).map_err(failed)
            }
            Self::Qcow2(file, _) => {
                qcow2::expand(file, &mut target).map(drop).map_err(|refused| refused.to_string())
            }
        }
    }
}
