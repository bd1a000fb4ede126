//! What the values of a site file look like, one by one: known keys, addresses, versions.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::error::Problem;
use super::file::Written;
use crate::duration;

/// The keys of the tables that have a fixed set of them.
const KEYS: &[(&str, &[&str])] = &[
    ("site", &["name", "cluster", "kind"]),
    ("secrets", &["vault", "recipients", "identity"]),
    (
        "network",
        &["cidr", "gateway", "nameservers", "ntp", "manage", "api-vip", "pools", "announce"],
    ),
    (
        "proxmox",
        &["api", "ca", "admin", "hosts", "image-store", "disk-store", "bridge", "user", "csi"],
    ),
    (
        "talos",
        &[
            "version",
            "contract",
            "kubernetes",
            "extensions",
            "kernel-args",
            "image",
            "factory",
            "secrets",
        ],
    ),
    ("machines", &["controller", "worker"]),
    ("timing", &["stable", "call"]),
    ("cilium", &["version", "by", "mtu", "values"]),
    ("flux", &["manifest"]),
    ("trust", &["ca"]),
    ("gitops", &["repository", "branch", "path", "write", "sign", "token", "deploy-key"]),
    ("lab", &["speed", "seed", "faults", "story"]),
];
/// What describes a machine, in `machines.ROLE` or over it in a node.
const MACHINE: [&str; 4] = ["cores", "memory", "disk", "cpu"];
/// What a node says besides.
const NODE: [&str; 5] = ["role", "address", "vmid", "host", "first"];

/// Every value that cannot be meant.
pub(super) fn check(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (table, known) in KEYS {
        problems.extend(unknown(site, table, known));
    }
    for (role, _) in site.table("machines") {
        problems.extend(machine(site, &format!("machines.{role}"), &[]));
    }
    for (name, _) in site.table("nodes") {
        problems.extend(machine(site, &format!("nodes.{name}"), &NODE));
    }
    problems.extend(network(site));
    problems.extend(versions(site));
    problems.extend(times(site));
    problems.extend(api(site));
    problems
}

fn unknown(site: &Written, table: &str, known: &[&str]) -> Vec<Problem> {
    let fields = site.table(table).filter(|(key, _)| !known.contains(&key.as_str()));
    let problems = fields.map(|(key, _)| {
        let path = format!("{table}.{key}");
        let help = format!("`{table}` has the keys {}", known.join(", "));
        Problem::new(&site.source, "unknown-key", format!("no key `{path}`"), help)
            .at(site.span(&path), "this one")
    });
    problems.collect()
}

fn machine(site: &Written, path: &str, besides: &[&str]) -> Vec<Problem> {
    let known: Vec<&str> = besides.iter().chain(&MACHINE).copied().collect();
    let mut problems = unknown(site, path, &known);
    let cores = format!("{path}.cores");
    if site.get(&cores).is_some_and(|cores| cores.as_u64().is_none_or(|cores| cores == 0)) {
        let message = format!("`{cores}` is no number of cores");
        problems.push(bad(site, &cores, message, "write a whole number, as `cores = 4`"));
    }
    problems
}

fn network(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(cidr) = site.text("network.cidr").filter(|cidr| !is_network(cidr)) {
        let message = format!("`{cidr}` is no IPv4 network");
        problems.push(bad(site, "network.cidr", message, "write it as \"10.2.0.0/16\""));
    }
    let servers = site.get("network.nameservers").and_then(Value::as_array);
    for (at, server) in servers.into_iter().flatten().enumerate() {
        if server.as_str().is_none_or(|server| server.parse::<IpAddr>().is_err()) {
            let message = format!("the name server {server} is no address");
            let help = "a name could not be resolved without one: write its address";
            problems.push(bad(site, &format!("network.nameservers.{at}"), message, help));
        }
    }
    problems
}

fn is_network(cidr: &str) -> bool {
    cidr.split_once('/').is_some_and(|(address, prefix)| {
        address.parse::<Ipv4Addr>().is_ok()
            && prefix.parse::<u32>().is_ok_and(|prefix| prefix <= 32)
    })
}

fn versions(site: &Written) -> Vec<Problem> {
    let paths = [("talos.version", 3), ("talos.contract", 2), ("talos.kubernetes", 3)];
    let wrong = paths.into_iter().filter(|(path, parts)| {
        site.get(path).is_some_and(|value| !value.as_str().is_some_and(|v| is_version(v, *parts)))
    });
    let mut problems: Vec<Problem> = wrong
        .map(|(path, parts)| {
            let example = if parts == 3 { "\"v1.13.4\"" } else { "\"v1.13\"" };
            bad(site, path, format!("`{path}` is no version"), format!("write it as {example}"))
        })
        .collect();
    let minor = |path| site.text(path).and_then(minor);
    if let (Some(contract), Some(version)) = (minor("talos.contract"), minor("talos.version"))
        && contract > version
    {
        let message = "`talos.contract` is newer than `talos.version`";
        let help = "the contract is the version that the cluster was born with";
        problems.push(
            Problem::new(&site.source, "version-pair", message, help)
                .at(site.span("talos.contract"), "this one")
                .at(site.span("talos.version"), "newer than this"),
        );
    }
    problems
}

/// Whether a text is `v` and numbers with dots between them.
fn is_version(text: &str, parts: usize) -> bool {
    let numbers = text.strip_prefix('v').unwrap_or_default();
    // A pre-release has words after its last number.
    let numbers = if parts == 3 { numbers.split(['-', '+']).next() } else { Some(numbers) };
    let numbers: Vec<_> = numbers.unwrap_or_default().split('.').collect();
    numbers.len() == parts && numbers.iter().all(|number| number.parse::<u16>().is_ok())
}

fn minor(version: &str) -> Option<(u16, u16)> {
    let mut numbers = version.strip_prefix('v')?.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn times(site: &Written) -> Vec<Problem> {
    let wrong = ["timing.stable", "timing.call"].into_iter().filter(|path| {
        site.get(path)
            .is_some_and(|value| value.as_str().is_none_or(|text| duration::parse(text).is_none()))
    });
    wrong
        .map(|path| bad(site, path, format!("`{path}` is no duration"), "write it as \"30s\""))
        .collect()
}

fn api(site: &Written) -> Option<Problem> {
    let api = site.text("proxmox.api")?;
    let is_url = api.strip_prefix("https://").is_some_and(|host| !host.is_empty());
    (!is_url).then(|| {
        let message = format!("`{api}` is no address of an API");
        bad(site, "proxmox.api", message, "write it as \"https://atlas:8006\"")
    })
}

fn bad(site: &Written, path: &str, message: impl Into<String>, help: impl Into<String>) -> Problem {
    Problem::new(&site.source, "bad-value", message, help).at(site.span(path), "this value")
}

#[cfg(test)]
mod tests {
    use super::is_version;
    use crate::site::rules::tests::{SITE, codes};

    #[test]
    fn what_cannot_be_meant_is_told_with_its_place() {
        for (right, wrong) in [
            ("127.2.0.0/16", "127.2.0.0/33"),
            ("nameservers = [\"127.2.0.1\"]", "nameservers = [\"x\"]"),
            ("version = \"v1.13.4\"", "version = \"banana\""),
            ("https://127.2.0.10:8006", "atlas"),
            ("stable = \"0.5s\"", "stable = 5"),
            ("cores = 4", "cores = \"four\""),
        ] {
            assert!(SITE.contains(right), "{right}");
            assert!(codes(&SITE.replacen(right, wrong, 1)).contains(&"site::bad-value".to_owned()));
        }
        let newer = SITE.replace("contract = \"v1.13\"", "contract = \"v1.14\"");
        assert_eq!(codes(&newer), ["site::version-pair"]);
        let key = SITE
            .replace("[network]", "[network]\nbogus = 1")
            .replace("vmid = 2001", "vmid = 2001, core = 2");
        assert_eq!(codes(&key), ["site::unknown-key", "site::unknown-key"]);
    }

    #[test]
    fn versions_have_a_v_and_their_numbers() {
        assert!(is_version("v1.13.4", 3) && is_version("v1.14.0-alpha.1", 3));
        assert!(is_version("v1.13", 2));
        assert!(!is_version("1.13.4", 3) && !is_version("v1.13.4", 2) && !is_version("v1", 3));
    }
}
