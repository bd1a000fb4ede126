//! The services of a machine, as `talosctl service` shows them.

use std::collections::BTreeMap;

use prost_types::Timestamp;
use time::OffsetDateTime;

use super::wire::machine::{ServiceEvent, ServiceEvents, ServiceHealth, ServiceInfo};

/// How many events of a service are kept.
const KEPT: usize = 10;

/// All services by id.
#[derive(Debug, Default)]
pub(super) struct Services(BTreeMap<String, Service>);

/// One service.
#[derive(Debug, Default)]
struct Service {
    /// The newest first.
    events: Vec<(State, String, OffsetDateTime)>,
    health: Option<(bool, String, OffsetDateTime)>,
}

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Its image is unpacked, its directories are made.
    Preparing,
    /// It waits for others.
    Waiting,
    /// Its process is there.
    Running,
    /// It has ended.
    Finished,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Preparing => "Preparing",
            Self::Waiting => "Waiting",
            Self::Running => "Running",
            Self::Finished => "Finished",
        }
    }
}

impl Services {
    /// A service has changed its state.
    pub(super) fn set(&mut self, id: &str, state: State, message: &str) {
        let service = self.0.entry(id.to_owned()).or_default();
        if service.events.first().is_some_and(|(s, m, _)| *s == state && m == message) {
            return;
        }
        service.events.insert(0, (state, message.to_owned(), OffsetDateTime::now_utc()));
        service.events.truncate(KEPT);
        if state != State::Running {
            service.health = None;
        }
    }

    /// A health check of a running service has given another result.
    pub(super) fn check(&mut self, id: &str, healthy: bool, message: &str) {
        let Some(service) = self.0.get_mut(id) else { return };
        if service.health.as_ref().is_some_and(|(h, m, _)| *h == healthy && m == message) {
            return;
        }
        service.health = Some((healthy, message.to_owned(), OffsetDateTime::now_utc()));
    }

    /// A service that has no health check was started.
    pub(super) fn run(&mut self, id: &str) {
        self.set(id, State::Running, &format!("Started task {id} (PID 1) for container {id}"));
    }

    /// Whether a service runs and no check has failed.
    pub(super) fn is_up(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|service| {
            service.events.first().is_some_and(|(state, _, _)| *state == State::Running)
                && service.health.as_ref().is_none_or(|(healthy, _, _)| *healthy)
        })
    }

    /// What keeps these services, and all others, from being ready; empty if nothing does.
    pub(super) fn problems(&self, required: &[&str]) -> Vec<String> {
        let mut problems = Vec::new();
        for (id, service) in &self.0 {
            let runs = service.events.first().is_some_and(|(state, _, _)| *state == State::Running);
            if !runs {
                problems.push(format!("{id} not running"));
            } else if service.health.as_ref().is_some_and(|(healthy, _, _)| !healthy) {
                problems.push(format!("{id} not healthy"));
            }
        }
        let missing = required.iter().filter(|id| !self.0.contains_key(**id));
        problems.extend(missing.map(|id| format!("{id} not running")));
        problems
    }

    /// Id, running, healthy and unknown of every service.
    pub(super) fn summary(&self) -> impl Iterator<Item = (&str, bool, bool, bool)> {
        self.0.iter().map(|(id, service)| {
            let runs = service.events.first().is_some_and(|(state, _, _)| *state == State::Running);
            let healthy = service.health.as_ref().is_some_and(|(healthy, _, _)| *healthy);
            (id.as_str(), runs, healthy, service.health.is_none())
        })
    }

    /// All services as the API lists them: a service's newest event last.
    pub(super) fn list(&self) -> Vec<ServiceInfo> {
        self.0
            .iter()
            .map(|(id, service)| ServiceInfo {
                id: id.clone(),
                state: service
                    .events
                    .first()
                    .map_or("Initialized", |(s, _, _)| s.name())
                    .to_owned(),
                events: Some(ServiceEvents {
                    events: service
                        .events
                        .iter()
                        .rev()
                        .map(|(state, message, at)| ServiceEvent {
                            msg: message.clone(),
                            state: state.name().to_owned(),
                            ts: Some(timestamp(*at)),
                        })
                        .collect(),
                }),
                health: Some(match &service.health {
                    Some((healthy, message, at)) => ServiceHealth {
                        unknown: false,
                        healthy: *healthy,
                        last_message: message.clone(),
                        last_change: Some(timestamp(*at)),
                    },
                    None => ServiceHealth { unknown: true, ..ServiceHealth::default() },
                }),
            })
            .collect()
    }
}

/// A time as protobuf writes it.
pub(super) fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or_default(),
    }
}
