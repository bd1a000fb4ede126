//! From a path of the tree to objects: plain manifests, or a `kustomization.yaml`.

use std::collections::BTreeMap;

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::kubernetes::{
    json::{child, list, name, namespace, text},
    patch,
    shape::Cursor,
};

/// The files of a repository.
pub(super) type Tree = BTreeMap<String, Vec<u8>>;

/// Names of the file that says how a folder is built.
const KUSTOMIZATION: &[&str] = &["kustomization.yaml", "kustomization.yml", "Kustomization"];
/// What the lab understands of it.
const FIELDS: &[&str] = &[
    "apiVersion",
    "kind",
    "metadata",
    "resources",
    "namespace",
    "namePrefix",
    "nameSuffix",
    "labels",
    "commonLabels",
    "commonAnnotations",
    "patches",
    "images",
    "configMapGenerator",
    "secretGenerator",
    "generatorOptions",
    "components",
];

/// Why a path could not be built.
#[derive(Debug, PartialEq)]
pub(super) enum BuildError {
    /// The path is not in the tree.
    NoPath(String),
    /// Building failed.
    Failed(String),
}

/// A path without `./`, doubled slashes and `..`.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            other => parts.push(other),
        }
    }
    parts.join("/")
}

fn join(folder: &str, name: &str) -> String {
    clean(&format!("{folder}/{name}"))
}

fn is_folder(tree: &Tree, path: &str) -> bool {
    path.is_empty()
        || tree
            .range(format!("{path}/")..)
            .next()
            .is_some_and(|(p, _)| p.starts_with(&format!("{path}/")))
}

/// Builds the objects at a path.
pub(super) fn build(tree: &Tree, path: &str) -> Result<Vec<Value>, BuildError> {
    let path = clean(path);
    if !is_folder(tree, &path) {
        return Err(BuildError::NoPath(path));
    }
    let objects = folder(tree, &path)
        .map_err(|why| BuildError::Failed(format!("kustomize build failed: {why}")))?;
    for (index, object) in objects.iter().enumerate() {
        let id = |o: &Value| {
            [text(o, "/apiVersion"), text(o, "/kind"), namespace(o), name(o)].map(str::to_owned)
        };
        if objects[..index].iter().any(|other| id(other) == id(object)) {
            return Err(BuildError::Failed(format!(
                "kustomize build failed: may not add resource with an already registered id: {}.{}/{}.{}",
                text(object, "/kind"),
                text(object, "/apiVersion"),
                name(object),
                namespace(object)
            )));
        }
    }
    Ok(objects)
}

fn folder(tree: &Tree, path: &str) -> Result<Vec<Value>, String> {
    let file = KUSTOMIZATION.iter().map(|n| join(path, n)).find(|p| tree.contains_key(p));
    match file {
        Some(file) => kustomize(tree, path, &file),
        None => plain(tree, path),
    }
}

/// Every manifest below a folder; folders with a kustomization of their own are built by it.
fn plain(tree: &Tree, path: &str) -> Result<Vec<Value>, String> {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
    let mut objects = Vec::new();
    let mut built: Vec<String> = Vec::new();
    for file in tree.keys().filter(|p| p.starts_with(&prefix)) {
        let (parent, named) = file.rsplit_once('/').unwrap_or(("", file));
        if built.iter().any(|b| parent == b || parent.starts_with(&format!("{b}/"))) {
            continue;
        }
        let own =
            KUSTOMIZATION.iter().any(|n| parent != path && tree.contains_key(&join(parent, n)));
        if own {
            objects.extend(folder(tree, parent)?);
            built.push(parent.to_owned());
        } else if matches!(named.rsplit_once('.'), Some((_, "yaml" | "yml"))) {
            objects.extend(manifest(tree, file)?);
        }
    }
    Ok(objects)
}

fn manifest(tree: &Tree, file: &str) -> Result<Vec<Value>, String> {
    let bytes = tree.get(file).ok_or_else(|| format!("open {file}: no such file or directory"))?;
    let mut objects = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_slice(bytes) {
        let value = Value::deserialize(document)
            .map_err(|error| format!("MalformedYAMLError: yaml: {error} in File: {file}"))?;
        if value.is_null() {
            continue;
        }
        if text(&value, "/kind").ends_with("List") && value.get("items").is_some() {
            objects.extend(list(&value, "/items").iter().cloned());
            continue;
        }
        for (pointer, what) in
            [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")]
        {
            if text(&value, pointer).is_empty() {
                return Err(format!(
                    "missing {what} in object {{{{{} {}}} in File: {file}",
                    text(&value, "/kind"),
                    name(&value)
                ));
            }
        }
        objects.push(value);
    }
    Ok(objects)
}

fn kustomize(tree: &Tree, path: &str, file: &str) -> Result<Vec<Value>, String> {
    let bytes = tree.get(file).map(Vec::as_slice).unwrap_or_default();
    let plan: Value = serde_yaml_ng::from_slice(bytes)
        .map_err(|error| format!("invalid Kustomization: {error}"))?;
    if let Some(unknown) =
        plan.as_object().into_iter().flat_map(|o| o.keys()).find(|k| !FIELDS.contains(&k.as_str()))
    {
        return Err(format!("invalid Kustomization: json: unknown field \"{unknown}\""));
    }
    let mut objects = Vec::new();
    for key in ["/resources", "/components"] {
        for resource in list(&plan, key).iter().filter_map(Value::as_str) {
            objects.extend(accumulate(tree, path, resource)?);
        }
    }
    for (key, kind) in [("/configMapGenerator", "ConfigMap"), ("/secretGenerator", "Secret")] {
        for generator in list(&plan, key) {
            objects.push(generate(tree, path, kind, generator)?);
        }
    }
    for change in list(&plan, "/patches") {
        apply_patch(tree, path, change, &mut objects)?;
    }
    for object in &mut objects {
        decorate(&plan, object);
    }
    Ok(objects)
}

fn accumulate(tree: &Tree, path: &str, resource: &str) -> Result<Vec<Value>, String> {
    let at = join(path, resource);
    let wrap = |why: String| {
        format!(
            "accumulating resources: accumulation err='accumulating resources from '{resource}': {why}'"
        )
    };
    if tree.contains_key(&at) {
        return manifest(tree, &at).map_err(wrap);
    }
    if is_folder(tree, &at) {
        return folder(tree, &at).map_err(wrap);
    }
    Err(wrap(format!("open /tmp/{at}: no such file or directory")))
}

fn generate(tree: &Tree, path: &str, kind: &str, generator: &Value) -> Result<Value, String> {
    let mut data = json!({});
    for literal in list(generator, "/literals").iter().filter_map(Value::as_str) {
        let (key, value) = literal.split_once('=').unwrap_or((literal, ""));
        data[key] = json!(value);
    }
    for file in list(generator, "/files").iter().filter_map(Value::as_str) {
        let (key, from) =
            file.split_once('=').unwrap_or((file.rsplit('/').next().unwrap_or(file), file));
        let bytes = tree
            .get(&join(path, from))
            .ok_or_else(|| format!("open {from}: no such file or directory"))?;
        data[key] = json!(String::from_utf8_lossy(bytes));
    }
    let field = if kind == "Secret" { "stringData" } else { "data" };
    let mut metadata = json!({ "name": text(generator, "/name") });
    if !text(generator, "/namespace").is_empty() {
        metadata["namespace"] = generator["namespace"].clone();
    }
    Ok(json!({ "apiVersion": "v1", "kind": kind, "metadata": metadata, field: data }))
}

fn apply_patch(
    tree: &Tree,
    path: &str,
    change: &Value,
    objects: &mut [Value],
) -> Result<(), String> {
    let inline = text(change, "/patch");
    let source = if inline.is_empty() {
        let file = text(change, "/path");
        let bytes = tree
            .get(&join(path, file))
            .ok_or_else(|| format!("open {file}: no such file or directory"))?;
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        inline.to_owned()
    };
    let change_to: Value = serde_yaml_ng::from_str(&source)
        .map_err(|error| format!("unable to parse patch: {error}"))?;
    let target = match change.get("target") {
        Some(target) => target.clone(),
        None => json!({ "kind": change_to["kind"], "name": change_to["metadata"]["name"] }),
    };
    let wants = |object: &Value, key: &str, pointer: &str| {
        let wanted = text(&target, key);
        wanted.is_empty() || wanted == text(object, pointer) || wanted == ".*"
    };
    let mut found = false;
    for object in objects.iter_mut() {
        let fits = wants(object, "/kind", "/kind")
            && wants(object, "/name", "/metadata/name")
            && wants(object, "/namespace", "/metadata/namespace");
        if !fits {
            continue;
        }
        found = true;
        if change_to.is_array() {
            patch::json(object, &change_to).map_err(|refusal| refusal.message().to_owned())?;
        } else {
            let cursor = Cursor::BuiltIn { parent: String::new(), field: String::new() };
            let mut change_to = change_to.clone();
            child(&mut change_to, "metadata").remove("name");
            patch::strategic(object, &change_to, &cursor);
        }
    }
    if found {
        Ok(())
    } else {
        Err(format!("no matches for Id {}; failed to find unique target for patch", target["name"]))
    }
}

/// Kinds that live in no namespace.
fn is_cluster_wide(object: &Value) -> bool {
    matches!(
        text(object, "/kind"),
        "Namespace"
            | "CustomResourceDefinition"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "ClusterIssuer"
            | "StorageClass"
            | "PriorityClass"
            | "IngressClass"
            | "PersistentVolume"
            | "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "APIService"
            | "ClusterSecretStore"
    )
}

fn decorate(plan: &Value, object: &mut Value) {
    let space = text(plan, "/namespace");
    if !space.is_empty() && !is_cluster_wide(object) {
        crate::kubernetes::json::set_meta(object, "namespace", space);
    }
    let (prefix, suffix) = (text(plan, "/namePrefix"), text(plan, "/nameSuffix"));
    if !prefix.is_empty() || !suffix.is_empty() {
        let named = format!("{prefix}{}{suffix}", name(object));
        crate::kubernetes::json::set_meta(object, "name", named);
    }
    let mut labels = plan["commonLabels"].clone();
    for entry in list(plan, "/labels") {
        patch::merge(&mut labels, &entry["pairs"]);
    }
    for (key, pairs) in [("labels", &labels), ("annotations", &plan["commonAnnotations"])] {
        for (name, value) in pairs.as_object().into_iter().flatten() {
            let metadata = child(object, "metadata");
            metadata.entry(key).or_insert_with(|| json!({}))[name] = value.clone();
        }
    }
    for image in list(plan, "/images") {
        for key in ["containers", "initContainers"] {
            let pointer = format!("/spec/template/spec/{key}");
            for container in
                object.pointer_mut(&pointer).and_then(Value::as_array_mut).into_iter().flatten()
            {
                rename_image(container, image);
            }
        }
    }
}

fn rename_image(container: &mut Value, image: &Value) {
    let held = text(container, "/image").to_owned();
    let (repository, tag) =
        held.rsplit_once(':').filter(|(_, t)| !t.contains('/')).unwrap_or((&held, ""));
    if repository != text(image, "/name") {
        return;
    }
    let repository =
        if text(image, "/newName").is_empty() { repository } else { text(image, "/newName") };
    let tag = if text(image, "/newTag").is_empty() { tag } else { text(image, "/newTag") };
    container["image"] =
        json!(if tag.is_empty() { repository.to_owned() } else { format!("{repository}:{tag}") });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> Tree {
        files.iter().map(|(p, c)| ((*p).to_owned(), c.as_bytes().to_vec())).collect()
    }

    const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: a }\ndata: { x: y }\n";

    #[test]
    fn a_folder_without_a_kustomization_is_all_its_manifests() {
        let tree = tree(&[
            ("k8s/a.yaml", MAP),
            ("k8s/deep/b.yaml", "---\n---\nkind: Namespace\napiVersion: v1\nmetadata: {name: n}\n"),
            ("k8s/README.md", "x"),
        ]);
        assert_eq!(build(&tree, "./k8s").unwrap().len(), 2);
        assert_eq!(build(&tree, "./nope"), Err(BuildError::NoPath("nope".to_owned())));
    }

    #[test]
    fn a_kustomization_builds() {
        let plan = "resources: [a.yaml, ../base]\nnamespace: there\nlabels: [{pairs: {l: v}}]\n\
                    patches: [{target: {kind: ConfigMap, name: a}, patch: '[{op: add, path: /data/z, value: q}]'}]\n";
        let base = "resources: [c.yaml]\n";
        let tree = tree(&[
            ("app/kustomization.yaml", plan),
            ("app/a.yaml", MAP),
            ("base/kustomization.yaml", base),
            ("base/c.yaml", &MAP.replace("name: a", "name: c")),
        ]);
        let built = build(&tree, "app").unwrap();
        assert_eq!(built.len(), 2);
        assert_eq!(built[0]["data"], json!({ "x": "y", "z": "q" }));
        assert_eq!(
            built[0]["metadata"],
            json!({ "name": "a", "namespace": "there", "labels": { "l": "v" } })
        );
    }

    #[test]
    fn what_cannot_be_built_says_why() {
        let failed = |files: &[(&str, &str)]| match build(&tree(files), "app") {
            Err(BuildError::Failed(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(
            failed(&[("app/kustomization.yaml", "resourcez: []")])
                .contains("unknown field \"resourcez\"")
        );
        assert!(
            failed(&[("app/kustomization.yaml", "resources: [gone.yaml]")])
                .contains("no such file or directory")
        );
        assert!(failed(&[("app/a.yaml", "a: [")]).contains("MalformedYAMLError"));
        assert!(
            failed(&[("app/a.yaml", MAP), ("app/b.yaml", MAP)]).contains("already registered id")
        );
    }
}
