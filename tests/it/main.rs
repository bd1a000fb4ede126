//! The shipped binary from the outside: real processes, real files, the lab's real protocols.

mod architecture;
mod bootstrap;
mod crash;
mod support;
mod validate;
mod workflow;
