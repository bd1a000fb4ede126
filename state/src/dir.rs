//! Where the state of a site lives, and which places are refused.

use std::fmt::Write;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use flow_engine::{Attempt, InstanceName, RunId};

use crate::error::StateError;

/// The folder of one site: `ROOT/.flow/sites/SITE`.
///
/// Naming it touches no disk; only [`SiteDir::create`] and what is opened for writing do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteDir {
    site: String,
    path: PathBuf,
}

impl SiteDir {
    /// Names the folder of a site under a project's folder.
    #[must_use]
    pub fn new(root: &Path, site: &str) -> Self {
        let path = root.join(".flow").join("sites").join(encode(site));
        Self { site: site.to_owned(), path }
    }

    /// The site's name.
    #[must_use]
    pub fn site(&self) -> &str {
        &self.site
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database.
    #[must_use]
    pub fn database(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// The file whose `flock` makes one process the writer.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.path.join("lock")
    }

    /// The vault, where the site does not place it elsewhere.
    #[must_use]
    pub fn vault(&self) -> PathBuf {
        self.path.join("vault.age")
    }

    /// Earlier databases and vaults.
    #[must_use]
    pub fn backups(&self) -> PathBuf {
        self.path.join("backups")
    }

    /// The world of the stand-ins, for a site that has one.
    #[must_use]
    pub fn lab(&self) -> PathBuf {
        self.path.join("lab")
    }

    /// The logs of all runs, one folder for each.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// The logs of one run.
    #[must_use]
    pub fn run_logs(&self, run: RunId) -> PathBuf {
        self.runs().join(run.to_string())
    }

    /// The log of one attempt: `runs/N/INSTANCE.ATTEMPT.log`.
    #[must_use]
    pub fn log(&self, run: RunId, instance: &InstanceName, attempt: Attempt) -> PathBuf {
        self.run_logs(run).join(format!("{}.{attempt}.log", encode(instance.as_str())))
    }

    /// Makes the folder, readable by its owner only.
    ///
    /// # Errors
    ///
    /// [`StateError::Place`] where neither locks nor fsync can be trusted;
    /// [`StateError::Disk`] if it cannot be made.
    pub fn create(&self) -> Result<(), StateError> {
        make_private(&self.path)?;
        match untrusted_file_system(&self.path) {
            Ok(None) => Ok(()),
            Ok(Some(file_system)) => {
                Err(StateError::Place { path: self.path.clone(), file_system })
            }
            Err(source) => Err(StateError::disk(&self.path, source)),
        }
    }

    /// Makes the folder of one run's logs.
    ///
    /// # Errors
    ///
    /// [`StateError::Disk`].
    pub fn create_run_logs(&self, run: RunId) -> Result<PathBuf, StateError> {
        let path = self.run_logs(run);
        make_private(&path)?;
        Ok(path)
    }

    /// The highest run that has left logs, which a new run must not write over.
    pub(crate) fn last_logged_run(&self) -> Option<RunId> {
        let entries = fs::read_dir(self.runs()).ok()?;
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        // A number that leaves none after it is no run's.
        numbers.filter(|run| *run < u32::MAX).max().map(RunId)
    }

    /// Removes the logs of all runs before one. A log that stays harms nobody.
    pub(crate) fn forget_logs(&self, first: RunId) {
        let Ok(entries) = fs::read_dir(self.runs()) else { return };
        for entry in entries.flatten() {
            let run: Option<u32> = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if run.is_some_and(|run| run < first.0) {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}

/// Makes a folder and its parents, 0700; tightens the last one if it was there.
pub(crate) fn make_private(path: &Path) -> Result<(), StateError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| StateError::disk(path, source))?;
    let mode = fs::metadata(path).map_err(|source| StateError::disk(path, source))?.permissions();
    if mode.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(|source| StateError::disk(path, source))?;
    }
    Ok(())
}

/// Makes a folder's entries durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    fs::File::open(path)?.sync_all()
}

/// Makes any name the name of one file: percent-encodes what a path may not hold.
///
/// Letters and digits of every script stay, so that a legal instance name stays legible and
/// within the 255 bytes of a file name.
pub(crate) fn encode(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for (at, letter) in name.char_indices() {
        let plain =
            letter.is_alphanumeric() || matches!(letter, '-' | '_') || (letter == '.' && at > 0);
        if plain {
            encoded.push(letter);
        } else {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                write!(encoded, "%{byte:02X}").expect("a string takes all that is written");
            }
        }
    }
    encoded
}

/// The name of the file system of `path`, if it is one that is not on this machine.
#[cfg(target_os = "linux")]
fn untrusted_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    // The magic numbers of statfs(2).
    const NFS: u32 = 0x6969;
    const SMB: u32 = 0x517B;
    const CIFS: u32 = 0xFF53_4D42;
    const SMB2: u32 = 0xFE53_4D42;
    const PLAN_9: u32 = 0x0102_1997;
    let magic = rustix::fs::statfs(path)?.f_type;
    // The field's width and sign differ by architecture; the number has 32 bits everywhere.
    let magic = u32::try_from(magic.cast_unsigned() & 0xFFFF_FFFF).unwrap_or_default();
    Ok(match magic {
        NFS => Some("NFS"),
        SMB | CIFS | SMB2 => Some("SMB"),
        PLAN_9 => Some("9p"),
        _ => None,
    })
}

/// The name of the file system of `path`, if it is one that is not on this machine.
#[cfg(target_os = "macos")]
fn untrusted_file_system(path: &Path) -> io::Result<Option<&'static str>> {
    let name: Vec<u8> = rustix::fs::statfs(path)?
        .f_fstypename
        .iter()
        .map(|letter| letter.cast_unsigned())
        .take_while(|letter| *letter != 0)
        .collect();
    Ok(match name.as_slice() {
        b"nfs" => Some("NFS"),
        b"smbfs" => Some("SMB"),
        b"9p" => Some("9p"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_file_names() {
        for (name, file) in [
            ("create-vm/worker0", "create-vm%2Fworker0"),
            ("a/ä.b", "a%2Fä.b"),
            ("..", "%2E."),
            ("100% $HOME\n", "100%25%20%24HOME%0A"),
        ] {
            assert_eq!(encode(name), file);
        }
    }

    #[test]
    fn folders_are_private_even_if_they_were_not() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        fs::create_dir_all(dir.path()).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        dir.create().unwrap();
        let logs = dir.create_run_logs(RunId(3)).unwrap();
        for path in [dir.path(), &logs] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
        }
        assert_eq!(dir.last_logged_run(), Some(RunId(3)));
    }

    #[test]
    fn a_log_is_named_by_run_instance_and_attempt() {
        let dir = SiteDir::new(Path::new("/p"), "lab");
        let log = dir.log(RunId(2), &InstanceName::parse("create-vm/worker0"), Attempt(3));
        assert_eq!(log, Path::new("/p/.flow/sites/lab/runs/2/create-vm%2Fworker0.3.log"));
    }
}
