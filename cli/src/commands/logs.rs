//! `flow logs`: what instances printed, attempt by attempt, and how they ended.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flow_engine::{Attempt, InstanceName, RunId, Seq};
use flow_state::NamedEvent;
use serde_json::json;

use super::past::Past;
use crate::abort::Abort;
use crate::args::{Global, Logs};
use crate::execution;
use crate::exit::Exit;
use crate::render::logs;
use crate::terminal::{Terminal, stream};

/// Prints the logs of one run.
///
/// # Errors
///
/// There is no such run or instance in it, or the state is there and cannot be read.
pub(crate) fn logs(terminal: Terminal, global: &Global, args: &Logs) -> Result<Exit, Abort> {
    let past = Past::find(global, None)?;
    let run = past.run(args.run, None)?;
    let only = args.instance.as_deref();
    let events = past.reader()?.events(run.run, Seq(0)).map_err(execution::state)?;
    let events: Vec<&NamedEvent> = events.iter().filter(|event| concerns(event, only)).collect();
    let files = files(&past, run.run, only)?;
    if let (Some(only), true) = (only, events.is_empty() && files.is_empty()) {
        let message = format!("run {} tells nothing of `{only}`", run.run);
        let help = format!("`flow status{}` shows how it stands", past.site.flag());
        return Err(Abort::words(Exit::Usage, "state::no-instance", message, help));
    }
    for (name, attempts) in in_order(files, &events) {
        for (attempt, path) in attempts {
            show(terminal, run.run, &name, attempt, &path)?;
        }
        for event in events.iter().filter(|event| event.name.as_ref() == Some(&name)) {
            if terminal.json {
                terminal.object(&stream::object(&event.event, Some(name.as_str())));
            } else {
                for line in logs::ending(event) {
                    terminal.data(line);
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// Whether an event is of the instance, or of the task, that was asked for.
fn concerns(event: &NamedEvent, only: Option<&str>) -> bool {
    event.name.as_ref().is_some_and(|name| is(name, only))
}

fn is(name: &InstanceName, only: Option<&str>) -> bool {
    only.is_none_or(|only| name.as_str() == only || name.task() == only)
}

/// The logs of instances, each by attempt.
type Files = BTreeMap<InstanceName, BTreeMap<Attempt, PathBuf>>;

fn files(past: &Past, run: RunId, only: Option<&str>) -> Result<Files, Abort> {
    let folder = past.dir.run_logs(run);
    let mut files = Files::new();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(unreadable(&folder, error)),
    };
    for entry in entries {
        let path = entry.map_err(|error| unreadable(&folder, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((name, attempt)) = name.and_then(logs::read_file_name) else { continue };
        if is(&name, only) {
            files.entry(name).or_default().insert(attempt, path);
        }
    }
    Ok(files)
}

fn unreadable(path: &std::path::Path, error: std::io::Error) -> Abort {
    Abort::io(Exit::State, format!("{} cannot be read", path.display()), error)
}

/// Instances in the order in which history tells of them, then those that it does not tell of.
fn in_order(
    mut files: Files,
    events: &[&NamedEvent],
) -> Vec<(InstanceName, BTreeMap<Attempt, PathBuf>)> {
    let mut ordered: Vec<(InstanceName, BTreeMap<Attempt, PathBuf>)> = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for name in events.iter().filter_map(|event| event.name.as_ref()) {
        if seen.insert(name) {
            ordered.push((name.clone(), files.remove(name).unwrap_or_default()));
        }
    }
    ordered.extend(files);
    ordered
}

fn show(
    terminal: Terminal,
    run: RunId,
    name: &InstanceName,
    attempt: Attempt,
    path: &std::path::Path,
) -> Result<(), Abort> {
    let mut bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
    if terminal.json {
        terminal.object(&json!({
            "flow": stream::VERSION,
            "type": "log",
            "run": run,
            "instance": name,
            "attempt": attempt,
            "text": String::from_utf8_lossy(&bytes),
        }));
        return Ok(());
    }
    terminal.data(logs::heading(name, attempt));
    if bytes.last().is_some_and(|last| *last != b'\n') {
        bytes.push(b'\n');
    }
    terminal.raw(&bytes);
    Ok(())
}
