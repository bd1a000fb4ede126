//! One kind in one world, driven as the engine drives it.

use std::sync::Arc;
use std::time::Duration;

use flow_engine::cx::{CxParts, MemoryNotebook, Notebook as _};
use flow_engine::{
    AnyKind, AnyVerdict, Attempt, Cx, Effect, Failure, InstanceName, Mark, Presence, Retry, RunId,
    Secrets, Seq, SiteContext, Stop,
};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Fresh;
use super::bench::Laboratory;

/// The pause between two looks while settling.
const PAUSE: Duration = Duration::from_millis(20);

/// One kind in one world, with a notebook that lives as long as the world.
pub(crate) struct Trial<'a> {
    kind: &'a dyn AnyKind,
    params: &'a Value,
    notebook: Arc<MemoryNotebook>,
    site: Arc<SiteContext>,
}

/// A goal that was reached.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) outputs: Value,
    pub(super) secrets: Secrets,
    pub(crate) handle: Option<Value>,
    ours: bool,
}

/// What a verdict says of a world that nothing was done to; none if it has another meaning.
pub(super) fn fresh(verdict: &AnyVerdict) -> Option<Fresh> {
    match verdict {
        AnyVerdict::Absent(_) => Some(Fresh::Absent),
        AnyVerdict::Drifted { .. } => Some(Fresh::Drifted),
        AnyVerdict::Satisfied { .. } | AnyVerdict::Underway(_) => None,
    }
}

fn is_satisfied(verdict: &AnyVerdict) -> bool {
    matches!(verdict, AnyVerdict::Satisfied { .. })
}

impl<'a> Trial<'a> {
    pub(crate) fn new(kind: &'a dyn AnyKind, world: &Laboratory, params: &'a Value) -> Self {
        Self {
            kind,
            params,
            notebook: Arc::new(MemoryNotebook::default()),
            site: Arc::new(site(world)),
        }
    }

    pub(super) fn effect(&self) -> Effect {
        self.kind.effect(self.params).expect("the params of a test agree with each other")
    }

    fn cx(&self, intent: Option<Seq>) -> Cx {
        Cx::new(CxParts {
            run: RunId(1),
            instance: InstanceName::new("conformance", None),
            attempt: Attempt(1),
            intent,
            site: Arc::clone(&self.site),
            notebook: Arc::<MemoryNotebook>::clone(&self.notebook),
            stop: watch::channel(Stop::No).1,
        })
    }

    pub(crate) async fn probe(&self) -> Result<AnyVerdict, Failure> {
        self.kind.probe(&self.cx(None), self.params).await
    }

    /// Waits until machines that boot with the world are past what is only underway.
    ///
    /// What is called meanwhile does not count.
    pub(super) async fn awake(&self, world: &Laboratory, limit: Duration) {
        let end = Instant::now() + limit;
        while !matches!(self.probe().await, Ok(verdict) if fresh(&verdict).is_some() || is_satisfied(&verdict))
        {
            assert!(Instant::now() < end, "the prepared world does not wake up within {limit:?}");
            sleep(PAUSE).await;
        }
        world.forget();
    }

    pub(crate) async fn apply(&self, limit: Duration) -> Result<(), Failure> {
        let cx = self.cx(Some(Seq(1)));
        let applied = timeout(limit, self.kind.apply(&cx, self.params));
        applied.await.unwrap_or_else(|_| panic!("an apply hangs beyond {limit:?}"))
    }

    /// Probe, decide, apply, settle.
    pub(crate) async fn attempt(&self, limit: Duration) -> Result<Reached, Failure> {
        let probed = timeout(limit, self.probe());
        let verdict = probed.await.unwrap_or_else(|_| panic!("a probe hangs beyond {limit:?}"))?;
        match verdict {
            AnyVerdict::Absent(_) | AnyVerdict::Drifted { .. } => {
                if self.effect() != Effect::Gate {
                    self.apply(limit).await?;
                }
                self.settle(limit).await
            }
            AnyVerdict::Satisfied { .. } | AnyVerdict::Underway(_) => self.settle(limit).await,
        }
    }

    /// Looks until satisfied; an error while settling counts as "not yet".
    pub(crate) async fn settle(&self, limit: Duration) -> Result<Reached, Failure> {
        let end = Instant::now() + limit;
        let mut last = Failure::new("conformance::settle", "never looked", Retry::Backoff);
        while Instant::now() < end {
            match self.probe().await {
                Ok(AnyVerdict::Satisfied { outputs, secrets, mark }) => {
                    for (name, value) in &secrets {
                        self.notebook.keep(name, value.clone()).await?;
                    }
                    return Ok(reached(outputs, secrets, mark));
                }
                Ok(AnyVerdict::Absent(_)) if self.effect() == Effect::Action => {
                    return Ok(reached(Value::Null, Secrets::new(), Mark::Nowhere));
                }
                Ok(other) => last.message = format!("still {other:?}"),
                Err(failure) if failure.retry == Retry::Backoff => last = failure,
                Err(failure) => return Err(failure),
            }
            sleep(PAUSE).await;
        }
        Err(last)
    }

    pub(crate) async fn exists(&self, handle: &Value) -> Result<Presence, Failure> {
        self.kind.exists(&self.cx(None), handle).await
    }

    pub(super) async fn exists_as_marked(&self, reached: &Reached) {
        let handle = reached.handle.as_ref().expect("only called with a handle");
        let presence = self.exists(handle).await.expect("exists answers");
        if reached.ours {
            assert_eq!(presence, Presence::Ours, "what the probe marked ours is ours");
        } else {
            assert_ne!(presence, Presence::Gone, "what the probe found is there");
        }
    }

    /// Destroys, and looks until it is gone.
    pub(crate) async fn destroy(&self, handle: &Value, limit: Duration) -> Result<(), Failure> {
        let cx = self.cx(Some(Seq(2)));
        let destroyed = timeout(limit, self.kind.destroy(&cx, handle));
        destroyed.await.unwrap_or_else(|_| panic!("a destroy hangs beyond {limit:?}"))?;
        let end = Instant::now() + limit;
        while Instant::now() < end {
            if self.kind.exists(&cx, handle).await? == Presence::Gone {
                return Ok(());
            }
            sleep(PAUSE).await;
        }
        Err(Failure::new("conformance::destroy", "still there", Retry::Never))
    }
}

fn reached(outputs: Value, secrets: Secrets, mark: Mark<Value>) -> Reached {
    let (handle, ours) = match mark {
        Mark::Ours(handle) => (Some(handle), true),
        Mark::Missing(handle) => (Some(handle), false),
        Mark::Nowhere => (None, false),
    };
    Reached { outputs, secrets, handle, ours }
}

fn site(world: &Laboratory) -> SiteContext {
    SiteContext {
        name: "lab".to_owned(),
        cluster: "test-cluster".to_owned(),
        folder: world.dir().join("site"),
    }
}
