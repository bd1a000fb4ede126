//! What a live view knows of a run, and how that looks at a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use flow_engine::Instance;
use flow_engine::workflow::Workflow;
use tokio::time::Instant;

use crate::render::outlook::Outlook;
use crate::render::text::{pad, width};
use crate::render::time::{about, took};

/// The most running instances that are shown; the others are counted.
const LINES: usize = 8;
/// What takes less is not said to.
const SHORT: Duration = Duration::from_millis(100);
/// Columns of the bar.
const BAR: usize = 30;
/// Columns of a layer's name and of its numbers, at least.
const NAME: usize = 12;
const COUNT: usize = 5;

/// A run that goes on.
pub(super) struct Board {
    workflow: Arc<Workflow>,
    outlook: Option<Arc<Outlook>>,
    started: Instant,
    layers: Vec<Layer>,
    running: BTreeMap<Instance, Running>,
    /// Those that run in this session and have not ended.
    left: BTreeSet<Instance>,
    size: usize,
    /// What is left, and when that was computed.
    forecast: Option<(Instant, Duration)>,
    /// Whether a person is being asked, and the screen is theirs.
    is_asking: bool,
}

/// An instance that is at work.
struct Running {
    since: Instant,
    words: String,
}

/// How far a layer is.
struct Layer {
    name: String,
    left: usize,
    size: usize,
    failed: bool,
    since: Option<Instant>,
}

/// A layer that has ended.
pub(super) struct Folded {
    /// Whether all of it ended well.
    pub(super) good: bool,
    /// Its line, without a mark.
    pub(super) line: String,
}

impl Board {
    /// A run of these instances.
    pub(super) fn new(
        workflow: Arc<Workflow>,
        considered: BTreeSet<Instance>,
        outlook: Option<Arc<Outlook>>,
        now: Instant,
    ) -> Self {
        let names = workflow.layers.iter().chain([&workflow.name]).cloned();
        let layer = |name| Layer { name, left: 0, size: 0, failed: false, since: None };
        let mut layers: Vec<Layer> = names.map(layer).collect();
        for instance in &considered {
            let layer = &mut layers[layer_of(&workflow, *instance)];
            layer.left += 1;
            layer.size += 1;
        }
        Self {
            size: considered.len(),
            left: considered,
            running: BTreeMap::new(),
            forecast: None,
            is_asking: false,
            started: now,
            workflow,
            outlook,
            layers,
        }
    }

    /// An instance is at work, with this.
    pub(super) fn work(&mut self, instance: Instance, words: &str, now: Instant) {
        let layer = layer_of(&self.workflow, instance);
        self.layers[layer].since.get_or_insert(now);
        let words = words.lines().next().unwrap_or_default().to_owned();
        let running = self.running.entry(instance);
        running.or_insert_with(|| Running { since: now, words: String::new() }).words = words;
    }

    /// An instance has ended; its layer's line, if that was the last one of it.
    pub(super) fn end(&mut self, instance: Instance, good: bool, now: Instant) -> Option<Folded> {
        self.running.remove(&instance);
        if !self.left.remove(&instance) {
            return None;
        }
        let widest = self.name_width();
        let layer = &mut self.layers[layer_of(&self.workflow, instance)];
        layer.left -= 1;
        layer.failed |= !good;
        if layer.left > 0 {
            return None;
        }
        let time = layer.since.map(|since| now - since).unwrap_or_default();
        let (name, size) = (pad(&layer.name, widest), layer.size);
        let line = format!("{name}{size:>COUNT$}   {}", took(time));
        Some(Folded { good: !layer.failed, line })
    }

    /// What a forecast of the rest needs, if the last one is older than that.
    pub(super) fn outdated(&self, age: Duration, now: Instant) -> Option<Spent> {
        let outlook = Arc::clone(self.outlook.as_ref()?);
        if self.forecast.is_some_and(|(at, _)| now - at < age) {
            return None;
        }
        let spent = |id: Instance| match self.running.get(&id) {
            Some(running) => Some(now - running.since),
            None if self.left.contains(&id) => None,
            None => Some(Duration::MAX),
        };
        Some(Spent { outlook, spent: self.workflow.ids().map(spent).collect() })
    }

    /// Leaves the screen to a question, or takes it again.
    pub(super) fn ask(&mut self, is_asking: bool) {
        self.is_asking = is_asking;
    }

    /// Takes a forecast.
    pub(super) fn expect(&mut self, left: Duration, now: Instant) {
        self.forecast = Some((now, left));
    }

    /// The lines below what has ended, none wider than that.
    pub(super) fn lines(&self, columns: usize, now: Instant) -> Vec<String> {
        if self.is_asking {
            return Vec::new();
        }
        let mut lines = Vec::new();
        let mut waiting = Vec::new();
        let mut shown = 0;
        let times = self.times(now);
        let widest = times.iter().map(|(id, _)| width(self.name(*id))).max().unwrap_or_default();
        let time = times.iter().map(|(_, time)| width(time)).max().unwrap_or_default();
        for (at, layer) in self.layers.iter().enumerate().filter(|(_, layer)| layer.left > 0) {
            if layer.since.is_none() && layer.left == layer.size {
                waiting.push(format!("{} {}", layer.name, layer.size));
                continue;
            }
            let count = format!("{}/{}", layer.size - layer.left, layer.size);
            lines.push(format!("▸ {}{count:>COUNT$}", pad(&layer.name, self.name_width())));
            for (id, took) in times.iter().filter(|(id, _)| layer_of(&self.workflow, *id) == at) {
                let (name, words) = (pad(self.name(*id), widest), &self.running[id].words);
                lines.push(format!("    {name}   {}   {words}", pad(took, time)));
                shown += 1;
            }
        }
        if self.running.len() > shown {
            lines.push(format!("    and {} more", self.running.len() - shown));
        }
        if !waiting.is_empty() {
            lines.push(format!("· {}", waiting.join("   ")));
        }
        lines.push(self.whole(now));
        lines.into_iter().map(|line| cut(&line, columns)).collect()
    }

    /// The running instances that are shown, each with its elapsed and usual time.
    fn times(&self, now: Instant) -> Vec<(Instance, String)> {
        let shown = self.running.iter().take(LINES);
        let time = |(id, running): (&Instance, &Running)| {
            let usual = self.outlook.as_ref().and_then(|outlook| outlook.usual(*id));
            let usual = usual.filter(|usual| *usual >= SHORT);
            let usual = usual.map_or_else(String::new, |usual| format!(" of ~{}", took(usual)));
            (*id, format!("{}{usual}", took(now - running.since)))
        };
        shown.map(time).collect()
    }

    /// The line for all.
    fn whole(&self, now: Instant) -> String {
        let (size, done) = (self.size.max(1), self.size - self.left.len());
        let (full, rest) = (done * BAR / size, done * BAR % size);
        let head = if rest > 0 { "╸" } else { "" };
        let bar = pad(&format!("{}{head}", "━".repeat(full)), BAR);
        let elapsed = whole_seconds(now - self.started);
        let eta = self
            .forecast
            .filter(|_| !self.left.is_empty())
            .map(|(at, left)| format!(", about {} left", about(left.saturating_sub(now - at))));
        let longest =
            self.outlook.as_ref().and_then(|outlook| outlook.longest(self.running.keys().copied()));
        let longest = longest.map(|id| format!("   longest tail: {}", self.name(id)));
        let [eta, longest] = [eta, longest].map(Option::unwrap_or_default);
        format!("{bar} {done}/{}  {elapsed}{eta}{longest}", self.size)
    }

    fn name(&self, instance: Instance) -> &str {
        self.workflow.instance(instance).name.as_str()
    }

    fn name_width(&self) -> usize {
        self.layers
            .iter()
            .filter(|layer| layer.size > 0)
            .map(|layer| width(&layer.name))
            .fold(NAME, usize::max)
    }
}

/// What a forecast of the rest is made from.
pub(super) struct Spent {
    outlook: Arc<Outlook>,
    spent: Vec<Option<Duration>>,
}

impl Spent {
    /// How long the rest takes.
    pub(super) fn left(&self) -> Duration {
        self.outlook.left(|id| self.spent[id.index()])
    }
}

fn layer_of(workflow: &Workflow, instance: Instance) -> usize {
    workflow.task_of(instance).layer.unwrap_or(workflow.layers.len())
}

/// A duration that is read while it passes.
fn whole_seconds(duration: Duration) -> String {
    if duration.as_secs() < 60 { format!("{}s", duration.as_secs()) } else { took(duration) }
}

/// A line of at most so many columns.
fn cut(line: &str, columns: usize) -> String {
    if width(line) <= columns {
        return line.trim_end().to_owned();
    }
    let kept: String = line.chars().take(columns.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
#[expect(clippy::needless_raw_string_hashes, reason = "snapbox writes its snapshots with them")]
mod tests;
