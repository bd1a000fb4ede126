//! Values to lines: pure, and held by tests.

#![cfg_attr(
    test,
    expect(clippy::needless_raw_string_hashes, reason = "snapbox writes its snapshots with them")
)]

pub(crate) mod change;
pub(crate) mod graph;
pub(crate) mod lab;
pub(crate) mod logs;
pub(crate) mod names;
pub(crate) mod outlook;
pub(crate) mod output;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod selection;
pub(crate) mod since;
pub(crate) mod status;
pub(crate) mod story;
pub(crate) mod text;
pub(crate) mod time;
pub(crate) mod why;
