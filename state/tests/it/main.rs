//! The checkpoint store as its callers see it.

#![allow(clippy::unwrap_used, reason = "a test says by a panic what it did not expect")]

mod crash;
mod damage;
mod fold;
mod reading;
mod support;
mod writing;
