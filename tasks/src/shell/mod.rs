//! Any command: `shell`.

mod child;
mod error;
mod kind;
mod output;
mod params;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(kind::Shell)
}
