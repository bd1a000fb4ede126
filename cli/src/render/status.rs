//! How the last run stands, and the list of all runs.

use std::time::Duration;

use flow_engine::event::RunEnded;
use flow_engine::{Failure, InstanceName, RunId};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::names::folded;
use super::report::{self, commands_with};
use super::text::{hang, pad, width};
use super::time::{about, ago, took};

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It goes on, in the hands of this process.
    Running {
        /// Who, as `pid 5120 of LOGIN on laptop`.
        by: String,
        /// How much longer, at the earliest.
        left: Option<Duration>,
    },
    /// It ended by itself.
    Ended(RunEnded),
    /// Its process died.
    CutOff,
}

/// The last run of a site as it is shown.
#[derive(Debug, Clone)]
pub(crate) struct StatusView {
    /// The site.
    pub(crate) site: String,
    /// ` --site NAME` where proposed commands need it, else empty.
    pub(crate) site_flag: String,
    /// The workflow.
    pub(crate) workflow: String,
    /// How the workflow is named on a command line here.
    pub(crate) typed: String,
    /// The run's number.
    pub(crate) run: RunId,
    /// Where it is.
    pub(crate) standing: Standing,
    /// How long it worked.
    pub(crate) worked: Duration,
    /// How long ago its last event was written.
    pub(crate) last: Duration,
    /// Instances that ended well.
    pub(crate) done: usize,
    /// Instances that failed, with their tries.
    pub(crate) failed: Vec<(InstanceName, Failure, u32)>,
    /// Instances that were asked for and have no outcome, and for how long.
    pub(crate) asked: Vec<(InstanceName, Duration)>,
    /// Instances of which nothing was heard; `None` if the workflow cannot be read any more.
    pub(crate) waiting: Option<usize>,
}

impl StatusView {
    /// The whole as one object of JSON.
    pub(crate) fn object(&self) -> Value {
        let (state, left, by) = match &self.standing {
            Standing::Running { by, left } => ("running", *left, Some(by)),
            Standing::Ended(ended) => (word(*ended), None, None),
            Standing::CutOff => ("cut-off", None, None),
        };
        let failed = self.failed.iter().map(|(name, failure, attempts)| {
            json!({ "instance": name, "failure": failure, "attempts": attempts })
        });
        json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "status",
            "site": self.site,
            "workflow": self.workflow,
            "run": self.run,
            "state": state,
            "by": by,
            "took-ms": millis(self.worked),
            "left-ms": left.map(millis),
            "done": self.done,
            "failed": failed.collect::<Vec<_>>(),
            "asked-for": self.asked.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "waiting": self.waiting,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn word(ended: RunEnded) -> &'static str {
    match ended {
        RunEnded::Complete => "complete",
        RunEnded::Failed => "failed",
        RunEnded::Interrupted => "interrupted",
    }
}

/// The lines of a status.
pub(crate) fn status(view: &StatusView) -> Vec<String> {
    let label = format!("{}  ", view.site);
    let indent = " ".repeat(width(&label));
    let mut lines = hang(&label, &headline(view));
    lines.push(format!("{indent}{}", counts(view)));
    for (name, since) in view.asked.iter().filter(|_| view.is_running()) {
        lines.push(format!("{indent}▸ {name}   {}", took(*since)));
    }
    if !view.is_running() && !view.asked.is_empty() {
        let names = folded(view.asked.iter().map(|(name, _)| name.as_str())).join(", ");
        let label = format!("{indent}open   ");
        lines.extend(hang(&label, &format!("{names}: asked for, the end is not known")));
    }
    for (name, failure, attempts) in &view.failed {
        lines.push(String::new());
        lines.extend(report::failure(name.as_str(), failure, *attempts));
    }
    lines.extend(commands_with("next", &next(view)));
    lines
}

impl StatusView {
    fn is_running(&self) -> bool {
        matches!(self.standing, Standing::Running { .. })
    }
}

fn headline(view: &StatusView) -> String {
    let StatusView { workflow, run, .. } = view;
    let (worked, last) = (took(view.worked), ago(view.last));
    match &view.standing {
        Standing::Running { by, left } => {
            let left =
                left.map_or_else(String::new, |left| format!(", about {} left", about(left)));
            format!("{workflow}, run {run} by {by}: {worked}{left}")
        }
        Standing::Ended(ended) => {
            format!("{workflow}, run {run}: {}, {last}, after {worked}", word(*ended))
        }
        Standing::CutOff => {
            // When it died, nobody wrote down.
            format!(
                "{workflow}, run {run}: its process died; its last event came after {worked}, {last}"
            )
        }
    }
}

fn counts(view: &StatusView) -> String {
    let asked = if view.is_running() { "running" } else { "open" };
    let (done, failed, open) = (view.done, view.failed.len(), view.asked.len());
    let waiting = view.waiting.map(|waiting| format!("   waiting {waiting}")).unwrap_or_default();
    format!("done {done}   {asked} {open}{waiting}   failed {failed}")
}

fn next(view: &StatusView) -> Vec<(String, String)> {
    let site = &view.site_flag;
    let mut commands = Vec::new();
    match &view.standing {
        Standing::Running { .. } => {}
        Standing::Ended(RunEnded::Complete) => {
            let words = "looks again, and does only what is missing".to_owned();
            commands.push((format!("flow run {}{site}", view.typed), words));
        }
        Standing::Ended(RunEnded::Failed | RunEnded::Interrupted) | Standing::CutOff => {
            commands.push((format!("flow resume{site}"), "goes on where it stopped".to_owned()));
        }
    }
    if let Some((name, _, _)) = view.failed.first() {
        let words = "what was asked and answered, attempt by attempt".to_owned();
        commands.push((format!("flow why {name}{site}"), words));
    }
    commands
}

/// One run in the list of runs.
#[derive(Debug, Clone)]
pub(crate) struct RunLine {
    /// Its number.
    pub(crate) run: RunId,
    /// Its workflow.
    pub(crate) workflow: String,
    /// When it began, in milliseconds since 1970.
    pub(crate) began: i64,
    /// Where it is.
    pub(crate) standing: Standing,
    /// How many sessions it has had.
    pub(crate) sessions: u32,
    /// How long it worked.
    pub(crate) worked: Duration,
    /// Instances that ended well.
    pub(crate) done: usize,
    /// Instances that failed.
    pub(crate) failed: usize,
    /// Instances that were asked for and have no outcome.
    pub(crate) asked: usize,
}

impl RunLine {
    fn word(&self) -> &'static str {
        match &self.standing {
            Standing::Running { .. } => "running",
            Standing::Ended(ended) => word(*ended),
            Standing::CutOff => "cut off",
        }
    }

    /// The run as one object of JSON.
    pub(crate) fn object(&self) -> Value {
        json!({
            "flow": crate::terminal::stream::VERSION,
            "type": "past-run",
            "run": self.run,
            "workflow": self.workflow,
            "at": self.began,
            "state": self.word(),
            "sessions": self.sessions,
            "took-ms": millis(self.worked),
            "done": self.done,
            "failed": self.failed,
            "asked-for": self.asked,
        })
    }
}

/// The list of runs, oldest first, under a heading.
pub(crate) fn runs(runs: &[RunLine]) -> Vec<String> {
    let workflow = runs.iter().map(|run| width(&run.workflow)).chain([8]).max().unwrap_or(8);
    let heading = pad("workflow", workflow);
    let mut lines = vec![format!(" run  {heading}  began (UTC)         took  how")];
    for run in runs {
        let mut counts = vec![format!("{} done", run.done)];
        counts.extend((run.failed > 0).then(|| format!("{} failed", run.failed)));
        counts.extend((run.asked > 0).then(|| format!("{} asked for", run.asked)));
        counts.extend((run.sessions > 1).then(|| format!("{} sessions", run.sessions)));
        lines.push(format!(
            "{:>4}  {}  {}  {:>6}  {:<11}  {}",
            run.run,
            pad(&run.workflow, workflow),
            moment(run.began),
            took(run.worked),
            run.word(),
            counts.join(", ")
        ));
    }
    lines
}

/// A moment to the minute, in UTC: what the time zone of a reader is, nobody stored.
pub(crate) fn moment(millis: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp(millis.div_euclid(1000));
    let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, hour, minute) = (at.date(), at.hour(), at.minute());
    format!("{date} {hour:02}:{minute:02}")
}

#[cfg(test)]
mod tests {
    use flow_engine::Retry;
    use snapbox::{assert_data_eq, str};

    use super::*;

    fn view(standing: Standing) -> StatusView {
        StatusView {
            site: "home".to_owned(),
            site_flag: " --site home".to_owned(),
            workflow: "bootstrap".to_owned(),
            typed: "bootstrap".to_owned(),
            run: RunId(9),
            standing,
            worked: Duration::from_secs(549),
            last: Duration::from_mins(6),
            done: 63,
            failed: Vec::new(),
            asked: vec![(InstanceName::parse("nodes-ready"), Duration::from_secs(110))],
            waiting: Some(38),
        }
    }

    #[test]
    fn a_run_that_goes_on_names_who_and_what() {
        let by = "pid 5120 of LOGIN on laptop".to_owned();
        let left = Some(Duration::from_mins(27));
        let view = view(Standing::Running { by, left });
        assert_data_eq!(
            status(&view).join("\n") + "\n",
            str![[r#"
home  bootstrap, run 9 by pid 5120 of LOGIN on laptop: 9m09s, about 27m left
      done 63   running 1   waiting 38   failed 0
      ▸ nodes-ready   1m50s

"#]]
        );
        assert_eq!(view.object()["state"], "running");
    }

    #[test]
    fn a_run_that_failed_says_why_and_how_to_go_on() {
        let failure = Failure::new("dns::truncated", "the transfer stops", Retry::Backoff)
            .with_help("raise the MTU");
        let failed = vec![(InstanceName::parse("dns-transfer"), failure, 3)];
        let view = StatusView { failed, ..view(Standing::Ended(RunEnded::Failed)) };
        assert_data_eq!(
            status(&view).join("\n") + "\n",
            str![[r#"
home  bootstrap, run 9: failed, 6 min ago, after 9m09s
      done 63   open 1   waiting 38   failed 1
      open   nodes-ready: asked for, the end is not known

  × dns-transfer   dns::truncated, exit 1, 3 attempts
  │ the transfer stops
  help: raise the MTU

next   flow resume --site home             goes on where it stopped
       flow why dns-transfer --site home   what was asked and answered, attempt by attempt

"#]]
        );
    }

    #[test]
    fn the_next_command_is_one_that_can_be_typed() {
        let typed = "ten.toml".to_owned();
        let view = StatusView { typed, ..view(Standing::Ended(RunEnded::Complete)) };
        let lines = status(&view);
        let next = lines.last().unwrap();
        assert!(next.starts_with("next   flow run ten.toml --site home "), "{next}");
    }

    #[test]
    fn runs_are_a_table() {
        let line = |run, standing, sessions| RunLine {
            run: RunId(run),
            workflow: "bootstrap".to_owned(),
            began: 1_795_442_520_000,
            standing,
            sessions,
            worked: Duration::from_secs(u64::from(run) * 41),
            done: 94,
            failed: sessions as usize - 1,
            asked: 0,
        };
        let lines = [line(1, Standing::Ended(RunEnded::Complete), 1), line(2, Standing::CutOff, 2)];
        assert_data_eq!(
            runs(&lines).join("\n") + "\n",
            str![[r#"
 run  workflow   began (UTC)         took  how
   1  bootstrap  2026-11-23 14:02     41s  complete     94 done
   2  bootstrap  2026-11-23 14:02   1m22s  cut off      94 done, 1 failed, 2 sessions

"#]]
        );
    }
}
