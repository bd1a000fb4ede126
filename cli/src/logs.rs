//! What attempts print, into one file each, beside what is shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use flow_engine::event::Event;
use flow_engine::report::{Progress, Reporter};
use flow_engine::{Attempt, Instance, InstanceName, RunId};
use flow_state::SiteDir;
use tokio::sync::Notify;

use crate::execution::Shown;

/// The most that one attempt may log, in bytes.
const LIMIT: u64 = 64 << 20;
/// What stands at the end of a log that was longer.
const CUT: &[u8] = b"\n[flow] the rest is not kept: a log ends at 64 MiB\n";

/// A reporter that keeps the logs and hands everything on.
pub(crate) struct Logged {
    dir: SiteDir,
    run: RunId,
    names: Arc<[InstanceName]>,
    /// Of the attempts that go on. `None`: it cannot be written, which fails no instance.
    open: BTreeMap<Instance, (Attempt, Option<Log>)>,
    shown: Box<dyn Shown>,
    /// Told when a question may be asked.
    is_free: Arc<Notify>,
}

impl Logged {
    pub(crate) fn new(
        dir: SiteDir,
        run: RunId,
        names: Arc<[InstanceName]>,
        shown: Box<dyn Shown>,
        is_free: Arc<Notify>,
    ) -> Self {
        Self { dir, run, names, open: BTreeMap::new(), shown, is_free }
    }

    /// Leaves the screen as it is to stay.
    pub(crate) fn close(&mut self) {
        self.open.clear();
        self.shown.close();
    }

    /// The log of an attempt, made with its first byte.
    fn make(&self, instance: Instance, attempt: Attempt) -> Option<Log> {
        self.dir.create_run_logs(self.run).ok()?;
        Log::open(&self.dir.log(self.run, &self.names[instance.index()], attempt)).ok()
    }
}

impl Reporter for Logged {
    fn progress(&mut self, progress: Progress) {
        let asks = progress == Progress::BeforeFirstWrite;
        match &progress {
            // A file for each attempt that ever printed would soon be too many.
            Progress::Succeeded { instance, .. }
            | Progress::Failed { instance, .. }
            | Progress::Retrying { instance, .. } => drop(self.open.remove(instance)),
            Progress::Probing(_)
            | Progress::Applying(..)
            | Progress::Settling(..)
            | Progress::Blocked(..)
            | Progress::Skipped(_)
            | Progress::BeforeFirstWrite
            | Progress::Stopping(_) => {}
        }
        self.shown.progress(progress);
        if asks {
            self.is_free.notify_one();
        }
    }

    fn durable(&mut self, events: &[Event]) {
        self.shown.durable(events);
    }

    fn disk_is_full(&mut self) {
        self.shown.disk_is_full();
    }

    fn log(&mut self, instance: Instance, attempt: Attempt, bytes: &[u8]) {
        if self.open.get(&instance).is_none_or(|(of, _)| *of != attempt) {
            let log = self.make(instance, attempt);
            self.open.insert(instance, (attempt, log));
        }
        if let Some((_, Some(log))) = self.open.get_mut(&instance) {
            log.write(bytes);
        }
        self.shown.log(instance, attempt, bytes);
    }
}

/// The file of one attempt, which ends at [`LIMIT`].
struct Log {
    file: File,
    room: u64,
}

impl Log {
    fn open(path: &Path) -> io::Result<Self> {
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(path)?;
        let room = LIMIT.saturating_sub(file.metadata()?.len());
        Ok(Self { file, room })
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.room == 0 {
            return;
        }
        let fits = usize::try_from(self.room).unwrap_or(usize::MAX).min(bytes.len());
        // A log that cannot be written fails no instance.
        let _ = self.file.write_all(&bytes[..fits]);
        self.room = self.room.saturating_sub(u64::try_from(fits).unwrap_or(u64::MAX));
        if self.room == 0 {
            let _ = self.file.write_all(CUT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_ends_at_its_limit_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.1.log");
        let mut log = Log { room: 3, ..Log::open(&path).unwrap() };
        log.write(b"ab");
        log.write(b"cd");
        log.write(b"e");
        let kept = std::fs::read(&path).unwrap();
        assert_eq!(kept, [b"abc".as_slice(), CUT].concat());
        // Whoever goes on with it goes on counting.
        assert_eq!(Log::open(&path).unwrap().room, LIMIT - kept.len() as u64);
    }
}
