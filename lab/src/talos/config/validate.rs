//! What Talos refuses in a configuration, with its messages.
//!
//! Source: the validation of Talos 1.13 (`pkg/machinery/config/types`).

use std::net::IpAddr;

use serde_yaml_ng::{Mapping, Value};
use url::Url;

use super::{Config, decode::Document, schema, values::texts};

/// Fields of the kubelet's configuration that belong to Talos.
const KUBELET_OWN: [&str; 13] = [
    "apiVersion",
    "authentication",
    "authorization",
    "cgroupRoot",
    "kind",
    "kubeletCgroups",
    "port",
    "protectKernelDefaults",
    "resolvConf",
    "rotateCertificates",
    "systemCgroups",
    "staticPodPath",
    "seccompDefault",
];

type Errors = Vec<String>;

/// The warnings of a valid configuration, or all its errors as one text.
pub(super) fn validate(config: &Config, minor: u32) -> Result<Vec<String>, String> {
    let mut errors = Errors::new();
    let mut warnings = Vec::new();
    for document in &config.documents {
        let mut own = Errors::new();
        if document.kind == schema::MAIN {
            main(config, minor, &mut own, &mut warnings);
            if !own.is_empty() {
                errors.push(format!("{}: {}", document.id(), together(&own)));
            }
        } else {
            side(document, &mut own);
            if !own.is_empty() {
                errors.push(format!("{}: {}", document.id(), own.join("\n")));
            }
        }
    }
    for document in config.documents.iter().filter(|one| one.kind != schema::MAIN) {
        conflict(config, document, &mut errors);
    }
    if errors.is_empty() { Ok(warnings) } else { Err(together(&errors)) }
}

/// Several errors the way Go's multierror prints them.
fn together(errors: &[String]) -> String {
    let points: Vec<String> = errors.iter().map(|error| format!("* {error}")).collect();
    let count = match errors.len() {
        1 => "1 error".to_owned(),
        count => format!("{count} errors"),
    };
    format!("{count} occurred:\n\t{}\n\n", points.join("\n\t"))
}

fn main(config: &Config, minor: u32, errors: &mut Errors, warnings: &mut Vec<String>) {
    if config.value("machine").is_none() {
        errors.push("machine instructions are required".to_owned());
        return;
    }
    cluster(config, errors);
    if let Some(install) = config.value("machine.install") {
        let set = |key: &str| install.get(key).is_some_and(|value| !value.is_null());
        if set("extraKernelArgs")
            && config.truth_at("machine.install.grubUseUKICmdline") == Some(true)
        {
            errors.push(
                "install.extraKernelArgs and install.grubUseUKICmdline can't be used together"
                    .to_owned(),
            );
        }
        if set("extraKernelArgs") {
            warnings.push(
                "extra kernel arguments are not supported when booting using SDBoot".to_owned(),
            );
        }
        if set("extensions") {
            warnings.push(
                ".machine.install.extensions is deprecated, please see https://docs.siderolabs.com/talos/latest/platform-specific-installations/boot-assets"
                    .to_owned(),
            );
        }
    }
    let dns = |key: &str| config.truth_at(&format!("machine.features.hostDNS.{key}"));
    if dns("forwardKubeDNSToHost") == Some(true) && dns("enabled") != Some(true) {
        errors.push(
            "feature hostDNS.forwardKubeDNSToHost requires hostDNS.enabled to be true (.machine.features.hostDNS)"
                .to_owned(),
        );
    }
    kind_of_machine(config, minor, errors, warnings);
    for device in config.entries_at("machine.network.interfaces") {
        interface(device, errors);
    }
    kubelet(config, errors);
    for (key, what) in
        [("nodeLabels", "labels"), ("nodeAnnotations", "annotations"), ("nodeTaints", "taints")]
    {
        labels(config, key, what, errors);
    }
    if config.truth_at("persist") == Some(false) {
        errors.push(".persist should be enabled".to_owned());
    }
}

fn kind_of_machine(config: &Config, minor: u32, errors: &mut Errors, warnings: &mut Vec<String>) {
    let authority = config.authority("machine.ca");
    if authority.is_none() && config.value("machine.acceptedCAs").is_none() {
        errors.push(
            "issuing CA or some accepted CAs are required (.machine.ca, machine.acceptedCAs)"
                .to_owned(),
        );
    }
    let os_key = !config.text_at("machine.ca.key").is_empty();
    match config.text_at("machine.type") {
        "controlplane" | "init" => {
            cni(config, errors);
            if config.text_at("machine.ca.crt").is_empty() {
                errors.push("issuing CA is required (.machine.ca)".to_owned());
            } else if !os_key {
                errors.push(
                    "issuing CA key is required for controlplane nodes (.machine.ca.key)"
                        .to_owned(),
                );
            }
            if minor >= 14
                && config.text_at("cluster.secretboxEncryptionSecret").is_empty()
                && config.text_at("cluster.aescbcEncryptionSecret").is_empty()
                && config.of_kind("KubeEtcdEncryptionConfig").next().is_none()
            {
                errors.push(
                    "etcd encryption config is required for control plane machines running kube-apiserver"
                        .to_owned(),
                );
            }
        }
        kind @ ("worker" | "join" | "") => {
            if kind != "worker" {
                warnings.push(format!("use \"worker\" instead of \"{kind}\" for machine type"));
            }
            let devices = config.entries_at("machine.network.interfaces");
            for _ in devices.filter(|device| device.get("vip").is_some_and(|vip| !vip.is_null())) {
                errors.push(
                    "virtual (shared) IP is not allowed on non-controlplane nodes".to_owned(),
                );
            }
            if os_key {
                errors.push(
                    "issuing Talos API CA key is not allowed on non-controlplane nodes (.machine.ca)"
                        .to_owned(),
                );
            }
            if !config.text_at("cluster.ca.key").is_empty() {
                errors.push(
                    "issuing Kubernetes API CA key is not allowed on non-controlplane nodes (.cluster.ca)"
                        .to_owned(),
                );
            }
        }
        other => errors.push(format!("unknown machine type \"{other}\"")),
    }
}

fn cluster(config: &Config, errors: &mut Errors) {
    if config.value("cluster").is_none() {
        errors.push("cluster instructions are required".to_owned());
        return;
    }
    let endpoint = config.text_at("cluster.controlPlane.endpoint");
    if endpoint.is_empty() {
        errors.push("cluster controlplane endpoint is required".to_owned());
        return;
    }
    if let Err(why) = web_address(endpoint) {
        errors.push(format!("invalid controlplane endpoint: {why}"));
    }
    let domain = config.text_at("cluster.network.dnsDomain");
    if !domain.is_empty() && !is_dns_name(domain) {
        errors.push(format!("\"{domain}\" is not a valid DNS name"));
    }
    if !config.is_controller() {
        if config.value("cluster.etcd").is_some() {
            errors.push("etcd config is only allowed on control plane machines".to_owned());
        }
        if !config.text_at("cluster.ca.key").is_empty() {
            errors.push(
                "cluster CA key is not allowed on non-controlplane nodes (.cluster.ca)".to_owned(),
            );
        }
    }
    let mut names = Vec::new();
    for manifest in config.entries_at("cluster.inlineManifests") {
        let name = manifest.get("name").and_then(Value::as_str).unwrap_or_default();
        if name.trim().is_empty() {
            errors.push("inline manifest name can't be empty".to_owned());
        }
        if names.contains(&name) {
            errors.push(format!("inline manifest name \"{name}\" is duplicate"));
        }
        names.push(name);
    }
    discovery(config, errors);
}

fn discovery(config: &Config, errors: &mut Errors) {
    let off = |path: &str| config.truth_at(path) == Some(true);
    if config.truth_at("cluster.discovery.enabled") != Some(true)
        || off("cluster.discovery.registries.service.disabled")
    {
        return;
    }
    for key in ["id", "secret"] {
        if config.text_at(&format!("cluster.{key}")).is_empty() {
            errors.push(format!("cluster discovery service requires .cluster.{key}"));
        }
    }
}

fn cni(config: &Config, errors: &mut Errors) {
    let urls = config.texts_at("cluster.network.cni.urls");
    match config.text_at("cluster.network.cni.name") {
        name @ ("flannel" | "none") if !urls.is_empty() => {
            errors.push(format!("\"urls\" field should be empty for \"{name}\" CNI"));
        }
        "custom" if urls.is_empty() => {
            errors.push("\"urls\" field should not be empty for \"custom\" CNI".to_owned());
        }
        "" | "flannel" | "none" | "custom" => {}
        _ => {
            errors.push("cni name should be one of [\"flannel\", \"custom\", \"none\"]".to_owned());
        }
    }
}

fn interface(device: &Mapping, errors: &mut Errors) {
    let text = |key: &str| device.get(key).and_then(Value::as_str).unwrap_or_default();
    if device.get("ignore").and_then(schema::truth) == Some(true) {
        return;
    }
    let selector = device.get("deviceSelector").is_some_and(|value| !value.is_null());
    let both = "[networking.os.device.interface], [networking.os.device.deviceSelector]";
    match (text("interface").is_empty(), selector) {
        (true, false) => {
            errors.push(format!("{both}: required either config section to be set"));
        }
        (false, true) => errors.push(format!("{both}: config sections are mutually exclusive")),
        (true, true) | (false, false) => {}
    }
    let name = text("interface");
    for address in texts(device.get("addresses")) {
        if let Err(why) = ip_or_cidr(&address) {
            errors.push(format!("[networking.os.device.addresses] \"{name}\": {why}"));
        }
    }
    if let Some(ip) = device.get("vip").and_then(|vip| vip.get("ip")).and_then(Value::as_str)
        && ip.parse::<IpAddr>().is_err()
    {
        errors.push(format!("[networking.os.device.vip] failed to parse \"{ip}\" as IP address"));
    }
    let routes = device.get("routes").and_then(Value::as_sequence);
    for (number, route) in routes.into_iter().flatten().enumerate() {
        let at = format!("networking.os.device.route[{number}]");
        let text = |key: &str| route.get(key).and_then(Value::as_str).unwrap_or_default();
        let (network, gateway) = (text("network"), text("gateway"));
        if !network.is_empty() && (!network.contains('/') || ip_or_cidr(network).is_err()) {
            errors.push(format!("[{at}.network] \"{network}\": invalid network address"));
        }
        if !gateway.is_empty() && gateway.parse::<IpAddr>().is_err() {
            errors.push(format!("[{at}.gateway] \"{gateway}\": invalid network address"));
        }
        if network.is_empty() && gateway.is_empty() {
            errors.push(format!("[{at}]: either network or gateway should be set"));
        }
    }
}

fn kubelet(config: &Config, errors: &mut Errors) {
    for subnet in config.texts_at("machine.kubelet.nodeIP.validSubnets") {
        if ip_or_cidr(subnet.trim_start_matches('!')).is_err() {
            errors.push(format!("kubelet nodeIP subnet is not valid: \"{subnet}\""));
        }
    }
    for field in KUBELET_OWN {
        if config.value(&format!("machine.kubelet.extraConfig.{field}")).is_some() {
            errors.push(format!("kubelet configuration field \"{field}\" can't be overridden"));
        }
    }
    for subnet in config.texts_at("cluster.etcd.advertisedSubnets") {
        if ip_or_cidr(subnet.trim_start_matches('!')).is_err() {
            errors.push(format!("etcd advertised subnet is not valid: \"{subnet}\""));
        }
    }
}

fn labels(config: &Config, key: &str, what: &str, errors: &mut Errors) {
    let labels = config.value(&format!("machine.{key}")).and_then(Value::as_mapping);
    let mut own = Errors::new();
    for (name, value) in labels.into_iter().flatten() {
        let name = name.as_str().unwrap_or_default();
        let (prefix, short) = name.rsplit_once('/').map_or((None, name), |(p, s)| (Some(p), s));
        if !is_label(short) || short.is_empty() || prefix.is_some_and(|prefix| !is_dns_name(prefix))
        {
            own.push(format!("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character: \"{name}\""));
        }
        let value = value.as_str().unwrap_or_default();
        if key == "nodeLabels" && !is_label(value) {
            own.push(format!("label value \"{value}\" is invalid"));
        }
    }
    if !own.is_empty() {
        errors.push(format!("invalid machine node {what}: {}", together(&own)));
    }
}

/// What a document with a kind must hold by itself.
fn side(document: &Document, errors: &mut Errors) {
    let text = |key: &str| document.fields.get(key).and_then(Value::as_str).unwrap_or_default();
    let list = |key: &str| document.fields.get(key).and_then(Value::as_sequence);
    match document.kind.as_str() {
        "HostnameConfig" => match (text("auto"), text("hostname")) {
            ("", "") => errors.push("either 'auto' or 'hostname' must be set".to_owned()),
            ("" | "off", _) | (_, "") => {}
            (_, _) => {
                errors.push("'auto' and 'hostname' cannot be set at the same time".to_owned());
            }
        },
        "Layer2VIPConfig" => {
            if text("name").parse::<IpAddr>().is_err() {
                errors.push("name must be a valid IP address".to_owned());
            }
            if text("link").is_empty() {
                errors.push("link must be specified".to_owned());
            }
        }
        "ExtensionServiceConfig" => {
            let name = text("name");
            if name.is_empty() {
                errors.push("name is required".to_owned());
            }
            if list("configFiles").is_none() && list("environment").is_none() {
                errors.push(format!("no config files found for extension \"{name}\""));
            }
        }
        "LinkConfig" | "DHCPv4Config" if text("name").is_empty() => {
            errors.push("name must be specified".to_owned());
        }
        _ => {}
    }
}

/// What a document with a kind may not say again.
fn conflict(config: &Config, document: &Document, errors: &mut Errors) {
    let set = |path: &str| config.value(path).is_some();
    let mut refuse = |when: bool, message: &str| {
        if when {
            errors.push(message.to_owned());
        }
    };
    match document.kind.as_str() {
        "HostnameConfig" => {
            refuse(
                !config.text_at("machine.network.hostname").is_empty(),
                "static hostname is already set in v1alpha1 config",
            );
            refuse(
                config.truth_at("machine.features.stableHostname") == Some(true),
                "stable hostname is already set in v1alpha1 config",
            );
        }
        "ResolverConfig" => refuse(
            set("machine.network.nameservers"),
            "static resolvers are already set in v1alpha1 config",
        ),
        "UnattendedInstallConfig" => {
            refuse(set("machine.install"), "install is already set in v1alpha1 config");
        }
        "DiscoveryIdentityConfig" => refuse(
            set("cluster.id") || set("cluster.secret"),
            "cluster identity is already set in v1alpha1 config",
        ),
        "KubePrismConfig" => {
            refuse(
                set("machine.features.kubePrism"),
                "KubePrism is already set in v1alpha1 config",
            );
        }
        "KubeletConfig" => {
            refuse(set("machine.kubelet"), "kubelet is already set in v1alpha1 config");
        }
        "TimeSyncConfig" => {
            refuse(set("machine.time"), "time sync is already set in v1alpha1 config");
        }
        _ => {}
    }
}

fn web_address(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|_| "hostname must not be blank".to_owned())?;
    match (url.scheme(), url.host()) {
        ("http" | "https", Some(_)) => Ok(()),
        ("http" | "https", None) => Err("hostname must not be blank".to_owned()),
        (_, _) => Err(format!("url must contain https:// or http:// scheme, got {text:?}")),
    }
}

fn ip_or_cidr(text: &str) -> Result<(), String> {
    match text.split_once('/') {
        Some((address, prefix)) => {
            let most = match address.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return Err(format!("invalid CIDR address: {text}")),
            };
            let fits = prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most);
            if fits { Ok(()) } else { Err(format!("invalid CIDR address: {text}")) }
        }
        None if text.parse::<IpAddr>().is_ok() => Ok(()),
        None => Err(format!("failed to parse IP address \"{text}\"")),
    }
}

fn is_dns_name(name: &str) -> bool {
    let part = |part: &str| {
        (1..=63).contains(&part.len())
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    name.len() <= 255 && name.trim_end_matches('.').split('.').all(part)
}

fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let edge = |byte: Option<&u8>| byte.is_none_or(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && bytes.iter().all(|byte| inner(*byte))
        && edge(bytes.first())
        && edge(bytes.last())
}

#[cfg(test)]
mod tests;
