//! The lower end of a terminal: lines that stay go above lines that are painted again and again.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::termios::{self, LocalModes, OptionalActions, Termios};

/// How often it is painted in a second, at most.
const HERTZ: u8 = 20;

/// Stderr, which is a terminal.
#[derive(Debug)]
pub(super) struct Screen {
    all: MultiProgress,
    /// One for each line that is painted.
    bars: Vec<ProgressBar>,
    /// While anything is painted.
    quiet: Option<Quiet>,
}

impl Screen {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(HERTZ);
        let all = MultiProgress::with_draw_target(target);
        Self { all, bars: Vec::new(), quiet: None }
    }

    /// Replaces what is painted, below lines that stay. A terminal that went away stops no run.
    pub(super) fn paint(&mut self, staying: &[String], passing: Vec<String>) {
        for line in staying {
            let _ = self.all.println(line);
        }
        for bar in self.bars.drain(passing.len().min(self.bars.len())..) {
            bar.finish_and_clear();
            self.all.remove(&bar);
        }
        if passing.is_empty() {
            self.quiet = None;
        } else {
            self.quiet.get_or_insert_with(Quiet::new);
        }
        while self.bars.len() < passing.len() {
            let style = ProgressStyle::with_template("{msg}").expect("the template is legal");
            self.bars.push(self.all.add(ProgressBar::no_length().with_style(style)));
        }
        for (bar, line) in self.bars.iter().zip(passing) {
            bar.set_message(line);
            bar.tick();
        }
    }
}

/// A terminal that does not echo what is typed: a `^C` would begin a new line below what is
/// painted, and the lines above would be painted once more.
#[derive(Debug)]
struct Quiet(Option<Termios>);

impl Quiet {
    fn new() -> Self {
        let input = std::io::stdin();
        // Whoever is in the background would be stopped for it.
        let group = termios::tcgetpgrp(&input);
        let is_ours = group.is_ok_and(|group| group == rustix::process::getpgrp());
        let before = if is_ours { termios::tcgetattr(&input).ok() } else { None };
        if let Some(mut quiet) = before.clone() {
            quiet.local_modes.remove(LocalModes::ECHO);
            let _ = termios::tcsetattr(&input, OptionalActions::Now, &quiet);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
