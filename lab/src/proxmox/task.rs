//! Tasks: work that goes on after the answer, with a state and a log.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::sync::Notify;

use crate::{
    StoreError,
    store::Changes,
    world::{World, locked},
};

use super::{
    HOST, Proxmox,
    access::Caller,
    params::Param,
    reply::{Answer, Refused, Reply},
    route::{Request, Route},
};

/// The collection of tasks by their ids.
const COLLECTION: &str = "proxmox-tasks";

/// The endpoints.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/nodes/{node}/tasks/{upid}/status", &[], status),
    Route::get(
        "/nodes/{node}/tasks/{upid}/log",
        &[
            Param::integer("start", 0, i64::MAX),
            Param::integer("limit", 0, i64::MAX),
            Param::boolean("download"),
        ],
        log,
    ),
    Route::delete("/nodes/{node}/tasks/{upid}", &[], stop),
    Route::get(
        "/nodes/{node}/tasks",
        &[
            Param::integer("start", 0, i64::MAX),
            Param::integer("limit", 0, i64::MAX),
            Param::integer("vmid", 100, 999_999_999),
            Param::integer("since", 0, i64::MAX),
            Param::integer("until", 0, i64::MAX),
            Param::text("userfilter", 256),
            Param::text("typefilter", 64),
            Param::text("statusfilter", 64),
            Param::boolean("errors"),
            Param::one_of("source", &["archive", "active", "all"]),
        ],
        list,
    ),
    Route::get("/cluster/tasks", &[], list_cluster),
];

/// One task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    upid: String,
    kind: String,
    id: String,
    /// `USER@REALM` or `USER@REALM!TOKEN`.
    user: String,
    pid: u32,
    start: i64,
    end: Option<i64>,
    exit: Option<String>,
    log: Vec<String>,
}

/// The host's tasks.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    all: Mutex<BTreeMap<String, Task>>,
    stops: Mutex<BTreeMap<String, Arc<Notify>>>,
}

/// What starts a task.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind<'a> {
    /// The type, as `qmcreate`.
    pub(super) name: &'static str,
    /// What it is about, as the VM's number.
    pub(super) id: &'a str,
}

/// A running task's log.
#[derive(Debug, Clone)]
pub(super) struct Log {
    host: Proxmox,
    upid: String,
    stop: Arc<Notify>,
}

impl Log {
    pub(super) fn line(&self, text: impl Into<String>) {
        if let Some(task) = locked(&self.host.tasks().all).get_mut(&self.upid) {
            task.log.push(text.into());
        }
    }

    /// Waits for a duration of the world; fails when the task is told to stop.
    pub(super) async fn takes(&self, duration: Duration) -> Result<(), String> {
        tokio::select! {
            () = self.host.world().clock().sleep(duration) => Ok(()),
            () = self.stop.notified() => Err("received interrupt".to_owned()),
        }
    }
}

impl Tasks {
    /// Reads the tasks of the world. Those that ran when the power was cut have died.
    pub(super) fn open(world: &World) -> Result<Self, StoreError> {
        let mut all: BTreeMap<String, Task> = world.store().load(COLLECTION)?;
        let mut changes = Changes::new();
        for (upid, task) in all.iter_mut().filter(|(_, task)| task.end.is_none()) {
            task.end = Some(now());
            task.exit = Some("unexpected status".to_owned());
            changes = changes.put(COLLECTION, upid, task);
        }
        world.store().commit(changes)?;
        Ok(Self { all: Mutex::new(all), stops: Mutex::default() })
    }

    /// How a task ended; none while it runs.
    fn exit(&self, upid: &str) -> Option<String> {
        locked(&self.all).get(upid)?.exit.clone()
    }
}

fn now() -> i64 {
    OffsetDateTime::now_utc().unix_timestamp()
}

impl Proxmox {
    /// Starts a task, durable together with its first changes, and returns its id.
    pub(super) fn start_task<F>(
        &self,
        kind: Kind<'_>,
        caller: &Caller,
        changes: Changes,
        work: impl FnOnce(Log) -> F,
    ) -> Result<String, Refused>
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (start, user) = (now(), caller.id());
        let Kind { name, id } = kind;
        let (pid, upid) = loop {
            let pid = self.world().draw(0x1000..0x003f_ffff);
            let boot = self.world().draw(0x10_0000..0x0fff_ffff);
            let upid = format!("UPID:{HOST}:{pid:08X}:{boot:08X}:{start:08X}:{name}:{id}:{user}:");
            // After a power cut within a second the same numbers are drawn again.
            if !locked(&self.tasks().all).contains_key(&upid) {
                break (pid, upid);
            }
        };
        let task = Task {
            upid: upid.clone(),
            kind: name.to_owned(),
            id: id.to_owned(),
            user,
            pid,
            start,
            end: None,
            exit: None,
            log: Vec::new(),
        };
        self.world().store().commit(changes.put(COLLECTION, &upid, &task))?;
        let stop = Arc::new(Notify::new());
        locked(&self.tasks().all).insert(upid.clone(), task);
        locked(&self.tasks().stops).insert(upid.clone(), Arc::clone(&stop));
        let log = Log { host: self.clone(), upid: upid.clone(), stop };
        let work = work(log.clone());
        self.world().spawn(async move { log.end(work.await) });
        Ok(upid)
    }

    /// Waits up to a duration of the world for a task; how it ended, or none.
    pub(super) async fn await_task(&self, upid: &str, longest: Duration) -> Option<String> {
        let poll = Duration::from_millis(100);
        let mut waited = Duration::ZERO;
        loop {
            if let Some(exit) = self.tasks().exit(upid) {
                return Some(exit);
            }
            if waited >= longest {
                return None;
            }
            self.world().clock().sleep(poll).await;
            waited += poll;
        }
    }
}

impl Log {
    fn end(&self, outcome: Result<(), String>) {
        let mut all = locked(&self.host.tasks().all);
        let Some(task) = all.get_mut(&self.upid) else { return };
        let (exit, last) = match outcome {
            Ok(()) => ("OK".to_owned(), "TASK OK".to_owned()),
            Err(text) => {
                let text = text.trim().replace('\n', " ");
                let last = format!("TASK ERROR: {text}");
                (text, last)
            }
        };
        task.log.push(last);
        task.end = Some(now());
        task.exit = Some(exit);
        let changes = Changes::new().put(COLLECTION, &self.upid, task);
        // A task whose end cannot be written has, after a power cut, ended unexpectedly.
        let _ = self.host.world().store().commit(changes);
        locked(&self.host.tasks().stops).remove(&self.upid);
    }
}

/// The task of a path, if the caller may see it.
fn find(host: &Proxmox, request: &Request) -> Result<Task, Refused> {
    let upid = request.path("upid");
    let parts: Vec<&str> = upid.split(':').collect();
    if parts.len() != 9 || parts[0] != "UPID" || !parts[8].is_empty() {
        return Err(Refused::parameter("upid", "unable to parse worker upid"));
    }
    let task = locked(&host.tasks().all).get(upid).cloned();
    let task = task.ok_or_else(|| Refused::parameter("upid", "no such task"))?;
    if !is_own(&request.caller, &task) {
        host.access().need(&request.caller, &format!("/nodes/{HOST}"), "Sys.Audit")?;
    }
    Ok(task)
}

/// Whether a caller started a task; a user also owns what its tokens started.
fn is_own(caller: &Caller, task: &Task) -> bool {
    let owner = task.user.split('!').next().unwrap_or_default();
    task.user == caller.id() || (caller.token.is_none() && caller.user == owner)
}

fn row(task: &Task) -> Value {
    let (user, token) = match task.user.split_once('!') {
        Some((user, token)) => (user, Some(token)),
        None => (task.user.as_str(), None),
    };
    let mut row = json!({
        "upid": task.upid,
        "node": HOST,
        "pid": task.pid,
        "pstart": u64::from_str_radix(task.upid.split(':').nth(3).unwrap_or("0"), 16).unwrap_or(0),
        "starttime": task.start,
        "type": task.kind,
        "id": task.id,
        "user": user,
    });
    if let Some(token) = token {
        row["tokenid"] = json!(token);
    }
    row
}

fn status(host: &Proxmox, request: &Request) -> Answer {
    let task = find(host, request)?;
    let mut row = row(&task);
    match task.exit {
        None => row["status"] = json!("running"),
        Some(exit) => {
            row["status"] = json!("stopped");
            row["exitstatus"] = json!(exit);
        }
    }
    Ok(row.into())
}

fn log(host: &Proxmox, request: &Request) -> Answer {
    let task = find(host, request)?;
    let lines = if task.log.is_empty() { vec!["no content".to_owned()] } else { task.log };
    let number = |name: &str, default: i64| {
        usize::try_from(request.params.integer(name).unwrap_or(default)).unwrap_or(0)
    };
    let (start, limit) = (number("start", 0), number("limit", 50));
    let limit = if limit == 0 { lines.len() } else { limit };
    let part = lines.iter().enumerate().skip(start).take(limit);
    let rows: Vec<_> = part.map(|(at, text)| json!({ "n": at + 1, "t": text })).collect();
    Ok(Reply::from(json!(rows)).of(lines.len()))
}

fn stop(host: &Proxmox, request: &Request) -> Answer {
    let task = find(host, request)?;
    if !is_own(&request.caller, &task) {
        host.access().need(&request.caller, &format!("/nodes/{HOST}"), "Sys.Modify")?;
    }
    if let Some(stop) = locked(&host.tasks().stops).get(&task.upid) {
        stop.notify_one();
    }
    Ok(Reply::null())
}

fn rows<'a>(
    host: &'a Proxmox,
    request: &'a Request,
    wanted: impl Fn(&Task) -> bool + 'a,
) -> Vec<Value> {
    let path = format!("/nodes/{HOST}");
    let audits = host.access().has_any(&request.caller, &path, &["Sys.Audit"]);
    let all = locked(&host.tasks().all);
    let mut found: Vec<&Task> =
        all.values().filter(|t| (audits || is_own(&request.caller, t)) && wanted(t)).collect();
    found.sort_by_key(|task| (std::cmp::Reverse(task.start), task.upid.clone()));
    let rows = found.into_iter().map(|task| {
        let mut row = row(task);
        row["status"] = json!(task.exit.as_deref().unwrap_or("RUNNING"));
        if let Some(end) = task.end {
            row["endtime"] = json!(end);
        }
        row
    });
    rows.collect()
}

fn list(host: &Proxmox, request: &Request) -> Answer {
    let params = &request.params;
    let source = params.get("source").unwrap_or("archive");
    let rows = rows(host, request, |task| {
        let running = task.exit.is_none();
        let failed = task.exit.as_deref().is_some_and(|exit| exit != "OK");
        let fits =
            |name: &str, text: &str| params.get(name).is_none_or(|wanted| text.contains(wanted));
        (source == "all" || running == (source == "active"))
            && params.get("vmid").is_none_or(|vmid| task.id == vmid)
            && params.get("typefilter").is_none_or(|kind| task.kind == kind)
            && fits("userfilter", &task.user)
            && (!params.flag("errors", false) || failed)
            && params.integer("since").is_none_or(|since| task.start >= since)
            && params.integer("until").is_none_or(|until| task.start <= until)
    });
    let number = |name: &str, default: i64| {
        usize::try_from(params.integer(name).unwrap_or(default)).unwrap_or(0)
    };
    let total = rows.len();
    let part: Vec<_> =
        rows.into_iter().skip(number("start", 0)).take(number("limit", 50)).collect();
    Ok(Reply::from(json!(part)).of(total))
}

fn list_cluster(host: &Proxmox, request: &Request) -> Answer {
    Ok(json!(rows(host, request, |_| true)).into())
}
