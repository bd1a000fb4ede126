//! Values to lines: pure, and held by tests.

pub(crate) mod time;
