//! One writer for each site.
//!
//! The kernel's `flock` is the lock: it dies with its holder, however that ends. What stands in
//! the file only says who holds it, for people; it is never believed.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::dir::SiteDir;
use crate::error::StateError;

/// How much of a lock file is read; an owner is far shorter.
const MOST: u64 = 64 * 1024;

/// The right to write the state of one site; given back when dropped.
#[derive(Debug)]
pub struct SiteLock {
    /// Holds the `flock` by being open.
    file: File,
}

/// Who holds, or held, the lock of a site.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Owner {
    /// The user.
    pub user: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// When the process started, in clock ticks since boot, where the system tells.
    pub started: Option<u64>,
    /// Which boot of the machine that was, where the system tells.
    pub boot: Option<String>,
    /// The command line; whoever writes it keeps secrets out of it.
    pub command: String,
    /// Since when the lock is held, as RFC 3339.
    pub since: String,
}

impl Owner {
    /// This process.
    #[must_use]
    pub fn this_process(command: &str) -> Self {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let user = std::env::var("USER").unwrap_or_default();
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).ok();
        Self {
            user: if user.is_empty() {
                format!("uid {}", rustix::process::getuid().as_raw())
            } else {
                user
            },
            host,
            pid: std::process::id(),
            started: started_at(std::process::id()),
            boot: boot(),
            command: command.to_owned(),
            since: now.and_then(|now| now.format(&Rfc3339).ok()).unwrap_or_default(),
        }
    }
}

impl Owner {
    fn is_alive(&self) -> bool {
        let Ok(raw) = i32::try_from(self.pid) else { return false };
        let Some(pid) = rustix::process::Pid::from_raw(raw) else { return false };
        let answers = match rustix::process::test_kill_process(pid) {
            Ok(()) => true,
            Err(error) => error == rustix::io::Errno::PERM,
        };
        answers && self.boot == boot() && self.started == started_at(self.pid)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.pid == 0 {
            return f.write_str("a process that has not written its name");
        }
        let Self { user, host, pid, command, since, started: _, boot: _ } = self;
        write!(f, "`{command}` (pid {pid} of {user} on {host}, since {since})")
    }
}

impl SiteLock {
    /// Takes the lock of a site, or says at once who holds it. Never waits.
    ///
    /// # Errors
    ///
    /// [`StateError::Locked`]; [`StateError::Disk`] if there can be no lock at all.
    pub fn acquire(dir: &SiteDir, command: &str) -> Result<Self, StateError> {
        let path = dir.lock();
        let disk = |source: io::Error| StateError::disk(&path, source);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(disk)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = Box::new(read_owner(&mut file));
                return Err(StateError::Locked { site: dir.site().to_owned(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(disk(source)),
        }
        let owner = serde_json::to_vec(&Owner::this_process(command)).map_err(io::Error::from);
        let owner = owner.map_err(disk)?;
        file.set_len(0).map_err(disk)?;
        file.write_all(&owner).map_err(disk)?;
        Ok(Self { file })
    }

    /// Who says to hold the lock of a site, if that process still lives. Takes no lock.
    ///
    /// An answer for people: only [`SiteLock::acquire`] knows.
    ///
    /// # Errors
    ///
    /// [`StateError::Disk`].
    pub fn holder(dir: &SiteDir) -> Result<Option<Owner>, StateError> {
        let path = dir.lock();
        match File::open(&path) {
            Ok(mut file) => Ok(Some(read_owner(&mut file)).filter(Owner::is_alive)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StateError::disk(&path, source)),
        }
    }
}

impl Drop for SiteLock {
    fn drop(&mut self) {
        // A name that stays misleads nobody: its process is gone.
        self.file.set_len(0).ok();
        // A child that has just been forked still has a copy of the descriptor.
        self.file.unlock().ok();
    }
}

/// Reads who holds the lock; a half-written name is nobody's.
fn read_owner(file: &mut File) -> Owner {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MOST).read_to_end(&mut text));
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Field 22 of `/proc/PID/stat`; the command in field 2 may hold spaces and parentheses.
fn started_at(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(19)?.parse().ok()
}

fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site() -> (tempfile::TempDir, SiteDir) {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        (root, dir)
    }

    #[test]
    fn a_lock_that_is_given_back_is_free_whoever_has_a_copy_of_its_descriptor() {
        let root = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(root.path(), "lab");
        dir.create().unwrap();
        let lock = SiteLock::acquire(&dir, "flow run").unwrap();
        // As a child has one between fork and exec.
        let _copy = lock.file.try_clone().unwrap();
        drop(lock);
        SiteLock::acquire(&dir, "flow run").unwrap();
    }

    #[test]
    fn a_second_writer_learns_who_the_first_is() {
        let (_root, dir) = site();
        assert_eq!(SiteLock::holder(&dir).unwrap(), None);
        let first = SiteLock::acquire(&dir, "flow run bootstrap").unwrap();
        let StateError::Locked { site, owner } = SiteLock::acquire(&dir, "flow run").unwrap_err()
        else {
            panic!("the lock is held");
        };
        assert_eq!(site, "lab");
        assert_eq!((owner.pid, owner.command.as_str()), (std::process::id(), "flow run bootstrap"));
        assert!(!owner.host.is_empty() && !owner.since.is_empty());
        assert_eq!(SiteLock::holder(&dir).unwrap().as_ref(), Some(&*owner));
        drop(first);
        assert_eq!(SiteLock::holder(&dir).unwrap(), None);
        SiteLock::acquire(&dir, "flow run").unwrap();
    }

    #[test]
    fn what_stands_in_the_file_is_not_the_lock() {
        let (_root, dir) = site();
        std::fs::write(dir.lock(), r#"{"pid":1,"command":"flow run"}"#).unwrap();
        SiteLock::acquire(&dir, "flow plan").unwrap();
        std::fs::write(dir.lock(), "torn{").unwrap();
        let _held = SiteLock::acquire(&dir, "flow run").unwrap();
        std::fs::write(dir.lock(), "{").unwrap();
        let error = SiteLock::acquire(&dir, "flow run").unwrap_err();
        let words = "site lab is in use by a process that has not written its name";
        assert_eq!(error.to_string(), words);
    }
}
