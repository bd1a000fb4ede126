//! The image factory.

use std::{io, sync::Arc};

use axum::Router;

use crate::{
    PkiError, System,
    serve::{Listener, Server},
    world::World,
};

/// The image factory.
#[derive(Debug, Clone)]
pub(crate) struct Factory {
    world: World,
    tls: Arc<rustls::ServerConfig>,
}

impl Factory {
    pub(crate) fn open(world: World) -> Result<Self, PkiError> {
        let at = world.address().factory().ip();
        let tls = world.pki().server(&["factory.lab.test"], &[at], &[b"h2", b"http/1.1"])?;
        Ok(Self { world, tls })
    }

    pub(crate) async fn serve(&self) -> io::Result<Server> {
        let listener = Listener {
            world: self.world.clone(),
            at: self.world.address().factory(),
            system: System::Factory,
            machine: None,
        };
        let tls = Arc::clone(&self.tls);
        listener.serve(Arc::new(move || Arc::clone(&tls)), Router::new()).await
    }
}
