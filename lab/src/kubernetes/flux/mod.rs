//! Flux.
use super::controllers::Turn;
#[derive(Default)]
pub(super) struct Flux;
pub(super) fn run(_turn: &mut Turn<'_, '_>, _flux: &Flux) {}
