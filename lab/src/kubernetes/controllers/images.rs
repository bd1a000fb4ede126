//! Images: where they can be pulled from, and how long their containers take.

/// Registries that the world's nodes can reach.
const REGISTRIES: &[&str] = &[
    "docker.io",
    "quay.io",
    "ghcr.io",
    "registry.k8s.io",
    "gcr.io",
    "k8s.gcr.io",
    "mirror.gcr.io",
    "public.ecr.aws",
    "registry.gitlab.com",
    "factory.talos.dev",
    "docker.gitea.com",
    "code.forgejo.org",
    "goharbor",
];

/// How long a container takes, in seconds of the world.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pace {
    /// Until its image is there.
    pub(super) pull: f64,
    /// From its start until it is ready.
    pub(super) ready: f64,
    /// From its start until it ends, if it is one that ends.
    pub(super) runs: f64,
}

/// The registry of an image: what stands before the first slash, if it looks like a host.
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => "docker.io",
    }
}

/// Why an image cannot be pulled, if so.
pub(super) fn unreachable(image: &str) -> Option<String> {
    let host = registry(image);
    if REGISTRIES.contains(&host) {
        return None;
    }
    let name = host.split(':').next().unwrap_or(host);
    Some(format!(
        "failed to pull and unpack image \"{image}\": failed to resolve reference \"{image}\": failed to do request: \
         Head \"https://{host}/v2/\": dial tcp: lookup {name}: no such host"
    ))
}

/// How long containers of an image take.
pub(super) fn pace(image: &str) -> Pace {
    let repository = image.split(['@']).next().unwrap_or(image);
    let last = repository.rsplit('/').next().unwrap_or(repository);
    match last.split(':').next().unwrap_or(last) {
        "cilium-cli" => Pace { pull: 8.0, ready: 1.0, runs: 12.0 },
        "cilium" => Pace { pull: 18.0, ready: 10.0, runs: 5.0 },
        "coredns" => Pace { pull: 3.0, ready: 3.0, runs: 5.0 },
        "operator-generic" => Pace { pull: 6.0, ready: 4.0, runs: 5.0 },
        "busybox" | "alpine" | "pause" => Pace { pull: 1.0, ready: 0.5, runs: 2.0 },
        _ => Pace { pull: 8.0, ready: 5.0, runs: 5.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_unknown_registries_cannot_be_pulled() {
        assert_eq!(unreachable("nginx:1"), None);
        assert_eq!(unreachable("fluxcd/flux:1"), None);
        assert_eq!(unreachable("quay.io/cilium/cilium:v1.19.8"), None);
        assert!(
            unreachable("registry.nowhere.test/a:1")
                .unwrap()
                .ends_with("lookup registry.nowhere.test: no such host")
        );
    }
}
