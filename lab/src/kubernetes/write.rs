//! Creating, changing and deleting objects.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    admission::{admit_change, admit_new, check_preconditions, generate_name, is_released},
    apply::{self, Writer, book, without_managers},
    defaults::set_namespace,
    json::{at, list, name, now, set_meta, text},
    objects::{Tx, View},
    patch,
    refusal::Refusal,
    registry::ResourceType,
    shape::Cursor,
};

/// What happens to fields that the type does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are dropped.
    Ignore,
    /// They are dropped, and named in a warning.
    Warn,
    /// The write is refused.
    Strict,
}

/// How a write is meant.
#[derive(Debug, Clone)]
pub(crate) struct How<'a> {
    /// The field manager.
    pub(crate) manager: &'a str,
    /// What happens to unknown fields.
    pub(crate) unknown: Unknown,
    /// Whether it is counted: clients' writes are, those of the world's own controllers are not.
    pub(crate) counted: bool,
}

/// Where an object is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Its type.
    pub(crate) kind: &'a ResourceType,
    /// Its namespace, empty if cluster-wide.
    pub(crate) namespace: &'a str,
    /// Its name.
    pub(crate) name: &'a str,
    /// Whether only its status is meant.
    pub(crate) status: bool,
}

/// What a write did.
#[derive(Debug)]
pub(crate) struct Written {
    /// The object afterwards.
    pub(crate) object: Arc<Value>,
    /// Whether it was made.
    pub(crate) created: bool,
    /// Whether anything was stored.
    pub(crate) changed: bool,
    /// Unknown fields that were dropped.
    pub(crate) warnings: Vec<String>,
}

/// What a patch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// RFC 7396.
    Merge,
    /// RFC 6902.
    Json,
    /// Strategic merge.
    Strategic,
    /// Server-side apply, by force or not.
    Apply {
        /// Whether fields of other managers are taken.
        force: bool,
    },
}

fn check_namespace(tx: &Tx<'_>, target: Target<'_>) -> Result<(), Refusal> {
    if !target.kind.namespaced {
        return Ok(());
    }
    let Some(space) = tx.get("core/namespaces", "", target.namespace) else {
        let kind = super::registry::find(tx, "", "v1", "namespaces")
            .ok_or_else(Refusal::no_such_resource)?;
        return Err(Refusal::not_found(&kind, target.namespace));
    };
    if text(&space, "/status/phase") == "Terminating" {
        return Err(Refusal::terminating(target.kind, target.name, target.namespace));
    }
    Ok(())
}

fn judge_unknown(
    target: Target<'_>,
    unknown: Vec<String>,
    how: &How<'_>,
) -> Result<Vec<String>, Refusal> {
    match how.unknown {
        Unknown::Ignore => Ok(Vec::new()),
        Unknown::Warn => Ok(unknown),
        Unknown::Strict if unknown.is_empty() => Ok(unknown),
        Unknown::Strict => {
            let kind = &target.kind.kind;
            let all: Vec<String> =
                unknown.iter().map(|u| format!("unknown field \"{u}\"")).collect();
            Err(Refusal::bad_request(format!(
                "{kind} in version \"{}\" cannot be handled as a {kind}: strict decoding error: {}",
                target.kind.version,
                all.join(", ")
            )))
        }
    }
}

/// Makes an object.
pub(crate) fn create(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    mut object: Value,
    how: &How<'_>,
) -> Result<Written, Refusal> {
    let kind = target.kind;
    let given = text(&object, "/metadata/namespace");
    if kind.namespaced && !given.is_empty() && given != target.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    generate_name(&mut object);
    set_namespace(kind, &mut object, target.namespace);
    let named = name(&object).to_owned();
    check_namespace(tx, Target { name: &named, ..target })?;
    let unknown = admit_new(kind, &mut object)?;
    let warnings = judge_unknown(target, unknown, how)?;
    if tx.get(&kind.resource(), target.namespace, &named).is_some() {
        return Err(Refusal::already_exists(kind, &named));
    }
    book(&json!({}), &mut object, &writer(target, how));
    let stored = tx.put(&kind.resource(), object);
    if how.counted {
        tx.count(&kind.resource(), &stored, "create");
    }
    Ok(Written { object: stored, created: true, changed: true, warnings })
}

fn writer<'a>(target: Target<'a>, how: &How<'a>) -> Writer<'a> {
    Writer {
        manager: how.manager,
        api_version: target.kind.api_version(),
        status: target.status,
        cursor: Cursor::of(target.kind),
    }
}

fn find(tx: &Tx<'_>, target: Target<'_>) -> Result<Arc<Value>, Refusal> {
    tx.get(&target.kind.resource(), target.namespace, target.name)
        .ok_or_else(|| Refusal::not_found(target.kind, target.name))
}

/// Replaces an object.
pub(crate) fn update(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    mut object: Value,
    how: &How<'_>,
) -> Result<Written, Refusal> {
    let old = find(tx, target)?;
    let named = name(&object);
    if !named.is_empty() && named != target.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            target.name
        )));
    }
    if target.kind.custom.is_some() && text(&object, "/metadata/resourceVersion").is_empty() {
        let cause = super::refusal::Cause::invalid(
            "metadata.resourceVersion",
            &json!(0),
            "must be specified for an update",
        );
        let mut plural = target.kind.clone();
        plural.kind.clone_from(&target.kind.plural);
        return Err(Refusal::invalid(&plural, target.name, &[cause]));
    }
    let (wanted, held) = (super::json::uid(&object), super::json::uid(&old));
    if !wanted.is_empty() && wanted != held {
        return Err(Refusal::other_uid(target.kind, &old, wanted));
    }
    check_preconditions(target.kind, &old, &object)?;
    set_meta(&mut object, "managedFields", at(&old, "/metadata/managedFields").clone());
    change(tx, target, object, how, "update")
}

/// Patches an object, or applies a configuration to it.
pub(crate) fn patch(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    kind: PatchKind,
    patch: &Value,
    how: &How<'_>,
) -> Result<Written, Refusal> {
    if let PatchKind::Apply { force } = kind {
        return apply_to(tx, target, patch, force, how);
    }
    let old = find(tx, target)?;
    let mut new = Value::clone(&old);
    match kind {
        PatchKind::Merge => patch::merge(&mut new, patch),
        PatchKind::Json => patch::json(&mut new, patch)?,
        PatchKind::Strategic => patch::strategic(&mut new, patch, &Cursor::of(target.kind)),
        PatchKind::Apply { .. } => {}
    }
    check_preconditions(target.kind, &old, &new)?;
    change(tx, target, new, how, "patch")
}

/// Stores a changed object with its owners booked, if it differs from the old one.
fn change(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    mut new: Value,
    how: &How<'_>,
    verb: &'static str,
) -> Result<Written, Refusal> {
    let old = find(tx, target)?;
    let unknown = admit_change(target.kind, &old, &mut new, target.status)?;
    let warnings = judge_unknown(target, unknown, how)?;
    set_meta(&mut new, "resourceVersion", text(&old, "/metadata/resourceVersion"));
    if without_managers(&old) == without_managers(&new) {
        return Ok(Written { object: old, created: false, changed: false, warnings });
    }
    book(&old, &mut new, &writer(target, how));
    let object = settle(tx, target, new);
    if how.counted {
        tx.count(&target.kind.resource(), &object, verb);
    }
    Ok(Written { object, created: false, changed: true, warnings })
}

/// Stores an object, or removes it if only its finalizers had kept it.
fn settle(tx: &mut Tx<'_>, target: Target<'_>, object: Value) -> Arc<Value> {
    let resource = target.kind.resource();
    let namespace_waits =
        target.kind.plural == "namespaces" && !list(&object, "/spec/finalizers").is_empty();
    if is_released(&object) && !namespace_waits {
        tx.remove(&resource, target.namespace, target.name);
        return Arc::new(object);
    }
    tx.put(&resource, object)
}

fn check_applied(target: Target<'_>, config: &Value) -> Result<(), Refusal> {
    if !at(config, "/metadata/managedFields").is_null() {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    let named = name(config);
    if !named.is_empty() && named != target.name {
        return Err(Refusal::bad_request(format!(
            "the name of the object ({named}) does not match the name on the URL ({})",
            target.name
        )));
    }
    let untyped = |what: &str| {
        let kind = target.kind;
        Refusal::untyped(format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): {what}",
            super::json::namespace(config),
            target.name,
            kind.api_version(),
            kind.kind
        ))
    };
    if let Some(known) = target.kind.schema() {
        if let Some(unknown) = super::schema::prune(&mut config.clone(), known).first() {
            return Err(untyped(&format!(".{unknown}: field not declared in schema")));
        }
        let wrong = super::schema::check(config, known)
            .into_iter()
            .find(|c| c.reason == "FieldValueTypeInvalid");
        if let Some(cause) = wrong {
            let pointer = format!("/{}", cause.field.replace(['.', '['], "/").replace(']', ""));
            let wanted = cause.message.rsplit("must be of type ").next().unwrap_or_default();
            let wanted = wanted.split(':').next().unwrap_or_default();
            let got = at(config, &pointer);
            return Err(untyped(&format!(
                ".{}: expected {wanted}, got &value.valueUnstructured{{Value:{got}}}",
                cause.field
            )));
        }
    } else if let Some(unknown) = super::known::unknown(target.kind, config).first() {
        return Err(untyped(&format!(".{unknown}: field not declared in schema")));
    }
    Ok(())
}

fn apply_to(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    config: &Value,
    force: bool,
    how: &How<'_>,
) -> Result<Written, Refusal> {
    check_applied(target, config)?;
    let kind = target.kind;
    let live = tx.get(&kind.resource(), target.namespace, target.name);
    let version = text(config, "/metadata/resourceVersion");
    let mut config = config.clone();
    for key in ["resourceVersion", "uid", "creationTimestamp", "generation"] {
        super::json::child(&mut config, "metadata").remove(key);
    }
    if kind.status {
        keep_side(&mut config, target.status);
    }
    let Some(old) = live else {
        if target.status {
            return Err(Refusal::not_found(kind, target.name));
        }
        check_namespace(tx, target)?;
        let base = json!({ "metadata": { "name": target.name } });
        let mut object = apply::apply(&base, &config, &writer(target, how), force)
            .map_err(|conflicts| Refusal::apply_conflict(&conflicts))?;
        set_namespace(kind, &mut object, target.namespace);
        let managed = at(&object, "/metadata/managedFields").clone();
        admit_new(kind, &mut object)?;
        set_meta(&mut object, "managedFields", managed);
        let stored = tx.put(&kind.resource(), object);
        if how.counted {
            tx.count(&kind.resource(), &stored, "apply");
        }
        return Ok(Written { object: stored, created: true, changed: true, warnings: Vec::new() });
    };
    if !version.is_empty() && version != text(&old, "/metadata/resourceVersion") {
        return Err(Refusal::modified(kind, target.name));
    }
    let new = apply::apply(&old, &config, &writer(target, how), force)
        .map_err(|conflicts| Refusal::apply_conflict(&conflicts))?;
    finish_apply(tx, target, &old, new, how)
}

/// Only `status`, or everything but it.
fn keep_side(config: &mut Value, status: bool) {
    if let Some(object) = config.as_object_mut() {
        object.retain(|key, _| {
            matches!(key.as_str(), "apiVersion" | "kind" | "metadata")
                || (key == "status") == status
        });
    }
}

fn finish_apply(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    old: &Arc<Value>,
    mut new: Value,
    how: &How<'_>,
) -> Result<Written, Refusal> {
    let managed = at(&new, "/metadata/managedFields").clone();
    admit_change(target.kind, old, &mut new, target.status)?;
    set_meta(&mut new, "managedFields", managed);
    set_meta(&mut new, "resourceVersion", text(old, "/metadata/resourceVersion"));
    let resource = target.kind.resource();
    if new == **old {
        if how.counted {
            tx.count(&resource, old, "apply-unchanged");
        }
        return Ok(Written {
            object: old.clone(),
            created: false,
            changed: false,
            warnings: Vec::new(),
        });
    }
    let object = settle(tx, target, new);
    if how.counted {
        tx.count(&resource, &object, "apply");
    }
    Ok(Written { object, created: false, changed: true, warnings: Vec::new() })
}

/// What a deletion did.
#[derive(Debug)]
pub(crate) enum Deleted {
    /// The object is gone.
    Gone(Arc<Value>),
    /// It waits for its finalizers.
    Waiting(Arc<Value>),
}

/// Deletes an object, as far as its finalizers permit.
pub(crate) fn delete(
    tx: &mut Tx<'_>,
    target: Target<'_>,
    options: &Value,
    how: &How<'_>,
) -> Result<Deleted, Refusal> {
    let kind = target.kind;
    let old = find(tx, target)?;
    check_delete(target, &old, options)?;
    let first = !at(&old, "/metadata/deletionTimestamp").is_string();
    if first && how.counted {
        tx.count(&kind.resource(), &old, "delete");
    }
    let mut new = Value::clone(&old);
    let propagation = match text(options, "/propagationPolicy") {
        "Foreground" => Some("foregroundDeletion"),
        "Orphan" => Some("orphan"),
        _ => None,
    };
    if let Some(finalizer) = propagation.filter(|_| first) {
        let mut all = list(&new, "/metadata/finalizers").to_vec();
        all.push(json!(finalizer));
        set_meta(&mut new, "finalizers", all);
    }
    let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
    let on_node =
        kind.plural == "pods" && kind.group.is_empty() && !text(&old, "/spec/nodeName").is_empty();
    let graceful = on_node
        && options.get("gracePeriodSeconds") != Some(&json!(0))
        && !matches!(text(&old, "/status/phase"), "Succeeded" | "Failed");
    if list(&new, "/metadata/finalizers").is_empty() && !is_namespace && !graceful {
        let gone = tx.remove(&kind.resource(), target.namespace, target.name).unwrap_or(old);
        return Ok(Deleted::Gone(gone));
    }
    if !first {
        return Ok(Deleted::Waiting(old));
    }
    set_meta(&mut new, "deletionTimestamp", now());
    set_meta(&mut new, "deletionGracePeriodSeconds", if graceful { 30 } else { 0 });
    if is_namespace {
        super::json::child(&mut new, "metadata").remove("deletionGracePeriodSeconds");
        super::json::set_status(&mut new, "phase", "Terminating");
    } else if let Some(generation) = at(&new, "/metadata/generation").as_i64() {
        set_meta(&mut new, "generation", generation + 1);
    }
    Ok(Deleted::Waiting(tx.put(&kind.resource(), new)))
}

fn check_delete(target: Target<'_>, old: &Value, options: &Value) -> Result<(), Refusal> {
    let kind = target.kind;
    if kind.group.is_empty()
        && kind.plural == "namespaces"
        && matches!(target.name, "default" | "kube-system" | "kube-public")
    {
        return Err(Refusal::forbidden(kind, target.name, "this namespace may not be deleted"));
    }
    let uid = text(options, "/preconditions/uid");
    let held = super::json::uid(old);
    if !uid.is_empty() && uid != held {
        let what = format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({held}). The object might have been \
             deleted and then recreated"
        );
        return Err(Refusal::precondition(kind, target.name, &what));
    }
    let version = text(options, "/preconditions/resourceVersion");
    let held = text(old, "/metadata/resourceVersion");
    if !version.is_empty() && version != held {
        let what = format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({held}). \
             The object might have been modified"
        );
        return Err(Refusal::precondition(kind, target.name, &what));
    }
    Ok(())
}
