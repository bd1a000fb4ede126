//! Loading and checking a workflow.
//!
//! The way of a file: `source` makes a tree with places of it, `syntax` and `task` know its keys,
//! `statics` evaluates what is known at load, `draft` finds the instances, `needs` and `bind` the
//! edges, `parameters`, `check` and `validate` hold `with` against schemas, `build` numbers it.
//! Whatever is wrong becomes a finding and loading goes on, so one report holds everything.

mod bind;
mod build;
mod check;
mod cycle;
mod definition;
mod draft;
mod error;
mod evaluate;
mod inputs;
mod kinds;
mod load;
mod names;
mod needs;
mod parameters;
mod pools;
mod schema;
mod select;
mod source;
mod statics;
mod syntax;
mod task;
mod units;
mod validate;

pub use definition::{
    InstanceDef, Pool, Produced, Resolved, RetryPolicy, Roots, Task, Unresolved, Values, Workflow,
};
pub use error::{Diagnostics, Problem};
pub use evaluate::Read;
pub use inputs::Given;
pub use load::load;
pub use select::{SelectError, Selection, matching, select};
pub use source::{Source, Sources};

#[cfg(test)]
mod tests;
