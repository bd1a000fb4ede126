//! The kinds against machines of the lab, with real sockets, TLS and faults.

mod conformance;
mod manuals;
mod rig;
mod room;
mod stories;
