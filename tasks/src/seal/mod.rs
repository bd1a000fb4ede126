//! Keys of Sealed Secrets.

mod pair;
mod sealing_key;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(sealing_key::SealingKey)
}
