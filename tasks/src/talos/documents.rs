//! Machine configurations as a set of documents that can be compared.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// The name of the document without a kind.
const MAIN: &str = "v1alpha1";
/// The entry of the environment that is spent after the first use.
const SPENT: &str = "TS_AUTHKEY=";
/// What an upgrade changes, which is therefore not compared.
const OWNED_BY_UPGRADES: [&[&str]; 7] = [
    &["machine", "install", "image"],
    &["machine", "kubelet", "image"],
    &["cluster", "apiServer", "image"],
    &["cluster", "controllerManager", "image"],
    &["cluster", "scheduler", "image"],
    &["cluster", "proxy", "image"],
    &["cluster", "etcd", "image"],
];

/// The documents of a configuration by kind and name.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Documents(BTreeMap<String, Value>);

/// A text that is no configuration.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadDocuments {
    /// It is not YAML. The text is not quoted, for it holds secrets.
    #[error("it is not YAML")]
    Yaml,
    /// Two documents have the same kind and name.
    #[error("it has two documents `{0}`")]
    Twice(String),
}

impl Documents {
    /// Reads a stream of YAML documents, or a YAML string of such a stream.
    pub(super) fn parse(yaml: &str) -> Result<Self, BadDocuments> {
        let mut documents = BTreeMap::new();
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let value = Value::deserialize(document).map_err(|_| BadDocuments::Yaml)?;
            match value {
                Value::Null => {}
                Value::String(inner) if documents.is_empty() => return Self::parse(&inner),
                Value::Object(_) => {
                    let name = name(&value);
                    if documents.insert(name.clone(), pruned(value)).is_some() {
                        return Err(BadDocuments::Twice(name));
                    }
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    return Err(BadDocuments::Yaml);
                }
            }
        }
        Ok(Self(documents))
    }

    /// The document of a kind and name; `None` where there is none.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The document without a kind.
    pub(super) fn main(&self) -> &Value {
        self.0.get(MAIN).unwrap_or(&Value::Null)
    }

    /// The names of all documents.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The SHA-256 of the documents, whatever their order and form, less the spent key.
    pub(super) fn hash(&self) -> String {
        let mut text = String::new();
        for (name, document) in &without_spent_key(self).0 {
            canonical(&mut text, &Value::String(name.clone()));
            canonical(&mut text, document);
        }
        base16ct::lower::encode_string(&Sha256::digest(text.as_bytes()))
    }

    /// The places where a live configuration differs from this one. Never their values.
    ///
    /// What upgrades change and the spent key are not compared.
    pub(super) fn differences(&self, live: &Self) -> Vec<String> {
        let (wanted, live) = (comparable(self), comparable(live));
        let mut places = Vec::new();
        for name in
            wanted.0.keys().chain(live.0.keys().filter(|name| !wanted.0.contains_key(*name)))
        {
            match (wanted.0.get(name), live.0.get(name)) {
                (Some(wanted), Some(live)) => compare(name, wanted, live, &mut places),
                (Some(_), None) => places.push(format!("{name} (missing)")),
                (None, _) => places.push(format!("{name} (not declared)")),
            }
        }
        places
    }
}

fn name(document: &Value) -> String {
    let field = |key: &str| document.get(key).and_then(Value::as_str);
    match (field("kind"), field("name")) {
        (None, _) => MAIN.to_owned(),
        (Some(kind), None) => kind.to_owned(),
        (Some(kind), Some(name)) => format!("{kind}/{name}"),
    }
}

/// Without what is empty: Talos leaves it out when it writes a configuration itself.
fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, pruned(value)));
            Value::Object(fields.filter(|(_, value)| !is_empty(value)).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn comparable(documents: &Documents) -> Documents {
    let mut documents = without_spent_key(documents);
    if let Some(main) = documents.0.get_mut(MAIN) {
        for path in OWNED_BY_UPGRADES {
            remove(main, path);
        }
        *main = pruned(main.take());
    }
    documents
}

fn without_spent_key(documents: &Documents) -> Documents {
    let mut documents = documents.clone();
    for document in documents.0.values_mut() {
        if let Some(environment) = document.get_mut("environment").and_then(Value::as_array_mut) {
            environment.retain(|entry| !entry.as_str().is_some_and(|e| e.starts_with(SPENT)));
        }
    }
    documents
}

fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, above)) = path.split_last() else { return };
    let mut place = value;
    for key in above {
        let Some(next) = place.get_mut(*key) else { return };
        place = next;
    }
    if let Some(fields) = place.as_object_mut() {
        fields.remove(*last);
    }
}

fn compare(place: &str, wanted: &Value, live: &Value, places: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => compare_fields(place, wanted, live, places),
        (wanted, live) if wanted == live => {}
        (_, _) => places.push(place.to_owned()),
    }
}

fn compare_fields(
    place: &str,
    wanted: &Map<String, Value>,
    live: &Map<String, Value>,
    places: &mut Vec<String>,
) {
    let more = live.keys().filter(|key| !wanted.contains_key(*key));
    for key in wanted.keys().chain(more) {
        let below = format!("{place}.{key}");
        match (wanted.get(key), live.get(key)) {
            (Some(wanted), Some(live)) => compare(&below, wanted, live, places),
            (_, _) => places.push(below),
        }
    }
}

/// JSON with sorted keys, whatever the map's own order is.
fn canonical(text: &mut String, value: &Value) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            text.push('{');
            for (key, value) in sorted {
                canonical(text, &Value::String(key.clone()));
                canonical(text, value);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                canonical(text, item);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            // Writing to a String cannot fail.
            write!(text, "{value};").expect("a String takes any text");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &str = "version: v1alpha1\nmachine: {type: worker, install: {image: a, disk: d}}\n\
        ---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: worker0\n\
        ---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: tailscale\n\
        environment: [TS_AUTHKEY=one, TS_AUTH_ONCE=true]\n";

    fn read(yaml: &str) -> Documents {
        Documents::parse(yaml).unwrap()
    }

    #[test]
    fn order_empty_parts_upgrades_and_the_spent_key_make_no_difference() {
        let live = "---\nkind: HostnameConfig\nhostname: worker0\napiVersion: v1alpha1\n\
            ---\napiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: tailscale\n\
            environment: [TS_AUTH_ONCE=true]\n\
            ---\nmachine: {install: {disk: d, image: b}, type: worker, kubelet: {}}\n\
            version: v1alpha1\ncluster:\n";
        assert_eq!(read(WANTED).differences(&read(live)), Vec::<String>::new());
    }

    #[test]
    fn differences_are_places_and_no_values() {
        let live = WANTED.replace("worker0", "worker1").replace("disk: d", "wipe: true");
        assert_eq!(
            read(WANTED).differences(&read(&live)),
            [
                "HostnameConfig.hostname",
                "v1alpha1.machine.install.disk",
                "v1alpha1.machine.install.wipe"
            ]
        );
        assert_eq!(
            read(WANTED).differences(&read("version: v1alpha1"))[0],
            "ExtensionServiceConfig/tailscale (missing)"
        );
    }

    #[test]
    fn a_stream_may_be_wrapped_in_a_string() {
        let wrapped = serde_yaml_ng::to_string(WANTED).unwrap();
        assert!(read(&wrapped) == read(WANTED));
        assert_eq!(read(&wrapped).hash(), read(WANTED).hash());
        assert_eq!(read(WANTED).hash().len(), 64);
        assert_eq!(
            Documents::parse("kind: A\n---\nkind: A\n").map(drop).unwrap_err().to_string(),
            "it has two documents `A`"
        );
    }
}
