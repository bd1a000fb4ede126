//! `flow run` and `flow resume`: look, decide and act until everything is as declared.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flow_engine::Instance;
use flow_engine::event::{RunEnded, SelectionArgs};
use flow_engine::runner::Ending;
use flow_state::RunSummary;

use super::output;
use super::past::Past;
use crate::abort::Abort;
use crate::args::{Global, Resume, Run};
use crate::assets;
use crate::execution::{self, Execute, Executed, Resumed};
use crate::exit::Exit;
use crate::render::report::{self, FailedInstance, RunEnd};
use crate::render::time::ago;
use crate::site::{self, SiteAt};
use crate::terminal::Terminal;
use crate::workflow::Set;

/// Runs a workflow.
///
/// # Errors
///
/// Nothing was run, or the run could not be written down.
pub(crate) async fn run(terminal: Terminal, global: &Global, args: &Run) -> Result<Exit, Abort> {
    let asset = assets::workflow(&args.workflow.workflow)?;
    let site = site::resolve(global.site.as_deref(), Some(&asset))?;
    let execute = Execute {
        terminal,
        asset: &asset,
        site: &site,
        set: Set::from_args(&args.workflow.inputs)?,
        selection: SelectionArgs::from(&args.selection),
        how: &args.execution,
        resumed: None,
    };
    let executed = execute.execute().await?;
    Ok(end(terminal, &site, &executed))
}

/// Goes on with a run: the same workflow, inputs and selection, on the files as they are now.
///
/// # Errors
///
/// As [`run`], and where there is no such run.
pub(crate) async fn resume(
    terminal: Terminal,
    global: &Global,
    args: &Resume,
) -> Result<Exit, Abort> {
    let past = Past::find(global, None)?;
    let last = past.run(args.run, None)?;
    if last.ended == Some(RunEnded::Complete) {
        let run = last.run;
        terminal.say(format!("run {run} of {} is complete: nothing to go on with", last.workflow));
        return Ok(Exit::Ok);
    }
    let sessions = past.reader()?.sessions(last.run).map_err(execution::state)?;
    let text = past.reader()?.text(&last.started.text).map_err(execution::state)?;
    let site = past.site;
    let words = introduction(&last, &site);
    let asset = assets::workflow(&last.started.file)?;
    let execute = Execute {
        terminal,
        asset: &asset,
        site: &site,
        set: Set::from_recorded(&last.started.inputs),
        selection: last.started.selection.clone(),
        how: &args.execution,
        resumed: Some(Resumed { run: last.run, sessions, words, text }),
    };
    let executed = execute.execute().await?;
    Ok(end(terminal, &site, &executed))
}

fn introduction(last: &RunSummary, site: &SiteAt) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = last.ended_at.unwrap_or(last.started_at);
    let since = Duration::from_millis(u64::try_from(at).unwrap_or_default());
    let how = match last.ended {
        Some(RunEnded::Failed) => "failed",
        Some(RunEnded::Interrupted) => "was stopped",
        Some(RunEnded::Complete) => "ended",
        None => "was cut off",
    };
    let (run, workflow, name) = (last.run, &last.workflow, &site.site.name);
    let when = ago(now.saturating_sub(since));
    format!("resume     run {run} of {workflow} on {name}; it {how} {when}")
}

/// Tells how a run ended, and says how to exit.
fn end(terminal: Terminal, site: &SiteAt, executed: &Executed) -> Exit {
    let mut end = run_end(site, executed);
    let led_somewhere = executed.summary.ended == RunEnded::Complete && !end.is_idle();
    if led_somewhere && !terminal.json {
        end.facts = output::facts(site, &executed.workflow);
    }
    if terminal.json {
        terminal.object(&end.object());
    }
    terminal.say("");
    terminal.say_all(&report::report(&end));
    if led_somewhere {
        terminal.say_all(&look_next(site, executed));
    }
    match executed.summary.ended {
        RunEnded::Complete => Exit::Ok,
        RunEnded::Interrupted => executed.interrupted,
        RunEnded::Failed if has_a_bug(executed) => Exit::Bug,
        RunEnded::Failed if executed.summary.needs_a_human() => Exit::NeedsHuman,
        RunEnded::Failed => Exit::Failed,
    }
}

/// Whether a kind panicked.
fn has_a_bug(executed: &Executed) -> bool {
    executed.summary.failures().any(|(_, failure)| failure.code == "engine::panic")
}

/// What to look at after a good run on a lab.
fn look_next(site: &SiteAt, executed: &Executed) -> Vec<String> {
    let workflow = &executed.workflow;
    if !site.site.is_lab || !workflow.outputs.contains_key("kubeconfig") {
        return Vec::new();
    }
    let (flag, name) = (site.flag(), &workflow.name);
    vec![
        String::new(),
        format!("look   flow lab exec{flag} -- kubectl get nodes -o wide"),
        format!("       flow graph {name}{flag}"),
        format!("again  flow run {name}{flag}      looks, and has nothing to do"),
        "yours  workflows/sites/example.toml shows how to describe your own Proxmox".to_owned(),
    ]
}

fn run_end(site: &SiteAt, executed: &Executed) -> RunEnd {
    let Executed { workflow, run, sessions, summary, .. } = executed;
    let counts = summary.counts();
    let mut end = RunEnd {
        workflow: workflow.name.clone(),
        site: site.site.name.clone(),
        site_flag: site.flag(),
        run: *run,
        sessions: *sessions,
        took: summary.took,
        applied: counts.applied,
        checked: counts.checked,
        already_right: counts.already_right,
        as_recorded: counts.as_recorded,
        recovered: counts.recovered,
        open: executed.open.clone(),
        ..RunEnd::default()
    };
    if summary.ended == RunEnded::Interrupted {
        end.interrupted = Some(counts.interrupted);
    }
    let name = |id: Instance| workflow.instance(id).name.to_string();
    for (id, ending) in (0..).map(Instance).zip(&summary.endings) {
        match ending {
            Ending::Succeeded { drift: Some(diff), .. } => {
                end.left_drifted.push((name(id), diff.clone()));
            }
            Ending::Failed { failure, in_doubt: _, attempt, at, took: _ } => {
                let (failure, at) = (failure.clone(), Some(*at));
                let attempts = attempt.0;
                end.failed.push(FailedInstance { name: name(id), failure, attempts, at });
            }
            Ending::Blocked(by) => {
                end.blocked.push((name(id), by.iter().map(|id| name(*id)).collect()));
            }
            Ending::Succeeded { drift: None, .. }
            | Ending::Interrupted
            | Ending::NotStarted
            | Ending::Skipped
            | Ending::LeftOut
            | Ending::Verified => {}
        }
    }
    end
}
