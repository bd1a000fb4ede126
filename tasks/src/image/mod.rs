//! Machine images: schematics and their import.

mod bake_image;
mod document;
mod factory;
mod network;
#[cfg(test)]
pub(crate) mod planned;
mod schematic;

use flow_engine::Registry;

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(schematic::Schematic).with(bake_image::BakeImage)
}
