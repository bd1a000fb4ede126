//! A world, a disk and workflows that live in memory, for tests of whatever drives a run.
//!
//! The world and the disk share one [`Power`]: it can be cut at any step, and what happens after
//! that did not happen. So a crash is tested at every point, without a process to kill.

mod build;
mod contract;
mod power;
mod store;
mod sweep;
mod world;

pub use build::{Sketch, execute, options, workflow};
pub use contract::store_keeps_its_contract;
pub use power::Power;
pub use store::MemoryStore;
pub use sweep::Stage;
pub use world::{Reaction, Simulated, Witness, World};
