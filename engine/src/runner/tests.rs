use std::sync::Arc;
use std::time::Duration;

use crate::kind::Effect;
use crate::testing::{Simulated, Sketch, Stage, execute, options, workflow};

mod counts;
mod crash;
mod data;
mod semantics;

fn sketch(stage: &Stage, name: &str, effect: Effect, needs: &[u32]) -> Sketch {
    Sketch::new(name, Simulated::new(&stage.world, effect), needs.iter().copied())
}
