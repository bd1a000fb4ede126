//! Proxmox' own tasks: a call that takes longer answers with an id, which is awaited here.

use std::time::Duration;

use flow_engine::{KindError, Retry};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::client::{ApiError, Client};
use super::lenient::text;

/// The first pause between two looks at a task; each one is half as long again.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// How long a task that has just begun may be unknown.
const UNSEEN: Duration = Duration::from_secs(10);
/// How many looks in a row may fail.
const FAILURES: usize = 3;

/// Words of task errors that pass by themselves.
const PASSING: [&str; 6] = [
    "got timeout",
    "got lock request timeout",
    "can't lock file",
    "no quorum",
    "already exists",
    "checksum mismatch (file change by other user?)",
];
/// Words of task errors that a person must do something about.
const ROOM: [&str; 4] = ["No space left", "not enough", "out of space", "Insufficient free space"];

/// Why a task of Proxmox did not end well.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(crate) enum TaskError {
    /// It could not be asked for, or looked at.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),
    /// It ended with an error that may pass.
    #[error("a task of Proxmox failed for now: {status}")]
    #[diagnostic(code("proxmox::task-busy"), help("see the task {upid} of the host"))]
    Passing {
        /// Its id.
        upid: String,
        /// How it ended.
        status: String,
    },
    /// There is no room for what was asked.
    #[error("the host has no room: {status}")]
    #[diagnostic(
        code("proxmox::no-room"),
        help("free some space; see the task {upid} of the host")
    )]
    NoRoom {
        /// Its id.
        upid: String,
        /// How it ended.
        status: String,
    },
    /// It ended with another error.
    #[error("a task of Proxmox failed: {status}")]
    #[diagnostic(code("proxmox::task-failed"), help("see the task {upid} of the host"))]
    Failed {
        /// Its id.
        upid: String,
        /// How it ended.
        status: String,
    },
    /// It still runs.
    #[error("a task of Proxmox still runs after {within:?}")]
    #[diagnostic(code("proxmox::task-runs"), help("it goes on by itself: {upid}"))]
    Runs {
        /// Its id.
        upid: String,
        /// How long it was awaited.
        within: Duration,
    },
}

impl KindError for TaskError {
    fn retry(&self) -> Retry {
        match self {
            Self::Api(error) => error.retry(),
            Self::Passing { .. } | Self::Runs { .. } => Retry::Backoff,
            Self::NoRoom { .. } => Retry::Human,
            Self::Failed { .. } => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Api(error) => error.refused(),
            Self::Passing { .. }
            | Self::NoRoom { .. }
            | Self::Failed { .. }
            | Self::Runs { .. } => false,
        }
    }
}

impl TaskError {
    /// Whether the task ended saying this.
    pub(crate) fn says(&self, words: &str) -> bool {
        match self {
            Self::Api(error) => error.says(words),
            Self::Passing { status, .. }
            | Self::NoRoom { status, .. }
            | Self::Failed { status, .. } => status.contains(words),
            Self::Runs { .. } => false,
        }
    }
}

impl Client {
    /// Awaits the task that a call answered with; a call without one is over already.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the task goes on.
    pub(crate) async fn finish(&self, answer: &Value, within: Duration) -> Result<(), TaskError> {
        let Some(upid) = answer.as_str() else { return Ok(()) };
        let upid = upid.to_owned();
        let begun = Instant::now();
        let (mut pause, mut failures) = (PAUSE, 0);
        loop {
            match self.ended(&upid).await {
                Ok(Some(status)) => return verdict(upid, status),
                Ok(None) => failures = 0,
                Err(error) if error.says("no such task") && begun.elapsed() < UNSEEN => {}
                Err(error) if error.retry() == Retry::Backoff && failures < FAILURES => {
                    failures += 1;
                }
                Err(error) => return Err(error.into()),
            }
            if begun.elapsed() + pause > within {
                return Err(TaskError::Runs { upid, within });
            }
            sleep(pause).await;
            pause = (pause * 3 / 2).min(MAX_PAUSE);
        }
    }

    /// How a task ended; `None` while it runs.
    async fn ended(&self, upid: &str) -> Result<Option<String>, ApiError> {
        let node = node_of(upid);
        let status = self.get(&["nodes", node, "tasks", upid, "status"], &[]).await?;
        if status.get("status").and_then(text).as_deref() != Some("stopped") {
            return Ok(None);
        }
        Ok(Some(status.get("exitstatus").and_then(text).unwrap_or_default()))
    }

    /// The running tasks of a VM that this identity may see, as words.
    pub(super) async fn running(&self, host: &str, vmid: u32) -> Result<Vec<String>, ApiError> {
        let query = [("source", "active".to_owned()), ("vmid", vmid.to_string())];
        let rows = self.get(&["nodes", host, "tasks"], &query).await?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let running = rows.iter().filter(|row| row.get("endtime").is_none());
        Ok(running.filter_map(|row| row.get("type").and_then(text)).collect())
    }

    /// Who began to create a VM of this id, as far as this identity may see.
    pub(super) async fn creators(&self, host: &str, vmid: u32) -> Result<Vec<String>, ApiError> {
        let query = [
            ("source", "all".to_owned()),
            ("vmid", vmid.to_string()),
            ("typefilter", "qmcreate".to_owned()),
        ];
        let rows = self.get(&["nodes", host, "tasks"], &query).await?;
        let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
        let upids = rows.iter().filter_map(|row| row.get("upid").and_then(text));
        Ok(upids.map(|upid| user_of(&upid).to_owned()).collect())
    }
}

/// Whose task it is: the eighth field of its id.
fn user_of(upid: &str) -> &str {
    upid.split(':').nth(7).unwrap_or_default()
}

/// The node that a task runs on: the second field of its id.
fn node_of(upid: &str) -> &str {
    upid.split(':').nth(1).unwrap_or_default()
}

fn verdict(upid: String, status: String) -> Result<(), TaskError> {
    let says = |words: &[&str]| words.iter().any(|words| status.contains(words));
    if status == "OK" || status.starts_with("WARNINGS:") {
        Ok(())
    } else if says(&ROOM) {
        Err(TaskError::NoRoom { upid, status })
    } else if says(&PASSING)
        // The worker was killed, or the host lost power: only the world knows how far it came.
        || status == "unexpected status"
        || status.starts_with("unable to get last line")
        || status == "received interrupt"
    {
        Err(TaskError::Passing { upid, status })
    } else {
        Err(TaskError::Failed { upid, status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_and_user_are_in_the_id() {
        let upid = "UPID:lab-pve:000012AB:0001B2C3:66F0A1B2:qmcreate:1500:flow@pve!flow:";
        assert_eq!(node_of(upid), "lab-pve");
        assert_eq!(user_of(upid), "flow@pve!flow");
    }

    #[test]
    fn a_task_ends_in_one_of_four_ways() {
        let retry = |status: &str| {
            verdict("UPID:a:".to_owned(), status.to_owned()).map_err(|error| error.retry())
        };
        assert_eq!(retry("OK"), Ok(()));
        assert_eq!(retry("WARNINGS: 1"), Ok(()));
        assert_eq!(retry("unexpected status"), Err(Retry::Backoff));
        assert_eq!(
            retry("can't lock file '/var/lock/qemu-server/lock-100.conf' - got timeout"),
            Err(Retry::Backoff)
        );
        assert_eq!(retry("copy failed: No space left on device"), Err(Retry::Human));
        assert_eq!(retry("start failed: QEMU exited with code 1"), Err(Retry::Never));
    }
}
