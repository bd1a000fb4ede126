//! A stand-in for Flux: its controllers act while their Deployments are available.
//!
//! source-controller fetches the refs of git repositories over HTTPS, with the authority that their Secret names;
//! kustomize-controller builds, applies, prunes and watches what a Kustomization names in the fetched tree.

mod build;
mod health;
mod inventory;
mod kustomization;
mod source;
mod substitute;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::{
    controllers::Turn,
    json::{annotation, drop_condition, is_true, set_condition, set_status, text},
    objects::View,
    schema::duration,
};

/// Where its controllers run.
const NAMESPACE: &str = "flux-system";
/// An annotation that asks for a reconciliation.
const REQUESTED: &str = "reconcile.fluxcd.io/requestedAt";
/// What keeps an object until its controller has cleaned up.
const FINALIZER: &str = "finalizers.fluxcd.io";

/// What the controllers remember between turns; gone with the process, as that of real ones.
#[derive(Debug, Default)]
pub(super) struct Flux {
    fetches: Arc<source::Fetches>,
    sources: BTreeMap<String, source::Attempt>,
    kustomizations: BTreeMap<String, kustomization::Attempt>,
}

/// One look at everything that Flux does.
pub(super) fn run(turn: &mut Turn<'_, '_>, flux: &mut Flux) {
    if is_running(turn, "source-controller") {
        source::run(turn, flux);
    }
    if is_running(turn, "kustomize-controller") {
        kustomization::run(turn, flux);
    }
}

fn is_running(turn: &Turn<'_, '_>, controller: &str) -> bool {
    turn.tx.get("apps/deployments", NAMESPACE, controller).is_some_and(|d| is_true(&d, "Available"))
}

/// A duration of the spec, else a default.
fn period(object: &Value, key: &str, default: Duration) -> Duration {
    duration(text(object, &format!("/spec/{key}"))).unwrap_or(default)
}

/// The object is being worked on.
fn set_progressing(object: &mut Value, message: &str) {
    set_condition(object, "Reconciling", "True", ("Progressing", message));
    set_condition(object, "Ready", "Unknown", ("Progressing", message));
}

/// The object could not be reconciled and will be tried again.
fn set_failed(object: &mut Value, reason: &str, message: &str) {
    set_condition(object, "Reconciling", "True", ("ProgressingWithRetry", message));
    set_condition(object, "Ready", "False", (reason, message));
}

/// The object is reconciled in its present generation.
fn set_succeeded(object: &mut Value, reason: &str, message: &str) {
    drop_condition(object, "Reconciling");
    drop_condition(object, "Stalled");
    set_condition(object, "Ready", "True", (reason, message));
    let generation = super::json::number(object, "/metadata/generation");
    set_status(object, "observedGeneration", generation);
}

/// Notes that a request to reconcile was seen.
fn set_handled(object: &mut Value) {
    let token = annotation(object, REQUESTED).to_owned();
    if !token.is_empty() {
        set_status(object, "lastHandledReconcileAt", token);
    }
}

/// Adds the finalizer.
fn hold(object: &mut Value) {
    let mut all = super::json::list(object, "/metadata/finalizers").to_vec();
    if !all.contains(&json!(FINALIZER)) {
        all.push(json!(FINALIZER));
        super::json::set_meta(object, "finalizers", all);
    }
}

/// Takes the finalizer away; without any, the object goes.
fn let_go(turn: &mut Turn<'_, '_>, resource: &str, object: &Value) {
    let mut kept = super::json::list(object, "/metadata/finalizers").to_vec();
    kept.retain(|f| f != &json!(FINALIZER));
    if kept.is_empty() {
        turn.tx.remove(resource, super::json::namespace(object), super::json::name(object));
    } else {
        turn.change(resource, object, |o| super::json::set_meta(o, "finalizers", kept));
    }
}
