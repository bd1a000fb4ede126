//! What the factory can build: Talos versions and their official extensions.

/// Versions, oldest first, as `GET /versions` lists them.
pub(super) const VERSIONS: [&str; 14] = [
    "v1.11.6",
    "v1.12.0",
    "v1.12.4",
    "v1.12.7",
    "v1.13.0",
    "v1.13.1",
    "v1.13.2",
    "v1.13.3",
    "v1.13.4",
    "v1.13.5",
    "v1.13.6",
    "v1.14.0-alpha.1",
    "v1.14.0-beta.0",
    "v1.14.0",
];

/// Extensions that exist for all of these versions.
pub(super) const EXTENSIONS: [&str; 14] = [
    "siderolabs/amd-ucode",
    "siderolabs/drbd",
    "siderolabs/fuse3",
    "siderolabs/gvisor",
    "siderolabs/i915",
    "siderolabs/intel-ucode",
    "siderolabs/iscsi-tools",
    "siderolabs/nfsd",
    "siderolabs/nvidia-fabricmanager",
    "siderolabs/qemu-guest-agent",
    "siderolabs/spin",
    "siderolabs/tailscale",
    "siderolabs/util-linux-tools",
    "siderolabs/zfs",
];

/// A version's name with its `v`; none if it is not offered.
pub(super) fn version(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix('v').unwrap_or(name);
    VERSIONS.into_iter().find(|known| known.strip_prefix('v') == Some(bare))
}

/// The first of these extensions that does not exist.
pub(super) fn missing(extensions: &[String]) -> Option<&str> {
    extensions.iter().map(String::as_str).find(|name| !EXTENSIONS.contains(name))
}
