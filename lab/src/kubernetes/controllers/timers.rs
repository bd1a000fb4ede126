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
    refused: BTreeSet<String>,
}

impl Timers {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, due: BTreeMap::new(), asked: BTreeSet::new(), refused: BTreeSet::new() }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self) {
        self.asked.clear();
        self.refused.clear();
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
        let due = *self.due.entry(key.to_owned()).or_insert_with(|| now + self.clock.scaled(world));
        if due <= now {
            self.refused.remove(key);
        } else {
            self.refused.insert(key.to_owned());
        }
        due <= now
    }

    /// When the first of those is due that were told to wait in this turn; it may have passed since.
    pub(super) fn next(&self) -> Option<Instant> {
        self.refused.iter().filter_map(|key| self.due.get(key)).min().copied()
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

    #[tokio::test(start_paused = true)]
    async fn what_becomes_due_during_a_turn_is_not_forgotten() {
        let mut timers = Timers::new(Clock::new(1.0));
        timers.begin();
        assert!(!timers.waited("a", Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(2)).await;
        timers.end();
        assert!(timers.next().is_some_and(|due| due <= Instant::now()));
        timers.begin();
        assert!(timers.waited("a", Duration::from_secs(1)));
        timers.end();
        assert_eq!(timers.next(), None);
    }
}
