//! A run on a terminal: a line for each finished layer and each running instance, and one for all.

mod board;
mod screen;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use flow_engine::event::Event;
use flow_engine::report::{Progress, Reporter};
use flow_engine::workflow::Workflow;
use flow_engine::{Attempt, Instance, Stop};
use tokio::time::Instant;

use super::{Mark, Terminal, plain};
use crate::render::outlook::Outlook;
use crate::render::time::took;
use board::Board;
use screen::Screen;

/// How often what passes is painted, at most and at least.
const TICK: Duration = Duration::from_millis(100);
/// What a terminal that does not tell its size is taken for.
const SIZE: (usize, usize) = (100, 24);
/// How old a forecast may become.
const FORECAST: Duration = Duration::from_secs(1);

/// Shows a run while it goes on.
pub(crate) struct Live {
    terminal: Terminal,
    workflow: Arc<Workflow>,
    view: Arc<Mutex<View>>,
    /// Paints every now and then, until the sender is dropped.
    painter: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
    is_full: bool,
}

/// What is shown, and where.
struct View {
    board: Board,
    screen: Screen,
    /// Lines that are to stay and are not written yet.
    staying: Vec<String>,
    painted: Option<Instant>,
}

impl View {
    fn paint(&mut self) {
        let now = Instant::now();
        let (columns, rows) = super::size().unwrap_or(SIZE);
        let mut lines = self.board.lines(columns, now);
        // What does not fit is not painted, and the last line tells most.
        lines.drain(..lines.len().saturating_sub(rows));
        self.screen.paint(&std::mem::take(&mut self.staying), lines);
        self.painted = Some(now);
    }
}

impl Live {
    /// A screen for the instances that are considered.
    pub(crate) fn new(
        terminal: Terminal,
        workflow: Arc<Workflow>,
        considered: impl Iterator<Item = Instance>,
        outlook: Option<Arc<Outlook>>,
    ) -> Self {
        let board =
            Board::new(Arc::clone(&workflow), considered.collect(), outlook, Instant::now());
        let (screen, staying) = (Screen::new(), Vec::new());
        let view = View { board, screen, staying, painted: None };
        let view = Arc::new(Mutex::new(view));
        let (end, ended) = mpsc::channel();
        let shown = Arc::clone(&view);
        let painter = std::thread::spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                paint(&shown);
            }
        });
        Self { terminal, workflow, view, painter: Some((end, painter)), is_full: false }
    }

    /// Clears what is in progress and leaves the finished lines.
    pub(crate) fn close(&mut self) {
        let Some((end, painter)) = self.painter.take() else { return };
        drop(end);
        // It has nothing to say, and a panic of it is told by itself.
        let _ = painter.join();
        let mut view = lock(&self.view);
        let View { screen, staying, .. } = &mut *view;
        screen.paint(&std::mem::take(staying), Vec::new());
    }

    fn name(&self, instance: Instance) -> &str {
        self.workflow.instance(instance).name.as_str()
    }

    /// A line that stays: at once if nothing was painted just now, else with the next painting.
    fn print(&self, line: impl Into<String>) {
        let mut view = lock(&self.view);
        view.staying.push(line.into());
        if view.painted.is_none_or(|at| at.elapsed() >= TICK) {
            view.paint();
        }
    }

    fn work(&self, instance: Instance, words: &str) {
        lock(&self.view).board.work(instance, words, Instant::now());
    }

    /// An instance has ended; says the layer's line when it was the last one.
    fn end(&self, instance: Instance, good: bool) {
        let folded = lock(&self.view).board.end(instance, good, Instant::now());
        if let Some(folded) = folded {
            let mark = self.terminal.mark(if folded.good { Mark::Good } else { Mark::Bad });
            self.print(format!("{mark} {}", folded.line));
        }
    }

    fn say(&self, mark: Mark, instance: Instance, words: &str) {
        self.print(format!("{} {}: {words}", self.terminal.mark(mark), self.name(instance)));
    }

    /// Leaves the screen to a question.
    fn ask(&self) {
        let mut view = lock(&self.view);
        view.board.ask(true);
        view.paint();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.close();
    }
}

/// A view is only data: one that panicked while it wrote leaves nothing worse than a wrong line.
fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Paints the view as it is now. A forecast is made while nobody waits for the view.
fn paint(view: &Mutex<View>) {
    let outdated = lock(view).board.outdated(FORECAST, Instant::now());
    if let Some(spent) = outdated {
        let left = spent.left();
        lock(view).board.expect(left, Instant::now());
    }
    lock(view).paint();
}

impl Reporter for Live {
    fn progress(&mut self, progress: Progress) {
        match progress {
            Progress::Probing(instance) => self.work(instance, "looking"),
            Progress::Applying(instance, _) => {
                lock(&self.view).board.ask(false);
                self.work(instance, "asking for the change");
            }
            Progress::Settling(instance, what) => self.work(instance, &what),
            Progress::Retrying { instance, failure, after, .. } => {
                self.work(instance, &format!("{failure}, again in {}", took(after)));
            }
            Progress::Succeeded { instance, notes, .. } => {
                for note in notes {
                    self.say(Mark::Warn, instance, &note);
                }
                self.end(instance, true);
            }
            Progress::Failed { instance, failure, took: time } => {
                let words = format!("{failure}, after {}", took(time));
                self.say(Mark::Bad, instance, &words);
                self.end(instance, false);
            }
            Progress::Blocked(instance, _) => self.end(instance, false),
            Progress::BeforeFirstWrite => self.ask(),
            Progress::Skipped(_) | Progress::Stopping(Stop::No) => {}
            Progress::Stopping(Stop::Graceful) => self.print(plain::STOPPING),
            Progress::Stopping(Stop::Forced) => self.print(plain::ABANDONING),
        }
    }

    fn durable(&mut self, _: &[Event]) {
        if std::mem::take(&mut self.is_full) {
            self.print(plain::SPACE_AGAIN);
        }
    }

    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}

    fn disk_is_full(&mut self) {
        if !std::mem::replace(&mut self.is_full, true) {
            self.print(format!("{} {}", self.terminal.mark(Mark::Warn), plain::DISK_IS_FULL));
        }
    }
}
