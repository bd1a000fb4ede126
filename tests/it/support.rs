//! A folder of its own for each test, with a lab that no other test meets.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::Value;

/// The longest that one command may take; a hang is a failure, not a wait.
const DEADLINE: Duration = Duration::from_mins(3);

/// The shipped lab, whose addresses each test replaces by its own.
const LAB: &str = include_str!("../../workflows/sites/lab.toml");

/// A working directory with `sites/lab.toml` on addresses of its own.
pub(crate) struct Room {
    folder: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Room {
    /// A room whose lab runs at this speed.
    pub(crate) fn with_speed(speed: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let octet = free_octet();
        let site = LAB
            .replace("127.2.", &format!("127.{octet}."))
            .replace("speed = 60", &format!("speed = {speed}"));
        std::fs::create_dir(folder.path().join("sites")).unwrap();
        std::fs::write(folder.path().join("sites/lab.toml"), site).unwrap();
        Self { folder }
    }

    /// A room for workflows that need no lab, and for labs whose speed does not matter.
    pub(crate) fn new() -> Self {
        Self::with_speed(600)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// A command in this room, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(arguments).current_dir(self.path()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("NO_COLOR", "1").env("COLUMNS", "100");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs `flow` to its end.
    pub(crate) fn flow(&self, arguments: &[&str]) -> Said {
        finish(self.command(arguments).spawn().unwrap(), arguments)
    }

    /// Runs `flow`, which must exit with 0.
    pub(crate) fn ok(&self, arguments: &[&str]) -> Said {
        let said = self.flow(arguments);
        assert_eq!(said.code, Some(0), "{arguments:?}: {said:#?}");
        said
    }

    /// Runs `flow`, which kills itself at an event, or ends before it.
    pub(crate) fn crash_at(&self, arguments: &[&str], seq: u64) -> Said {
        let mut command = self.command(arguments);
        command.env("FLOW_CRASH_AT", seq.to_string());
        finish(command.spawn().unwrap(), arguments)
    }

    /// Starts the lab in a process of its own, and waits until it listens.
    pub(crate) fn serve(&self) -> Serving {
        let child = self.command(&["lab", "serve"]).stderr(Stdio::null()).spawn().unwrap();
        let serving = Serving(child);
        wait_for("the lab to listen", || self.lab()["running"] == true);
        serving
    }

    /// The lab's world.
    pub(crate) fn lab(&self) -> Value {
        let said = self.ok(&["lab", "status", "--json"]);
        serde_json::from_str(&said.out).unwrap()
    }

    /// What was written to the lab: system, object, verb and how often.
    pub(crate) fn writes(&self) -> Vec<(String, u64)> {
        let lab = self.lab();
        let counts = lab["counts"].as_array().unwrap().iter();
        let written =
            counts.filter(|count| !count["verb"].as_str().unwrap().ends_with("-unchanged"));
        written
            .map(|count| {
                let text = |key: &str| count[key].as_str().unwrap().to_owned();
                let name = format!("{} {} {}", text("system"), text("object"), text("verb"));
                (name, count["times"].as_u64().unwrap())
            })
            .collect()
    }

    /// How many writes there were in all.
    pub(crate) fn written(&self) -> u64 {
        self.writes().iter().map(|(_, times)| times).sum()
    }
}

/// A lab in a process of its own; dropped, it is killed: a power cut.
pub(crate) struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Waits for a child, and kills it after the deadline.
pub(crate) fn finish(mut child: Child, what: &[&str]) -> Said {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let out = std::thread::spawn(move || read(out));
    let err = std::thread::spawn(move || read(err));
    let status = within(DEADLINE, &mut child)
        .unwrap_or_else(|| panic!("{what:?} did not end within {} s", DEADLINE.as_secs()));
    Said { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn read(pipe: Option<impl std::io::Read>) -> String {
    let mut text = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut text).unwrap();
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// How a child ended; `None`, and it is killed, if it did not.
fn within(deadline: Duration, child: &mut Child) -> Option<ExitStatus> {
    let mut ended = None;
    poll(deadline, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    if ended.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    ended
}

/// Waits for a state of the world; panics if it does not come.
pub(crate) fn wait_for(what: &str, state: impl FnMut() -> bool) {
    assert!(poll(DEADLINE, state), "waited in vain for {what}");
}

/// Looks again and again until the state is there; whether it came before the deadline.
fn poll(deadline: Duration, mut state: impl FnMut() -> bool) -> bool {
    const PAUSE: Duration = Duration::from_millis(10);
    // Nobody sends: this only waits.
    let (_open, never) = mpsc::channel::<()>();
    let looks = deadline.as_millis() / PAUSE.as_millis();
    (0..looks).any(|_| state() || never.recv_timeout(PAUSE).is_ok())
}

/// An octet whose guard port is free; tests of one process never get the same one.
fn free_octet() -> u8 {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let start = u8::try_from(std::process::id() % 200).unwrap();
    for _ in 0..=u8::MAX {
        let octet = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let free = (3..=250).contains(&octet) && TcpListener::bind((guard(octet), 7000)).is_ok();
        if free {
            return octet;
        }
    }
    panic!("no free addresses for a lab");
}

fn guard(octet: u8) -> std::net::Ipv4Addr {
    std::net::Ipv4Addr::new(127, octet, 0, 1)
}

/// The built binary, beside the tests' own.
fn binary() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let binary = tests.parent().unwrap().parent().unwrap().join("flow");
    assert!(binary.exists(), "{} is missing: cargo test --workspace builds it", binary.display());
    binary
}
