//! What lies in a store: listing, deleting, downloading and uploading.

use std::{fs, io, path::Path, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest as _, Multipart, multipart::Field},
    http::{HeaderMap, Request as HttpRequest, header},
};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use crate::{hex::encode as hex, http, image::qcow2, store::Changes};

use super::{
    HOST, Proxmox,
    params::Param,
    reply::{Answer, Refused},
    route::{Request, Route},
    storage::{PART, Plugin, Store, may_see},
    task::{Kind, Log},
};

const CHECKSUMS: &[&str] = &["md5", "sha1", "sha224", "sha256", "sha384", "sha512"];
const CONTENTS: &[&str] = &["iso", "vztmpl", "import"];
/// How long the host's own work on an image takes.
const COPY: Duration = Duration::from_secs(3);

/// The endpoints. Uploads are none of them: their body is no form.
pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/nodes/{node}/storage/{storage}/content",
        &[Param::text("content", 64), Param::integer("vmid", 100, 999_999_999)],
        list,
    )
    .checked(may_see),
    Route::get("/nodes/{node}/storage/{storage}/content/{volume}", &[], show).checked(may_see),
    Route::delete(
        "/nodes/{node}/storage/{storage}/content/{volume}",
        &[Param::integer("delay", 1, 30)],
        delete,
    ),
    Route::post(UPLOAD, &[], refuse_form),
    Route::post(
        "/nodes/{node}/storage/{storage}/download-url",
        &[
            Param::format("url", check_url).required(),
            Param::one_of("content", CONTENTS).required(),
            Param::text("filename", 255).required(),
            Param::text("checksum", 256),
            Param::one_of("checksum-algorithm", CHECKSUMS),
            Param::text("compression", 8),
            Param::boolean("verify-certificates"),
        ],
        download,
    )
    .checked(may_download),
    Route::get(
        "/nodes/{node}/query-url-metadata",
        &[Param::format("url", check_url).required(), Param::boolean("verify-certificates")],
        refuse_form,
    )
    .later(|host, request| Box::pin(async move { query_url(&host, &request).await }))
    .checked(may_reach_out),
];

/// The path of uploads.
const UPLOAD: &str = "/nodes/{node}/storage/{storage}/upload";

/// Whether a route takes an upload's body.
pub(super) fn is_upload(path: &str) -> bool {
    path == UPLOAD
}

fn refuse_form(_: &Proxmox, _: &Request) -> Answer {
    Err(Refused::Protocol(501, "for data too large".to_owned()))
}

fn check_url(text: &str) -> Result<(), String> {
    let scheme = text.starts_with("http://") || text.starts_with("https://");
    if scheme { Ok(()) } else { Err("value does not match the regex pattern".to_owned()) }
}

fn may_reach_out(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let access = host.access();
    let old = ["Sys.Audit", "Sys.Modify"];
    if old.iter().all(|privilege| access.has_any(&request.caller, "/", &[privilege])) {
        return Ok(());
    }
    access.need(&request.caller, &format!("/nodes/{HOST}"), "Sys.AccessNetwork")
}

fn may_write(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/storage/{}", request.path("storage"));
    host.access().need(&request.caller, &path, "Datastore.AllocateTemplate")
}

fn may_download(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    may_write(host, request)?;
    may_reach_out(host, request)
}

fn list(host: &Proxmox, request: &Request) -> Answer {
    let store = host.store(request.path("storage"))?;
    let vmid = request.params.integer("vmid");
    let content = request.params.get("content");
    let mut volumes = store.volumes()?;
    volumes.retain(|volume| {
        content.is_none_or(|wanted| volume.content == wanted)
            && vmid.is_none_or(|wanted| volume.vmid.is_some_and(|vmid| i64::from(vmid) == wanted))
    });
    let rows: Vec<_> = volumes.iter().map(super::storage::Volume::row).collect();
    Ok(json!(rows).into())
}

/// A volume's id, whether the path has its store or not.
fn volume_id(request: &Request) -> String {
    let (store, volume) = (request.path("storage"), request.path("volume"));
    if volume.contains(':') { volume.to_owned() } else { format!("{store}:{volume}") }
}

fn show(host: &Proxmox, request: &Request) -> Answer {
    let id = volume_id(request);
    let volume = host.volume(&id)?;
    let volume = volume.ok_or_else(|| Refused::Died(format!("volume '{id}' does not exist")))?;
    let mut row = volume.row();
    row["path"] = json!(volume.path);
    row["used"] = json!(volume.size);
    Ok(row.into())
}

fn delete(host: &Proxmox, request: &Request) -> Answer {
    let id = volume_id(request);
    let path = format!("/storage/{}", request.path("storage"));
    host.access().need(&request.caller, &path, "Datastore.Allocate")?;
    host.store(request.path("storage"))?;
    let about = request.path("storage").to_owned();
    let kind = Kind { name: "imgdel", id: &about };
    let world = host.world().clone();
    let host_of_task = host.clone();
    let upid = host.start_task(kind, &request.caller, Changes::new(), |log| async move {
        log.takes(Duration::from_secs(1)).await?;
        let volume = host_of_task.volume(&id).map_err(Refused::into_text)?;
        let volume = volume.ok_or_else(|| format!("volume '{id}' does not exist"))?;
        fs::remove_file(&volume.path).map_err(|error| error.to_string())?;
        let changes = Changes::new().count("proxmox", &id, "delete");
        world.store().commit(changes).map_err(|error| error.to_string())?;
        log.line(format!("Removed volume '{id}'"));
        Ok(())
    })?;
    Ok(json!(upid).into())
}

/// The file name that a store gives, or why it takes none.
fn file_name(content: &str, name: &str) -> Result<String, Refused> {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let name: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
    let extensions: &[&str] = match content {
        "iso" => &[".iso", ".img"],
        "import" => &[".ova", ".qcow2", ".raw", ".vmdk"],
        _ => &[".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"],
    };
    if extensions.iter().any(|end| name.len() > end.len() && name.ends_with(end)) {
        return Ok(name);
    }
    let text = if content == "import" {
        "invalid filename or wrong extension"
    } else {
        "wrong file extension"
    };
    Err(Refused::parameter("filename", text))
}

/// Refuses a store that does not take files of this content type.
fn takes(store: &Store, content: &str) -> Result<(), Refused> {
    let Store { name, plugin, .. } = store;
    if *plugin != Plugin::Dir {
        return Err(Refused::Died(format!("can't upload to storage type '{}'", plugin.name())));
    }
    if store.content.iter().any(|known| known == content) {
        return Ok(());
    }
    Err(Refused::Died(format!("storage '{name}' does not support '{content}' content")))
}

/// What a file must hash to.
#[derive(Debug, Clone)]
struct Checksum {
    algorithm: String,
    expected: String,
}

impl Checksum {
    fn of(algorithm: Option<&str>, expected: Option<&str>) -> Result<Option<Self>, Refused> {
        let missing = "property is missing and it is not optional";
        match (algorithm, expected) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Refused::parameter("checksum-algorithm", missing)),
            (Some(_), None) => Err(Refused::parameter("checksum", missing)),
            (Some(algorithm), Some(expected)) => Ok(Some(Self {
                algorithm: algorithm.to_owned(),
                expected: expected.to_ascii_lowercase(),
            })),
        }
    }

    fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let got = match self.algorithm.as_str() {
            "sha1" => hex(&Sha1::digest(bytes)),
            "sha224" => hex(&Sha224::digest(bytes)),
            "sha256" => hex(&Sha256::digest(bytes)),
            "sha384" => hex(&Sha384::digest(bytes)),
            "sha512" => hex(&Sha512::digest(bytes)),
            other => return Err(format!("checksum algorithm '{other}' is not supported")),
        };
        if got == self.expected {
            return Ok(());
        }
        Err(format!("checksum mismatch: got '{got}' != expect '{}', aborting", self.expected))
    }
}

fn download(host: &Proxmox, request: &Request) -> Answer {
    let params = &request.params;
    let text = |name: &str| params.get(name).unwrap_or_default().to_owned();
    let (url, content) = (text("url"), text("content"));
    let store = host.store(request.path("storage"))?;
    takes(&store, &content)?;
    let name = file_name(&content, &text("filename"))?;
    let checksum = Checksum::of(params.get("checksum-algorithm"), params.get("checksum"))?;
    if params.get("compression").is_some() && content != "iso" {
        return Err(Refused::died(format!("decompression not supported for {content}")));
    }
    let kind = Kind { name: "download", id: &name.clone() };
    let host_of_task = host.clone();
    let upid = host.start_task(kind, &request.caller, Changes::new(), |log| async move {
        let target = store.file(&content, &name).ok_or("no folder for this content")?;
        if target.exists() {
            let found = fs::read(&target).map_err(|error| error.to_string())?;
            let Some(checksum) = &checksum else {
                return Err(format!("refusing to override existing file '{}'", target.display()));
            };
            checksum.check(&found)?;
            log.line("calculated checksum is correct, nothing to do");
            return Ok(());
        }
        log.line(format!("downloading {url} to {}", target.display()));
        let bytes = host_of_task.fetch(&url).await?;
        log.takes(COPY).await?;
        if let Some(checksum) = &checksum {
            checksum.check(&bytes)?;
            log.line("OK, checksum verified");
        }
        let id = format!("{}:{content}/{name}", store.name);
        host_of_task.keep(&store, (&id, &target), &bytes, "download")?;
        log.line(format!("download of '{url}' to '{}' finished", target.display()));
        Ok(())
    })?;
    Ok(json!(upid).into())
}

impl Proxmox {
    /// Fetches from the internet of this host, which ends at the world.
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, String> {
        let response = self.client()?.get(self.reachable(url)?).send().await;
        let response = response.map_err(|error| format!("download failed: {error}"))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("download failed: server returned {status}"));
        }
        let body = response.bytes().await.map_err(|error| format!("download failed: {error}"))?;
        Ok(body.to_vec())
    }

    fn client(&self) -> Result<reqwest::Client, String> {
        http::client(self.world().pki().certificate_pem()).map_err(|error| error.to_string())
    }

    /// Refuses addresses outside the world, as a host without a route does.
    fn reachable(&self, url: &str) -> Result<url::Url, String> {
        let parsed = url::Url::parse(url).map_err(|error| format!("bad URL: {error}"))?;
        let name = parsed.host_str().unwrap_or_default().to_owned();
        let inside = name.parse().is_ok_and(|address| self.world().address().contains(address));
        if inside {
            return Ok(parsed);
        }
        Err(format!("download failed: {name}: Name or service not known"))
    }

    /// Puts a file into a store, whole or not at all.
    fn keep(
        &self,
        store: &Store,
        (id, target): (&str, &Path),
        bytes: &[u8],
        verb: &str,
    ) -> Result<(), String> {
        let failed = |error: io::Error| error.to_string();
        store.need_room(bytes.len() as u64, id)?;
        if qcow2::is_named(id) {
            qcow2::Header::read(&mut io::Cursor::new(bytes))
                .map_err(|refused| format!("failed to verify image '{id}': {refused}"))?;
        }
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let part = target.with_extension(&PART[1..]);
        fs::write(&part, bytes).map_err(failed)?;
        fs::rename(&part, target).map_err(failed)?;
        let changes = Changes::new().count("proxmox", id, verb);
        self.world().store().commit(changes).map_err(|error| error.to_string())
    }
}

async fn query_url(host: &Proxmox, request: &Request) -> Answer {
    let url = request.params.get("url").unwrap_or_default();
    let reachable = host.reachable(url).map_err(Refused::Died)?;
    let name = reachable.path_segments().and_then(Iterator::last).unwrap_or_default().to_owned();
    let sent = host.client().map_err(Refused::Died)?.head(reachable).send().await;
    let response = sent.map_err(|error| Refused::Died(error.to_string()))?;
    if !response.status().is_success() {
        return Err(Refused::Died(format!("invalid server response: '{}'", response.status())));
    }
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let size = header(header::CONTENT_LENGTH).and_then(|size| size.parse::<u64>().ok());
    Ok(json!({ "filename": name, "size": size, "mimetype": header(header::CONTENT_TYPE) }).into())
}

/// The parts of an upload before its file, in the only order that the real server's parser knows.
#[derive(Debug, Default)]
struct Upload {
    content: Option<String>,
    algorithm: Option<String>,
    checksum: Option<String>,
    name: String,
    bytes: Vec<u8>,
}

/// `POST …/upload`: the file comes last, and its size is known from the start.
pub(super) async fn upload(
    host: Proxmox,
    request: Request,
    headers: &HeaderMap,
    body: Body,
) -> Answer {
    may_write(&host, &request)?;
    let store = host.store(request.path("storage"))?;
    if !headers.contains_key(header::CONTENT_LENGTH) {
        return Err(Refused::Protocol(501, "Content-Length is missing".to_owned()));
    }
    let mut form = HttpRequest::new(body);
    *form.headers_mut() = headers.clone();
    let form = Multipart::from_request(form, &()).await;
    let form = form.map_err(|_| Refused::Protocol(501, "for data too large".to_owned()))?;
    let upload = read_upload(form).await?;
    let content = upload.content.ok_or_else(|| {
        Refused::parameter("content", "property is missing and it is not optional")
    })?;
    if !CONTENTS.contains(&content.as_str()) {
        let text = format!(
            "value '{content}' does not have a value in the enumeration '{}'",
            CONTENTS.join(", ")
        );
        return Err(Refused::parameter("content", text));
    }
    let name = file_name(&content, &upload.name)?;
    takes(&store, &content)?;
    let checksum = Checksum::of(upload.algorithm.as_deref(), upload.checksum.as_deref())?;
    let bytes = upload.bytes;
    let task_host = host.clone();
    let kind = Kind { name: "imgcopy", id: "" };
    let upid = host.start_task(kind, &request.caller, Changes::new(), |log: Log| async move {
        let target = store.file(&content, &name).ok_or("no folder for this content")?;
        log.line(format!("starting file import from: /var/tmp/pveupload-{}", bytes.len()));
        log.takes(COPY).await?;
        if let Some(checksum) = &checksum {
            checksum.check(&bytes)?;
        }
        let id = format!("{}:{content}/{name}", store.name);
        task_host.keep(&store, (&id, &target), &bytes, "upload")?;
        log.line("finished file import successfully");
        Ok(())
    })?;
    Ok(json!(upid).into())
}

async fn read_upload(mut form: Multipart) -> Result<Upload, Refused> {
    let broken = |error: axum::extract::multipart::MultipartError| Refused::Died(error.to_string());
    let mut upload = Upload::default();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        match name.as_str() {
            "filename" => {
                let file = field.file_name().unwrap_or_default();
                file.clone_into(&mut upload.name);
                upload.bytes = field.bytes().await.map_err(broken)?.to_vec();
                // Parts behind the file are never looked at.
                return Ok(upload);
            }
            "content" if upload.algorithm.is_none() => upload.content = Some(text(field).await?),
            "checksum-algorithm" if upload.checksum.is_none() => {
                upload.algorithm = Some(text(field).await?);
            }
            "checksum" => upload.checksum = Some(text(field).await?),
            other => {
                let text = format!("property is not defined in schema: {other}");
                return Err(Refused::parameter(other, text));
            }
        }
    }
    Err(Refused::parameter("filename", "property is missing and it is not optional"))
}

async fn text(field: Field<'_>) -> Result<String, Refused> {
    field.text().await.map_err(|error| Refused::Died(error.to_string()))
}
