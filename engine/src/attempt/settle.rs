//! Looking until something has taken hold.

use std::time::Duration;

use tokio::time::Instant;

use crate::cx::Stop;
use crate::event::Done;
use crate::failure::Failure;
use crate::id::Seq;
use crate::kind::Effect;
use crate::registry::AnyVerdict;
use crate::report::Progress;
use crate::runner::backoff::Pauses;
use crate::runner::desk::Told;

use super::{Broke, Finished, Work, stopped, stopping};

/// One stretch of looking, with its limit.
pub(super) struct Polling {
    until: Instant,
    within: Duration,
    pauses: Pauses,
    /// The words that were told last.
    words: Option<String>,
}

impl Polling {
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

impl Work {
    pub(super) fn polling(&self) -> Polling {
        let settle = &self.task().settle;
        Polling {
            until: Instant::now() + settle.within,
            within: settle.within,
            pauses: Pauses::new(settle, self.lent.seed, self.its.instance, self.its.attempt),
            words: None,
        }
    }

    /// Tells what is waited for, and waits; the slot is somebody else's meanwhile.
    pub(super) async fn pause(
        &mut self,
        polling: &mut Polling,
        seen: &Result<AnyVerdict, Failure>,
    ) -> Result<(), Broke> {
        let words = self.lent.redactor.redact(&words(seen));
        if polling.words.is_none() {
            self.lent.desk.tell(Told::Settling(self.its.instance));
        }
        if polling.words.as_ref() != Some(&words) {
            self.tell(Progress::Settling(self.its.instance, words.clone()));
            polling.words = Some(words);
        }
        let until = polling.until.min(Instant::now() + polling.pauses.next());
        tokio::select! {
            biased;
            () = stopping(&mut self.stop, Stop::Graceful) => Err(Broke::Interrupted),
            () = tokio::time::sleep_until(until) => Ok(()),
        }
    }

    /// Looks until the change of this try has taken hold.
    pub(super) async fn settle(&mut self, done: Done, seq: Seq) -> Result<Finished, Broke> {
        let mut polling = self.polling();
        // What was asked for gets one look, even if the user stops the run meanwhile.
        let mut seen = self.look(Some(seq), Stop::Forced).await?;
        loop {
            match seen {
                Ok(verdict @ AnyVerdict::Satisfied { .. }) => return self.succeed(done, verdict),
                Ok(verdict @ AnyVerdict::Absent(_)) if self.task().effect == Effect::Action => {
                    return self.succeed(done, verdict);
                }
                Ok(
                    AnyVerdict::Absent(_) | AnyVerdict::Drifted { .. } | AnyVerdict::Underway(_),
                )
                | Err(_) => {}
            }
            if polling.is_over() {
                let within = polling.within;
                return Err(Broke::for_good(stopped::not_settled(self.name(), within, seen)));
            }
            self.pause(&mut polling, &seen).await?;
            seen = self.look(Some(seq), Stop::Graceful).await?;
        }
    }
}

/// What is waited for, in words.
fn words(seen: &Result<AnyVerdict, Failure>) -> String {
    match seen {
        Ok(AnyVerdict::Satisfied { .. }) => String::new(),
        Ok(AnyVerdict::Absent(_)) => "not there yet".to_owned(),
        Ok(AnyVerdict::Drifted { diff, .. }) => diff.clone(),
        Ok(AnyVerdict::Underway(what)) => what.clone(),
        Err(failure) => failure.message.clone(),
    }
}
