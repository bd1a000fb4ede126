//! A run on a terminal: a line for each finished layer and each running instance, and one for all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flow_engine::event::Event;
use flow_engine::report::{Progress, Reporter};
use flow_engine::workflow::Workflow;
use flow_engine::{Attempt, Instance, Stop};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::{Mark, Terminal};
use crate::render::time::took;

/// Repaints a second.
const RATE: u8 = 10;

/// The most running instances that are shown; the others are counted.
const LINES: usize = 8;

/// Shows a run while it goes on.
pub(crate) struct Live {
    terminal: Terminal,
    workflow: Arc<Workflow>,
    screen: MultiProgress,
    whole: ProgressBar,
    running: BTreeMap<Instance, Line>,
    layers: Vec<Layer>,
}

/// A running instance.
struct Line {
    bar: Option<ProgressBar>,
    since: Instant,
}

/// How far a layer is.
struct Layer {
    name: String,
    left: usize,
    size: usize,
    failed: bool,
    since: Option<Instant>,
}

impl Live {
    /// A screen for the instances that are considered.
    pub(crate) fn new(
        terminal: Terminal,
        workflow: Arc<Workflow>,
        considered: impl Iterator<Item = Instance>,
    ) -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(RATE);
        let screen = MultiProgress::with_draw_target(target);
        let mut layers = layers(&workflow);
        let mut count = 0;
        for instance in considered {
            let layer = workflow.task_of(instance).layer.unwrap_or(workflow.layers.len());
            layers[layer].left += 1;
            layers[layer].size += 1;
            count += 1;
        }
        let whole = screen.add(ProgressBar::new(count));
        let style = ProgressStyle::with_template("{bar:40.cyan} {pos}/{len}  {elapsed}");
        whole.set_style(style.expect("the template is valid").progress_chars("━╸─"));
        Self { terminal, workflow, screen, whole, running: BTreeMap::new(), layers }
    }

    /// Clears what is in progress and leaves the finished lines.
    pub(crate) fn close(&mut self) {
        self.running.clear();
        self.whole.finish_and_clear();
    }

    fn name(&self, instance: Instance) -> &str {
        self.workflow.instance(instance).name.as_str()
    }

    fn print(&self, line: &str) {
        // A terminal that went away does not stop a run.
        let _ = self.screen.println(line);
    }

    fn start(&mut self, instance: Instance, words: &str) {
        let layer = self.layer_of(instance);
        self.layers[layer].since.get_or_insert_with(Instant::now);
        let shown = self.running.values().filter(|line| line.bar.is_some()).count();
        let name = self.name(instance).to_owned();
        let (screen, whole) = (&self.screen, &self.whole);
        let line = self.running.entry(instance).or_insert_with(|| {
            let bar = (shown < LINES).then(|| {
                let bar = screen.insert_before(whole, ProgressBar::no_length());
                let template = "    {prefix:28} {elapsed:>5}   {wide_msg}";
                let style = ProgressStyle::with_template(template);
                bar.set_style(style.expect("the template is valid"));
                bar.set_prefix(name);
                bar.enable_steady_tick(Duration::from_millis(250));
                bar
            });
            Line { bar, since: Instant::now() }
        });
        if let Some(bar) = &line.bar {
            bar.set_message(words.lines().next().unwrap_or_default().to_owned());
        }
    }

    fn layer_of(&self, instance: Instance) -> usize {
        self.workflow.task_of(instance).layer.unwrap_or(self.workflow.layers.len())
    }

    /// An instance has ended; says the layer's line when it was the last one.
    fn end(&mut self, instance: Instance, good: bool) {
        if let Some(Line { bar: Some(bar), .. }) = self.running.remove(&instance) {
            bar.finish_and_clear();
        }
        self.whole.inc(1);
        let layer = self.layer_of(instance);
        let Layer { name, left, size, failed, since } = &mut self.layers[layer];
        *failed |= !good;
        *left = left.saturating_sub(1);
        if *left == 0 {
            let mark = self.terminal.mark(if *failed { Mark::Bad } else { Mark::Good });
            let time = since.map(|since| since.elapsed()).unwrap_or_default();
            let line = format!("{mark} {name:<14} {size:>3}   {}", took(time));
            self.print(&line);
        }
    }
}

/// One layer for each of the workflow's, and one for tasks without.
fn layers(workflow: &Workflow) -> Vec<Layer> {
    let names = workflow.layers.iter().cloned().chain(std::iter::once(workflow.name.clone()));
    names.map(|name| Layer { name, left: 0, size: 0, failed: false, since: None }).collect()
}

impl Reporter for Live {
    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Probing(instance) => self.start(instance, "looking"),
            Progress::Applying(instance, _) => self.start(instance, "asking for the change"),
            Progress::Settling(instance, what) => self.start(instance, &what),
            Progress::Retrying { instance, failure, after, .. } => {
                self.start(instance, &format!("{failure}, again in {}", took(after)));
            }
            Progress::Succeeded { instance, notes, .. } => {
                for note in notes {
                    let mark = self.terminal.mark(Mark::Warn);
                    let line = format!("{mark} {}: {note}", self.name(instance));
                    self.print(&line);
                }
                self.end(instance, true);
            }
            Progress::Failed { instance, failure, .. } => {
                let since = self.running.get(&instance).map(|line| line.since.elapsed());
                let mark = self.terminal.mark(Mark::Bad);
                let time = took(since.unwrap_or_default());
                let line = format!("{mark} {:<28} {time:<6} {failure}", self.name(instance));
                self.print(&line);
                self.end(instance, false);
            }
            Progress::Blocked(instance, _) => self.end(instance, false),
            Progress::Skipped(instance) => self.end(instance, true),
            Progress::Stopping(Stop::Graceful) => {
                self.print("stopping: what is in flight finishes; once more to abandon it");
            }
            Progress::Stopping(Stop::Forced) => self.print("abandoning what is in flight"),
            Progress::Stopping(Stop::No) | Progress::BeforeFirstWrite => {}
        }
    }

    fn durable(&mut self, _: &[Event]) {}

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}
}
