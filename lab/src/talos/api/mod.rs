//! The services that a machine's API answers.

mod access;
mod apply;
mod etcd;
mod files;
mod kinds;
mod kubeconfig;
mod machine;
mod proxy;
mod resources;
mod specs;
mod state;
mod storage;

use std::{pin::Pin, sync::Arc};

use axum::{Router, middleware};
use futures_util::Stream;
use tonic::{Status, service::Routes};

use super::{
    live::Live,
    rack::{Fleet, Machine, Rack},
    wire::{
        cosi::resource::state_server::StateServer,
        machine::machine_service_server::MachineServiceServer,
        storage::storage_service_server::StorageServiceServer,
    },
};
use access::{Access, Mode};

/// The largest message on either side.
const MESSAGE: usize = 32 << 20;

/// A stream of replies.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The services of one machine.
#[derive(Debug, Clone)]
struct Api {
    rack: Arc<Rack>,
    vmid: u32,
}

/// The API of a machine without a configuration.
pub(super) fn maintenance(rack: Arc<Rack>, vmid: u32) -> Router {
    router(rack, vmid, Mode::Maintenance)
}

/// The API of a configured machine.
pub(super) fn normal(rack: Arc<Rack>, vmid: u32) -> Router {
    router(rack, vmid, Mode::Normal)
}

fn router(rack: Arc<Rack>, vmid: u32, mode: Mode) -> Router {
    let api = Api { rack: Arc::clone(&rack), vmid };
    let machine = MachineServiceServer::new(api.clone())
        .max_decoding_message_size(MESSAGE)
        .max_encoding_message_size(MESSAGE);
    let routes = Routes::new(machine)
        .add_service(StorageServiceServer::new(api.clone()))
        .add_service(StateServer::new(api));
    let access = Arc::new(Access { rack, vmid, mode });
    routes.into_axum_router().layer(middleware::from_fn_with_state(access, access::check))
}

impl Api {
    /// Looks at the machine; a machine without power answers no more.
    fn look<T>(
        &self,
        look: impl FnOnce(&Fleet, &Machine, &Live) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.rack.read(|fleet| {
            let machine = fleet.machines.get(&self.vmid);
            let live = fleet.live(self.vmid);
            match machine.zip(live) {
                Some((machine, live)) => look(fleet, machine, live),
                None => Err(Status::unavailable("the machine has no power")),
            }
        })
    }

    /// Refuses what only controllers know.
    fn controller(&self, what: &str) -> Result<(), Status> {
        self.look(|_, _, live| match &live.config {
            None => Err(Status::unimplemented(format!(
                "machine type is not set, cannot use {what} API"
            ))),
            Some(config) if !config.is_controller() => Err(Status::unimplemented(format!(
                "{what} is only available on control plane nodes"
            ))),
            Some(_) => Ok(()),
        })
    }
}

/// A stream of these replies.
fn replies<T: Send + 'static>(items: Vec<T>) -> Replies<T> {
    Box::pin(futures_util::stream::iter(items.into_iter().map(Ok)))
}
