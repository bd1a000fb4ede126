//! The objects of one cluster: in memory, written through to the world's store, with the history that watches need.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::json::{name, namespace, set_meta, text};
use crate::store::{Changes, Store, StoreError};

/// How many changes a watch may lag behind before it is too old.
const HISTORY: usize = 8192;
/// The key of the document that holds the revision.
const REVISION: &str = "revision";

/// Namespace and name; the namespace of cluster-wide objects is empty.
type Place = (String, String);

/// Reading objects.
pub(crate) trait View {
    /// One object.
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>>;
    /// Every object of a resource, by namespace and name.
    fn list(&self, resource: &str) -> Vec<Arc<Value>>;
    /// The objects of a resource in one namespace, by name.
    fn list_in(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>>;
}

/// What happened to an object.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// The revision that the change made.
    pub(crate) revision: u64,
    /// The resource, `apps/deployments`.
    pub(crate) resource: String,
    /// The object before, none if it is new.
    pub(crate) before: Option<Arc<Value>>,
    /// The object after, none if it is gone.
    pub(crate) after: Option<Arc<Value>>,
    /// The object as a watch shows it: after the change, or as it was last with the revision of its deletion.
    pub(crate) shown: Arc<Value>,
}

/// All objects of a cluster.
#[derive(Debug)]
pub(crate) struct Objects {
    tables: BTreeMap<String, BTreeMap<Place, Arc<Value>>>,
    revision: u64,
    floor: u64,
    history: VecDeque<Event>,
}

fn collections(etcd: &str) -> (String, String) {
    (format!("kubernetes/{etcd}/objects"), format!("kubernetes/{etcd}"))
}

fn document_key(resource: &str, place: &Place) -> String {
    format!("{resource}|{}|{}", place.0, place.1)
}

impl Objects {
    /// Reads the objects of an etcd cluster; none if it is new.
    pub(crate) fn load(store: &Store, etcd: &str) -> Result<Self, StoreError> {
        let (objects, meta) = collections(etcd);
        let mut tables: BTreeMap<String, BTreeMap<Place, Arc<Value>>> = BTreeMap::new();
        for (key, value) in store.load::<Value>(&objects)? {
            let resource = key.split('|').next().unwrap_or_default().to_owned();
            let place = (namespace(&value).to_owned(), name(&value).to_owned());
            tables.entry(resource).or_default().insert(place, Arc::new(value));
        }
        let revision = store.load::<u64>(&meta)?.get(REVISION).copied().unwrap_or_default();
        Ok(Self { tables, revision, floor: revision, history: VecDeque::new() })
    }

    /// Whether nothing was ever stored.
    pub(crate) fn is_new(&self) -> bool {
        self.revision == 0
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// The changes after a revision, none if some of them are forgotten.
    pub(crate) fn since(&self, revision: u64) -> Option<impl Iterator<Item = &Event>> {
        if revision < self.floor {
            return None;
        }
        let start = self.history.partition_point(|e| e.revision <= revision);
        Some(self.history.range(start..))
    }

    /// The oldest revision that a watch may start from.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    /// Begins a transaction: everything in it is stored at once, or nothing is.
    pub(crate) fn begin(&mut self) -> Tx<'_> {
        let started = self.revision;
        Tx { objects: self, undo: Vec::new(), events: Vec::new(), counts: Vec::new(), started }
    }
}

impl View for Objects {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.tables.get(resource)?.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.tables.get(resource).map(|t| t.values().cloned().collect()).unwrap_or_default()
    }

    fn list_in(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let Some(table) = self.tables.get(resource) else {
            return Vec::new();
        };
        table
            .range((namespace.to_owned(), String::new())..)
            .take_while(|((ns, _), _)| ns == namespace)
            .map(|(_, v)| v.clone())
            .collect()
    }
}

/// A place in a transaction.
#[derive(Debug)]
pub(crate) struct Mark {
    undo: usize,
    events: usize,
    counts: usize,
    revision: u64,
}

/// A transaction. Dropped without [`Tx::commit`] it changes nothing.
#[derive(Debug)]
pub(crate) struct Tx<'a> {
    objects: &'a mut Objects,
    undo: Vec<(String, Place, Option<Arc<Value>>)>,
    events: Vec<Event>,
    counts: Vec<(String, &'static str)>,
    started: u64,
}

impl Tx<'_> {
    /// The revision of the last change, this transaction's included.
    pub(crate) fn revision(&self) -> u64 {
        self.objects.revision
    }

    /// Where the transaction stands, for [`Tx::back_to`].
    pub(crate) fn mark(&self) -> Mark {
        Mark {
            undo: self.undo.len(),
            events: self.events.len(),
            counts: self.counts.len(),
            revision: self.revision(),
        }
    }

    /// Takes back everything since a mark of this transaction.
    pub(crate) fn back_to(&mut self, mark: &Mark) {
        for (resource, place, before) in self.undo.drain(mark.undo..).rev() {
            restore(self.objects, resource, place, before);
        }
        self.events.truncate(mark.events);
        self.counts.truncate(mark.counts);
        self.objects.revision = mark.revision;
    }

    /// Every resource that has objects.
    pub(crate) fn resources(&self) -> Vec<String> {
        self.objects.tables.iter().filter(|(_, t)| !t.is_empty()).map(|(r, _)| r.clone()).collect()
    }

    /// Every resource that has objects and is not a built-in one.
    pub(crate) fn custom_resources(&self) -> Vec<String> {
        let mut all = self.resources();
        all.retain(|r| {
            !super::registry::is_built_in_group(r.split('/').next().unwrap_or_default())
        });
        all
    }

    /// Counts a write that a client asked for; the object is `GROUP/RESOURCE/NAMESPACE/NAME`.
    pub(crate) fn count(&mut self, resource: &str, object: &Value, verb: &'static str) {
        let parts = [resource, namespace(object), name(object)];
        let named = parts.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("/");
        self.counts.push((named, verb));
    }

    /// Stores an object as it is, with a new revision; answers it as stored.
    pub(crate) fn put(&mut self, resource: &str, mut object: Value) -> Arc<Value> {
        self.objects.revision += 1;
        set_meta(&mut object, "resourceVersion", self.objects.revision.to_string());
        let place = (namespace(&object).to_owned(), name(&object).to_owned());
        let object = Arc::new(object);
        let table = self.objects.tables.entry(resource.to_owned()).or_default();
        let before = table.insert(place.clone(), object.clone());
        self.undo.push((resource.to_owned(), place, before.clone()));
        self.events.push(Event {
            revision: self.objects.revision,
            resource: resource.to_owned(),
            before,
            after: Some(object.clone()),
            shown: object.clone(),
        });
        object
    }

    /// Stores a new object with uid, time and generation, as the world's own controllers make them.
    pub(crate) fn make(&mut self, resource: &str, mut object: Value) -> Arc<Value> {
        super::admission::stamp_new(&mut object);
        self.put(resource, object)
    }

    /// Changes an object; nothing is stored if it stays the same. Answers whether it changed.
    pub(crate) fn change(
        &mut self,
        resource: &str,
        at: (&str, &str),
        with: impl FnOnce(&mut Value),
    ) -> bool {
        let Some(old) = self.objects.get(resource, at.0, at.1) else {
            return false;
        };
        let mut new = Value::clone(&old);
        with(&mut new);
        if new == *old {
            return false;
        }
        self.put(resource, new);
        true
    }

    /// Takes an object away at once, whatever its finalizers say.
    pub(crate) fn remove(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
    ) -> Option<Arc<Value>> {
        let place = (namespace.to_owned(), name.to_owned());
        let before = self.objects.tables.get_mut(resource)?.remove(&place)?;
        self.objects.revision += 1;
        let mut last = Value::clone(&before);
        set_meta(&mut last, "resourceVersion", self.objects.revision.to_string());
        let shown = Arc::new(last);
        self.undo.push((resource.to_owned(), place, Some(before.clone())));
        self.events.push(Event {
            revision: self.objects.revision,
            resource: resource.to_owned(),
            before: Some(before),
            after: None,
            shown: shown.clone(),
        });
        Some(shown)
    }

    /// Writes the transaction to the store and lets watches see it. On an error nothing has changed.
    pub(crate) fn commit(mut self, store: &Store, etcd: &str) -> Result<(), StoreError> {
        if self.undo.is_empty() && self.counts.is_empty() {
            return Ok(());
        }
        let (objects, meta) = collections(etcd);
        let mut changes = Changes::new();
        let touched: BTreeSet<(String, Place)> =
            self.undo.iter().map(|(r, p, _)| (r.clone(), p.clone())).collect();
        for (resource, place) in touched {
            let key = document_key(&resource, &place);
            changes = match self.objects.tables.get(&resource).and_then(|t| t.get(&place)) {
                Some(object) => changes.put(&objects, &key, &**object),
                None => changes.delete(&objects, &key),
            };
        }
        if !self.undo.is_empty() {
            changes = changes.put(&meta, REVISION, &self.objects.revision);
        }
        for (object, verb) in &self.counts {
            changes = changes.count("kubernetes", object, verb);
        }
        store.commit(changes)?;
        self.undo.clear();
        self.objects.history.extend(self.events.drain(..));
        while self.objects.history.len() > HISTORY {
            if let Some(event) = self.objects.history.pop_front() {
                self.objects.floor = event.revision;
            }
        }
        Ok(())
    }
}

impl Drop for Tx<'_> {
    fn drop(&mut self) {
        if self.undo.is_empty() {
            return;
        }
        for (resource, place, before) in self.undo.drain(..).rev() {
            restore(self.objects, resource, place, before);
        }
        self.objects.revision = self.started;
    }
}

fn restore(objects: &mut Objects, resource: String, place: Place, before: Option<Arc<Value>>) {
    let table = objects.tables.entry(resource).or_default();
    match before {
        Some(object) => table.insert(place, object),
        None => table.remove(&place),
    };
}

impl View for Tx<'_> {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects.get(resource, namespace, name)
    }

    fn list(&self, resource: &str) -> Vec<Arc<Value>> {
        self.objects.list(resource)
    }

    fn list_in(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.objects.list_in(resource, namespace)
    }
}

/// Records an event about an object, as controllers do; the same one again raises its count.
pub(crate) fn record(tx: &mut Tx<'_>, about: &Value, kind: &str, why: (&str, &str), source: &str) {
    let space = if namespace(about).is_empty() { "default" } else { namespace(about) };
    let same = tx.list_in("core/events", space).into_iter().find(|e| {
        text(e, "/involvedObject/uid") == super::json::uid(about)
            && text(e, "/reason") == why.0
            && text(e, "/message") == why.1
    });
    let now = super::json::now();
    if let Some(same) = same {
        let count = super::json::number(&same, "/count") + 1;
        tx.change("core/events", (space, name(&same)), |e| {
            e["count"] = json!(count);
            e["lastTimestamp"] = json!(now);
        });
        return;
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    tx.make(
        "core/events",
        json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": { "name": format!("{}.{}", name(about), &id[..16]), "namespace": space },
            "involvedObject": {
                "apiVersion": text(about, "/apiVersion"), "kind": text(about, "/kind"), "name": name(about),
                "namespace": namespace(about), "uid": super::json::uid(about),
            },
            "type": kind, "reason": why.0, "message": why.1, "count": 1, "source": { "component": source },
            "firstTimestamp": now, "lastTimestamp": now, "reportingComponent": source, "reportingInstance": "",
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("world.redb")).unwrap();
        (folder, store)
    }

    fn thing(name: &str) -> Value {
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name, "namespace": "n" } })
    }

    #[test]
    fn a_dropped_transaction_changes_nothing() {
        let (_folder, store) = store();
        let mut objects = Objects::load(&store, "e").unwrap();
        let mut tx = objects.begin();
        tx.put("core/configmaps", thing("a"));
        tx.commit(&store, "e").unwrap();
        let mut tx = objects.begin();
        tx.remove("core/configmaps", "n", "a");
        tx.put("core/configmaps", thing("b"));
        drop(tx);
        assert_eq!(objects.list("core/configmaps").len(), 1);
        assert_eq!(objects.revision(), 1);
        assert_eq!(objects.since(0).unwrap().count(), 1);
    }

    #[test]
    fn objects_survive_but_history_does_not() {
        let (_folder, store) = store();
        let mut objects = Objects::load(&store, "e").unwrap();
        let mut tx = objects.begin();
        tx.put("core/configmaps", thing("a"));
        tx.put("core/configmaps", thing("b"));
        tx.remove("core/configmaps", "n", "a");
        tx.commit(&store, "e").unwrap();
        let again = Objects::load(&store, "e").unwrap();
        assert_eq!(again.revision(), 3);
        assert!(again.since(1).is_none());
        assert_eq!(again.list_in("core/configmaps", "n").len(), 1);
        assert!(Objects::load(&store, "other").unwrap().is_new());
    }
}
