//! What others publish, taken by URL into a cache and pinned by its SHA-256 at first sight.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_engine::{KindError, Retry};
use rustls::ClientConfig;
use sha2::{Digest, Sha256};

use crate::reference::{Authorities, ReferenceError};
use crate::tls;

/// The most that is downloaded, in bytes; Flux's own manifest has less than 1 MiB.
const LIMIT: usize = 16 << 20;

/// A published file.
pub(super) struct Published<'a> {
    /// Where it is.
    pub(super) url: &'a str,
    /// Its SHA-256, if known beforehand.
    pub(super) sha256: Option<&'a str>,
    /// Authorities beside those of the system.
    pub(super) ca: &'a Authorities,
    /// The deadline of the download.
    pub(super) call: Duration,
}

/// A text with its SHA-256, as hexadecimal digits.
pub(super) struct Pinned {
    /// The text.
    pub(super) text: String,
    /// Its digest.
    pub(super) sha256: String,
}

/// Why it could not be taken.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum PublishedError {
    /// The server did not deliver.
    #[error("{url} cannot be downloaded")]
    #[diagnostic(code(flux::download), help("check the URL, and that this machine reaches it"))]
    Download {
        /// Where.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// The server says that there is no such file.
    #[error("{url} does not exist (HTTP {status})")]
    #[diagnostic(code(flux::no_manifest), help("check the version or URL in the site file"))]
    Missing {
        /// Where.
        url: String,
        /// The status.
        status: u16,
    },
    /// It is not what it was.
    #[error("{url} has the SHA-256 {found}, and {wanted} was pinned")]
    #[diagnostic(
        code(flux::digest),
        help("somebody changed a published file: compare both before you pin the new one")
    )]
    Digest {
        /// Where.
        url: String,
        /// What was downloaded.
        found: String,
        /// What was expected.
        wanted: String,
    },
    /// It is no text, or too large.
    #[error("{url} is not a manifest: {why}")]
    #[diagnostic(code(flux::no_text), help("check the URL in the site file"))]
    NoText {
        /// Where.
        url: String,
        /// What is wrong.
        why: &'static str,
    },
    /// The cache cannot be written.
    #[error("{} cannot be written", path.display())]
    #[diagnostic(code(flux::cache), help("check the space and the rights of the folder"))]
    Cache {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An authority of the site cannot be read.
    #[error("an authority of `trust.ca` cannot be read")]
    #[diagnostic(code(site::reference), help("check `[trust] ca` in the site file"))]
    Authority {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl KindError for PublishedError {
    fn retry(&self) -> Retry {
        match self {
            Self::Download { .. } => Retry::Backoff,
            Self::Missing { status, .. } if *status >= 500 => Retry::Backoff,
            Self::Digest { .. } | Self::Authority { .. } => Retry::Human,
            Self::Missing { .. } | Self::NoText { .. } | Self::Cache { .. } => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        // Nothing was asked of the cluster yet.
        true
    }
}

impl Published<'_> {
    /// The cached file, or a fresh download, which is then cached under its digest.
    ///
    /// # Errors
    ///
    /// [`PublishedError`]; a download of another digest than the pinned one is not kept.
    pub(super) async fn take(&self, folder: &Path) -> Result<Pinned, PublishedError> {
        let path = folder.join("cache").join(format!("{}.yaml", hex(self.url.as_bytes())));
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(_) => self.download().await?,
        };
        let sha256 = hex(text.as_bytes());
        if let Some(wanted) = self.sha256.filter(|wanted| !wanted.eq_ignore_ascii_case(&sha256)) {
            let (url, wanted) = (self.url.to_owned(), wanted.to_owned());
            return Err(PublishedError::Digest { url, found: sha256, wanted });
        }
        keep(&path, &text).map_err(|source| PublishedError::Cache { path, source })?;
        Ok(Pinned { text, sha256 })
    }

    async fn download(&self) -> Result<String, PublishedError> {
        let client = self.client().await?;
        let failed = |source| PublishedError::Download { url: self.url.to_owned(), source };
        let response = client.get(self.url).send().await.map_err(failed)?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(PublishedError::Missing { url: self.url.to_owned(), status });
        }
        let bytes = response.bytes().await.map_err(failed)?;
        let no_text = |why| PublishedError::NoText { url: self.url.to_owned(), why };
        if bytes.len() > LIMIT {
            return Err(no_text("it is larger than 16 MiB"));
        }
        String::from_utf8(bytes.into()).map_err(|_| no_text("it is not UTF-8"))
    }

    async fn client(&self) -> Result<reqwest::Client, PublishedError> {
        let pem = self.ca.read().await.map_err(|source: ReferenceError| {
            PublishedError::Authority { source: Box::new(source) }
        })?;
        let config: ClientConfig = tls::public(pem.as_slice())
            .map_err(|source| PublishedError::Authority { source: Box::new(source) })?;
        reqwest::Client::builder()
            .tls_backend_preconfigured(config)
            .timeout(self.call)
            .build()
            .map_err(|source| PublishedError::Download { url: self.url.to_owned(), source })
    }
}

/// Writes a file whole or not at all.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let folder = path.parent().expect("a cached file is in the cache");
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    std::io::Write::write_all(&mut file, text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(bytes))
}
