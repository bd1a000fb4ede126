//! `flow status` and `flow runs`: how the last run stands, and which there were.

use std::sync::Arc;
use std::time::Duration;

use flow_engine::workflow::{Workflow, select};
use flow_engine::{Instance, Seq};
use flow_state::{Owner, RunSummary, SiteLock};
use serde_json::json;

use super::past::{Past, name_of, now};
use crate::abort::Abort;
use crate::args::{Global, LabOptions, Status};
use crate::assets;
use crate::execution;
use crate::exit::Exit;
use crate::lab;
use crate::render::outlook::Outlook;
use crate::render::status::{self as lines, RunLine, Standing, StatusView};
use crate::render::story::Story;
use crate::terminal::Terminal;

/// How many instances a run works on at a time, unless it was told otherwise.
const JOBS: u32 = 16;

/// Shows how the last run stands. Never waits for it.
///
/// # Errors
///
/// The state is there and cannot be read.
pub(crate) fn status(terminal: Terminal, global: &Global, args: &Status) -> Result<Exit, Abort> {
    let past = Past::find(global, args.workflow.as_deref())?;
    let workflow = args.workflow.as_deref().map(name_of).transpose()?;
    let Some(run) = past.newest(workflow.as_deref())? else {
        return Ok(nothing(terminal, &past));
    };
    let view = view(&past, &run)?;
    if terminal.json {
        terminal.object(&view.object());
    } else {
        for line in lines::status(&view) {
            terminal.data(line);
        }
    }
    Ok(Exit::Ok)
}

/// Lists the runs of a site.
///
/// # Errors
///
/// The state is there and cannot be read.
pub(crate) fn runs(terminal: Terminal, global: &Global) -> Result<Exit, Abort> {
    let past = Past::find(global, None)?;
    let runs = past.runs()?;
    let holder = SiteLock::holder(&past.dir).map_err(execution::state)?;
    let newest = runs.iter().map(|run| run.session).max();
    let mut listed = Vec::new();
    for run in &runs {
        let is_last = Some(run.session) == newest;
        listed.push(line(&past, run, holder.as_ref().filter(|_| is_last))?);
    }
    if terminal.json {
        for run in &listed {
            terminal.object(&run.object());
        }
    } else if listed.is_empty() {
        return Ok(nothing(terminal, &past));
    } else {
        for line in lines::runs(&listed) {
            terminal.data(line);
        }
    }
    Ok(Exit::Ok)
}

fn nothing(terminal: Terminal, past: &Past) -> Exit {
    let site = &past.site.site.name;
    if terminal.json {
        let version = crate::terminal::stream::VERSION;
        terminal.object(&json!({
            "flow": version, "type": "status", "site": site, "state": "never-run",
        }));
    } else {
        terminal.data(format!("{site}  nothing has run here yet"));
    }
    Exit::Ok
}

fn view(past: &Past, run: &RunSummary) -> Result<StatusView, Abort> {
    let now = now();
    let reader = past.reader()?;
    let holder = SiteLock::holder(&past.dir).map_err(execution::state)?;
    let events = reader.events(run.run, Seq(0)).map_err(execution::state)?;
    let story = Story::of(&events, holder.as_ref().map(|_| now));
    // A workflow that cannot be read any more must not hide what became of its run.
    let workflow = past.workflow(run, None).ok().map(Arc::new);
    let running = workflow.as_ref().filter(|_| holder.is_some() && story.ended.is_none());
    let left = running.and_then(|workflow| left(past, run, workflow, &story));
    let waiting = workflow.as_ref().map(|workflow| waiting(workflow, run, &story));
    Ok(StatusView {
        site: past.site.site.name.clone(),
        site_flag: past.site.flag(),
        workflow: run.workflow.clone(),
        typed: assets::typed(&run.started.file),
        run: run.run,
        standing: standing(&story, holder.as_ref(), left),
        worked: story.worked,
        last: between(story.last, now),
        done: story.done(),
        failed: story
            .failed()
            .map(|(name, failure, attempt)| (name.clone(), failure.clone(), attempt.0))
            .collect(),
        asked: story.asked().map(|(name, at)| (name.clone(), between(at, now))).collect(),
        waiting: waiting.flatten(),
    })
}

fn between(earlier: i64, later: i64) -> Duration {
    Duration::from_millis(u64::try_from(later.saturating_sub(earlier)).unwrap_or_default())
}

fn standing(story: &Story, holder: Option<&Owner>, left: Option<Duration>) -> Standing {
    match (story.ended, holder) {
        (Some(ended), _) => Standing::Ended(ended),
        (None, Some(owner)) => Standing::Running { by: by(owner), left },
        (None, None) => Standing::CutOff,
    }
}

/// Who writes.
pub(super) fn by(owner: &Owner) -> String {
    format!("pid {} of {} on {}", owner.pid, owner.user, owner.host)
}

/// How long the rest takes, by what earlier runs and the file say.
fn left(
    past: &Past,
    run: &RunSummary,
    workflow: &Arc<Workflow>,
    story: &Story,
) -> Option<Duration> {
    let ledger =
        past.reader().and_then(|reader| reader.ledger(&run.workflow).map_err(execution::state));
    let selection = select(workflow, &run.started.selection).ok()?;
    let pace = lab::pace(&past.site, &LabOptions::default());
    let outlook = Outlook::new(workflow, &ledger.ok()?, &selection.selected, JOBS, pace)?;
    let now = now();
    Some(outlook.left(|id| {
        let told = story.instances.get(&workflow.instance(id).name)?;
        match told.asked {
            Some((_, at)) => Some(between(at, now)),
            None => told.outcome.as_ref().map(|_| Duration::MAX),
        }
    }))
}

/// How many of the considered instances were not heard of; a partial run does not say.
fn waiting(workflow: &Workflow, run: &RunSummary, story: &Story) -> Option<usize> {
    let selection = &run.started.selection;
    let whole = selection.only.is_empty()
        && selection.until.is_empty()
        && selection.from.is_empty()
        && selection.skip.is_empty();
    let unheard = |id: &Instance| {
        let def = workflow.instance(*id);
        !def.skipped && !story.instances.contains_key(&def.name)
    };
    whole.then(|| workflow.ids().filter(unheard).count())
}

fn line(past: &Past, run: &RunSummary, holder: Option<&Owner>) -> Result<RunLine, Abort> {
    let events = past.reader()?.events(run.run, Seq(0)).map_err(execution::state)?;
    let story = Story::of(&events, holder.map(|_| now()));
    Ok(RunLine {
        run: run.run,
        workflow: run.workflow.clone(),
        began: run.started_at,
        standing: standing(&story, holder, None),
        sessions: story.sessions,
        worked: story.worked,
        done: story.done(),
        failed: story.failed().count(),
        asked: story.asked().count(),
    })
}
