//! What is waited for: conditions that must have held for some time of the world.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::clock::Clock;

/// Timers by what they are for.
#[derive(Debug)]
pub(crate) struct Timers {
    clock: Clock,
    due: BTreeMap<String, Instant>,
    asked: BTreeSet<String>,
}

impl Timers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, due: BTreeMap::new(), asked: BTreeSet::new() }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self) {
        self.asked.clear();
    }

    /// A turn ends: what nobody asked for in it is no longer waited for.
    pub(super) fn end(&mut self) {
        let asked = &self.asked;
        self.due.retain(|key, _| asked.contains(key));
    }

    /// Whether this has been asked for that long, in every turn since. The first time it has not.
    ///
    /// Once it has, it stays so until a turn does not ask.
    pub(super) fn waited(&mut self, key: &str, world: Duration) -> bool {
        self.asked.insert(key.to_owned());
        let now = Instant::now();
        match self.due.get(key) {
            Some(due) => *due <= now,
            None => {
                self.due.insert(key.to_owned(), now + self.clock.scaled(world));
                world.is_zero()
            }
        }
    }

    /// Begins a wait anew.
    pub(crate) fn restart(&mut self, key: &str) {
        self.due.remove(key);
    }

    /// When the next timer is due that is not yet.
    pub(super) fn next(&self) -> Option<Instant> {
        let now = Instant::now();
        self.due.values().filter(|due| **due > now).min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_is_over_only_if_it_was_asked_for_all_the_time() {
        let mut timers = Timers::new(Clock::new(10.0));
        let ten = Duration::from_secs(10);
        timers.begin();
        assert!(!timers.waited("a", ten));
        timers.end();
        assert_eq!(timers.next(), Some(Instant::now() + Duration::from_secs(1)));
        tokio::time::advance(Duration::from_millis(600)).await;
        timers.begin();
        timers.end();
        timers.begin();
        assert!(!timers.waited("a", ten));
        timers.end();
        tokio::time::advance(Duration::from_secs(1)).await;
        timers.begin();
        assert!(timers.waited("a", ten));
    }
}
