//! The secrets of a site: one age file, read and written as a whole.
//!
//! A missing file means that there are no secrets yet. A file that cannot be read is an error,
//! never "none", and is never written over.

mod error;
mod file;
mod identity;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use age::secrecy::ExposeSecret;
use flow_engine::journal::{SecretWrite, Vault};
use flow_engine::{Failure, InstanceName, Secret};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::Sha256;

pub use error::VaultError;
pub use identity::Identity;

use crate::dir::SiteDir;

/// The version of the content's form.
const VERSION: u32 = 1;

/// Where the vault of a site lies, and who can read it.
#[derive(Debug, Clone)]
pub struct VaultPlace {
    /// The site's name.
    pub site: String,
    /// The vault itself.
    pub file: PathBuf,
    /// Where earlier vaults are kept.
    pub backups: PathBuf,
    /// The file of the age identity that opens it.
    pub identity: PathBuf,
    /// Whether a missing identity is made, as for sites that hold nothing of worth.
    pub create_identity: bool,
    /// Who else can open it, as age recipients.
    pub recipients: Vec<String>,
}

impl VaultPlace {
    /// The usual place, with one reader.
    #[must_use]
    pub fn of(dir: &SiteDir, identity: PathBuf) -> Self {
        Self {
            site: dir.site().to_owned(),
            file: dir.vault(),
            backups: dir.backups(),
            identity,
            create_identity: false,
            recipients: Vec::new(),
        }
    }
}

/// The vault of one site. Touches no file before it is asked for something.
#[derive(Debug)]
pub struct SiteVault {
    place: VaultPlace,
    opened: Mutex<Opened>,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Opened {
    identity: Option<Identity>,
    contents: Option<Contents>,
}

/// The instance's secrets, by name.
type Named = BTreeMap<String, Value>;

/// What the file holds. Shown and logged by nobody.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
struct Contents {
    version: u32,
    /// By workflow, then by instance.
    secrets: BTreeMap<String, BTreeMap<InstanceName, Named>>,
}

impl std::fmt::Debug for Contents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Default for Contents {
    fn default() -> Self {
        Self { version: VERSION, secrets: BTreeMap::new() }
    }
}

impl SiteVault {
    /// The vault at a place.
    #[must_use]
    pub fn new(place: VaultPlace) -> Self {
        Self { place, opened: Mutex::default() }
    }

    /// The vault as a workflow sees it: by instance and name.
    #[must_use]
    pub fn of(self: &Arc<Self>, workflow: &str) -> WorkflowVault {
        WorkflowVault { vault: Arc::clone(self), workflow: workflow.to_owned() }
    }

    /// Every secret of the site, for what must never show one.
    ///
    /// # Errors
    ///
    /// The vault exists and cannot be read.
    pub fn all(&self) -> Result<Vec<Secret<Value>>, VaultError> {
        self.with_contents(|contents| {
            let of_workflows = contents.secrets.values().flat_map(BTreeMap::values);
            of_workflows.flat_map(BTreeMap::values).cloned().map(Secret::new).collect()
        })
    }

    /// Makes secrets durable. Writes only if a value changed.
    ///
    /// # Errors
    ///
    /// [`VaultError`]; nothing was overwritten then.
    pub(crate) fn put(&self, workflow: &str, writes: Vec<SecretWrite>) -> Result<(), VaultError> {
        let mut opened = self.open_contents()?;
        let Opened { identity: _, contents } = &*opened;
        let before = contents.clone().unwrap_or_default();
        let mut after = before.clone();
        let of_workflow = after.secrets.entry(workflow.to_owned()).or_default();
        for SecretWrite { instance, name, value } in writes {
            of_workflow.entry(instance).or_default().insert(name, value.into_revealed());
        }
        if after == before {
            return Ok(());
        }
        let identity = self.identity(&mut opened)?;
        let recipients = identity.recipients(&self.place.recipients)?;
        let plain = serde_json::to_vec(&after).expect("secrets have string keys only");
        file::write(&self.place, &recipients, &plain)?;
        opened.contents = Some(after);
        Ok(())
    }

    fn with_contents<T>(&self, ask: impl FnOnce(&Contents) -> T) -> Result<T, VaultError> {
        let opened = self.open_contents()?;
        let none = Contents::default();
        Ok(ask(opened.contents.as_ref().unwrap_or(&none)))
    }

    /// Reads the file, if there is one and nobody has yet.
    fn open_contents(&self) -> Result<MutexGuard<'_, Opened>, VaultError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.contents.is_some() {
            return Ok(opened);
        }
        let Some(sealed) = file::read(&self.place.file)? else { return Ok(opened) };
        let identity = self.identity(&mut opened)?;
        let path = &self.place.file;
        let plain = identity.decrypt(&sealed).map_err(|source| VaultError::Unreadable {
            path: path.clone(),
            source: Box::new(source),
        })?;
        // A parser's words could quote a secret, so they are not passed on.
        let nonsense =
            |why: &str| VaultError::Unreadable { path: path.clone(), source: why.into() };
        let contents: Contents = serde_json::from_slice(&plain)
            .map_err(|_| nonsense("its content has an unknown form"))?;
        if contents.version != VERSION {
            return Err(nonsense("its content is of a later version of flow"));
        }
        opened.contents = Some(contents);
        Ok(opened)
    }

    /// The identity, read once; made only where nothing was sealed for a lost one.
    fn identity(&self, opened: &mut Opened) -> Result<Identity, VaultError> {
        if let Some(identity) = &opened.identity {
            return Ok(identity.clone());
        }
        let path = &self.place.identity;
        let may_create = self.place.create_identity && file::read(&self.place.file)?.is_none();
        let identity =
            if may_create { Identity::load_or_create(path) } else { Identity::load(path) }?;
        opened.identity = Some(identity.clone());
        Ok(identity)
    }

    fn digest(&self, value: &Value) -> Result<String, VaultError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = self.identity(&mut opened)?;
        drop(opened);
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(
            Some(self.place.site.as_bytes()),
            identity.key().expose_secret().as_bytes(),
        )
        .expand(b"flow secret digest 1", &mut key)
        .expect("32 bytes are a legal length");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key may have any length");
        let mut text = Vec::new();
        write_canonical(value, &mut text);
        mac.update(&text);
        Ok(base16ct::lower::encode_string(&mac.finalize().into_bytes()))
    }
}

/// The secrets of one workflow of a site.
#[derive(Debug, Clone)]
pub struct WorkflowVault {
    vault: Arc<SiteVault>,
    workflow: String,
}

impl Vault for WorkflowVault {
    fn secret(
        &self,
        instance: &InstanceName,
        name: &str,
    ) -> Result<Option<Secret<Value>>, Failure> {
        let found = self.vault.with_contents(|contents| {
            contents.secrets.get(&self.workflow)?.get(instance)?.get(name).cloned()
        });
        Ok(found?.map(Secret::new))
    }

    fn digest(&self, value: &Value) -> Result<String, Failure> {
        Ok(self.vault.digest(value)?)
    }
}

/// JSON with sorted keys, however the map type that holds them sorts.
fn write_canonical(value: &Value, text: &mut Vec<u8>) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            serde_json::to_writer(text, value).expect("memory takes every scalar");
        }
        Value::Array(items) => {
            text.push(b'[');
            for item in items {
                write_canonical(item, text);
                text.push(b',');
            }
            text.push(b']');
        }
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            text.push(b'{');
            for (name, field) in sorted {
                serde_json::to_writer(&mut *text, name).expect("memory takes every string");
                text.push(b':');
                write_canonical(field, text);
                text.push(b',');
            }
            text.push(b'}');
        }
    }
}

#[cfg(test)]
mod tests;
