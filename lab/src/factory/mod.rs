//! The image factory: schematics, and disk images and installers built from them on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    StoreError, System, hex,
    lab::Error,
    serve::{Listener, Server},
    store::Changes,
    world::{World, locked},
};

mod asset;
mod catalogue;
mod schematic;
mod yaml;

use asset::Format;
use schematic::Schematic;

/// The collection of schematics: id to canonical text.
pub(crate) const SCHEMATICS: &str = "factory-schematics";
/// How long the first build of an asset takes.
const BUILD: Duration = Duration::from_secs(5);

/// The image factory. A clone is the same factory.
#[derive(Debug, Clone)]
pub(crate) struct Factory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    world: World,
    tls: Arc<rustls::ServerConfig>,
    schematics: Mutex<BTreeMap<String, String>>,
    /// Assets that are in the factory's cache.
    built: Mutex<BTreeSet<String>>,
}

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("internal server error")]
    Store(#[from] StoreError),
    #[error("internal server error")]
    Build(#[from] io::Error),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Store(_) | Self::Build(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, format!("{self}\n")).into_response()
    }
}

impl Factory {
    /// Reads the schematics of the world.
    pub(crate) fn open(world: World) -> Result<Self, Error> {
        let at = world.address().factory().ip();
        let tls = world.pki().server(&["factory.lab.test"], &[at], &[b"h2", b"http/1.1"])?;
        let schematics = Mutex::new(world.store().load(SCHEMATICS)?);
        Ok(Self(Arc::new(Shared { world, tls, schematics, built: Mutex::default() })))
    }

    /// Listens on the factory's address.
    pub(crate) async fn serve(&self) -> io::Result<Server> {
        let listener = Listener {
            world: self.0.world.clone(),
            at: self.0.world.address().factory(),
            system: System::Factory,
            machine: None,
        };
        let tls = Arc::clone(&self.0.tls);
        listener.serve(Arc::new(move || Arc::clone(&tls)), self.router()).await
    }

    fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(StatusCode::OK))
            .route("/readyz", get(StatusCode::OK))
            .route("/versions", get(async || Json(catalogue::VERSIONS)))
            .route("/version/{version}/extensions/official", get(extensions))
            .route("/schematics", post(post_schematic))
            .route("/schematics/{id}", get(get_schematic))
            .route("/image/{id}/{version}/{path}", get(get_image))
            .route("/v2/", get(async || Json(json!({}))))
            .route("/v2/{installer}/{id}/manifests/{version}", get(get_manifest))
            .with_state(self.clone())
    }

    /// The schematic and the version that a request names.
    fn look_up(&self, id: &str, version: &str) -> Result<(Schematic, &'static str), Refused> {
        let text = locked(&self.0.schematics).get(id).cloned();
        let text = text.ok_or_else(|| Refused::NotFound("schematic not found".to_owned()))?;
        let version = catalogue::version(version)
            .ok_or_else(|| Refused::NotFound(format!("version {version} is not available")))?;
        let schematic = Schematic::parse(&text).map_err(Refused::Invalid)?;
        let wanted = &schematic.customization.system_extensions.official_extensions;
        if let Some(name) = catalogue::missing(wanted) {
            return Err(Refused::Invalid(format!(
                "official extension {name:?} is not available for Talos version {version}"
            )));
        }
        Ok((schematic, version))
    }

    /// Waits for an asset's first build.
    async fn build(&self, asset: &str) {
        if locked(&self.0.built).contains(asset) {
            return;
        }
        self.0.world.clock().sleep(BUILD).await;
        locked(&self.0.built).insert(asset.to_owned());
    }
}

async fn post_schematic(State(factory): State<Factory>, body: String) -> Result<Response, Refused> {
    let posted = Schematic::parse(&body).map_err(Refused::Invalid)?.canonical();
    let known = locked(&factory.0.schematics).contains_key(&posted.id);
    if !known {
        let changes = Changes::new().put(SCHEMATICS, &posted.id, &posted.schematic).count(
            System::Factory.name(),
            &format!("schematics/{}", posted.id),
            "create",
        );
        factory.0.world.store().commit(changes)?;
        locked(&factory.0.schematics).insert(posted.id.clone(), posted.schematic.clone());
    }
    Ok((StatusCode::CREATED, Json(posted)).into_response())
}

async fn get_schematic(
    State(factory): State<Factory>,
    Path(id): Path<String>,
) -> Result<Response, Refused> {
    let text = locked(&factory.0.schematics).get(&id).cloned();
    let text = text.ok_or_else(|| Refused::NotFound("schematic not found".to_owned()))?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

async fn extensions(Path(version): Path<String>) -> Result<Response, Refused> {
    let version = catalogue::version(&version)
        .ok_or_else(|| Refused::NotFound(format!("version {version} is not available")))?;
    let rows = catalogue::EXTENSIONS.map(|name| {
        let reference = format!("ghcr.io/{name}:{version}");
        json!({
            "name": name,
            "ref": reference,
            "digest": digest(reference.as_bytes()),
            "author": "Sidero Labs",
            "description": "",
        })
    });
    Ok(Json(rows).into_response())
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(&Sha256::digest(bytes)))
}

async fn get_image(
    State(factory): State<Factory>,
    Path((id, version, path)): Path<(String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let format = Format::parse(&path).map_err(Refused::Invalid)?;
    let (schematic, version) = factory.look_up(&id, &version)?;
    factory.build(&format!("{id}/{version}/{path}")).await;
    let content = format.encode(&asset::image(&id, &schematic, version))?;
    let size = content.len();
    let (status, content, range) = match headers.get(header::RANGE).map(|range| part(range, size)) {
        None => (StatusCode::OK, content, None),
        Some(Some(from)) if from < size => {
            let range = format!("bytes {from}-{}/{size}", size - 1);
            (StatusCode::PARTIAL_CONTENT, content[from..].to_vec(), Some(range))
        }
        Some(Some(_) | None) => {
            let range = format!("bytes */{size}");
            (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new(), Some(range))
        }
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let head = response.headers_mut();
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(content.len()));
    if let Some(range) = range.and_then(|range| HeaderValue::from_str(&range).ok()) {
        head.insert(header::CONTENT_RANGE, range);
    }
    let named = HeaderValue::from_str(&format!("attachment; filename={path:?}"));
    if let Ok(named) = named {
        head.insert(header::CONTENT_DISPOSITION, named);
    }
    if method != Method::HEAD {
        *response.body_mut() = Body::from(content);
    }
    Ok(response)
}

/// The first byte of a range; only `bytes=N-` and a range up to the end are served.
fn part(range: &HeaderValue, size: usize) -> Option<usize> {
    let (from, to) = range.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let whole = to.is_empty() || to.parse::<usize>().is_ok_and(|last| last + 1 >= size);
    if whole { from.parse().ok() } else { None }
}

/// The manifest of an installer: the factory builds the installer when it is first asked for.
async fn get_manifest(
    State(factory): State<Factory>,
    Path((installer, id, version)): Path<(String, String, String)>,
    method: Method,
) -> Result<Response, Refused> {
    if !matches!(installer.as_str(), "installer" | "metal-installer") {
        return Err(Refused::Invalid(format!("invalid installer name: {installer:?}")));
    }
    let (_, version) = factory.look_up(&id, &version)?;
    factory.build(&format!("{installer}/{id}:{version}")).await;
    let media = "application/vnd.oci.image.index.v1+json";
    let layer = digest(format!("{installer}/{id}:{version}").as_bytes());
    let index = json!({
        "schemaVersion": 2,
        "mediaType": media,
        "manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": layer,
            "size": 1024,
            "platform": { "architecture": "amd64", "os": "linux" },
        }],
    });
    let body = index.to_string();
    let digest = digest(body.as_bytes());
    let headers = [
        (header::CONTENT_TYPE.as_str(), media.to_owned()),
        ("docker-content-digest", digest),
        (header::CONTENT_LENGTH.as_str(), body.len().to_string()),
    ];
    let body = if method == Method::HEAD { Body::empty() } else { Body::from(body) };
    Ok((headers, body).into_response())
}

#[cfg(test)]
mod tests;
