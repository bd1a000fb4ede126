//! Copies of the database, and which one is the newest.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use time::OffsetDateTime;

use crate::dir::{SiteDir, make_private, sync_folder};
use crate::error::{NewestBackup, QueryError, StateError};
use crate::{queries, retention};

/// Writes a copy of the database into the folder of backups; keeps the newest few.
///
/// The copy is whole and durable before it gets its name.
pub(crate) fn write(conn: &Connection, dir: &SiteDir) -> Result<PathBuf, StateError> {
    let folder = dir.backups();
    make_private(&folder)?;
    let path = folder.join(format!("state-{}.db", stamp(OffsetDateTime::now_utc())));
    let aside = tempfile::Builder::new()
        .prefix(".state-")
        .tempfile_in(&folder)
        .map_err(|source| StateError::disk(&folder, source))?
        .into_temp_path();
    // An empty file is what `VACUUM INTO` may write to, and it is 0600 already.
    conn.execute(queries::COPY_INTO, [aside.to_string_lossy()])
        .map_err(|error| explain(dir, QueryError::Sqlite(error)))?;
    let named = File::open(&aside)
        .and_then(|file| file.sync_all())
        .and_then(|()| aside.persist(&path).map_err(|error| error.error))
        .and_then(|()| sync_folder(&folder));
    named.map_err(|source| StateError::disk(&path, source))?;
    for name in retention::surplus(names(&folder, "state-", ".db"), retention::DATABASES) {
        // A backup too many harms nobody.
        fs::remove_file(folder.join(name)).ok();
    }
    Ok(path)
}

/// Whether no backup was written on the day of `now` (UTC).
pub(crate) fn is_due(dir: &SiteDir, now: OffsetDateTime) -> bool {
    let today = format!("state-{}", &stamp(now)[..10]);
    !names(&dir.backups(), "state-", ".db").iter().any(|name| name.starts_with(&today))
}

/// The newest backup of the database of a site.
pub(crate) fn newest(dir: &SiteDir) -> NewestBackup {
    let newest = names(&dir.backups(), "state-", ".db").into_iter().max();
    NewestBackup(newest.map(|name| dir.backups().join(name)))
}

/// Whether runs have left traces beside the database.
pub(crate) fn has_traces(dir: &SiteDir) -> bool {
    newest(dir).path().is_some() || dir.last_logged_run().is_some()
}

/// Says what a failed query means for the database of a site.
pub(crate) fn explain(dir: &SiteDir, error: QueryError) -> StateError {
    use crate::error::Trouble;
    let path = dir.database();
    match error.trouble() {
        Trouble::Full => StateError::Full { path },
        Trouble::Damaged => damaged(dir, error),
        Trouble::Other => StateError::Database { path, source: Box::new(error) },
    }
}

/// Says that the database of a site makes no sense, and which backup there is.
pub(crate) fn damaged(
    dir: &SiteDir,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StateError {
    StateError::Damaged { path: dir.database(), backup: newest(dir), source: source.into() }
}

/// The files of a folder that were named by us; an unreadable folder holds none.
pub(crate) fn names(folder: &Path, prefix: &str, suffix: &str) -> Vec<String> {
    let listed: io::Result<Vec<String>> = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    });
    let mut names = listed.unwrap_or_default();
    names.retain(|name| name.starts_with(prefix) && name.ends_with(suffix));
    names
}

/// A moment as part of a file name; a later one sorts later.
pub(crate) fn stamp(at: OffsetDateTime) -> String {
    format!(
        "{:04}-{:02}-{:02}T{:02}-{:02}-{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}
