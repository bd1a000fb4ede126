//! The kinds against machines of the lab, with real sockets, TLS and faults.

mod conformance;
mod manuals;
mod ready;
mod rig;
mod room;
mod stories;

pub(crate) use ready::Ready;
