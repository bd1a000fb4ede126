//! `bake-image`: one node's image in the import store of its host, its own network inside.
//!
//! Every node has a schematic of its own, which is the common one and META key 10. The host
//! downloads the image from the factory; its name says what is in it, so it is never downloaded
//! twice and never replaced. Proxmox downloads under another name and renames at the end: an image
//! that is listed is whole.

use std::time::Duration;

use flow_engine::{
    Cx, Effect, Found, Kind, KindError, Manual, Mark, Presence, Retry, Secret, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::document::{Schematic, Unplain};
use super::factory::{Factory, FactoryError, Trust};
use super::network::Place;
use crate::proxmox::{ApiError, Client, Door, DoorError, Node, TaskError, number, text};

/// How long the factory and the host may take to make, send and store an image.
const DOWNLOAD: Duration = Duration::from_mins(30);
/// How long the host may take to remove an image.
const REMOVE: Duration = Duration::from_mins(2);
/// How much of a hash is part of a volume's name.
const SHORT: usize = 12;
/// The kernel argument without which a network card has another name than `eth0`.
const PLAIN_NAMES: &str = "net.ifnames=0";

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct BakeImage;

/// Which image, and where.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(deny_unknown_fields)] // serde cannot where it flattens
pub(super) struct Params {
    /// The way into Proxmox.
    #[serde(flatten)]
    door: Door,
    /// The secret of the API token.
    token: Secret<String>,
    /// The storage of images; it must hold the content type `import`.
    store: String,
    /// The planned machine.
    node: Node,
    /// The gateway of its network.
    gateway: String,
    /// The name servers that it asks.
    nameservers: Vec<String>,
    /// The time servers that it asks.
    ntp: Vec<String>,
    /// The name of its network card.
    #[serde(default = "first_card")]
    link: String,
    /// The image factory, `https://factory.talos.dev`.
    factory: String,
    /// Authorities that are trusted beside the public ones: one, or a list.
    #[serde(default)]
    trust: Trust,
    /// The id of the common schematic, of these extensions and kernel arguments.
    schematic: String,
    /// The version of Talos, as `v1.13.4`.
    version: String,
    /// Official system extensions.
    #[serde(default)]
    extensions: Vec<String>,
    /// Further kernel arguments, in order.
    #[serde(default)]
    kernel_args: Vec<String>,
}

fn first_card() -> String {
    "eth0".to_owned()
}

/// An image.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Its volume, as `STORE:import/NAME`.
    volume: String,
}

/// What removing it takes.
#[derive(Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// The secret of the API token.
    token: String,
}

/// Which image. It can carry no mark: its name and size are its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handle {
    door: Door,
    host: String,
    store: String,
    volid: String,
    size: u64,
}

/// Why there is no image as planned.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The factory failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Factory(#[from] FactoryError),
    /// Proxmox failed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Task(#[from] TaskError),
    /// The way to an image that was made is closed.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Door(#[from] DoorError),
    /// The host could not download the image.
    #[error("{host} could not download {url}")]
    #[diagnostic(
        code(image::download),
        help("the factory builds on demand and may fail at first; check the host's way to it")
    )]
    Download {
        /// The host.
        host: String,
        /// The image.
        url: String,
        /// How the host's task ended.
        #[source]
        source: TaskError,
    },
    /// The id belongs to other extensions or kernel arguments.
    #[error(
        "the schematic {given} is not that of these extensions and kernel arguments ({computed})"
    )]
    #[diagnostic(
        code("image::other-schematic"),
        help("give `schematic` and `bake-image` the same `extensions` and `kernel-args`")
    )]
    OtherSchematic {
        /// The id in `with`.
        given: String,
        /// The id of what is in `with`.
        computed: String,
    },
    /// The card would have another name.
    #[error(
        "the network card of {node} is not called {link} without the kernel argument {PLAIN_NAMES}"
    )]
    #[diagnostic(
        code("image::card-name"),
        help("add it to `[talos] kernel-args`, or say in `with.link` what the card is called")
    )]
    CardName {
        /// The machine.
        node: String,
        /// The card.
        link: String,
    },
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Task(error.into())
    }
}

impl From<Unplain> for Error {
    fn from(error: Unplain) -> Self {
        Self::Factory(error.into())
    }
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Factory(error) => error.retry(),
            Self::Task(error) => error.retry(),
            Self::Door(error) => error.retry(),
            Self::Download { .. } => Retry::Backoff,
            Self::OtherSchematic { .. } | Self::CardName { .. } => Retry::Never,
        }
    }
}

/// The image as planned.
struct Image {
    schematic: Schematic,
    /// The name of its file.
    name: String,
    /// Its volume.
    volume: String,
}

impl Params {
    fn image(&self) -> Result<Image, Error> {
        let common = Schematic::new(&self.kernel_args, &self.extensions)?;
        let computed = common.id();
        if computed != self.schematic {
            return Err(Error::OtherSchematic { given: self.schematic.clone(), computed });
        }
        let plain = self.kernel_args.iter().any(|argument| argument == PLAIN_NAMES);
        if self.link == first_card() && !plain {
            let (node, link) = (self.node.name.clone(), self.link.clone());
            return Err(Error::CardName { node, link });
        }
        let network = self.place().json();
        let meta = base16ct::lower::encode_string(&Sha256::digest(network.as_bytes()));
        let (id, meta) = (&computed[..SHORT], &meta[..SHORT]);
        let name = format!("talos-{id}-{}-{meta}.qcow2", self.version);
        let volume = format!("{}:import/{name}", self.store);
        Ok(Image { schematic: common.with_network(network)?, name, volume })
    }

    fn place(&self) -> Place<'_> {
        Place {
            name: &self.node.name,
            cidr: &self.node.cidr,
            link: &self.link,
            gateway: &self.gateway,
            nameservers: &self.nameservers,
            ntp: &self.ntp,
        }
    }
}

impl Kind for BakeImage {
    const NAME: &'static str = "bake-image";
    const EFFECT: Effect = Effect::Converge;
    const MANUAL: Manual = Manual {
        summary: "Have a node's image downloaded by its host",
        details: "Tells the factory the node's schematic, which holds its address, and has the \
                  host download the image into its import storage. The name says what is inside, \
                  so an image that is there is neither downloaded again nor replaced.",
        example: r#"
            api = "https://atlas:8006"
            ca = { file = "atlas-ca.pem" }
            token-id = "flow@pve!flow"
            token = "secret"
            call = "30s"
            store = "local"
            gateway = "10.2.0.1"
            nameservers = ["10.2.0.1", "9.9.9.9"]
            ntp = ["time.cloudflare.com"]
            factory = "https://factory.talos.dev"
            trust = []
            schematic = "7d4c31cbd96db9f90c874990697c523482b2bae27fb4631d5583dcd9c281b1ff"
            version = "v1.13.4"
            extensions = ["siderolabs/qemu-guest-agent", "siderolabs/tailscale"]
            kernel-args = ["net.ifnames=0"]

            [node]
            name = "worker0"
            role = "worker"
            cidr = "10.2.2.1/16"
            vmid = 2000
            host = "atlas"
            machine = { cores = 8, memory = "16GiB", disk = "200GiB", cpu = "host" }
        "#,
    };

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = Handle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let image = params.image()?;
        let client = params.door.enter(&params.token).await?;
        let host = &params.node.host;
        if let Some(size) = size(&client, host, &params.store, &image.volume).await? {
            let mark = Mark::Missing(Handle {
                door: params.door.clone(),
                host: host.clone(),
                store: params.store.clone(),
                volid: image.volume.clone(),
                size,
            });
            let outputs = Outputs { volume: image.volume };
            let secrets = Secrets { token: params.token.reveal().clone() };
            return Ok(Verdict::Satisfied(Found { outputs, secrets, mark }));
        }
        if downloads(&client, host, &image.name).await? {
            return Ok(Verdict::Underway(format!("{host} downloads {}", image.name)));
        }
        Ok(Verdict::Absent(Mark::Nowhere))
    }

    /// # Cancel safety
    ///
    /// Dropped, the download goes on; the next probe finds it.
    async fn apply(&self, _: &Cx, params: &Params) -> Result<(), Error> {
        let image = params.image()?;
        let factory =
            Factory::new(&params.factory, &params.trust, params.door.api.deadline).await?;
        factory.tell(&image.schematic).await?;
        let client = params.door.enter(&params.token).await?;
        let host = params.node.host.as_str();
        let url = factory.image(&image.schematic.id(), &params.version);
        let form =
            [("url", url.clone()), ("content", "import".to_owned()), ("filename", image.name)];
        let path = ["nodes", host, "storage", &params.store, "download-url"];
        let downloaded = match client.post(&path, &form).await {
            Ok(upid) => client.finish(&upid, DOWNLOAD).await,
            Err(error) => Err(error.into()),
        };
        match downloaded {
            // It is there already, perhaps by a call of ours whose reply was lost.
            Err(error) if error.says("refusing to override existing file") => Ok(()),
            Err(source @ TaskError::Failed { .. }) => {
                Err(Error::Download { host: host.to_owned(), url, source })
            }
            other => Ok(other?),
        }
    }

    async fn exists(&self, cx: &Cx, handle: &Handle) -> Result<Presence, Error> {
        let client = handle.door.open(cx).await?;
        Ok(match size(&client, &handle.host, &handle.store, &handle.volid).await? {
            None => Presence::Gone,
            Some(size) if size == handle.size => Presence::Ours,
            Some(_) => Presence::Foreign,
        })
    }

    async fn destroy(&self, cx: &Cx, handle: &Handle) -> Result<(), Error> {
        let client = handle.door.open(cx).await?;
        let Handle { host, store, volid, .. } = handle;
        if size(&client, host, store, volid).await? != Some(handle.size) {
            return Ok(());
        }
        let path = ["nodes", host, "storage", store, "content", volid];
        let upid = client.delete(&path, &[]).await?;
        Ok(client.finish(&upid, REMOVE).await?)
    }
}

/// The size of an image in an import storage; `None` if it is not there.
async fn size(
    client: &Client,
    host: &str,
    store: &str,
    volume: &str,
) -> Result<Option<u64>, ApiError> {
    let path = ["nodes", host, "storage", store, "content"];
    let rows = client.get(&path, &[("content", "import".to_owned())]).await?;
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let row = rows.iter().find(|row| row.get("volid").and_then(text).as_deref() == Some(volume));
    Ok(row.map(|row| row.get("size").and_then(number).unwrap_or(0)))
}

/// Whether a host downloads a file right now.
async fn downloads(client: &Client, host: &str, name: &str) -> Result<bool, ApiError> {
    let query = [("source", "active".to_owned()), ("typefilter", "download".to_owned())];
    let rows = client.get(&["nodes", host, "tasks"], &query).await?;
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    let id = |row: &serde_json::Value| row.get("id").and_then(text).unwrap_or_default();
    Ok(rows.iter().any(|row| row.get("endtime").is_none() && id(row).contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms_to_the_contract() {
        use crate::conformance::{Case, conforms};
        let case = Case::new(BakeImage).made_by_others("factory:GET /image/");
        conforms(&case, async |world| crate::image::planned::image(world).await).await;
    }

    /// The golden handle: what was made long ago must be found again.
    #[test]
    fn handles_of_all_releases_are_read() {
        let handle = serde_json::json!({
            "door": {
                "api": "https://atlas:8006", "ca": { "file": "atlas-ca.pem" },
                "token-id": "flow@pve!flow", "call": "30000ms",
            },
            "host": "atlas", "store": "local", "volid": "local:import/talos.qcow2", "size": 1,
        });
        let read: Handle = serde_json::from_value(handle.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), handle);
    }
}
