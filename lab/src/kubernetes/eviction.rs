//! The subresource `eviction`: a deletion that disruption budgets may forbid.

use std::sync::Arc;

use axum::{body::Bytes, response::Response};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    json::{at, is_true, name, text},
    objects::{Tx, View},
    refusal::Refusal,
    render::answer,
    request::parse_body,
    route::Asked,
    selector,
    server::Api,
    write::{self, How, Target, Unknown},
};

/// Evicts a pod.
pub(crate) fn evict(api: &Arc<Api>, asked: &Asked, body: &Bytes) -> Result<Response, Refusal> {
    if asked.method != hyper::Method::POST {
        return Err(Refusal::method_not_allowed());
    }
    let eviction = if body.is_empty() { json!({}) } else { parse_body(body, "Eviction", true)? };
    let options = eviction.get("deleteOptions").cloned().unwrap_or_else(|| json!({}));
    let (space, named) = (asked.place.namespace.as_str(), asked.place.name.as_str());
    let target = Target { kind: &asked.kind, namespace: space, name: named, status: false };
    let how = How { manager: "kubectl", unknown: Unknown::Ignore, counted: true };
    api.cluster().write(asked.query.dry_run(), |tx| {
        let pod = tx
            .get("core/pods", space, named)
            .ok_or_else(|| Refusal::not_found(&asked.kind, named))?;
        check_budgets(tx, &pod)?;
        write::delete(tx, target, &options, &how).map(drop)
    })?;
    let done = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(answer(StatusCode::CREATED, "application/json", done.to_string()))
}

/// A number of pods, or a percentage of them, rounded up.
fn share(value: &Value, of: usize) -> Option<usize> {
    if let Some(count) = value.as_u64() {
        return usize::try_from(count).ok();
    }
    let percent: usize = value.as_str()?.strip_suffix('%')?.parse().ok()?;
    Some((of * percent).div_ceil(100))
}

fn check_budgets(tx: &Tx<'_>, pod: &Value) -> Result<(), Refusal> {
    let space = text(pod, "/metadata/namespace");
    for budget in tx.list_in("policy/poddisruptionbudgets", space) {
        let wanted = at(&budget, "/spec/selector");
        if !selector::picks(wanted, pod) {
            continue;
        }
        let pods = tx.list_in("core/pods", space);
        let picked: Vec<_> = pods.iter().filter(|p| selector::picks(wanted, p)).collect();
        let healthy = picked.iter().filter(|p| is_true(p, "Ready")).count();
        let needed = share(at(&budget, "/spec/minAvailable"), picked.len()).or_else(|| {
            share(at(&budget, "/spec/maxUnavailable"), picked.len())
                .map(|most| picked.len().saturating_sub(most))
        });
        let needed = needed.unwrap_or_default();
        if is_true(pod, "Ready") && healthy <= needed {
            return Err(Refusal::disruption(name(&budget), needed, healthy));
        }
    }
    Ok(())
}
