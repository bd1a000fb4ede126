//! Who runs a world: a lock on its folder that dies with its holder.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// File name of the lock in the world's folder.
const LOCK: &str = "lock";

/// The process that runs a world.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Its process id.
    pub pid: u32,
    /// The machine it runs on.
    pub host: String,
    /// Its command line.
    pub command: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The octet of the world's addresses.
    pub octet: u8,
}

impl Owner {
    fn this_process(octet: u8) -> Self {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            pid: std::process::id(),
            host: host.trim().to_owned(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
            since: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
            octet,
        }
    }
}

/// The world's folder cannot be taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum OwnerError {
    /// Another process runs this world.
    #[error("another process runs the lab in {folder}: {}", describe(.owner.as_ref()))]
    #[diagnostic(
        code(lab::running),
        help("wait for it, or stop it; `flow lab status` shows what it does")
    )]
    Running {
        /// The world's folder.
        folder: String,
        /// Who, as far as known.
        owner: Option<Owner>,
    },
    /// The folder cannot be used.
    #[error("the lab's folder {folder} cannot be used")]
    #[diagnostic(code(lab::folder), help("check the folder's owner, mode and free space"))]
    Folder {
        /// The world's folder.
        folder: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

fn describe(owner: Option<&Owner>) -> String {
    owner.map_or_else(
        || "unknown".to_owned(),
        |owner| format!("pid {} on {} since {}", owner.pid, owner.host, owner.since),
    )
}

/// The lock on a world's folder, held until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    folder: PathBuf,
}

impl Lock {
    /// Takes the folder, making it if need be.
    pub(crate) fn take(folder: &Path) -> Result<Self, OwnerError> {
        let failed = |source| OwnerError::Folder { folder: folder.display().to_string(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let file = open(folder, true).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, folder: folder.to_owned() }),
            Err(TryLockError::WouldBlock) => Err(OwnerError::Running {
                folder: folder.display().to_string(),
                owner: read(&file),
            }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Says to others who holds the folder, and where the world listens.
    pub(crate) fn announce(&mut self, octet: u8) -> Result<(), OwnerError> {
        let owner = Owner::this_process(octet);
        let row = serde_json::to_vec(&owner).expect("an owner has only strings and numbers");
        let file = &mut self.file;
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&row)).map_err(
            |source| OwnerError::Folder { folder: self.folder.display().to_string(), source },
        )
    }
}

fn open(folder: &Path, create: bool) -> io::Result<File> {
    File::options().read(true).write(true).create(create).truncate(false).open(folder.join(LOCK))
}

fn read(mut file: &File) -> Option<Owner> {
    let mut row = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut row).ok()?;
    serde_json::from_str(&row).ok()
}

/// Who runs the world in a folder; none if nobody does.
pub(crate) fn running(folder: &Path) -> Option<Owner> {
    let file = open(folder, false).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(&file),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_owner_who_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(running(folder.path()), None);
        let mut lock = Lock::take(folder.path()).unwrap();
        lock.announce(9).unwrap();
        let Err(OwnerError::Running { owner: Some(owner), .. }) = Lock::take(folder.path()) else {
            panic!("a second owner");
        };
        assert_eq!((owner.pid, owner.octet), (std::process::id(), 9));
        assert_eq!(running(folder.path()), Some(owner));
        drop(lock);
        assert_eq!(running(folder.path()), None);
        Lock::take(folder.path()).unwrap();
    }
}
