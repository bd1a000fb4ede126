//! The git server: one repository, made from a tree of files, over dumb HTTP.

use std::{collections::BTreeMap, io, sync::Arc};

use axum::Router;

use crate::{
    System,
    serve::{Listener, Server},
    world::World,
};

/// A repository with one commit on `main`.
#[derive(Debug)]
pub(crate) struct Repository {
    tree: BTreeMap<String, Vec<u8>>,
    head: String,
}

impl Repository {
    /// The repository of a tree: path to content.
    pub(crate) fn new(tree: BTreeMap<String, Vec<u8>>) -> Self {
        Self { tree, head: "0".repeat(40) }
    }

    /// The id of the commit at the tip of `main`.
    pub(crate) fn head(&self) -> &str {
        &self.head
    }

    /// The files of that commit.
    pub(crate) fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.tree
    }
}

/// Serves the world's repository.
pub(crate) async fn serve(world: &World) -> io::Result<Server> {
    let at = world.address().git();
    let tls = world
        .pki()
        .server(&["git.lab.test"], &[at.ip()], &[b"h2", b"http/1.1"])
        .map_err(io::Error::other)?;
    let listener = Listener { world: world.clone(), at, system: System::Git, machine: None };
    listener.serve(Arc::new(move || Arc::clone(&tls)), Router::new()).await
}
