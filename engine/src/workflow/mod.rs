//! Loading and checking a workflow.

mod definition;

pub use definition::{
    InstanceDef, Pool, Produced, Resolved, RetryPolicy, Roots, Task, Unresolved, Values, Workflow,
};
