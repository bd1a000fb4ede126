//! The kinds against machines of the lab, with real sockets, TLS and faults.

mod conformance;
mod rig;
mod room;
