//! One try of one instance: look, decide, write the intent, apply, look until it has taken hold.
//!
//! Nothing is asked of the world before its intent is durable, and an error of a probe never
//! leads to an apply.

mod assignment;
mod caught;
pub(crate) mod glance;
mod kept;
pub(crate) mod known;
mod settle;
pub(crate) mod stopped;
mod success;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::cx::{Cx, CxParts, Stop};
use crate::decide::{Case, Decision, decide};
use crate::event::{Body, Done, Intent, Outcome};
use crate::failure::Failure;
use crate::id::{InstanceName, Seq};
use crate::kind::{Effect, Retry};
use crate::registry::AnyVerdict;
use crate::report::Progress;
use crate::runner::desk::{Entry, NotDurable, Told};
use crate::runner::page::{Page, PageParts};
use crate::workflow::{InstanceDef, Task};

pub(crate) use assignment::{Assignment, End, Finished, Lent, Orders, Returned};
pub(crate) use caught::joined;
use caught::{Panicked, caught};
use known::{Known, Said};
use settle::Polling;

/// A look takes at most this long, or as long as an apply may, if that is longer.
const LONGEST_LOOK: Duration = Duration::from_mins(1);
/// What a kind that watches the stop gets to end its children after the second interrupt.
const WIND_DOWN: Duration = Duration::from_secs(23);

/// Why a try did not succeed.
enum Broke {
    Failed {
        failure: Failure,
        /// Whether the class of the failure decides about another try.
        retryable: bool,
        /// Whether what this try asked for has certainly, or admittedly, come to nothing.
        closed: bool,
    },
    /// It has looked without a slot, and now needs one.
    Queues {
        waited: bool,
    },
    Interrupted,
    Lost,
}

impl Broke {
    fn failed(failure: Failure) -> Self {
        Self::Failed { failure, retryable: true, closed: false }
    }

    fn for_good(failure: Failure) -> Self {
        Self::Failed { failure, retryable: false, closed: false }
    }
}

impl From<NotDurable> for Broke {
    fn from(NotDurable: NotDurable) -> Self {
        Self::Lost
    }
}

/// Runs one try to its end.
///
/// # Cancel safety
///
/// Dropped, an effect that was asked for has an intent without an outcome, which the next
/// session settles.
pub(crate) fn attempt(
    lent: Arc<Lent>,
    assignment: Assignment,
) -> impl Future<Output = Returned> + Send + use<> {
    // Boxed, because a task is allocated and moved with all that it holds.
    let mut work = Box::new(Work::new(lent, assignment));
    async move {
        work.started = Instant::now();
        let ran = caught(pin!(work.run())).await;
        let end = match ran {
            Ok(Ok(finished)) => End::Succeeded(Box::new(finished)),
            Ok(Err(broke)) => work.end(broke),
            Err(Panicked) => work.end(Broke::for_good(stopped::panicked(work.name()))),
        };
        work.page.close_log();
        let Work { its: Assignment { instance, attempt, mut row, meant, .. }, page, .. } = *work;
        if let Some(open) = &mut row.open {
            open.records = page.records();
        }
        Returned { instance, attempt, row, meant, end }
    }
}

struct Work {
    lent: Arc<Lent>,
    /// Its assignment, with what this try has added to it so far.
    its: Assignment,
    page: Arc<Page>,
    stop: watch::Receiver<Stop>,
    started: Instant,
    /// How long the first look took.
    probed: Duration,
    /// When this try's apply began.
    applied: Option<Instant>,
    /// Whether the intent of this try stands for an older one, too, that is still in doubt.
    supersedes: bool,
}

impl Work {
    fn new(lent: Arc<Lent>, its: Assignment) -> Self {
        let Assignment { instance, attempt, ref row, .. } = its;
        let page = Arc::new(Page::new(PageParts {
            instance,
            attempt,
            name: lent.workflow.instance(instance).name.clone(),
            desk: Arc::clone(&lent.desk),
            vault: Arc::clone(&lent.vault),
            redactor: Arc::clone(&lent.redactor),
            records: row.open.as_ref().map(|open| open.records.clone()).unwrap_or_default(),
        }));
        Self {
            stop: lent.stop.clone(),
            lent,
            its,
            page,
            started: Instant::now(),
            probed: Duration::ZERO,
            applied: None,
            supersedes: false,
        }
    }

    fn task(&self) -> &Task {
        self.lent.workflow.task_of(self.its.instance)
    }

    fn def(&self) -> &InstanceDef {
        self.lent.workflow.instance(self.its.instance)
    }

    fn name(&self) -> &InstanceName {
        &self.def().name
    }

    async fn run(&mut self) -> Result<Finished, Broke> {
        self.tell(Progress::Probing(self.its.instance));
        let open = self.its.row.open.as_ref().map(|open| open.seq);
        let mut seen = self.look(open, Stop::Graceful).await?;
        self.probed = self.started.elapsed();
        let mut polling: Option<Polling> = None;
        loop {
            let waited = self.its.waited || polling.as_ref().is_some_and(Polling::is_over);
            let decision = match seen {
                Err(_) if self.its.orders.only_look => return Err(Broke::Interrupted),
                Err(failure) if self.may_poll(&failure, polling.is_some()) && !waited => {
                    seen = Err(failure);
                    Decision::Poll
                }
                Err(failure) => return Err(self.unknown(failure)),
                Ok(verdict) => {
                    let decision = decide(&self.case(&verdict, waited));
                    match decision {
                        Decision::Succeed(done) => return self.succeed(done, verdict),
                        Decision::Apply { .. } | Decision::Stop(_) | Decision::Poll
                            if self.its.orders.only_look =>
                        {
                            return Err(Broke::Interrupted);
                        }
                        Decision::Apply { .. } if polling.is_some() => {
                            return Err(Broke::Queues { waited });
                        }
                        Decision::Apply { done, close } => {
                            return self.change(done, close, &verdict).await;
                        }
                        Decision::Stop(stopped) => {
                            let failure = stopped::failure(stopped, self.name(), &verdict);
                            return Err(Broke::for_good(failure));
                        }
                        Decision::Poll => {}
                    }
                    seen = Ok(verdict);
                    decision
                }
            };
            debug_assert_eq!(decision, Decision::Poll, "everything else has returned");
            let polling = polling.get_or_insert_with(|| self.polling());
            self.pause(polling, &seen).await?;
            seen = self.look(open, Stop::Graceful).await?;
        }
    }

    /// Whether an error means "not yet": while polling it does, and a gate always polls, unless
    /// looking again cannot help.
    fn may_poll(&self, failure: &Failure, polling: bool) -> bool {
        match self.task().effect {
            Effect::Gate => failure.retry == Retry::Backoff,
            Effect::Converge | Effect::Once | Effect::Action => polling,
        }
    }

    /// The world did not answer. A gate has been polled all along; the others try again.
    fn unknown(&self, failure: Failure) -> Broke {
        match self.task().effect {
            Effect::Gate => Broke::for_good(failure),
            Effect::Converge | Effect::Once | Effect::Action => Broke::failed(failure),
        }
    }

    fn case(&self, verdict: &AnyVerdict, waited: bool) -> Case {
        // What this session has asked for, and is in doubt, is not asked for again by force.
        let asked = self.its.meant.is_some() && self.its.row.open.is_some();
        let (force, redo) = (self.its.orders.force && !asked, self.its.orders.redo && !asked);
        self.known().case(verdict, Said { waited, force, redo })
    }

    fn known(&self) -> Known<'_> {
        Known {
            task: self.task(),
            def: self.def(),
            row: &self.its.row,
            fingerprint: &self.its.fingerprint,
            token: &self.its.token,
            now: self.lent.desk.now(),
        }
    }

    /// Looks once. The outer error ends the try, the inner one is the probe's.
    async fn look(
        &mut self,
        intent: Option<Seq>,
        dropped_by: Stop,
    ) -> Result<Result<AnyVerdict, Failure>, Broke> {
        if *self.stop.borrow() >= dropped_by {
            return Err(Broke::Interrupted);
        }
        let lent = Arc::clone(&self.lent);
        let task = lent.workflow.task_of(self.its.instance);
        let limit = LONGEST_LOOK.max(task.timeout);
        let cx = self.cx(intent, lent.stop.clone());
        let probe = task.kind.probe(&cx, &self.its.resolved.params);
        tokio::select! {
            biased;
            answer = tokio::time::timeout(limit, probe) => match answer {
                Ok(Err(_)) if self.is_abandoned() => Err(Broke::Interrupted),
                Ok(seen) => Ok(seen),
                Err(_) => Ok(Err(stopped::look_timed_out(self.name(), limit))),
            },
            () = stopping(&mut self.stop, dropped_by) => Err(Broke::Interrupted),
        }
    }

    fn cx(&self, intent: Option<Seq>, stop: watch::Receiver<Stop>) -> Cx {
        Cx::new(CxParts {
            run: self.lent.run,
            instance: self.name().clone(),
            attempt: self.its.attempt,
            intent,
            site: Arc::clone(&self.lent.site),
            notebook: Arc::clone(&self.page) as Arc<dyn crate::cx::Notebook>,
            stop,
        })
    }

    /// Asks for the change under an intent of its own, and sees it through.
    async fn change(
        &mut self,
        done: Done,
        close: bool,
        verdict: &AnyVerdict,
    ) -> Result<Finished, Broke> {
        let absent = matches!(verdict, AnyVerdict::Absent(_));
        let from_absent = absent || self.its.row.open.as_ref().is_some_and(|open| open.from_absent);
        let allowed = tokio::select! {
            biased;
            () = stopping(&mut self.stop, Stop::Graceful) => false,
            allowed = self.lent.first_write.is_allowed(&self.lent.desk) => allowed,
        };
        if !allowed || self.is_stopping() {
            return Err(Broke::Interrupted);
        }
        if self.task().has_secrets {
            // What could not be kept afterwards is not asked for. The first time may make the
            // identity, so it comes after the question.
            self.lent.vault.digest(&serde_json::Value::Null).map_err(Broke::for_good)?;
        }
        if close {
            self.write(Body::Outcome(Outcome::DidNotTakeHold), false);
        }
        self.supersedes = self.its.row.open.is_some();
        self.page.begin_intent();
        let intent =
            Intent { attempt: self.its.attempt, token: self.its.token.clone(), from_absent };
        let seq = self.write(Body::Intent(intent), true);
        tokio::select! {
            biased;
            durable = self.lent.desk.durable(seq) => durable?,
            // The disk may be full for ever. The intent may still become durable, so it is open.
            () = stopping(&mut self.stop, Stop::Forced) => return Err(Broke::Interrupted),
        }
        if self.is_stopping() {
            // Nothing was asked of the world under this intent, so it adds no doubt.
            if !self.supersedes {
                self.write(Body::Outcome(Outcome::DidNotTakeHold), true);
            }
            return Err(Broke::Interrupted);
        }
        // A later look of this session that is satisfied owes it to this change.
        let meant_before = self.its.meant;
        self.its.meant = self.its.meant.or(Some(done));
        let applied = self.apply(seq).await;
        if let Err(Broke::Failed { closed: true, .. }) = applied {
            self.its.meant = meant_before;
        }
        applied?;
        self.settle(done, seq).await
    }

    async fn apply(&mut self, seq: Seq) -> Result<(), Broke> {
        self.tell(Progress::Applying(self.its.instance, self.its.attempt));
        self.applied = Some(Instant::now());
        let lent = Arc::clone(&self.lent);
        let task = lent.workflow.task_of(self.its.instance);
        let limit = task.timeout;
        let (stop, watched) = watch::channel(*lent.stop.borrow());
        let cx = self.cx(Some(seq), watched);
        let apply = tokio::time::timeout(limit, task.kind.apply(&cx, &self.its.resolved.params));
        let answer = tokio::select! {
            biased;
            () = forced(&mut self.stop, &stop) => return Err(Broke::Interrupted),
            answer = apply => answer,
        };
        match answer {
            Ok(Ok(())) => Ok(()),
            // What was wound down for the user's sake has not failed.
            Ok(Err(failure)) if self.is_abandoned() && !failure.refused => Err(Broke::Interrupted),
            Ok(Err(failure)) => {
                let closed = failure.refused || task.effect == Effect::Action;
                Err(Broke::Failed { failure, retryable: true, closed })
            }
            Err(_) => Err(Broke::failed(stopped::apply_timed_out(self.name(), limit))),
        }
    }

    /// Turns what broke into the end of this try, and writes down what is final.
    fn end(&mut self, broke: Broke) -> End {
        let (failure, retryable, closed) = match broke {
            Broke::Failed { .. } if self.its.orders.only_look => return End::Interrupted,
            Broke::Failed { failure, retryable, closed } => (failure, retryable, closed),
            Broke::Queues { waited } => return End::Queues { waited },
            Broke::Interrupted => return End::Interrupted,
            Broke::Lost => return End::Lost,
        };
        let failure = self.lent.redactor.redact_failure(failure);
        // That this change came to nothing proves nothing about an older one.
        let closed = closed && !self.supersedes;
        let in_doubt = self.its.row.open.is_some() && !closed;
        let again = retryable && failure.retry == Retry::Backoff && !self.its.last;
        if again {
            if self.its.row.open.is_some() && closed {
                self.write(Body::Outcome(Outcome::DidNotTakeHold), true);
            }
        } else {
            let outcome = Outcome::Failed {
                failure: failure.clone(),
                attempt: self.its.attempt,
                in_doubt,
                took: millis(self.started.elapsed()),
            };
            let urgent = self.applied.is_some();
            self.write(Body::Outcome(outcome), urgent);
        }
        End::Failed { failure, again, in_doubt }
    }

    fn write(&mut self, body: Body, urgent: bool) -> Seq {
        let entry = Entry { instance: Some(self.its.instance), body, secrets: Vec::new(), urgent };
        self.lent.desk.add(entry, Some(&mut self.its.row))
    }

    fn tell(&self, progress: Progress) {
        self.lent.desk.tell(Told::Progress(progress));
    }

    /// Whether the user asked to abandon what is in flight.
    fn is_abandoned(&self) -> bool {
        *self.lent.stop.borrow() == Stop::Forced
    }

    fn is_stopping(&self) -> bool {
        *self.lent.stop.borrow() != Stop::No
    }
}

/// Resolves when the user asks to stop at least this urgently.
async fn stopping(stop: &mut watch::Receiver<Stop>, at_least: Stop) {
    if stop.wait_for(|stop| *stop >= at_least).await.is_err() {
        // Nobody is left who could ask.
        std::future::pending::<()>().await;
    }
}

/// Resolves when an apply has to be dropped: at once at the second interrupt, or, where the
/// kind watches the stop to end a child itself, when it had the time for that.
async fn forced(outer: &mut watch::Receiver<Stop>, inner: &watch::Sender<Stop>) {
    loop {
        let now = *outer.borrow_and_update();
        inner.send_if_modified(|told| std::mem::replace(told, now) != now);
        if now == Stop::Forced {
            // One receiver is the context's own.
            if inner.receiver_count() > 1 {
                tokio::time::sleep(WIND_DOWN).await;
            }
            return;
        }
        if outer.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
