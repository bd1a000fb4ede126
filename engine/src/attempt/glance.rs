//! A look by itself, outside of any try: for plans, and for what a selection relies on.

use std::pin::pin;
use std::sync::Arc;

use tokio::sync::watch;

use crate::cx::{Cx, CxParts, Notebook, Stop};
use crate::failure::Failure;
use crate::id::{Attempt, Instance};
use crate::kind::Retry;
use crate::ledger::Row;
use crate::registry::AnyVerdict;
use crate::runner::backoff;
use crate::runner::page::{Page, PageParts};
use crate::workflow::Resolved;

use super::caught::{Panicked, caught};
use super::{LONGEST_LOOK, Lent, stopped, stopping};

/// What a glance has seen.
pub(crate) struct Glance {
    pub(crate) instance: Instance,
    pub(crate) resolved: Resolved,
    /// `None`: the user stopped it.
    pub(crate) seen: Option<Result<AnyVerdict, Failure>>,
    pub(crate) notes: Vec<String>,
}

/// Looks at an instance, again after errors that may pass, as often as its task allows.
///
/// # Cancel safety
///
/// Only reads.
pub(crate) async fn glance(
    lent: Arc<Lent>,
    instance: Instance,
    resolved: Resolved,
    row: Row,
) -> Glance {
    let task = lent.workflow.task_of(instance);
    let name = &lent.workflow.instance(instance).name;
    let page = Arc::new(Page::new(PageParts {
        instance,
        attempt: Attempt(0),
        name: name.clone(),
        desk: Arc::clone(&lent.desk),
        vault: Arc::clone(&lent.vault),
        redactor: Arc::clone(&lent.redactor),
        records: row.open.as_ref().map(|open| open.records.clone()).unwrap_or_default(),
    }));
    let cx = Cx::new(CxParts {
        run: lent.run,
        instance: name.clone(),
        attempt: Attempt(0),
        intent: row.open.map(|open| open.seq),
        site: Arc::clone(&lent.site),
        notebook: Arc::clone(&page) as Arc<dyn Notebook>,
        stop: lent.stop.clone(),
    });
    let limit = LONGEST_LOOK.max(task.timeout);
    let looks = async {
        let mut attempt = Attempt(1);
        loop {
            let look = tokio::time::timeout(limit, task.kind.probe(&cx, &resolved.params));
            let seen = look.await.unwrap_or_else(|_| Err(stopped::look_timed_out(name, limit)));
            match seen {
                Err(failure)
                    if failure.retry == Retry::Backoff && attempt.0 < task.retry.attempts =>
                {
                    let pause = backoff::after_failure(&task.retry, lent.seed, instance, attempt);
                    tokio::time::sleep(pause).await;
                    attempt.0 += 1;
                }
                seen => return seen,
            }
        }
    };
    let seen = or_stopped(lent.stop.clone(), caught(pin!(looks))).await;
    let seen = seen.map(|seen| seen.unwrap_or_else(|Panicked| Err(stopped::panicked(name))));
    let seen = seen.map(|seen| seen.map_err(|failure| lent.redactor.redact_failure(failure)));
    page.close_log();
    let notes = page.take_notes();
    Glance { instance, resolved, seen, notes }
}

async fn or_stopped<T>(
    mut stop: watch::Receiver<Stop>,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        biased;
        () = stopping(&mut stop, Stop::Graceful) => None,
        value = work => Some(value),
    }
}
