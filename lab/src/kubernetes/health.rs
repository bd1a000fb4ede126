//! Health: named checks that become ok one after the other while a server starts.

use std::time::Duration;

use axum::response::Response;
use hyper::StatusCode;

use super::{refusal::Refusal, render::answer};

/// A check, and how long after its server's start it is ok, in seconds of the world.
const CHECKS: &[(&str, u64)] = &[
    ("ping", 0),
    ("log", 0),
    ("etcd", 0),
    ("etcd-readiness", 0),
    ("informer-sync", 4),
    ("poststarthook/start-apiserver-admission-initializer", 0),
    ("poststarthook/generic-apiserver-start-informers", 0),
    ("poststarthook/priority-and-fairness-config-consumer", 0),
    ("poststarthook/priority-and-fairness-filter", 0),
    ("poststarthook/storage-object-count-tracker-hook", 0),
    ("poststarthook/start-apiextensions-informers", 0),
    ("poststarthook/start-apiextensions-controllers", 3),
    ("poststarthook/crd-informer-synced", 3),
    ("poststarthook/start-system-namespaces-controller", 0),
    ("poststarthook/start-cluster-authentication-info-controller", 0),
    ("poststarthook/start-kube-apiserver-identity-lease-controller", 0),
    ("poststarthook/start-kube-apiserver-identity-lease-garbage-collector", 0),
    ("poststarthook/storage-readiness", 0),
    ("poststarthook/start-legacy-token-tracking-controller", 0),
    ("poststarthook/start-service-ip-repair-controllers", 5),
    ("poststarthook/rbac/bootstrap-roles", 8),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", 6),
    ("poststarthook/priority-and-fairness-config-producer", 4),
    ("poststarthook/bootstrap-controller", 5),
    ("poststarthook/start-kubernetes-service-cidr-controller", 4),
    ("poststarthook/aggregator-reload-proxy-client-cert", 0),
    ("poststarthook/start-kube-aggregator-informers", 0),
    ("poststarthook/apiservice-status-local-available-controller", 0),
    ("poststarthook/apiservice-status-remote-available-controller", 0),
    ("poststarthook/apiservice-registration-controller", 3),
    ("poststarthook/apiservice-discovery-controller", 3),
    ("poststarthook/kube-apiserver-autoregistration", 0),
    ("autoregister-completion", 6),
    ("poststarthook/apiservice-openapi-controller", 0),
    ("poststarthook/apiservice-openapiv3-controller", 0),
    ("shutdown", 0),
];

/// Checks of readiness that liveness does not have.
const READINESS_ONLY: &[&str] = &["etcd-readiness", "informer-sync", "shutdown"];

/// Whether a server that has run for so long, in time of the world, passes all checks.
pub(crate) fn is_ready(up: Duration) -> bool {
    CHECKS.iter().all(|(_, after)| up >= Duration::from_secs(*after))
}

/// Answers `/healthz`, `/livez` and `/readyz`, alone, `?verbose`, or one check of them. `up` is how long the server has
/// run, in time of the world.
pub(crate) fn health(path: &[String], verbose: bool, up: Duration) -> Result<Response, Refusal> {
    let Some((probe, one)) = path.split_first() else {
        return Err(Refusal::NoSuchPath);
    };
    let one = one.join("/");
    let checks = CHECKS
        .iter()
        .filter(|(name, _)| probe == "readyz" || !READINESS_ONLY.contains(name))
        .filter(|(name, _)| one.is_empty() || *name == one)
        .map(|(name, after)| (*name, up >= Duration::from_secs(*after)))
        .collect::<Vec<_>>();
    if checks.is_empty() {
        return Err(Refusal::NoSuchPath);
    }
    let failing = checks.iter().any(|(_, ok)| !ok);
    let lines = checks
        .iter()
        .map(|(name, ok)| {
            if *ok {
                format!("[+]{name} ok\n")
            } else {
                format!("[-]{name} failed: reason withheld\n")
            }
        })
        .collect::<String>();
    let kind = "text/plain; charset=utf-8";
    if failing {
        return Ok(answer(
            StatusCode::INTERNAL_SERVER_ERROR,
            kind,
            format!("{lines}{probe} check failed\n"),
        ));
    }
    let body = if verbose { format!("{lines}{probe} check passed\n") } else { "ok".to_owned() };
    Ok(answer(StatusCode::OK, kind, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(probe: &str, up: u64) -> u16 {
        health(&[probe.to_owned()], false, Duration::from_secs(up)).unwrap().status().as_u16()
    }

    #[test]
    fn a_server_becomes_ready() {
        assert_eq!(code("readyz", 1), 500);
        assert_eq!(code("readyz", 8), 200);
        assert_eq!(code("livez", 1), 500);
        let ping = ["readyz".to_owned(), "ping".to_owned()];
        assert_eq!(health(&ping, false, Duration::ZERO).unwrap().status(), 200);
        assert!(health(&["readyz".to_owned(), "nope".to_owned()], false, Duration::ZERO).is_err());
    }
}
