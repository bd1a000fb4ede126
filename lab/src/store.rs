//! The world's durable documents: one file, one table, JSON values.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde::{Serialize, de::DeserializeOwned};

use crate::counts::{self, Count};

/// Every document of the world by (collection, key).
const DOCUMENTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("documents");
/// The collection of counts.
const COUNTS: &str = "counts";

/// The world's file could not be read or written.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum StoreError {
    /// The file cannot be opened.
    #[error("the lab's world {path} cannot be opened")]
    #[diagnostic(
        code("lab::world-unreadable"),
        help("`flow lab reset` starts again with an empty world")
    )]
    Open {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A transaction failed.
    #[error("the lab's world cannot be read or written")]
    #[diagnostic(
        code("lab::world-failed"),
        help("look whether the disk is full; `flow lab reset` starts again with an empty world")
    )]
    Transaction {
        /// Why.
        #[source]
        source: Box<redb::Error>,
    },
    /// A document is not what this version writes.
    #[error("the document {collection}/{key} of the lab's world is of another version")]
    #[diagnostic(
        code("lab::world-outdated"),
        help("`flow lab reset` starts again with an empty world")
    )]
    Document {
        /// Its collection.
        collection: String,
        /// Its key.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

fn failed(source: impl Into<redb::Error>) -> StoreError {
    StoreError::Transaction { source: Box::new(source.into()) }
}

/// Durable documents. A clone is the same store.
#[derive(Debug, Clone)]
pub(crate) struct Store(Arc<Database>);

impl Store {
    /// Opens the file, or makes it. No other process may have it open.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let opened = Database::create(path).map_err(|source| StoreError::Open {
            path: path.display().to_string(),
            source: Box::new(source.into()),
        })?;
        let store = Self(Arc::new(opened));
        store.commit(Changes::default())?;
        Ok(store)
    }

    /// All documents of a collection.
    pub(crate) fn load<T: DeserializeOwned>(
        &self,
        collection: &str,
    ) -> Result<BTreeMap<String, T>, StoreError> {
        let reading = self.0.begin_read().map_err(failed)?;
        let table = reading.open_table(DOCUMENTS).map_err(failed)?;
        let mut documents = BTreeMap::new();
        for row in table.range((collection, "")..).map_err(failed)? {
            let (at, value) = row.map_err(failed)?;
            let (found, key) = at.value();
            if found != collection {
                break;
            }
            let document = serde_json::from_slice(value.value()).map_err(|source| {
                StoreError::Document { collection: found.to_owned(), key: key.to_owned(), source }
            })?;
            documents.insert(key.to_owned(), document);
        }
        Ok(documents)
    }

    /// Writes all changes or none; they are on disk when this returns.
    pub(crate) fn commit(&self, changes: Changes) -> Result<(), StoreError> {
        let writing = self.0.begin_write().map_err(failed)?;
        {
            let mut table = writing.open_table(DOCUMENTS).map_err(failed)?;
            for (collection, key, change) in changes.0 {
                let at = (collection.as_str(), key.as_str());
                match change {
                    Change::Put(value) => {
                        table.insert(at, value.as_slice()).map_err(failed)?;
                    }
                    Change::Delete => {
                        table.remove(at).map_err(failed)?;
                    }
                    Change::Count => {
                        let before = table.get(at).map_err(failed)?.map_or(0, |value| {
                            serde_json::from_slice::<u64>(value.value()).unwrap_or(0)
                        });
                        let after = (before + 1).to_string();
                        table.insert(at, after.as_bytes()).map_err(failed)?;
                    }
                }
            }
        }
        writing.commit().map_err(failed)
    }

    /// Every count so far.
    pub(crate) fn counts(&self) -> Result<Vec<Count>, StoreError> {
        let counts = self.load::<u64>(COUNTS)?;
        Ok(counts.iter().filter_map(|(key, times)| counts::from_key(key, *times)).collect())
    }
}

#[derive(Debug)]
enum Change {
    Put(Vec<u8>),
    Delete,
    Count,
}

/// Changes that are written together.
#[derive(Debug, Default)]
pub(crate) struct Changes(Vec<(String, String, Change)>);

impl Changes {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Writes a document in place of the one with this key.
    #[must_use]
    pub(crate) fn put(mut self, collection: &str, key: &str, document: &impl Serialize) -> Self {
        let value = serde_json::to_vec(document)
            .expect("the lab's documents have string keys and no failing serializers");
        self.0.push((collection.to_owned(), key.to_owned(), Change::Put(value)));
        self
    }

    /// Removes a document; none with this key is fine.
    #[must_use]
    pub(crate) fn delete(mut self, collection: &str, key: &str) -> Self {
        self.0.push((collection.to_owned(), key.to_owned(), Change::Delete));
        self
    }

    /// Counts one write that a client asked for.
    #[must_use]
    pub(crate) fn count(mut self, system: &str, object: &str, verb: &str) -> Self {
        let key = counts::key(system, object, verb);
        self.0.push((COUNTS.to_owned(), key, Change::Count));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_and_counts_survive_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("world.redb");
        let store = Store::open(&path).unwrap();
        let changes = Changes::new()
            .put("vm", "1", &"one")
            .put("vm", "2", &"two")
            .put("vmx", "3", &"three")
            .count("proxmox", "vm/1", "create")
            .count("proxmox", "vm/1", "create");
        store.commit(changes).unwrap();
        store.commit(Changes::new().delete("vm", "2")).unwrap();
        drop(store);

        let store = Store::open(&path).unwrap();
        let documents: BTreeMap<String, String> = store.load("vm").unwrap();
        assert_eq!(documents, BTreeMap::from([("1".to_owned(), "one".to_owned())]));
        assert_eq!(store.counts().unwrap()[0].times, 2);
    }

    #[test]
    fn a_document_of_another_version_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("world.redb")).unwrap();
        store.commit(Changes::new().put("vm", "1", &"one")).unwrap();
        assert!(matches!(store.load::<u64>("vm"), Err(StoreError::Document { .. })));
    }
}
