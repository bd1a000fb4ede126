//! The key that opens a vault.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::str::FromStr;

use age::secrecy::ExposeSecret;
use age::x25519;

use super::VaultError;
use crate::dir::sync_folder;

/// One or several age keys from a file; the first is ours, the others open older vaults.
#[derive(Clone)]
pub struct Identity {
    first: x25519::Identity,
    others: Vec<x25519::Identity>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Identity {
    /// Reads an identity file as `age-keygen` writes it.
    ///
    /// # Errors
    ///
    /// [`VaultError::NoIdentity`], [`VaultError::Identity`], [`VaultError::Disk`].
    pub fn load(path: &Path) -> Result<Self, VaultError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(VaultError::NoIdentity { path: path.to_owned() });
            }
            Err(source) => return Err(VaultError::Disk { path: path.to_owned(), source }),
        };
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let mut keys = keys
            .filter(|line| !line.starts_with('#'))
            .map(|line| x25519::Identity::from_str(line).ok());
        let nonsense = || VaultError::Identity { path: path.to_owned() };
        let first = keys.next().flatten().ok_or_else(nonsense)?;
        let others = keys.collect::<Option<_>>().ok_or_else(nonsense)?;
        Ok(Self { first, others })
    }

    /// The same; makes the file, readable by its owner only, if there is none.
    ///
    /// Of two processes that do so at once, one makes it and both get the same.
    ///
    /// # Errors
    ///
    /// As [`Identity::load`].
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        match Self::load(path) {
            Err(VaultError::NoIdentity { .. }) => {}
            loaded => return loaded,
        }
        create(path, &x25519::Identity::generate())
            .map_err(|source| VaultError::Disk { path: path.to_owned(), source })?;
        Self::load(path)
    }

    /// Who may read what is sealed for this identity, as an age recipient.
    #[must_use]
    pub fn recipient(&self) -> String {
        self.first.to_public().to_string()
    }

    /// The first key's text, from which other keys are derived.
    pub(super) fn key(&self) -> age::secrecy::SecretString {
        self.first.to_string()
    }

    /// This identity's recipient and others.
    pub(super) fn recipients(
        &self,
        others: &[String],
    ) -> Result<Vec<x25519::Recipient>, VaultError> {
        let mut recipients = vec![self.first.to_public()];
        for other in others {
            let recipient = x25519::Recipient::from_str(other)
                .map_err(|_| VaultError::Recipient { recipient: other.clone() })?;
            recipients.push(recipient);
        }
        Ok(recipients)
    }

    /// Opens what was sealed for one of these keys.
    pub(super) fn decrypt(&self, sealed: &[u8]) -> Result<Vec<u8>, age::DecryptError> {
        let keys = std::iter::once(&self.first).chain(&self.others);
        let mut reader =
            age::Decryptor::new(sealed)?.decrypt(keys.map(|key| key as &dyn age::Identity))?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        Ok(plain)
    }
}

/// Writes a new identity aside and gives it its name, unless the name is taken.
fn create(path: &Path, key: &x25519::Identity) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut aside = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(aside, "# public key: {}", key.to_public())?;
    writeln!(aside, "{}", key.to_string().expose_secret())?;
    aside.as_file().sync_all()?;
    match aside.persist_noclobber(path) {
        Ok(_) => sync_folder(folder),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error.error),
    }
}
