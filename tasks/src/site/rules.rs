//! The rules that a site file obeys; each has a code of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde_json::Value;

use super::error::Problem;
use super::file::Written;

/// What must never stand in a site file itself.
const SECRETS: [&str; 2] = ["password", "token"];

/// Every rule that is broken.
pub(super) fn check(site: &Written) -> Vec<Problem> {
    let mut problems = identity(site);
    if site.get("nodes").is_some() {
        problems.extend(missing(site));
        problems.extend(nodes(site));
        problems.extend(addresses(site));
        problems.extend(lab_addresses(site));
    }
    literal_secrets(site, "", &site.value, &mut problems);
    problems
}

fn identity(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in ["site.name", "site.cluster"] {
        match site.text(path) {
            None => problems.push(Problem::new(
                &site.source,
                "missing",
                format!("`{path}` is missing"),
                "a site says `[site] name = \"home\"` and `cluster = \"my-cluster\"`",
            )),
            Some(name) if !is_label(name) => problems.push(bad_name(site, path, name)),
            Some(_) => {}
        }
    }
    if !matches!(site.text("site.kind"), Some("lab" | "real")) {
        problems.push(
            Problem::new(
                &site.source,
                "kind",
                "`site.kind` is neither \"lab\" nor \"real\"",
                "write `kind = \"real\"`, or `kind = \"lab\"` for loopback addresses only",
            )
            .at(site.span("site.kind"), "this value"),
        );
    }
    problems
}

fn bad_name(site: &Written, path: &str, name: &str) -> Problem {
    let help = "names become host names: lower-case letters, digits and inner hyphens, at most 63";
    Problem::new(&site.source, "bad-name", format!("`{name}` is no DNS label"), help)
        .at(site.span(path), "this name")
}

/// Whether a name is a DNS label of RFC 1123 in lower case.
fn is_label(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn missing(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    for path in ["network.cidr", "network.gateway", "network.api-vip.address", "proxmox.api"] {
        if site.text(path).is_none() {
            let help = "see the shipped site `example` for all of them";
            let message = format!("`{path}` is missing, and there are nodes");
            problems.push(Problem::new(&site.source, "missing", message, help));
        }
    }
    let names = site.get("network.nameservers").and_then(Value::as_array);
    if names.is_none_or(Vec::is_empty) {
        problems.push(
            Problem::new(
                &site.source,
                "no-nameserver",
                "the nodes have no name server",
                "without one Talos takes DHCP: write `nameservers = [\"…\"]` under [network]",
            )
            .at(site.span("network"), "in this table"),
        );
    }
    problems
}

fn nodes(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut vmids: BTreeMap<i64, &str> = BTreeMap::new();
    let mut controllers = 0;
    for (name, node) in site.table("nodes") {
        let at = format!("nodes.{name}");
        if !is_label(name) {
            problems.push(bad_name(site, &at, name));
        }
        match node["role"].as_str() {
            Some("controller") => controllers += 1,
            Some("worker") => {}
            Some(_) | None => problems.push(
                Problem::new(
                    &site.source,
                    "role",
                    format!("{name} has no role"),
                    "write `role = \"controller\"` or `role = \"worker\"`",
                )
                .at(site.span(&at), "this node"),
            ),
        }
        problems.extend(vmid(site, name, node, &mut vmids));
        problems.extend(host(site, name, node));
    }
    if controllers % 2 == 0 {
        problems.push(
            Problem::new(
                &site.source,
                "even-controllers",
                format!("{controllers} controllers cannot agree by majority"),
                "have 1, 3 or 5 controllers",
            )
            .at(site.span("nodes"), "in this table"),
        );
    }
    problems
}

fn vmid<'a>(
    site: &Written,
    name: &'a str,
    node: &Value,
    seen: &mut BTreeMap<i64, &'a str>,
) -> Option<Problem> {
    let at = site.span(&format!("nodes.{name}.vmid"));
    let help = "each node needs a `vmid` of its own, 100 or more";
    let problem = |message: String| Problem::new(&site.source, "vmid", message, help);
    let Some(vmid) = node["vmid"].as_i64().filter(|id| (100..=999_999_999).contains(id)) else {
        return Some(problem(format!("{name} has no usable vmid")).at(at, "this one"));
    };
    let before = seen.insert(vmid, name)?;
    let first = site.span(&format!("nodes.{before}.vmid"));
    let message = format!("{before} and {name} have one vmid, {vmid}");
    Some(problem(message).at(first, "first here").at(at, "and again here"))
}

fn host(site: &Written, name: &str, node: &Value) -> Option<Problem> {
    let hosts = site.get("proxmox.hosts").and_then(Value::as_array);
    let named = node.get("host");
    let known = match (named, hosts) {
        (Some(host), Some(hosts)) => hosts.contains(host),
        (None, Some(hosts)) => hosts.len() == 1,
        (_, None) => false,
    };
    (!known).then(|| {
        Problem::new(
            &site.source,
            "unknown-host",
            format!("{name} stands on no host of `proxmox.hosts`"),
            "list the host there; with several hosts, each node says `host = \"…\"`",
        )
        .at(site.span(&format!("nodes.{name}")), "this node")
    })
}

/// Every planned address, with the words and the path that it goes by.
fn planned(site: &Written) -> Vec<(String, String)> {
    let mut planned: Vec<(String, String)> = site
        .table("nodes")
        .map(|(name, _)| (name.clone(), format!("nodes.{name}.address")))
        .collect();
    planned.push(("the gateway".to_owned(), "network.gateway".to_owned()));
    planned.push(("the API VIP".to_owned(), "network.api-vip.address".to_owned()));
    for (pool, _) in site.table("network.pools") {
        planned.push((format!("the pool `{pool}`"), format!("network.pools.{pool}")));
    }
    planned
}

fn addresses(site: &Written) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: BTreeMap<&str, (String, String)> = BTreeMap::new();
    for (who, path) in planned(site) {
        let Some(text) = site.text(&path) else {
            let help = "write an address inside `network.cidr`";
            let message = format!("{who} has no address");
            problems.push(Problem::new(&site.source, "missing", message, help));
            continue;
        };
        if let Some((other, first)) = seen.insert(text, (who.clone(), path.clone())) {
            let help = "each node, VIP and pool needs an address of its own";
            let message = format!("{other} and {who} have one address, {text}");
            problems.push(
                Problem::new(&site.source, "address-twice", message, help)
                    .at(site.span(&first), "first here")
                    .at(site.span(&path), "and again here"),
            );
        }
        problems.extend(outside(site, &who, &path, text));
    }
    problems
}

fn outside(site: &Written, who: &str, path: &str, text: &str) -> Option<Problem> {
    let cidr = site.text("network.cidr")?;
    let (network, prefix) = cidr.split_once('/')?;
    let network: Ipv4Addr = network.parse().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
    let inside = |address: &str| {
        let address: Result<Ipv4Addr, _> = address.parse();
        address.is_ok_and(|address| u32::from(address) & mask == u32::from(network) & mask)
    };
    let ok = text.split('-').all(inside);
    (!ok).then(|| {
        Problem::new(
            &site.source,
            "outside-network",
            format!("{who} is not inside {cidr}: {text}"),
            "correct the address, or `network.cidr`",
        )
        .at(site.span(path), "this address")
    })
}

fn lab_addresses(site: &Written) -> Option<Problem> {
    let is_lab = site.text("site.kind") == Some("lab");
    let cidr = site.text("network.cidr")?;
    if cidr.starts_with("127.") == is_lab {
        return None;
    }
    let message = if is_lab {
        format!("a lab lives inside 127.0.0.0/8, not in {cidr}")
    } else {
        format!("a real site cannot live in {cidr}")
    };
    let help = "`kind = \"lab\"` and a network of 127.0.0.0/8 go together";
    Some(
        Problem::new(&site.source, "lab-address", message, help)
            .at(site.span("network.cidr"), "this network"),
    )
}

fn literal_secrets(site: &Written, path: &str, value: &Value, problems: &mut Vec<Problem>) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if SECRETS.contains(&key.as_str()) && field.is_string() && field != "generate" {
                    problems.push(Problem::new(
                        &site.source,
                        "literal-secret",
                        format!("`{path}` is a secret, and secrets are not written here"),
                        "refer to it: { env = \"NAME\" }, { file = \"PATH\" } or { command = […] }",
                    ));
                } else {
                    literal_secrets(site, &path, field, problems);
                }
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                literal_secrets(site, &format!("{path}.{i}"), item, problems);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use miette::Diagnostic;

    use crate::site::load;

    pub(in crate::site) const SITE: &str = include_str!("../../../workflows/sites/lab.toml");

    pub(in crate::site) fn codes(text: &str) -> Vec<String> {
        let errors = load("lab.toml", text, Path::new("/base")).map(|_| ()).unwrap_err();
        errors.0.iter().map(|problem| problem.code().unwrap().to_string()).collect()
    }

    #[test]
    fn the_shipped_lab_is_right_and_its_files_are_beside_its_base() {
        let site = load("lab.toml", SITE, Path::new("/base")).unwrap();
        assert!(site.is_lab);
        assert_eq!(site.value["proxmox"]["ca"]["file"], "/base/ca.pem");
        assert_eq!(site.value["first-controller"]["name"], "controlplane0");
    }

    #[test]
    fn every_broken_rule_is_told_at_once() {
        let text = SITE
            .replace("address = \"127.2.2.2\"", "address = \"127.2.3.2\"")
            .replace("vmid = 2000", "vmid = 1500")
            .replace("address = \"127.2.1.3\"", "address = \"10.0.0.1\"")
            .replace("worker0 =", "Worker_0 =");
        let mut codes = codes(&text);
        codes.sort();
        assert_eq!(
            codes,
            ["site::address-twice", "site::bad-name", "site::outside-network", "site::vmid",]
        );
    }

    #[test]
    fn a_lab_stays_on_loopback_and_a_literal_secret_is_refused() {
        assert!(codes(&SITE.replace("127.2.", "10.2.")).contains(&"site::lab-address".to_owned()));
        let text = SITE.replace("{ file = \"root-password\" }", "\"hunter2hunter2\"");
        assert_eq!(codes(&text), ["site::literal-secret"]);
    }

    #[test]
    fn what_is_no_toml_has_a_place() {
        assert_eq!(codes("[site\nname = 1"), ["site::syntax"]);
        assert_eq!(codes("[sites]\n")[0], "site::unknown-table");
    }
}
