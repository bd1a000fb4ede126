//! The site file: one cluster, and where it is built.
//!
//! [`load`] reads it, checks it against itself and adds what follows from it; workflows read the
//! result as `site.*`. Format: `docs/guide/site.md`.

mod check_site;
mod derive;
mod error;
mod file;
mod forms;
mod rules;

use flow_engine::Registry;

pub use error::{Problem, SiteErrors};
pub use file::{Site, load};

pub(crate) fn register(registry: Registry) -> Registry {
    registry.with(check_site::CheckSite)
}
