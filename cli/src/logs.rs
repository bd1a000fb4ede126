//! What attempts print, into one file each, beside what is shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::Arc;

use flow_engine::event::Event;
use flow_engine::report::{Progress, Reporter};
use flow_engine::{Attempt, Instance, InstanceName, RunId};
use flow_state::SiteDir;

use crate::execution::Shown;

/// The most that one attempt may log, in bytes.
const LIMIT: usize = 64 << 20;

/// A reporter that keeps the logs and hands everything on.
pub(crate) struct Logged {
    dir: SiteDir,
    run: RunId,
    names: Arc<[InstanceName]>,
    files: BTreeMap<(Instance, Attempt), Option<(File, usize)>>,
    shown: Box<dyn Shown>,
}

impl Logged {
    pub(crate) fn new(
        dir: SiteDir,
        run: RunId,
        names: Arc<[InstanceName]>,
        shown: Box<dyn Shown>,
    ) -> Self {
        Self { dir, run, names, files: BTreeMap::new(), shown }
    }

    /// Leaves the screen as it is to stay.
    pub(crate) fn close(&mut self) {
        self.files.clear();
        self.shown.close();
    }

    /// The file of an attempt, made with its first byte.
    fn open(&self, instance: Instance, attempt: Attempt) -> Option<(File, usize)> {
        // A log that cannot be written does not fail an instance.
        self.dir.create_run_logs(self.run).ok()?;
        let path = self.dir.log(self.run, &self.names[instance.index()], attempt);
        let mut options = std::fs::OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(path).ok()?;
        Some((file, 0))
    }
}

impl Reporter for Logged {
    fn progress(&mut self, progress: Progress) {
        self.shown.progress(progress);
    }

    fn durable(&mut self, events: &[Event]) {
        self.shown.durable(events);
    }

    fn log(&mut self, instance: Instance, attempt: Attempt, bytes: &[u8]) {
        let opened = if self.files.contains_key(&(instance, attempt)) {
            None
        } else {
            Some(self.open(instance, attempt))
        };
        if let Some(opened) = opened {
            self.files.insert((instance, attempt), opened);
        }
        if let Some(Some((file, written))) = self.files.get_mut(&(instance, attempt)) {
            let room = LIMIT.saturating_sub(*written).min(bytes.len());
            // As above.
            let _ = file.write_all(&bytes[..room]);
            *written += room;
        }
        self.shown.log(instance, attempt, bytes);
    }
}
