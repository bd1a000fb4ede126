//! The git server: one repository, made from a tree of files, over dumb HTTP, and what others publish by URL.

use std::{collections::BTreeMap, io, sync::Arc};

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use crate::{
    System,
    serve::{Listener, Server},
    world::World,
};

mod object;

use object::Objects;

/// The manifest of Flux, as its release publishes it.
const FLUX: &str = include_str!("../kubernetes/flux/install.yaml");
/// Who commits, and when: the same tree has the same commit.
const COMMITTER: &str = "flow <flow@lab.test> 1767225600 +0000";
const MESSAGE: &str = "The cluster's tree";
/// The only branch.
const BRANCH: &str = "refs/heads/main";

/// A repository with one commit on `main`.
#[derive(Debug)]
pub(crate) struct Repository {
    tree: BTreeMap<String, Vec<u8>>,
    objects: Objects,
    head: String,
}

impl Repository {
    /// The repository of a tree: path to content.
    pub(crate) fn new(tree: BTreeMap<String, Vec<u8>>) -> Self {
        let mut objects = Objects::default();
        let id = objects.add_tree(&tree);
        let head = objects.add_commit(id, COMMITTER, MESSAGE).to_string();
        Self { tree, objects, head }
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

/// Serves the world's repository, and the manifests that others publish.
pub(crate) async fn serve(world: &World) -> io::Result<Server> {
    let at = world.address().git();
    let tls = world
        .pki()
        .server(&["git.lab.test"], &[at.ip()], &[b"h2", b"http/1.1"])
        .map_err(io::Error::other)?;
    let app = Router::new()
        .route("/healthz", get(StatusCode::OK))
        .route("/cluster.git/HEAD", get(async || format!("ref: {BRANCH}\n")))
        .route("/cluster.git/info/refs", get(refs))
        .route("/cluster.git/objects/info/packs", get(async || "\n"))
        .route("/cluster.git/objects/{folder}/{name}", get(object))
        .route("/flux2/v2.9.4/install.yaml", get(flux))
        .with_state(world.clone());
    let listener = Listener { world: world.clone(), at, system: System::Git, machine: None };
    listener.serve(Arc::new(move || Arc::clone(&tls)), app).await
}

/// The branches; a plain text tells the client to fetch objects one by one.
async fn refs(State(world): State<World>) -> Response {
    let refs = format!("{}\t{BRANCH}\n", world.git().head());
    ([(header::CONTENT_TYPE, "text/plain")], refs).into_response()
}

async fn object(
    State(world): State<World>,
    Path((folder, name)): Path<(String, String)>,
) -> Response {
    match world.git().objects.get(&format!("{folder}{name}")) {
        Some(object) => {
            let content = [(header::CONTENT_TYPE, "application/x-git-loose-object")];
            (content, object.to_vec()).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn flux() -> Response {
    ([(header::CONTENT_TYPE, "application/octet-stream")], FLUX).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Lab, Options, http};

    #[tokio::test]
    async fn the_tree_is_fetched_object_by_object() {
        let folder = tempfile::tempdir().unwrap();
        let tree = BTreeMap::from([("apps/a.yaml".to_owned(), b"a: 1\n".to_vec())]);
        let lab = Lab::draw(Options { tree: tree.clone(), ..Options::new(folder.path()) }).unwrap();
        let authority = std::fs::read_to_string(folder.path().join("ca.pem")).unwrap();
        let client = http::client(&authority).unwrap();
        let base = format!("https://127.{}.0.50:8443", lab.octet());
        let get = async |path: &str| client.get(format!("{base}{path}")).send().await.unwrap();

        let head = Repository::new(tree).head;
        let refs = get("/cluster.git/info/refs?service=git-upload-pack").await;
        assert_eq!(refs.headers()["content-type"], "text/plain");
        assert_eq!(refs.text().await.unwrap(), format!("{head}\trefs/heads/main\n"));
        let path = format!("/cluster.git/objects/{}/{}", &head[..2], &head[2..]);
        let commit = get(&path).await.bytes().await.unwrap();
        let mut text = String::new();
        let mut unpacked = flate2::read::ZlibDecoder::new(&commit[..]);
        io::Read::read_to_string(&mut unpacked, &mut text).unwrap();
        assert!(text.ends_with("\n\nThe cluster's tree\n"), "{text}");
        assert_eq!(get("/cluster.git/objects/00/11").await.status(), 404);
    }
}
