//! A mains switch: whatever happens after it is off did not happen.

use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Counts steps, and cuts the power at one of them.
#[derive(Debug, Default)]
pub struct Power {
    state: Mutex<State>,
    cut: Notify,
}

#[derive(Debug, Default)]
struct State {
    steps: u64,
    cut_at: Option<u64>,
    off: bool,
}

impl Power {
    /// Goes one step. At the step where the power is cut, and after it, this never returns.
    pub async fn step(&self) {
        if !self.is_on_after_step() {
            pending::<()>().await;
        }
    }

    fn is_on_after_step(&self) -> bool {
        let mut state = self.state();
        if state.off {
            return false;
        }
        state.steps += 1;
        if state.cut_at == Some(state.steps) {
            state.off = true;
            drop(state);
            self.cut.notify_one();
            return false;
        }
        true
    }

    /// Whether the power is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        !self.state().off
    }

    /// How many steps were gone.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// Cuts the power when this many steps were gone since the beginning.
    pub fn cut_at(&self, step: u64) {
        self.state().cut_at = Some(step);
    }

    /// Cuts the power now.
    pub fn cut(&self) {
        self.state().off = true;
        self.cut.notify_one();
    }

    /// Switches the power on again, for good.
    pub fn restore(&self) {
        let mut state = self.state();
        state.off = false;
        state.cut_at = None;
    }

    /// Resolves when the power is cut.
    pub async fn is_cut(&self) {
        while self.is_on() {
            self.cut.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
