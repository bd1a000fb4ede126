//! What a machine does with its configuration: the values that the lab acts on.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_yaml_ng::{Mapping, Value};

use super::{Config, schema};
use crate::talos::network::Interface;

/// A certificate with its key, as PEM, from a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::talos) struct Authority {
    /// The certificate.
    pub(in crate::talos) certificate: String,
    /// The key; workers have none.
    pub(in crate::talos) key: Option<String>,
}

impl Config {
    /// A value of the main document by its path.
    pub(super) fn value(&self, path: &str) -> Option<&Value> {
        let mut keys = path.split('.');
        let mut value = self.main()?.get(keys.next()?)?;
        for key in keys {
            value = value.get(key)?;
        }
        (!value.is_null()).then_some(value)
    }

    /// A text of the main document; a missing one is empty.
    pub(in crate::talos) fn text_at(&self, path: &str) -> &str {
        self.value(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// A boolean of the main document.
    pub(super) fn truth_at(&self, path: &str) -> Option<bool> {
        self.value(path).and_then(schema::truth)
    }

    /// A list of texts of the main document.
    pub(in crate::talos) fn texts_at(&self, path: &str) -> Vec<String> {
        texts(self.value(path))
    }

    /// The entries of a list of mappings of the main document.
    pub(super) fn entries_at(&self, path: &str) -> impl Iterator<Item = &Mapping> {
        let items = self.value(path).and_then(Value::as_sequence);
        items.into_iter().flatten().filter_map(Value::as_mapping)
    }

    /// Whether it is a controller's.
    pub(in crate::talos) fn is_controller(&self) -> bool {
        matches!(self.text_at("machine.type"), "controlplane" | "init")
    }

    /// An authority by the path of its mapping.
    pub(in crate::talos) fn authority(&self, path: &str) -> Option<Authority> {
        let decoded = |key: &str| {
            let text = self.text_at(&format!("{path}.{key}"));
            let bytes = BASE64_STANDARD.decode(text).ok()?;
            String::from_utf8(bytes).ok().filter(|pem| !pem.is_empty())
        };
        Some(Authority { certificate: decoded("crt")?, key: decoded("key") })
    }

    /// The name that it gives the machine.
    pub(in crate::talos) fn hostname(&self) -> Option<String> {
        let own = Some(self.text_at("machine.network.hostname"));
        let document = self
            .of_kind("HostnameConfig")
            .next()
            .and_then(|fields| fields.get("hostname"))
            .and_then(Value::as_str);
        own.into_iter().chain(document).find(|name| !name.is_empty()).map(str::to_owned)
    }

    /// The addresses that it gives the machine, with their links.
    pub(in crate::talos) fn interfaces(&self) -> Vec<Interface> {
        let mut found = Vec::new();
        for device in self.entries_at("machine.network.interfaces") {
            let link = device.get("interface").and_then(Value::as_str).unwrap_or("eth0");
            for address in texts(device.get("addresses")) {
                found.extend(Interface::parse(link, &address));
            }
        }
        for document in self.of_kind("LinkConfig") {
            let link = document.get("name").and_then(Value::as_str).unwrap_or_default();
            let addresses = document.get("addresses").and_then(Value::as_sequence);
            for address in addresses.into_iter().flatten() {
                let address = address.get("address").and_then(Value::as_str);
                found.extend(Interface::parse(link, address.unwrap_or_default()));
            }
        }
        found
    }

    /// The shared addresses that controllers hold in turn.
    pub(in crate::talos) fn vips(&self) -> Vec<IpAddr> {
        let legacy = self
            .entries_at("machine.network.interfaces")
            .filter_map(|device| device.get("vip")?.get("ip")?.as_str());
        let documents = self.of_kind("Layer2VIPConfig").filter_map(|one| one.get("name")?.as_str());
        legacy.chain(documents).filter_map(|address| address.parse().ok()).collect()
    }

    /// Host and port of the cluster's API.
    pub(in crate::talos) fn endpoint(&self) -> Option<(String, u16)> {
        let url = url::Url::parse(self.text_at("cluster.controlPlane.endpoint")).ok()?;
        let host = url.host_str()?.trim_matches(['[', ']']).to_owned();
        Some((host, url.port_or_known_default().unwrap_or(443)))
    }

    /// The version of Kubernetes that the kubelet's image names.
    pub(in crate::talos) fn kubernetes_version(&self) -> Option<&str> {
        let image = Some(self.text_at("machine.kubelet.image"));
        let document = self
            .of_kind("KubeletConfig")
            .next()
            .and_then(|fields| fields.get("image"))
            .and_then(Value::as_str);
        let image = image.into_iter().chain(document).find(|image| !image.is_empty())?;
        image.rsplit_once(':').map(|(_, tag)| tag)
    }

    /// The names of configured extension services.
    pub(in crate::talos) fn extension_services(&self) -> Vec<String> {
        let names = self.of_kind("ExtensionServiceConfig");
        names.filter_map(|one| one.get("name")?.as_str()).map(str::to_owned).collect()
    }
}

/// The texts of a list.
pub(super) fn texts(value: Option<&Value>) -> Vec<String> {
    let items = value.and_then(Value::as_sequence);
    items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
