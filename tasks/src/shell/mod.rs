//! Any command.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
