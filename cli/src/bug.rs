//! What a panic is told as: where it happened, and nothing of what it says.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::exit::Exit;
use crate::terminal::Terminal;

/// Tells every panic of this process by its place. Its words may hold a secret.
pub(crate) fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(|at| format!(" at {}:{}", at.file(), at.line()));
        let place = place.unwrap_or_default();
        let terminal = Terminal::detect(false);
        terminal.say(format!("flow has a bug: it panicked{place}; please report it"));
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            terminal.say(trace.to_string());
        }
    }));
}

/// Ends with the code of a bug where the work panics.
pub(crate) fn caught(work: impl FnOnce() -> Exit) -> Exit {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Exit::Bug)
}
