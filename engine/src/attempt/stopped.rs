//! Failures of the engine's own: what it says where it cannot go on.

use std::time::Duration;

use crate::decide::Stopped;
use crate::failure::Failure;
use crate::id::InstanceName;
use crate::kind::Retry;
use crate::registry::AnyVerdict;

/// Why an instance cannot go on, after this verdict.
pub(crate) fn failure(stopped: Stopped, name: &InstanceName, verdict: &AnyVerdict) -> Failure {
    let causes = match verdict {
        AnyVerdict::Drifted { diff, .. } => vec![diff.clone()],
        AnyVerdict::Underway(what) => vec![what.clone()],
        AnyVerdict::Satisfied { .. } | AnyVerdict::Absent(_) => Vec::new(),
    };
    let redo = format!("look at it first; `--redo {name}` asks for it again");
    let failure = match stopped {
        Stopped::StillUnderway => Failure::new(
            "engine::still-underway",
            format!("`{name}` is still underway"),
            Retry::Never,
        )
        .with_help("it goes on by itself; `flow resume` looks again"),
        Stopped::NotPassed => {
            Failure::new("engine::not-passed", format!("`{name}` has not passed"), Retry::Never)
        }
        Stopped::NotOurs => Failure::new(
            "engine::not-ours",
            format!("`{name}` exists, differs, and is not ours"),
            Retry::Human,
        )
        .with_help(format!(
            "remove it, rename it, or adopt it as it is declared; `flow why {name}` shows more"
        )),
        Stopped::DriftUnrecorded => Failure::new(
            "engine::drift-unrecorded",
            format!("`{name}` exists, differs, and is not to be changed"),
            Retry::Human,
        )
        .with_help("set `on-drift = \"fix\"` on the task, or change the declaration"),
        Stopped::WasDone => Failure::new(
            "engine::was-done",
            format!("`{name}` was done, and is not to be seen now"),
            Retry::Human,
        )
        .with_help(redo),
        Stopped::OnceDiffers => Failure::new(
            "engine::once-differs",
            format!("`{name}` differs, and is done only once"),
            Retry::Human,
        )
        .with_help(redo),
        Stopped::InDoubt => Failure::new(
            "engine::in-doubt",
            format!("`{name}` was asked for, and nothing proves that it did not happen"),
            Retry::Human,
        )
        .with_help(redo),
        Stopped::Interrupted => Failure::new(
            "engine::interrupted",
            format!("`{name}` was interrupted, and its task wants a person to look"),
            Retry::Human,
        )
        .with_help(redo),
    };
    failure.with_causes(causes)
}

/// A panic of a kind is a bug; it ends that instance, not the run.
pub(super) fn panicked(name: &InstanceName) -> Failure {
    Failure::new("engine::panic", format!("the kind of `{name}` panicked"), Retry::Never)
        .with_help("this is a bug; RUST_BACKTRACE=1 shows where")
}

/// A probe did not come back.
pub(super) fn look_timed_out(name: &InstanceName, limit: Duration) -> Failure {
    Failure::new(
        "engine::look-timed-out",
        format!("`{name}` could not be looked at within {}", words(limit)),
        Retry::Backoff,
    )
}

/// An apply did not come back.
pub(super) fn apply_timed_out(name: &InstanceName, limit: Duration) -> Failure {
    Failure::new(
        "engine::timed-out",
        format!("the change of `{name}` was not accepted within {}", words(limit)),
        Retry::Backoff,
    )
    .with_help("a longer `timeout` of the task gives it more time")
}

/// A change was accepted, and did not take hold in time.
pub(super) fn not_settled(
    name: &InstanceName,
    within: Duration,
    seen: Result<AnyVerdict, Failure>,
) -> Failure {
    let message = format!("`{name}` has not taken hold within {}", words(within));
    let (retry, causes) = match seen {
        Ok(AnyVerdict::Drifted { diff, .. }) => (Retry::Never, vec![diff]),
        Ok(AnyVerdict::Underway(what)) => (Retry::Never, vec![what]),
        Ok(AnyVerdict::Absent(_)) => (Retry::Never, vec!["it is not there".to_owned()]),
        Ok(AnyVerdict::Satisfied { .. }) => (Retry::Never, Vec::new()),
        Err(failure) => {
            let retry = if failure.retry == Retry::Human { Retry::Human } else { Retry::Never };
            (retry, [vec![failure.message], failure.causes].concat())
        }
    };
    Failure::new("engine::not-settled", message, retry)
        .with_causes(causes)
        .with_help("`flow resume` looks again; a longer `settle` of the task gives it more time")
}

fn words(limit: Duration) -> String {
    if limit.subsec_millis() > 0 {
        format!("{} ms", limit.as_millis())
    } else {
        format!("{} s", limit.as_secs())
    }
}
