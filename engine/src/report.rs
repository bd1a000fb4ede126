//! What a run tells while it goes on. A reporter cannot fail an instance.

use std::time::Duration;

use crate::event::{Done, Event};
use crate::failure::Failure;
use crate::id::{Attempt, Instance};

/// Something that a person, or a program that watches, may want to see at once.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// An instance is looked at.
    Probing(Instance),
    /// Its change is asked for.
    Applying(Instance, Attempt),
    /// Its change was accepted, or is in progress; what it waits for, in words.
    Settling(Instance, String),
    /// It failed and is tried again.
    Retrying {
        /// Which one.
        instance: Instance,
        /// Which try failed.
        attempt: Attempt,
        /// When the next one starts.
        after: Duration,
        /// Why it failed.
        failure: Failure,
    },
    /// It is as declared.
    Succeeded {
        /// Which one.
        instance: Instance,
        /// What was done.
        done: Done,
        /// How long it took, from its start.
        took: Duration,
        /// Warnings.
        notes: Vec<String>,
    },
    /// It failed for this run.
    Failed {
        /// Which one.
        instance: Instance,
        /// Why.
        failure: Failure,
        /// How long it took, from its start.
        took: Duration,
    },
    /// It cannot start because these failed or are blocked.
    Blocked(Instance, Vec<Instance>),
    /// `when` is false, or the selection leaves it out.
    Skipped(Instance),
    /// The user asked to stop.
    Stopping(crate::cx::Stop),
    /// A site wants to be asked before its first write.
    BeforeFirstWrite,
}

/// Watches a run.
pub trait Reporter {
    /// Takes a piece of progress; must return at once.
    fn progress(&mut self, progress: Progress);
    /// Takes the events of a batch that is now durable.
    fn durable(&mut self, events: &[Event]);
    /// Takes output of an attempt (already redacted), for its log.
    fn log(&mut self, instance: Instance, attempt: Attempt, bytes: &[u8]);
    /// The disk is full: nothing new becomes durable, so nothing new is asked of the world until
    /// the store can write again. Told once for each try.
    fn disk_is_full(&mut self) {}
}

/// A reporter that drops everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn progress(&mut self, _: Progress) {}
    fn durable(&mut self, _: &[Event]) {}
    fn log(&mut self, _: Instance, _: Attempt, _: &[u8]) {}
}
