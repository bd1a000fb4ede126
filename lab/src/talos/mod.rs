//! The Talos machines of the world.
//!
//! A machine is a script that begins when its power comes and is dropped, with every socket it holds, when the power
//! goes. What it writes to its disk, its configuration and its place in an etcd cluster, is durable before anybody is
//! told.

mod api;
mod boot;
mod certificates;
mod config;
mod controlplane;
mod credentials;
mod disk;
mod etcd;
mod kubelet;
mod live;
mod machines;
mod network;
mod rack;
mod release;
mod service;
mod tls;
mod wire;

pub(crate) use machines::{Hardware, Machines};

#[cfg(test)]
mod tests;
