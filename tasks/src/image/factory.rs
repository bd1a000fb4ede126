//! Talos' image factory: its two calls about schematics.

use flow_engine::{KindError, Retry};
use reqwest::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::{Host, Url};

use super::document::{Schematic, Unplain};
use crate::proxmox::Deadline;
use crate::reference::{Reference, ReferenceError};
use crate::tls;

/// How much of an answer is shown.
const TEXT: usize = 200;

/// Authorities that are trusted beside the public ones: one, or a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Trust {
    /// None.
    #[default]
    Public,
    /// One.
    One(Reference),
    /// Several.
    Many(Vec<Reference>),
}

/// A connection to an image factory.
#[derive(Debug)]
pub(super) struct Factory {
    http: reqwest::Client,
    base: Url,
}

/// Why the factory did not do what was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum FactoryError {
    /// Its address, or an authority of the site, cannot be used.
    #[error(
        "the image factory `{factory}` and what is trusted beside public authorities cannot be used"
    )]
    #[diagnostic(
        code(image::unusable),
        help("`[talos] factory` is like https://factory.talos.dev, `[trust] ca` names PEM files")
    )]
    Unusable {
        /// The factory.
        factory: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The connection failed, or the answer did not come.
    #[error("the image factory {factory} is not reachable")]
    #[diagnostic(
        code(image::unreachable),
        help("check the address, and the way out of this network")
    )]
    Unreachable {
        /// The factory.
        factory: String,
        /// What the connection saw.
        source: reqwest::Error,
    },
    /// A server error, or an answer in another form.
    #[error("the image factory {factory} failed: {answer}")]
    #[diagnostic(
        code("image::factory-failed"),
        help("it is tried again; the factory builds on demand")
    )]
    Failed {
        /// The factory.
        factory: String,
        /// Its words.
        answer: String,
    },
    /// It refuses the schematic.
    #[error("the image factory {factory} refuses the schematic: {answer}")]
    #[diagnostic(
        code(image::refused),
        help("check `[talos] extensions` and `kernel-args` in the site file")
    )]
    Refused {
        /// The factory.
        factory: String,
        /// Its words.
        answer: String,
    },
    /// It gives the schematic another id than we do.
    #[error("the image factory {factory} gives the schematic the id {theirs}, not {ours}")]
    #[diagnostic(
        code("image::other-id"),
        help("it writes schematics in another way than flow; please report it with both ids")
    )]
    OtherId {
        /// The factory.
        factory: String,
        /// Its id.
        theirs: String,
        /// Our id.
        ours: String,
    },
    /// A value makes our id doubtful.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Unplain(#[from] Unplain),
}

impl KindError for FactoryError {
    fn retry(&self) -> Retry {
        match self {
            Self::Unreachable { .. } | Self::Failed { .. } => Retry::Backoff,
            Self::Refused { .. } | Self::OtherId { .. } | Self::Unplain(_) => Retry::Never,
            Self::Unusable { .. } => Retry::Human,
        }
    }
}

impl Trust {
    async fn read(&self) -> Result<Vec<String>, ReferenceError> {
        let references = match self {
            Self::Public => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many.as_slice(),
        };
        let mut texts = Vec::new();
        for reference in references {
            texts.push(reference.read().await?.into_revealed());
        }
        Ok(texts)
    }
}

impl Factory {
    pub(super) async fn new(
        factory: &str,
        trust: &Trust,
        deadline: Deadline,
    ) -> Result<Self, FactoryError> {
        let unusable = |source| FactoryError::Unusable { factory: factory.to_owned(), source };
        let base = Url::parse(factory).map_err(|error| unusable(error.into()))?;
        let authorities = trust.read().await.map_err(|error| unusable(error.into()))?;
        let config = tls::public(&authorities).map_err(|error| unusable(error.into()))?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(deadline.get());
        match base.host() {
            Some(Host::Domain(_)) => {}
            // A proxy is for names of the world outside.
            Some(Host::Ipv4(_) | Host::Ipv6(_)) => builder = builder.no_proxy(),
            None => return Err(unusable("not a URL of a server".into())),
        }
        let http = builder.build().map_err(|error| unusable(error.into()))?;
        Ok(Self { http, base })
    }

    /// Whether the factory knows a schematic.
    pub(super) async fn knows(&self, id: &str) -> Result<bool, FactoryError> {
        let request = self.http.get(self.url(&["schematics", id]));
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.broken(error))?;
        match status {
            // Only the schematic itself is one: not the page of something between us.
            StatusCode::OK if text.starts_with("customization") => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => Err(self.failed(status, &text)),
        }
    }

    /// Tells the factory a schematic; its id must be ours. Can be repeated.
    pub(super) async fn tell(&self, schematic: &Schematic) -> Result<(), FactoryError> {
        let request = self
            .http
            .post(self.url(&["schematics"]))
            .header(reqwest::header::CONTENT_TYPE, "application/yaml")
            .body(schematic.text());
        let response = request.send().await.map_err(|error| self.broken(error))?;
        let status = response.status();
        let text = response.text().await.map_err(|error| self.broken(error))?;
        if status == StatusCode::BAD_REQUEST {
            return Err(FactoryError::Refused {
                factory: self.base.to_string(),
                answer: short(&text),
            });
        }
        let answer: Option<Value> = serde_json::from_str(&text).ok();
        let theirs = answer.as_ref().and_then(|answer| answer.get("id")).and_then(Value::as_str);
        match theirs {
            Some(theirs) if status.is_success() => self.compare(theirs, schematic.id()),
            Some(_) | None => Err(self.failed(status, &text)),
        }
    }

    fn compare(&self, theirs: &str, ours: String) -> Result<(), FactoryError> {
        if theirs == ours {
            return Ok(());
        }
        let (factory, theirs) = (self.base.to_string(), theirs.to_owned());
        Err(FactoryError::OtherId { factory, theirs, ours })
    }

    /// Where an image is downloaded from.
    pub(super) fn image(&self, id: &str, version: &str) -> String {
        self.url(&["image", id, version, "metal-amd64.qcow2"]).to_string()
    }

    /// The name of the installer's image: the factory's own registry.
    pub(super) fn installer(&self, id: &str, version: &str) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{host}{port}/metal-installer/{id}:{version}")
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .expect("`new` refuses a URL without a host")
            .pop_if_empty()
            .extend(path);
        url
    }

    fn broken(&self, error: reqwest::Error) -> FactoryError {
        FactoryError::Unreachable { factory: self.base.to_string(), source: error.without_url() }
    }

    fn failed(&self, status: StatusCode, text: &str) -> FactoryError {
        let answer = format!("{status} {}", short(text));
        FactoryError::Failed { factory: self.base.to_string(), answer }
    }
}

fn short(text: &str) -> String {
    text.trim().chars().take(TEXT).collect()
}
