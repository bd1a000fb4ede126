//! Keys of Sealed Secrets.

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
}
