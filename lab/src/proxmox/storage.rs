//! The host's stores and what lies in them: real files below the world's folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use serde_json::{Value, json};

use crate::store::Changes;

use super::{
    Proxmox,
    access::Caller,
    params::Param,
    reply::{Answer, Refused, Reply},
    route::{Request, Route},
};

/// The collection of stores' content types by their names.
pub(super) const COLLECTION: &str = "proxmox-storage";
/// What names of files end in that are not complete; no client can give such a name.
pub(super) const PART: &str = ".part";
const GIB: u64 = 1 << 30;

/// The endpoints.
pub(super) const ROUTES: &[Route] = &[
    Route::get(
        "/nodes/{node}/storage",
        &[
            Param::text("content", 256),
            Param::boolean("enabled"),
            Param::boolean("format"),
            Param::text("target", 64),
            Param::text("storage", 64),
        ],
        list,
    ),
    Route::get("/nodes/{node}/storage/{storage}/status", &[], show).checked(may_see),
    Route::get("/storage", &[Param::text("type", 64)], list_config),
    Route::get("/storage/{storage}", &[], show_config).checked(may_see),
    Route::put("/storage/{storage}", &[Param::list("content"), Param::text("digest", 64)], update)
        .checked(may_configure),
];

/// What kind of store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plugin {
    /// A folder with files.
    Dir,
    /// A pool of block devices.
    Zfs,
}

impl Plugin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Dir => "dir",
            Self::Zfs => "zfspool",
        }
    }
}

/// One store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Store {
    pub(super) name: &'static str,
    pub(super) plugin: Plugin,
    pub(super) content: Vec<String>,
    total: u64,
    path: PathBuf,
}

/// Something that lies in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) id: String,
    pub(super) content: &'static str,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) vmid: Option<u32>,
    created: u64,
}

/// The two stores: name, kind, size, content types of a new host.
const STORES: [(&str, Plugin, u64, &[&str]); 2] = [
    ("local", Plugin::Dir, 94 * GIB, &["iso", "vztmpl", "backup", "import"]),
    ("local-zfs", Plugin::Zfs, 1800 * GIB, &["images", "rootdir"]),
];

/// The folders of a directory store by content type.
const FOLDERS: [(&str, &str); 4] = [
    ("import", "import"),
    ("iso", "template/iso"),
    ("vztmpl", "template/cache"),
    ("backup", "dump"),
];

impl Store {
    /// Where a file of this content type lies.
    pub(super) fn file(&self, content: &str, name: &str) -> Option<PathBuf> {
        let (_, folder) = FOLDERS.into_iter().find(|(known, _)| *known == content)?;
        Some(self.path.join(folder).join(name))
    }

    /// Where a block device lies.
    pub(super) fn device(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Everything that lies in the store.
    pub(super) fn volumes(&self) -> io::Result<Vec<Volume>> {
        match self.plugin {
            Plugin::Zfs => files(&self.path)?
                .into_iter()
                .map(|(name, path)| {
                    let vmid = owner(&name);
                    volume(format!("{}:{name}", self.name), "images", (path, vmid))
                })
                .collect(),
            Plugin::Dir => {
                let mut volumes = Vec::new();
                for (content, folder) in FOLDERS {
                    for (name, path) in files(&self.path.join(folder))? {
                        let id = format!("{}:{content}/{name}", self.name);
                        volumes.push(volume(id, content, (path, None))?);
                    }
                }
                Ok(volumes)
            }
        }
    }

    /// Bytes that are taken.
    fn used(&self) -> io::Result<u64> {
        Ok(self.volumes()?.iter().map(|volume| volume.size).sum())
    }

    /// Refuses more bytes than are free.
    pub(super) fn need_room(&self, size: u64, volume: &str) -> Result<(), String> {
        let used = self.used().map_err(|error| error.to_string())?;
        if used + size <= self.total {
            return Ok(());
        }
        Err(match self.plugin {
            Plugin::Zfs => format!("zfs error: cannot create 'rpool/data/{volume}': out of space"),
            Plugin::Dir => format!("write failed: No space left on device ({volume})"),
        })
    }

    fn row(&self, formats: bool) -> io::Result<Value> {
        let used = self.used()?;
        #[expect(clippy::cast_precision_loss, reason = "a fraction for people")]
        let fraction = used as f64 / self.total as f64;
        let mut row = json!({
            "storage": self.name,
            "type": self.plugin.name(),
            "content": self.content.join(","),
            "enabled": 1,
            "active": 1,
            "shared": 0,
            "total": self.total,
            "used": used,
            "avail": self.total.saturating_sub(used),
            "used_fraction": fraction,
        });
        if formats {
            row["formats"] = match self.plugin {
                Plugin::Dir => json!({ "supported": ["raw", "qcow2", "vmdk"], "default": "raw" }),
                Plugin::Zfs => json!({ "supported": ["raw"], "default": "raw" }),
            };
        }
        Ok(row)
    }
}

/// The VM that owns a device, from its name.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix("vm-")?.split('-').next()?.parse().ok()
}

/// Files of a folder that are complete.
fn files(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    if !folder.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !name.ends_with(PART) {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn volume(
    id: String,
    content: &'static str,
    (path, vmid): (PathBuf, Option<u32>),
) -> io::Result<Volume> {
    let metadata = fs::metadata(&path)?;
    let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Volume { id, content, path, size: metadata.len(), vmid, created: modified.as_secs() })
}

impl Volume {
    fn format(&self) -> &str {
        let name = self.id.rsplit('/').next().unwrap_or_default();
        match (self.content, name.rsplit_once('.')) {
            ("import" | "iso", Some((_, extension))) => extension,
            _ => "raw",
        }
    }

    pub(super) fn row(&self) -> Value {
        let mut row = json!({
            "volid": self.id,
            "content": self.content,
            "format": self.format(),
            "size": self.size,
            "ctime": self.created,
        });
        if let Some(vmid) = self.vmid {
            row["vmid"] = json!(vmid);
        }
        row
    }
}

/// The privileges of which one lets a caller look into a store.
const LOOK: [&str; 3] =
    ["Datastore.Audit", "Datastore.AllocateSpace", "Datastore.AllocateTemplate"];

pub(super) fn may_see(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    let path = format!("/storage/{}", request.path("storage"));
    host.access().need_any(&request.caller, &path, &LOOK[..2])
}

fn may_configure(host: &Proxmox, request: &Request) -> Result<(), Refused> {
    host.access().need(&request.caller, "/storage", "Datastore.Allocate")
}

impl Proxmox {
    /// A store by its name.
    pub(super) fn store(&self, name: &str) -> Result<Store, Refused> {
        let found = STORES.into_iter().find(|(known, ..)| *known == name);
        let (name, plugin, total, content) =
            found.ok_or_else(|| Refused::Died(format!("storage '{name}' does not exist")))?;
        let configured = self.world().store().load::<Vec<String>>(COLLECTION)?.remove(name);
        let content =
            configured.unwrap_or_else(|| content.iter().map(ToString::to_string).collect());
        let path = self.world().dir().join("storage").join(name);
        Ok(Store { name, plugin, content, total, path })
    }

    fn stores(&self) -> Result<Vec<Store>, Refused> {
        STORES.into_iter().map(|(name, ..)| self.store(name)).collect()
    }

    /// The stores that a caller may look into.
    pub(super) fn visible_stores(&self, caller: &Caller) -> Result<Vec<Store>, Refused> {
        let mut stores = self.stores()?;
        let access = self.access();
        stores.retain(|store| access.has_any(caller, &format!("/storage/{}", store.name), &LOOK));
        Ok(stores)
    }

    /// A volume by its id; none if it is not there.
    pub(super) fn volume(&self, id: &str) -> Result<Option<Volume>, Refused> {
        let name = id.split(':').next().unwrap_or_default();
        let volumes = self.store(name)?.volumes()?;
        Ok(volumes.into_iter().find(|volume| volume.id == id))
    }
}

fn list(host: &Proxmox, request: &Request) -> Answer {
    let wanted = request.params.list("content");
    let formats = request.params.flag("format", false);
    let only = request.params.get("storage");
    let rows: Vec<Value> = host
        .visible_stores(&request.caller)?
        .iter()
        .filter(|store| only.is_none_or(|name| name == store.name))
        .filter(|store| {
            wanted.is_empty() || wanted.iter().any(|content| store.content.contains(content))
        })
        .map(|store| store.row(formats))
        .collect::<io::Result<_>>()?;
    Ok(json!(rows).into())
}

fn show(host: &Proxmox, request: &Request) -> Answer {
    Ok(host.store(request.path("storage"))?.row(false)?.into())
}

fn config(store: &Store) -> Value {
    let mut row = json!({
        "storage": store.name,
        "type": store.plugin.name(),
        "content": store.content.join(","),
    });
    match store.plugin {
        Plugin::Dir => row["path"] = json!("/var/lib/vz"),
        Plugin::Zfs => {
            row["pool"] = json!("rpool/data");
            row["sparse"] = json!(1);
        }
    }
    row
}

fn list_config(host: &Proxmox, request: &Request) -> Answer {
    let stores = host.visible_stores(&request.caller)?;
    Ok(stores.iter().map(config).collect::<Value>().into())
}

fn show_config(host: &Proxmox, request: &Request) -> Answer {
    Ok(config(&host.store(request.path("storage"))?).into())
}

fn update(host: &Proxmox, request: &Request) -> Answer {
    let store = host.store(request.path("storage"))?;
    let content = request.params.list("content");
    let possible: &[&str] = match store.plugin {
        Plugin::Dir => &["images", "rootdir", "iso", "vztmpl", "backup", "snippets", "import"],
        Plugin::Zfs => &["images", "rootdir"],
    };
    if let Some(odd) = content.iter().find(|content| !possible.contains(&content.as_str())) {
        let text = format!("storage does not support content type '{odd}'");
        return Err(Refused::Died(format!("update storage failed: {text}")));
    }
    let changes = Changes::new().put(COLLECTION, store.name, &content).count(
        "proxmox",
        &format!("storage/{}", store.name),
        "update",
    );
    host.world().store().commit(changes)?;
    Ok(Reply::from(json!({ "storage": store.name, "type": store.plugin.name() })))
}
