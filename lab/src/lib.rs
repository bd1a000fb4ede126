//! Servers on loopback that speak Proxmox, Image Factory, git, Talos and Kubernetes.
//!
//! One process runs one world: a folder with everything that survives a power cut, and servers on the addresses
//! 127.N.0.0/16. The world advances by its own clock, whether or not somebody watches; ending the process is a power
//! cut. Faults are injected into single calls while it runs.

mod address;
mod clock;
mod control;
mod counts;
mod factory;
mod faults;
mod git;
mod hex;
mod http;
mod image;
mod kubernetes;
mod lab;
mod owner;
mod pki;
mod proxmox;
mod serve;
mod store;
mod talos;
mod world;

pub use control::Status;
pub use counts::Count;
pub use faults::{Effect, Fault, FaultError, Faults, System};
pub use lab::{Error, Lab, Options, reset, status};
pub use owner::{Owner, OwnerError};
pub use pki::PkiError;
pub use store::StoreError;
pub use world::Call;
