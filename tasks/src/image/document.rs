//! A schematic: what an image is made of, its canonical text, and the id that follows from it.
//!
//! The factory's id of a schematic is the SHA-256 of the text that Go's YAML writer makes of it.
//! The text is written here by hand, for the values whose form is beyond doubt.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// What an image is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Schematic {
    kernel_args: Vec<String>,
    /// One line of JSON for META key 10, the machine's own network.
    network: Option<String>,
    extensions: Vec<String>,
}

/// A value whose canonical text is in doubt, and hence the id.
#[derive(Debug, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
#[error("`{value}` cannot be part of a schematic")]
#[diagnostic(
    code(image::unplain),
    help(
        "kernel arguments and extensions begin with a letter and hold letters, digits and ._/=,+-"
    )
)]
pub(super) struct Unplain {
    /// The value.
    pub(super) value: String,
}

impl Schematic {
    /// Extensions are sorted, since their order means nothing; kernel arguments stay as they are.
    pub(super) fn new(kernel_args: &[String], extensions: &[String]) -> Result<Self, Unplain> {
        let values = kernel_args.iter().chain(extensions);
        if let Some(value) = values.into_iter().find(|value| !is_plain(value)) {
            return Err(Unplain { value: value.clone() });
        }
        let mut extensions = extensions.to_vec();
        extensions.sort();
        extensions.dedup();
        Ok(Self { kernel_args: kernel_args.to_vec(), network: None, extensions })
    }

    /// The same for one machine; `network` is one line of JSON without a single quote.
    pub(super) fn with_network(mut self, network: String) -> Result<Self, Unplain> {
        let plain = network.starts_with('{') && !network.contains(['\'', '\n']);
        if !plain {
            return Err(Unplain { value: network });
        }
        self.network = Some(network);
        Ok(self)
    }

    /// The canonical text.
    pub(super) fn text(&self) -> String {
        let Self { kernel_args, network, extensions } = self;
        if kernel_args.is_empty() && network.is_none() && extensions.is_empty() {
            return "customization: {}\n".to_owned();
        }
        let mut text = String::from("customization:\n");
        list(&mut text, "    extraKernelArgs:\n", "        ", kernel_args);
        if let Some(network) = network {
            text.push_str("    meta:\n        - key: 10\n          value: '");
            text.push_str(network);
            text.push_str("'\n");
        }
        let head = "    systemExtensions:\n        officialExtensions:\n";
        list(&mut text, head, "            ", extensions);
        text
    }

    /// The id that the factory gives it.
    pub(super) fn id(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(self.text().as_bytes()))
    }
}

fn list(text: &mut String, head: &str, indent: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    text.push_str(head);
    for item in items {
        writeln!(text, "{indent}- {item}").expect("writing to a string never fails");
    }
}

/// Whether YAML writes a text as it is: it can be taken for nothing but a text.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    let letter =
        text.strip_prefix('-').unwrap_or(text).starts_with(|c: char| c.is_ascii_alphabetic());
    let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"._/=,+-".contains(&c));
    letter && plain && !WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(kernel_args: &[&str], extensions: &[&str], network: Option<&str>) -> String {
        let owned = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        let schematic = Schematic::new(&owned(kernel_args), &owned(extensions)).unwrap();
        match network {
            Some(json) => schematic.with_network(json.to_owned()).unwrap().id(),
            None => schematic.id(),
        }
    }

    /// Ids of the factory's own tests and documentation.
    #[test]
    fn ids_are_those_of_the_factory() {
        assert_eq!(
            id(&[], &[], None),
            "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba"
        );
        assert_eq!(
            id(&["noapic", "nolapic"], &[], None),
            "9cba8e32753f91a16c1837ab8abf356af021706ef284aef07380780177d9a06c"
        );
        assert_eq!(
            id(&[], &[], Some(r#"{"externalIPs": ["1.2.3.4"]}"#)),
            "d8765b7ef6a1d510ae66d2fa8430e70924d11ab7f0e9a2eb28f8129a4a3b7425"
        );
        assert_eq!(
            id(&["net.ifnames=0"], &["siderolabs/tailscale"], None),
            "104c23dfe7c5bfeff6a4cc7e166d8b3bba0f371760592c7677c90c822bb1d109"
        );
        assert_eq!(
            id(
                &["hello", "hihi"],
                &["siderolabs/nvidia-fabricmanager", "siderolabs/amd-ucode"],
                None
            ),
            "647a0a54bff662aa12051bc0312097f29d3562107d8e6a8e87ab85b643e25bc0"
        );
    }

    #[test]
    fn a_machines_network_is_part_of_the_id() {
        let network = r#"{"addresses":[{"address":"10.2.1.1/16","linkName":"eth0"}],"links":[{"name":"eth0","up":true}]}"#;
        assert_eq!(
            id(
                &["net.ifnames=0"],
                &["siderolabs/tailscale", "siderolabs/qemu-guest-agent"],
                Some(network)
            ),
            "46cd117437b7de8841ff4f2401fb373665b27e2d06f255a7ac5e115d03a5fb65"
        );
    }

    #[test]
    fn what_yaml_could_read_otherwise_is_refused() {
        for plain in ["net.ifnames=0", "-console", "console=ttyS0,115200", "siderolabs/tailscale"] {
            assert!(is_plain(plain), "{plain}");
        }
        for doubtful in ["", "on", "1e3", "a b", "a: b", "-1", "'x'", "~", "a#b", "null", "No"] {
            assert!(!is_plain(doubtful), "{doubtful}");
        }
        let error = Schematic::new(&["on".to_owned()], &[]).unwrap_err();
        assert_eq!(error.to_string(), "`on` cannot be part of a schematic");
    }
}
