//! The names and numbers that everything else speaks in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// One execution of a workflow; small, and counted per site.
    RunId(u32)
}
number! {
    /// The position of an event in a site's history; starts at 1 and only grows.
    Seq(u64)
}
number! {
    /// The number of a try of one instance within a run, from 1.
    Attempt(u32)
}
number! {
    /// How often an instance was made from nothing or destroyed; 0 before its first making.
    Generation(u64)
}
number! {
    /// One instance of a loaded workflow: its place in the topological order.
    ///
    /// Means nothing outside of that loaded workflow; stores keep an [`InstanceName`].
    Instance(u32)
}

impl Instance {
    /// The instance as an index of a slice that holds one entry for each instance.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl Seq {
    /// The number after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// The name of an instance: `TASK` or `TASK/KEY`. Copies share its text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InstanceName(Arc<str>);

impl InstanceName {
    /// Joins a task's name and, for a `for-each` task, a key.
    #[must_use]
    pub fn new(task: &str, key: Option<&str>) -> Self {
        match key {
            Some(key) => Self(format!("{task}/{key}").into()),
            None => Self(task.into()),
        }
    }

    /// Takes a name as it was written by [`InstanceName::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The task's part of the name.
    #[must_use]
    pub fn task(&self) -> &str {
        self.0.split_once('/').map_or(&*self.0, |(task, _)| task)
    }

    /// The key's part of the name, for an instance of a `for-each` task.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.0.split_once('/').map(|(_, key)| key)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What a `once` effect may happen once for: the generations of what it lives in.
///
/// Two tokens are the same incarnation unless *every* host of the later one is known to the
/// earlier one with an older generation (a cluster rebuilt whole; not one machine of it). A host
/// of another name may be the same one, renamed, so it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(pub Vec<(InstanceName, Generation)>);

impl Token {
    /// Whether it names no host: what it permits, it permits once for the site.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `self` permits an effect that was recorded under `earlier`.
    #[must_use]
    pub fn is_new_incarnation_of(&self, earlier: &Self) -> bool {
        !self.0.is_empty()
            && self.0.iter().all(|(name, generation)| {
                earlier.0.iter().any(|(old, before)| old == name && before < generation)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(parts: &[(&str, u64)]) -> Token {
        Token(parts.iter().map(|(n, g)| (InstanceName::parse(n), Generation(*g))).collect())
    }

    #[test]
    fn a_name_has_a_task_and_perhaps_a_key() {
        let name = InstanceName::new("create-vm", Some("worker0"));
        assert_eq!(name.to_string(), "create-vm/worker0");
        assert_eq!((name.task(), name.key()), ("create-vm", Some("worker0")));
        assert_eq!(InstanceName::new("schematic", None).key(), None);
    }

    #[test]
    fn only_a_token_that_is_wholly_new_is_a_new_incarnation() {
        let recorded = token(&[("a", 1), ("b", 1)]);
        assert!(!token(&[("a", 2), ("b", 1)]).is_new_incarnation_of(&recorded));
        assert!(token(&[("a", 2), ("b", 2)]).is_new_incarnation_of(&recorded));
        assert!(!token(&[("c", 2)]).is_new_incarnation_of(&recorded));
        assert!(!token(&[("a", 2), ("c", 2)]).is_new_incarnation_of(&recorded));
        assert!(!token(&[("a", 2)]).is_new_incarnation_of(&Token::default()));
        assert!(!Token::default().is_new_incarnation_of(&Token::default()));
    }
}
