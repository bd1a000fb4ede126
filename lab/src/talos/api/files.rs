//! The files that a machine lists: the data directory of etcd.

use tonic::Status;

use super::Api;
use crate::talos::{live::Part, wire::machine::FileInfo};

/// Where a controller keeps etcd's data.
const ETCD: &str = "/var/lib/etcd";
/// What etcd's data begin with.
const MEMBER: &str = "member";
/// A directory that its owner alone may enter, as Go's `FileMode`.
const DIRECTORY: u32 = (1 << 31) | 0o700;
/// The user and group that etcd runs as.
const OWNER: u32 = 60;

impl Api {
    /// A directory and what it holds. There is but one, and only while it is mounted.
    pub(super) fn files(&self, root: &str) -> Result<Vec<FileInfo>, Status> {
        let root = format!("/{}", root.trim_matches('/'));
        self.look(|_, machine, live| {
            let mounted = live.is_controller() && live.has(Part::Containers);
            if root != ETCD || !mounted {
                return Err(Status::unknown(format!("lstat {root}: no such file or directory")));
            }
            let since = live.since.unix_timestamp();
            let data = machine.disk.etcd.is_some().then(|| directory(MEMBER, since));
            Ok(std::iter::once(directory(".", since)).chain(data).collect())
        })
    }
}

/// A directory, by its name below the one that is listed.
fn directory(relative: &str, modified: i64) -> FileInfo {
    let name = if relative == "." { ETCD.to_owned() } else { format!("{ETCD}/{relative}") };
    FileInfo {
        name,
        relative_name: relative.to_owned(),
        mode: DIRECTORY,
        modified,
        is_dir: true,
        uid: OWNER,
        gid: OWNER,
        ..FileInfo::default()
    }
}
