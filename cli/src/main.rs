//! The command line of flow.
fn main() {}
