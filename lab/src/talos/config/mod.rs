//! Machine configurations: reading, validating, and what the rest of the lab needs of them.

mod decode;
mod schema;
mod validate;
mod values;

use serde_yaml_ng::{Mapping, Value};

use decode::Document;
pub(super) use values::Authority;

/// Parts of `machine` that a running machine takes over at once.
///
/// Source: `CanApplyImmediate` of Talos 1.13.
const IMMEDIATE: [&str; 18] = [
    "ca",
    "acceptedCAs",
    "time",
    "certSANs",
    "install",
    "network",
    "sysfs",
    "sysctls",
    "logging",
    "controlPlane",
    "kubelet",
    "kernel",
    "registries",
    "pods",
    "seccompProfiles",
    "nodeAnnotations",
    "nodeLabels",
    "nodeTaints",
];
/// Parts of `machine.features` that a running machine takes over at once.
const IMMEDIATE_FEATURES: [&str; 5] =
    ["kubernetesTalosAPIAccess", "kubePrism", "hostDNS", "imageCache", "nodeAddressSortAlgorithm"];

/// A machine configuration that Talos' loader accepts.
#[derive(Debug, Clone)]
pub(super) struct Config {
    text: String,
    documents: Vec<Document>,
}

impl PartialEq for Config {
    /// Comments and the order of keys make no difference.
    fn eq(&self, other: &Self) -> bool {
        self.documents == other.documents
    }
}

impl Config {
    /// Reads a configuration as a machine of this minor release does.
    ///
    /// The error is the real loader's message.
    pub(super) fn parse(data: &[u8], minor: u32) -> Result<Self, String> {
        let text = std::str::from_utf8(data)
            .map_err(|_| "decode error: yaml: invalid leading UTF-8 octet".to_owned())?;
        Ok(Self { text: text.to_owned(), documents: decode::documents(text, minor)? })
    }

    /// The warnings of a valid configuration, or what is wrong with it.
    pub(super) fn validate(&self, minor: u32) -> Result<Vec<String>, String> {
        validate::validate(self, minor)
    }

    /// The configuration as it was given.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it has the document without a kind, which a machine needs to leave maintenance.
    pub(super) fn is_complete(&self) -> bool {
        self.main().is_some()
    }

    fn main(&self) -> Option<&Mapping> {
        self.of_kind(schema::MAIN).next()
    }

    fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Mapping> {
        self.documents.iter().filter(move |one| one.kind == kind).map(|one| &one.fields)
    }

    /// Why a machine that runs with this configuration cannot take the other one without a reboot.
    pub(super) fn needs_reboot_for(&self, other: &Self) -> Option<String> {
        let before = self.main().map(lasting).unwrap_or_default();
        let after = other.main().map(lasting).unwrap_or_default();
        if before == after {
            return None;
        }
        let diff = difference(&before, &after);
        Some(format!("this config change can't be applied in immediate mode\ndiff:\n{diff}"))
    }

    /// What differs in another configuration, for people.
    pub(super) fn difference(&self, other: &Self) -> String {
        let shown = |config: &Self| {
            config
                .documents
                .iter()
                .map(|one| (Value::String(one.id()), Value::Mapping(one.fields.clone())))
                .collect::<Mapping>()
        };
        difference(&shown(self), &shown(other))
    }
}

/// What of the main document only a reboot changes.
fn lasting(main: &Mapping) -> Mapping {
    let mut main = main.clone();
    main.remove("debug");
    main.remove("cluster");
    if let Some(Value::Mapping(machine)) = main.get_mut("machine") {
        for key in IMMEDIATE {
            machine.remove(key);
        }
        if let Some(Value::Mapping(features)) = machine.get_mut("features") {
            for key in IMMEDIATE_FEATURES {
                features.remove(key);
            }
        }
    }
    main
}

/// The lines that two mappings do not share, in the manner of `diff`.
fn difference(before: &Mapping, after: &Mapping) -> String {
    let lines = |value: &Mapping| -> Vec<String> {
        let text = serde_yaml_ng::to_string(value).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    let (before, after) = (lines(before), lines(after));
    let removed = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let added = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{line}"));
    removed.chain(added).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes(), 13).unwrap()
    }

    #[test]
    fn labels_change_at_once_and_files_do_not() {
        let before = config("machine: {type: worker, nodeLabels: {a: b}}\ncluster: {}");
        let labels = config("machine: {type: worker, nodeLabels: {a: c}}\ncluster: {id: x}");
        let files = config("machine: {type: worker, nodeLabels: {a: b}, files: [{path: /var/x}]}");
        assert_eq!(before.needs_reboot_for(&labels), None);
        let why = before.needs_reboot_for(&files).unwrap();
        assert!(why.starts_with("this config change can't be applied in immediate mode\ndiff:\n+"));
    }

    #[test]
    fn comments_are_no_difference() {
        let one = config(
            "machine: {type: worker}\n---\napiVersion: v1alpha1\nkind: HostnameConfig\nhostname: a\n",
        );
        let two = config(
            "# the same\nmachine:\n  type: worker\n---\nkind: HostnameConfig\napiVersion: v1alpha1\nhostname: a\n",
        );
        assert!(one == two);
        assert_eq!(one.difference(&two), "");
    }
}
