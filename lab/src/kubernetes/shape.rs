//! How lists and maps of an object merge: by keys, as sets, or as one piece.

use serde_json::{Map, Value, json};

use super::json::{at, list, text};
use super::registry::ResourceType;

/// How a list merges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListShape {
    /// Replaced as a whole.
    Atomic,
    /// Values that occur once.
    Set,
    /// Items told apart by these keys.
    Keyed(Vec<String>),
}

/// A place in an object of some type.
#[derive(Debug, Clone)]
pub(crate) enum Cursor<'a> {
    /// In a built-in type: the last two field names.
    BuiltIn {
        /// The field that this one is in.
        parent: String,
        /// The field.
        field: String,
    },
    /// In a custom resource: the schema here, if it says something.
    Custom(Option<&'a Value>),
}

impl<'a> Cursor<'a> {
    /// The root of an object.
    pub(crate) fn of(kind: &'a ResourceType) -> Self {
        if kind.custom.is_some() {
            Self::Custom(kind.schema())
        } else {
            Self::BuiltIn { parent: String::new(), field: String::new() }
        }
    }

    /// A member of the map here.
    pub(crate) fn field(&self, name: &str) -> Self {
        match self {
            Self::BuiltIn { field, .. } => {
                Self::BuiltIn { parent: field.clone(), field: name.to_owned() }
            }
            Self::Custom(schema) => {
                let found = schema.and_then(|s| {
                    s.get("properties")
                        .and_then(|p| p.get(name))
                        .or_else(|| s.get("additionalProperties").filter(|a| a.is_object()))
                });
                if name == "metadata" && found.is_none_or(|f| f.get("properties").is_none()) {
                    return Self::BuiltIn { parent: String::new(), field: name.to_owned() };
                }
                Self::Custom(found)
            }
        }
    }

    /// An item of the list here.
    pub(crate) fn item(&self) -> Self {
        match self {
            Self::BuiltIn { .. } => self.clone(),
            Self::Custom(schema) => Self::Custom(schema.and_then(|s| s.get("items"))),
        }
    }

    /// How the list here merges.
    pub(crate) fn list(&self) -> ListShape {
        match self {
            Self::BuiltIn { parent, field } => built_in_list(parent, field),
            Self::Custom(schema) => {
                let schema = schema.unwrap_or(&Value::Null);
                match text(schema, "/x-kubernetes-list-type") {
                    "map" => ListShape::Keyed(
                        list(schema, "/x-kubernetes-list-map-keys")
                            .iter()
                            .filter_map(Value::as_str)
                            .map(str::to_owned)
                            .collect(),
                    ),
                    "set" => ListShape::Set,
                    _ => ListShape::Atomic,
                }
            }
        }
    }

    /// Whether the map here is replaced as a whole.
    pub(crate) fn is_atomic_map(&self) -> bool {
        match self {
            Self::BuiltIn { parent, field } => {
                matches!(
                    field.as_str(),
                    "nodeSelector"
                        | "labelSelector"
                        | "namespaceSelector"
                        | "podSelector"
                        | "objectSelector"
                        | "fieldRef"
                        | "configMapKeyRef"
                        | "secretKeyRef"
                        | "resourceFieldRef"
                        | "roleRef"
                ) || (field == "selector" && parent == "spec")
            }
            Self::Custom(schema) => schema.is_some_and(|s| {
                text(s, "/x-kubernetes-map-type") == "atomic"
                    || at(s, "/x-kubernetes-preserve-unknown-fields") == &json!(true)
                        && s.get("properties").is_none()
                        && text(s, "/type").is_empty()
            }),
        }
    }
}

fn keyed(keys: &[&str]) -> ListShape {
    ListShape::Keyed(keys.iter().map(|k| (*k).to_owned()).collect())
}

fn built_in_list(parent: &str, field: &str) -> ListShape {
    match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "volumes"
        | "env"
        | "imagePullSecrets"
        | "webhooks" => keyed(&["name"]),
        "ports" if matches!(parent, "containers" | "initContainers") => {
            keyed(&["containerPort", "protocol"])
        }
        "ports" if parent == "spec" => keyed(&["port", "protocol"]),
        "volumeMounts" => keyed(&["mountPath"]),
        "volumeDevices" => keyed(&["devicePath"]),
        "conditions" => keyed(&["type"]),
        "addresses" if parent == "status" => keyed(&["type"]),
        "ownerReferences" => keyed(&["uid"]),
        "hostAliases" => keyed(&["ip"]),
        "topologySpreadConstraints" => keyed(&["topologyKey", "whenUnsatisfiable"]),
        "finalizers" | "podCIDRs" => ListShape::Set,
        _ => ListShape::Atomic,
    }
}

/// The key of a list's item as managed fields write it, `{"name":"web"}`; none if a key is missing.
pub(crate) fn item_key(item: &Value, keys: &[String]) -> Option<String> {
    let mut found = Map::new();
    for key in keys {
        let value = match item.get(key) {
            Some(value) => value.clone(),
            None if key == "protocol" => json!("TCP"),
            None => return None,
        };
        found.insert(key.clone(), value);
    }
    Some(Value::Object(found).to_string())
}
