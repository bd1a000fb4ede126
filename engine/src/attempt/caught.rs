//! A kind that panics ends its own instance, and nothing else.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::task::Poll;

use tokio::task::JoinError;

/// What a future has come to that did not get to its end.
pub(super) struct Panicked;

/// Runs a future to its end, or to its panic.
///
/// What it has borrowed is as the panic left it, so the caller relies only on what is whole at
/// every step, as a row is.
pub(super) async fn caught<T>(
    mut work: Pin<&mut (impl Future<Output = T> + Send)>,
) -> Result<T, Panicked> {
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(_) => Poll::Ready(Err(Panicked)),
    })
    .await
}

/// What a task of the runner has come to; `None` if it was dropped.
///
/// The panics of kinds are [`caught`]. Any other one is a bug of the engine, and ends the run as
/// a crash would: whatever was asked for has its intent.
pub(crate) fn joined<T>(joined: Result<T, JoinError>) -> Option<T> {
    match joined.map_err(JoinError::try_into_panic) {
        Ok(value) => Some(value),
        Err(Ok(panic)) => resume_unwind(panic),
        Err(Err(_)) => None,
    }
}
