//! Machine images: schematics and their import.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
