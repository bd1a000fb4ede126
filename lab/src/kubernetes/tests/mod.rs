//! The API over TLS, and clusters that come up.

mod bring_up;
mod refusals;
mod support;
mod writes;
