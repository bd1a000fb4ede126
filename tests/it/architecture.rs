//! Imports run one way, and each foreign crate stays where its concern lives.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

/// What each crate of ours may import of ours.
const OURS: [(&str, &[&str]); 5] = [
    ("flow-engine", &[]),
    ("flow-lab", &[]),
    ("flow-state", &["flow-engine"]),
    ("flow-tasks", &["flow-engine"]),
    ("flow", &["flow-engine", "flow-lab", "flow-state", "flow-tasks"]),
];

/// Where foreign crates may be used.
const FENCES: [(&str, &[&str]); 8] = [
    ("rusqlite", &["flow-state"]),
    ("age", &["flow-state"]),
    ("kube", &["flow-tasks", "flow-lab"]),
    ("tonic", &["flow-tasks", "flow-lab"]),
    ("reqwest", &["flow-tasks", "flow-lab"]),
    ("clap", &["flow"]),
    ("indicatif", &["flow"]),
    ("owo-colors", &["flow"]),
];

/// The normal dependencies of each crate of ours.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            let names = normal.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn imports_run_one_way() {
    let dependencies = dependencies();
    for (name, allowed) in OURS {
        for used in &dependencies[name] {
            let ours = OURS.iter().any(|(ours, _)| ours == used);
            assert!(!ours || allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn foreign_crates_stay_where_their_concern_lives() {
    for (name, uses) in dependencies() {
        for (fenced, allowed) in FENCES {
            let used = uses.iter().any(|used| used == fenced);
            assert!(!used || allowed.contains(&name.as_str()), "{name} must not use {fenced}");
        }
    }
}
