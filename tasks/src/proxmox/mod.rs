//! Proxmox VE: access, tokens, virtual machines.

mod access;
mod admin;
mod check_proxmox;
mod client;
mod config;
mod create_vm;
mod deadline;
mod door;
mod lenient;
mod mark;
mod node;
#[cfg(test)]
pub(crate) mod planned;
mod privileges;
mod proxmox_token;
mod size;
mod start_vm;
mod task;

use flow_engine::Registry;

pub(crate) use client::{ApiError, Client};
pub(crate) use deadline::Deadline;
pub(crate) use door::{Door, DoorError};
pub(crate) use lenient::{number, text};
pub(crate) use node::Node;
pub(crate) use task::TaskError;

pub(crate) fn register(registry: Registry) -> Registry {
    registry
        .with(check_proxmox::CheckProxmox)
        .with(access::ProxmoxAccess)
        .with(proxmox_token::ProxmoxToken)
        .with(create_vm::CreateVm)
        .with(start_vm::StartVm)
}
