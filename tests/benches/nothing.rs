//! A kind that does nothing, and remembers that it has.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Mutex;

use flow_engine::cx::Cx;
use flow_engine::kind::{Kind, KindError, Manual, Mark, Presence, Retry, Verdict};
use flow_engine::{Effect, InstanceName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Does nothing for whoever asks. What was asked for once is there.
#[derive(Debug, Default)]
pub(crate) struct Nothing {
    done: Mutex<HashSet<InstanceName>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Params {}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Outputs {
    id: InstanceId,
}

/// By which an instance is found again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct InstanceId(String);

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error(transparent)]
pub(crate) struct Never(Infallible);

impl KindError for Never {
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

impl Nothing {
    fn has(&self, cx: &Cx) -> bool {
        self.done.lock().unwrap().contains(cx.instance())
    }
}

impl Kind for Nothing {
    const NAME: &'static str = "do-nothing";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual { summary: "Do nothing", details: "", example: "" };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = InstanceId;
    type Error = Never;

    async fn probe(&self, cx: &Cx, _: &Params) -> Result<Verdict<Self>, Never> {
        if !self.has(cx) {
            return Ok(Verdict::Absent(Mark::Nowhere));
        }
        let id = InstanceId(cx.instance().to_string());
        Ok(Verdict::found(Outputs { id: id.clone() }, Mark::Ours(id)))
    }

    async fn apply(&self, cx: &Cx, _: &Params) -> Result<(), Never> {
        self.done.lock().unwrap().insert(cx.instance().clone());
        Ok(())
    }

    async fn exists(&self, cx: &Cx, _: &InstanceId) -> Result<Presence, Never> {
        Ok(if self.has(cx) { Presence::Ours } else { Presence::Gone })
    }

    async fn destroy(&self, cx: &Cx, _: &InstanceId) -> Result<(), Never> {
        self.done.lock().unwrap().remove(cx.instance());
        Ok(())
    }
}
