//! One command in a process group of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use flow_engine::{Cx, Stop};
use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};

/// How long a group has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(20);

/// How long its output is still read after its end.
const AFTERWARDS: Duration = Duration::from_millis(500);

/// What a command inherits of flow's environment.
const BASE: [&str; 8] =
    ["PATH", "HOME", "USER", "LOGNAME", "LANG", "TMPDIR", "TZ", "SSH_AUTH_SOCK"];

/// What to execute.
pub(super) struct Call<'a> {
    /// The program and its arguments.
    pub(super) argv: Vec<String>,
    /// Added to the base environment.
    pub(super) env: Vec<(String, OsString)>,
    /// The working directory.
    pub(super) cwd: Option<&'a std::path::Path>,
    /// Given to its standard input.
    pub(super) stdin: Option<&'a str>,
}

/// Who a child is, so that it is never mistaken for another process after a crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(String);

impl Identity {
    /// The identity as it is recorded.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of a living process: its id, its start and the boot it belongs to.
    fn of(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name, may hold blanks; it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let (state, started) = (fields.first()?, fields.get(19)?);
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        (*state != "Z").then(|| Self(format!("{pid} {started} {}", boot.trim())))
    }

    /// Whether the process of a recorded identity is still alive.
    pub(super) fn is_alive(recorded: &str) -> bool {
        let pid = recorded.split(' ').next().and_then(|pid| pid.parse().ok());
        pid.and_then(Self::of).is_some_and(|now| now.0 == recorded)
    }
}

/// A running command; dropped, its whole group is killed.
pub(super) struct Running {
    child: Child,
    group: Option<Pid>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Running {
    /// Starts a command.
    ///
    /// # Errors
    ///
    /// The program cannot be executed.
    pub(super) fn start(call: &Call<'_>) -> io::Result<Self> {
        let mut command = Command::new(&call.argv[0]);
        command.args(&call.argv[1..]).env_clear().process_group(0);
        command.envs(BASE.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.envs(call.env.iter().map(|(name, value)| (name, value)));
        if let Some(cwd) = call.cwd {
            command.current_dir(cwd);
        }
        let stdin = if call.stdin.is_some() { Stdio::piped() } else { Stdio::null() };
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn()?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Self { child, group })
    }

    /// Who it is; `None` where the system has no `/proc`, or it has already ended.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.child.id().and_then(Identity::of)
    }

    /// Waits for its end, logging what it prints; a forced stop ends its group.
    ///
    /// # Errors
    ///
    /// It cannot be waited for.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the whole group is killed.
    pub(super) async fn finish(mut self, cx: &Cx, stdin: Option<&str>) -> io::Result<ExitStatus> {
        let input = self.child.stdin.take().zip(stdin);
        let (out, err) = (self.child.stdout.take(), self.child.stderr.take());
        // All at a time: it may print more than a pipe holds before it reads.
        let copies = async { tokio::join!(feed(input), copy(out, cx), copy(err, cx)) };
        tokio::pin!(copies);
        let mut stop = cx.stop();
        let forced = async {
            if stop.wait_for(|stop| *stop == Stop::Forced).await.is_err() {
                // Nobody is left who could ask.
                std::future::pending::<()>().await;
            }
        };
        tokio::pin!(forced);
        let mut open = true;
        let ended = loop {
            tokio::select! {
                status = self.child.wait() => break Some(status),
                _ = &mut copies, if open => open = false,
                () = &mut forced => break None,
            }
        };
        if let Some(status) = ended {
            self.group = None;
            // What it left in the background may hold the pipes open for ever.
            let _ = tokio::time::timeout(AFTERWARDS, async {
                if open {
                    copies.await;
                }
            })
            .await;
            return status;
        }
        self.signal(Signal::TERM);
        let status = tokio::time::timeout(GRACE, self.child.wait()).await;
        self.signal(Signal::KILL);
        match status {
            Ok(status) => status,
            Err(_) => self.child.wait().await,
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // The group may have ended by itself.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }
}

async fn feed(input: Option<(ChildStdin, &str)>) {
    if let Some((mut pipe, text)) = input {
        // A command that does not read its input is no failure.
        let _ = pipe.write_all(text.as_bytes()).await;
    }
}

async fn copy(pipe: Option<impl AsyncRead + Unpin>, cx: &Cx) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut buffer).await {
        cx.log(&buffer[..read]);
    }
}

/// How a command ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}
