//! What a run is: text comes in, decisions and events go out.
//!
//! Nothing here touches a network, a disk or a terminal. The way of a run: [`workflow`] loads and
//! checks a file into a graph of instances; a pure scheduler says which one starts; an attempt
//! probes, decides, writes its intent, applies and settles a [`Kind`]; what happened becomes
//! [`event`]s, which a [`Store`](journal::Store) makes durable in batches and [`ledger`] folds
//! into what flow knows.

mod attempt;
pub mod cx;
pub mod decide;
mod depth;
pub mod event;
pub mod expr;
pub mod failure;
pub mod graph;
pub mod id;
pub mod journal;
pub mod kind;
pub mod ledger;
pub mod plan;
pub mod rank;
mod recover;
pub mod redact;
pub mod registry;
pub mod report;
pub mod runner;
pub mod scheduler;
pub mod secret;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod workflow;

pub use cx::{Cx, NotRecorded, SiteContext, Stop};
pub use failure::Failure;
pub use id::{Attempt, Generation, Instance, InstanceName, RunId, Seq, Token};
pub use kind::{
    Effect, Found, Kind, KindError, Manual, Mark, NoHandle, OnDrift, Presence, Retry, Settle,
    Verdict,
};
pub use registry::{AnyKind, AnyVerdict, Registry};
pub use secret::{Secret, Secrets};
