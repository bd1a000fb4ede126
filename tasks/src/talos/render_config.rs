//! `render-config`: computes the configuration of one machine.

use flow_engine::{
    Cx, Effect, Found, Kind, KindError, Manual, Mark, NoHandle, Presence, Retry, Secret, Settle,
    Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::bundle::{BadBundle, Bundle};
use super::documents::{BadDocuments, Documents};
use super::render::{self, Choices, MeshKey, Plan};
use super::site::{Network, Node, Talos};

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct RenderConfig;

/// What a configuration is made of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Params {
    /// The machine.
    node: Node,
    /// The site's network.
    network: Network,
    /// The site's table `talos`.
    talos: Talos,
    /// The secrets of the cluster.
    bundle: Secret<Bundle>,
    /// The API of Kubernetes as all machines dial it, as `https://10.2.3.1:6443`.
    endpoint: String,
    /// The image that an upgrade installs.
    installer: String,
    /// The disk that Talos is on.
    #[serde(default = "first_disk")]
    disk: String,
    /// The machine's network interface.
    #[serde(default = "first_link")]
    link: String,
    /// The network of pods.
    #[serde(default = "pods")]
    pods: String,
    /// The network of services.
    #[serde(default = "services")]
    services: String,
    /// The site's table `mesh`.
    #[serde(default)]
    mesh: Option<Mesh>,
    /// The key with which the machine joins the mesh; without one it does not.
    #[serde(default)]
    mesh_key: Option<Secret<String>>,
}

/// What is read of the site's table `mesh`.
#[derive(Debug, Deserialize, JsonSchema)]
struct Mesh {
    /// The coordination server.
    url: String,
    /// The networks that workers offer to the mesh.
    #[serde(default)]
    routes: Vec<String>,
}

fn first_disk() -> String {
    "/dev/sda".to_owned()
}

fn first_link() -> String {
    "eth0".to_owned()
}

fn pods() -> String {
    "10.244.0.0/16".to_owned()
}

fn services() -> String {
    "10.96.0.0/12".to_owned()
}

/// What is no secret of a configuration.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Its SHA-256, whatever the order and form of its documents, less the mesh key.
    hash: String,
}

/// What is.
#[derive(PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Secrets {
    /// The configuration: a stream of YAML documents.
    config: String,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// The endpoint is no URL.
    #[error("the endpoint `{endpoint}` is not a URL")]
    #[diagnostic(code(talos::endpoint), help("it looks like https://10.2.3.1:6443"))]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// Why not.
        source: url::ParseError,
    },
    /// Rules are broken.
    #[error("the configuration of {machine} is not sound: {}", wrong.join("; "))]
    #[diagnostic(code(talos::lint), help("correct the site file; nothing was sent to the machine"))]
    Unsound {
        /// The machine.
        machine: String,
        /// Everything that is wrong.
        wrong: Vec<String>,
    },
    /// The documents contradict each other.
    #[error("the configuration of {machine} cannot be written")]
    #[diagnostic(code(talos::render), help("this is a bug of flow"))]
    Documents {
        /// The machine.
        machine: String,
        /// Why not.
        source: BadDocuments,
    },
    /// The secrets cannot be used.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Bundle(#[from] BadBundle),
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Endpoint { .. } | Self::Unsound { .. } | Self::Documents { .. } => Retry::Never,
            Self::Bundle(error) => error.retry(),
        }
    }
}

impl Kind for RenderConfig {
    const NAME: &'static str = "render-config";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Compute and check the configuration of a machine",
        details: "Renders the documents of the cluster's contract from its secrets and the site: \
                  a static address, no DHCP, no CNI and no kube-proxy (Cilium replaces both), \
                  KubePrism, the shared API address on controllers, keys of authorities on \
                  controllers only. Then it lints them. It asks nobody and changes nothing.",
        example: r#"
node = "${each.value}"
network = "${site.network}"
talos = "${site.talos}"
bundle = "${tasks.talos-secrets.bundle}"
endpoint = "${coalesce(site.api.vip, site.api.first)}"
installer = "${tasks.schematic.installer}"
"#,
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::ZERO); // it asks nobody

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = Secrets;
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, cx: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let (hash, config) = render(cx.cluster(), params)?;
        Ok(Verdict::Satisfied(Found {
            outputs: Outputs { hash },
            secrets: Secrets { config },
            mark: Mark::Nowhere,
        }))
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), Error> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// The hash and the text of a sound configuration.
fn render(cluster: &str, params: &Params) -> Result<(String, String), Error> {
    let endpoint = Url::parse(&params.endpoint)
        .map_err(|source| Error::Endpoint { endpoint: params.endpoint.clone(), source })?;
    let bundle = params.bundle.reveal();
    bundle.check()?;
    let mesh = params.mesh_key.as_ref().map(|key| MeshKey {
        url: params.mesh.as_ref().map(|mesh| mesh.url.clone()),
        routes: params.mesh.as_ref().map(|mesh| mesh.routes.clone()).unwrap_or_default(),
        key: key.clone(),
    });
    let choices = Choices {
        endpoint,
        installer: params.installer.clone(),
        disk: params.disk.clone(),
        link: params.link.clone(),
        pods: params.pods.clone(),
        services: params.services.clone(),
        mesh,
    };
    let Params { node, network, talos, .. } = params;
    let plan = Plan { cluster, bundle, node, network, talos, choices: &choices };
    let machine = || node.name.clone();
    let rendered = plan.documents();
    let yaml = render::yaml(&rendered)
        .map_err(|_| Error::Documents { machine: machine(), source: BadDocuments::Yaml })?;
    // The rules judge what a machine will read, so the text is read back.
    let documents = Documents::parse(&yaml)
        .map_err(|source| Error::Documents { machine: machine(), source })?;
    let wrong = render::lint(&documents, &plan);
    if wrong.is_empty() {
        Ok((documents.hash(), yaml))
    } else {
        Err(Error::Unsound { machine: machine(), wrong })
    }
}

#[cfg(test)]
mod tests;
