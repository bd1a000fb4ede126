//! What became of each instance in one run, told from its history.

use std::collections::BTreeMap;
use std::time::Duration;

use flow_engine::event::{Body, Done, Outcome, RunEnded};
use flow_engine::{Attempt, Failure, InstanceName};
use flow_state::NamedEvent;

/// One run from its first event to its last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Story {
    /// How many sessions it has had.
    pub(crate) sessions: u32,
    /// How long they took together, without the pauses between them.
    pub(crate) worked: Duration,
    /// How the last session ended; `None` if it goes on or was cut off.
    pub(crate) ended: Option<RunEnded>,
    /// When the last event was written, in milliseconds since 1970.
    pub(crate) last: i64,
    /// Everyone who was heard of.
    pub(crate) instances: BTreeMap<InstanceName, Told>,
}

/// What was heard of one instance.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// How it ended last.
    pub(crate) outcome: Option<Outcome>,
    /// The try that was asked for and has no outcome yet, and when it was.
    pub(crate) asked: Option<(Attempt, i64)>,
}

impl Story {
    /// Tells a run from all its events, in order. `now` ends a session that goes on.
    pub(crate) fn of(events: &[NamedEvent], now: Option<i64>) -> Self {
        let mut story = Self::default();
        let mut began = None;
        for NamedEvent { name, event } in events {
            match (&event.body, name) {
                (Body::Run(_), _) => {
                    // A session that was cut off lasted until its last event.
                    story.worked += since(began, story.last);
                    began = Some(event.at);
                    story.sessions += 1;
                    story.ended = None;
                }
                (Body::End(ended), _) => story.ended = Some(*ended),
                (Body::Intent(intent), Some(name)) => {
                    story.told(name).asked = Some((intent.attempt, event.at));
                }
                (Body::Outcome(outcome), Some(name)) => {
                    story.told(name).end(outcome);
                }
                (Body::Intent(_) | Body::Outcome(_), None)
                | (Body::Record { .. } | Body::Edit { .. }, _) => {}
            }
            story.last = event.at;
        }
        let end = if story.ended.is_some() { story.last } else { now.unwrap_or(story.last) };
        story.worked += since(began, end);
        story
    }

    fn told(&mut self, name: &InstanceName) -> &mut Told {
        self.instances.entry(name.clone()).or_default()
    }

    /// How many ended well.
    pub(crate) fn done(&self) -> usize {
        self.instances.values().filter(|told| told.done().is_some()).count()
    }

    /// Those that failed last, with their last try.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (&InstanceName, &Failure, Attempt)> {
        self.instances.iter().filter_map(|(name, told)| match told.outcome.as_ref()? {
            Outcome::Failed { failure, attempt, .. } => Some((name, failure, *attempt)),
            Outcome::Succeeded(_)
            | Outcome::Unchanged { .. }
            | Outcome::DidNotTakeHold
            | Outcome::Destroyed => None,
        })
    }

    /// Those whose effect was asked for, without an outcome yet, and since when.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&InstanceName, i64)> {
        self.instances.iter().filter_map(|(name, told)| Some((name, told.asked?.1)))
    }
}

impl Told {
    fn end(&mut self, outcome: &Outcome) {
        if !matches!(outcome, Outcome::Failed { in_doubt: true, .. }) {
            self.asked = None;
        }
        match outcome {
            Outcome::Succeeded(_)
            | Outcome::Unchanged { .. }
            | Outcome::Failed { .. }
            | Outcome::Destroyed => {
                self.outcome = Some(outcome.clone());
            }
            Outcome::DidNotTakeHold => {}
        }
    }

    /// What was done, if it ended well.
    pub(crate) fn done(&self) -> Option<Done> {
        match self.outcome.as_ref()? {
            Outcome::Succeeded(success) => Some(success.done),
            Outcome::Unchanged { done, .. } => Some(*done),
            Outcome::Failed { .. } | Outcome::DidNotTakeHold | Outcome::Destroyed => None,
        }
    }
}

/// From a beginning to an end; wall clocks may run backwards.
fn since(began: Option<i64>, end: i64) -> Duration {
    let millis = began.map_or(0, |began| end.saturating_sub(began));
    Duration::from_millis(u64::try_from(millis).unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use flow_engine::event::{Event, Intent};
    use flow_engine::{Retry, RunId, Seq, Token};

    use super::*;

    /// An event of run 1, `at` seconds after 1970.
    pub(crate) fn event(at: i64, name: &str, body: Body) -> NamedEvent {
        let event = Event { seq: Seq(1), run: RunId(1), instance: None, at: at * 1000, body };
        NamedEvent { name: Some(InstanceName::parse(name)).filter(|_| !name.is_empty()), event }
    }

    pub(crate) fn began(at: i64) -> NamedEvent {
        event(at, "", Body::Run(Box::default()))
    }

    pub(crate) fn asked(at: i64, name: &str) -> NamedEvent {
        let attempt = Attempt(1);
        let intent = Intent { attempt, token: Token::default(), from_absent: true };
        event(at, name, Body::Intent(intent))
    }

    pub(crate) fn failed(at: i64, name: &str, in_doubt: bool) -> NamedEvent {
        let failure = Failure::new("shell::exit", "`false` ended with code 1", Retry::Never);
        let outcome = Outcome::Failed { failure, attempt: Attempt(3), in_doubt, took: 10 };
        event(at, name, Body::Outcome(outcome))
    }

    #[test]
    fn sessions_add_up_and_the_last_word_on_an_instance_counts() {
        let took_not = Body::Outcome(Outcome::DidNotTakeHold);
        let events = [
            began(0),
            asked(1, "a"),
            asked(2, "b"),
            failed(3, "a", false),
            // killed here, resumed much later
            began(100),
            event(101, "b", took_not),
            asked(102, "a"),
            failed(104, "c", true),
            event(105, "", Body::End(RunEnded::Failed)),
        ];
        let story = Story::of(&events, Some(1_000_000));
        assert_eq!((story.sessions, story.worked), (2, Duration::from_secs(3 + 5)));
        assert_eq!(story.ended, Some(RunEnded::Failed));
        let failed: Vec<_> =
            story.failed().map(|(name, _, tries)| (name.as_str(), tries)).collect();
        assert_eq!(failed, [("a", Attempt(3)), ("c", Attempt(3))]);
        let asked: Vec<_> = story.asked().map(|(name, at)| (name.as_str(), at)).collect();
        assert_eq!(asked, [("a", 102_000)]);
        assert_eq!(story.done(), 0);
    }

    #[test]
    fn a_session_that_goes_on_lasts_until_now() {
        let story = Story::of(&[began(10), asked(11, "a")], Some(30_000));
        assert_eq!((story.worked, story.ended), (Duration::from_secs(20), None));
    }
}
