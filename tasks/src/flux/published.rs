//! Manifests that others publish, taken by URL into a cache and pinned by their SHA-256 at first
//! sight.

use std::path::{Path, PathBuf};
use std::time::Duration;

use flow_engine::{KindError, Retry};
use rustls::ClientConfig;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::kubernetes::manifest;
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

/// A manifest with its SHA-256.
#[derive(Debug)]
pub(super) struct Pinned {
    /// Its objects, those first that others need.
    pub(super) objects: Vec<Value>,
    /// The digest of its text, as hexadecimal digits.
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
    /// The server does not say whether there is such a file.
    #[error("{url} cannot be had now (HTTP {status})")]
    #[diagnostic(
        code(flux::unavailable),
        help("its server may be able to deliver it later; ask it with `curl -I`")
    )]
    Unavailable {
        /// Where.
        url: String,
        /// The status.
        status: u16,
    },
    /// The server says that there is no such file.
    #[error("{url} does not exist (HTTP {status})")]
    #[diagnostic(code("flux::no-manifest"), help("check the version or URL in the site file"))]
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
    /// It is too large.
    #[error("{url} is larger than 16 MiB")]
    #[diagnostic(code("flux::too-large"), help("check the URL in the site file"))]
    TooLarge {
        /// Where.
        url: String,
    },
    /// What came is none; it is not kept.
    #[error("what {url} delivers is not a manifest")]
    #[diagnostic(code("flux::bad-manifest"), help("check `[flux] manifest` in the site file"))]
    NoManifest {
        /// Where.
        url: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
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
            // A garbled answer, or the page of a proxy: the next one may be right.
            Self::Download { .. } | Self::Unavailable { .. } | Self::NoManifest { .. } => {
                Retry::Backoff
            }
            Self::Digest { .. } | Self::Authority { .. } => Retry::Human,
            Self::Missing { .. } | Self::TooLarge { .. } | Self::Cache { .. } => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        // Nothing was asked of the cluster yet.
        true
    }
}

impl Published<'_> {
    /// The cached manifest, or a fresh download, which is then cached.
    ///
    /// Once cached it stays what it is, whatever is published later, until another digest is pinned.
    ///
    /// # Errors
    ///
    /// [`PublishedError`]; a download that is no manifest, or has another digest than the pinned
    /// one, is not kept.
    pub(super) async fn take(&self, folder: &Path) -> Result<Pinned, PublishedError> {
        let path = folder.join("cache").join(format!("{}.yaml", hex(self.url.as_bytes())));
        if let Some(cached) = self.cached(&path) {
            return Ok(cached);
        }
        let text = self.download().await?;
        let url = self.url.to_owned();
        let pinned = pinned(&text)
            .map_err(|source| PublishedError::NoManifest { url: url.clone(), source })?;
        if let Some(wanted) = self.sha256.filter(|_| !self.is_wanted(&pinned)) {
            let (found, wanted) = (pinned.sha256, wanted.to_owned());
            return Err(PublishedError::Digest { url, found, wanted });
        }
        keep(&path, &text).map_err(|source| PublishedError::Cache { path, source })?;
        Ok(pinned)
    }

    /// The cached manifest, if it is one, and the wanted one.
    fn cached(&self, path: &Path) -> Option<Pinned> {
        let text = std::fs::read_to_string(path).ok()?;
        pinned(&text).ok().filter(|pinned| self.is_wanted(pinned))
    }

    fn is_wanted(&self, pinned: &Pinned) -> bool {
        self.sha256.is_none_or(|wanted| wanted.eq_ignore_ascii_case(&pinned.sha256))
    }

    async fn download(&self) -> Result<String, PublishedError> {
        let client = self.client().await?;
        let failed = |source| PublishedError::Download { url: self.url.to_owned(), source };
        let response = client.get(self.url).send().await.map_err(failed)?;
        let url = self.url.to_owned();
        match response.status().as_u16() {
            200 => {}
            status @ (404 | 410) => return Err(PublishedError::Missing { url, status }),
            status => return Err(PublishedError::Unavailable { url, status }),
        }
        let bytes = response.bytes().await.map_err(failed)?;
        if bytes.len() > LIMIT {
            return Err(PublishedError::TooLarge { url });
        }
        String::from_utf8(bytes.into())
            .map_err(|source| PublishedError::NoManifest { url, source: Box::new(source) })
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

/// A manifest from its text; one without objects is none.
fn pinned(text: &str) -> Result<Pinned, Box<dyn std::error::Error + Send + Sync>> {
    let objects = manifest::objects(text)?;
    if objects.is_empty() {
        return Err("it has no objects".into());
    }
    Ok(Pinned { objects, sha256: hex(text.as_bytes()) })
}

/// Writes a file whole or not at all.
fn keep(path: &Path, text: &str) -> std::io::Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://127.0.0.1:9/install.yaml";
    const MANIFEST: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: flux-system}\n";

    fn published<'a>(sha256: Option<&'a str>, ca: &'a Authorities) -> Published<'a> {
        Published { url: URL, sha256, ca, call: Duration::from_millis(200) }
    }

    fn cache(folder: &Path, text: &str) {
        let path = folder.join("cache").join(format!("{}.yaml", hex(URL.as_bytes())));
        keep(&path, text).unwrap();
    }

    #[tokio::test]
    async fn what_is_cached_is_not_asked_for_again() {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authorities::default());
        cache(folder.path(), MANIFEST);
        let digest = hex(MANIFEST.as_bytes());
        for sha256 in [None, Some(digest.to_uppercase())] {
            let taken = published(sha256.as_deref(), &ca).take(folder.path()).await.unwrap();
            assert_eq!((taken.objects.len(), taken.sha256), (1, digest.clone()));
        }
    }

    #[tokio::test]
    async fn a_cached_file_that_is_broken_or_not_wanted_counts_as_none() {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authorities::default());
        let digest = hex(MANIFEST.as_bytes());
        for (text, sha256) in
            [("{\"data", None), ("", None), ("a: 1", None), ("# newer", Some(digest.as_str()))]
        {
            cache(folder.path(), text);
            // Nobody listens there, so that it was asked for is seen by the failure.
            let error = published(sha256, &ca).take(folder.path()).await.unwrap_err();
            assert!(matches!(error, PublishedError::Download { .. }), "{text}: {error}");
            assert_eq!(error.retry(), Retry::Backoff);
        }
    }
}
