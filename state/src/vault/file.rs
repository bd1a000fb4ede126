//! The vault's file: replaced as a whole, or not at all.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use age::x25519;
use time::OffsetDateTime;

use super::{VaultError, VaultPlace};
use crate::backup::{names, stamp};
use crate::dir::sync_folder;
use crate::retention;

/// Reads the file; `None` if there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
    match fs::read(path) {
        Ok(sealed) => Ok(Some(sealed)),
        // A link to nowhere is a vault that is missing, not one that was never made.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(source) => Err(VaultError::Disk { path: path.to_owned(), source }),
    }
}

/// Seals a text and replaces the file by it; the earlier file stays among the backups.
pub(super) fn write(
    place: &VaultPlace,
    recipients: &[x25519::Recipient],
    plain: &[u8],
) -> Result<(), VaultError> {
    let disk = |source| VaultError::Disk { path: place.file.clone(), source };
    // A vault in git may be a link; the link stays.
    let path = fs::canonicalize(&place.file).unwrap_or_else(|_| place.file.clone());
    let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
    make_folder(&folder).map_err(disk)?;
    let mut aside = tempfile::NamedTempFile::new_in(&folder).map_err(disk)?;
    seal(recipients, plain, aside.as_file_mut()).map_err(disk)?;
    aside.as_file().sync_all().map_err(disk)?;
    keep(&path, &place.backups).map_err(disk)?;
    aside.persist(&path).map_err(|error| disk(error.error))?;
    sync_folder(&folder).map_err(disk)
}

fn seal(recipients: &[x25519::Recipient], plain: &[u8], output: &mut fs::File) -> io::Result<()> {
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let mut writer = age::Encryptor::with_recipients(recipients)
        .map_err(io::Error::other)?
        .wrap_output(output)?;
    writer.write_all(plain)?;
    writer.finish()?;
    Ok(())
}

/// Gives the present file a second name among the backups, and forgets the oldest ones.
fn keep(path: &Path, backups: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    make_folder(backups)?;
    let kept = backups.join(format!("vault-{}.age", stamp(OffsetDateTime::now_utc())));
    match fs::hard_link(path, &kept) {
        Ok(()) => {}
        // Two changes within a millisecond: the earlier state is kept already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        // Another file system, or one without links.
        Err(_) => {
            fs::copy(path, &kept)?;
        }
    }
    for name in retention::surplus(names(backups, "vault-", ".age"), retention::VAULTS) {
        // A backup too many harms nobody.
        fs::remove_file(backups.join(name)).ok();
    }
    Ok(())
}

fn make_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
