//! The types of resources that a machine shows.
//!
//! Source: `pkg/machinery/resources` of Talos 1.13; the derived names as COSI's runtime derives them.

/// The type of the definitions of all types.
pub(super) const DEFINITIONS: &str = "ResourceDefinitions.meta.cosi.dev";
/// The type of namespaces.
pub(super) const NAMESPACES: &str = "Namespaces.meta.cosi.dev";

/// A type of resource.
#[derive(Debug)]
pub(super) struct Kind {
    /// Its name on the wire.
    pub(super) name: &'static str,
    /// Where its resources live.
    pub(super) namespace: &'static str,
    /// Names that are not derived from its own.
    aliases: &'static [&'static str],
    /// Heading and JSON path of what `talosctl get` prints.
    pub(super) columns: &'static [(&'static str, &'static str)],
    /// Whether only administrators may read it.
    pub(super) sensitive: bool,
}

const fn kind(
    name: &'static str,
    namespace: &'static str,
    aliases: &'static [&'static str],
    columns: &'static [(&'static str, &'static str)],
) -> Kind {
    Kind { name, namespace, aliases, columns, sensitive: false }
}

/// Every type that the lab knows.
pub(super) const KINDS: [Kind; 17] = [
    kind(
        "AddressStatuses.net.talos.dev",
        "network",
        &["address", "addresses"],
        &[("Address", "{.address}"), ("Link", "{.linkName}")],
    ),
    kind("EtcdMembers.etcd.talos.dev", "etcd", &[], &[("Member ID", "{.memberID}")]),
    kind(
        "HostnameStatuses.net.talos.dev",
        "network",
        &["hostname"],
        &[("Hostname", "{.hostname}"), ("Domainname", "{.domainname}")],
    ),
    Kind { sensitive: true, ..kind("MachineConfigs.config.talos.dev", "config", &[], &[]) },
    kind(
        "MachineStatuses.runtime.talos.dev",
        "runtime",
        &[],
        &[("Stage", "{.stage}"), ("Ready", "{.status.ready}")],
    ),
    kind("MachineTypes.config.talos.dev", "config", &[], &[("Type", "{@}")]),
    kind(
        "Members.cluster.talos.dev",
        "cluster",
        &[],
        &[
            ("Hostname", "{.hostname}"),
            ("Machine Type", "{.machineType}"),
            ("OS", "{.operatingSystem}"),
            ("Addresses", "{.addresses}"),
        ],
    ),
    kind("MetaKeys.runtime.talos.dev", "runtime", &["meta"], &[("Value", "{.value}")]),
    kind(NAMESPACES, "meta", &["ns"], &[]),
    kind(
        "NetworkStatuses.net.talos.dev",
        "network",
        &["netstatus", "netstatuses"],
        &[
            ("Address", "{.addressReady}"),
            ("Connectivity", "{.connectivityReady}"),
            ("Hostname", "{.hostnameReady}"),
            ("Etc", "{.etcFilesReady}"),
        ],
    ),
    kind(
        "NodeAddresses.net.talos.dev",
        "network",
        &[],
        &[("Addresses", "{.addresses}"), ("SortAlgorithm", "{.sortAlgorithm}")],
    ),
    kind("Nodenames.kubernetes.talos.dev", "k8s", &[], &[("Nodename", "{.nodename}")]),
    kind(DEFINITIONS, "meta", &["api-resources"], &[("Aliases", "{.aliases[:]}")]),
    kind(
        "Services.v1alpha1.talos.dev",
        "runtime",
        &["svc"],
        &[("Running", "{.running}"), ("Healthy", "{.healthy}"), ("Health Unknown", "{.unknown}")],
    ),
    kind(
        "SystemInformations.hardware.talos.dev",
        "hardware",
        &[],
        &[("Manufacturer", "{.manufacturer}"), ("UUID", "{.uuid}")],
    ),
    kind("TimeStatuses.v1alpha1.talos.dev", "runtime", &[], &[("Synced", "{.synced}")]),
    kind("Versions.runtime.talos.dev", "runtime", &[], &[("Version", "{.version}")]),
];

/// Every namespace that the lab knows.
pub(super) const NAMESPACE_NAMES: [&str; 9] =
    ["cluster", "config", "etcd", "hardware", "k8s", "meta", "network", "runtime", "secrets"];

/// A type by its exact name.
pub(super) fn known(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// Whether a namespace exists.
pub(super) fn has_namespace(name: &str) -> bool {
    NAMESPACE_NAMES.contains(&name)
}

/// The names that people know a type by.
pub(super) struct Names {
    /// The singular.
    pub(super) display: String,
    /// Those that are shown.
    pub(super) aliases: Vec<String>,
    /// Those that are understood.
    pub(super) all: Vec<String>,
}

impl Kind {
    /// Derives the names.
    pub(super) fn names(&self) -> Names {
        let (plural, suffix) = self.name.split_once('.').unwrap_or((self.name, ""));
        let display = plural
            .strip_suffix("es")
            .filter(|stem| stem.ends_with('s'))
            .or_else(|| plural.strip_suffix('s'))
            .unwrap_or(plural)
            .to_owned();
        let capitals: String = display.chars().filter(char::is_ascii_uppercase).collect();
        let capitals = capitals.to_lowercase();
        let mut aliases: Vec<String> = self.aliases.iter().map(|one| (*one).to_owned()).collect();
        aliases.push(display.to_lowercase());
        if capitals.len() > 1 {
            aliases.push(capitals.clone());
            if !capitals.ends_with('s') {
                aliases.push(format!("{capitals}s"));
            }
        }
        let lower = plural.to_lowercase();
        let parts: Vec<&str> = suffix.split('.').collect();
        let mut all = vec![lower.clone()];
        all.extend((1..parts.len()).map(|count| format!("{lower}.{}", parts[..count].join("."))));
        all.extend(aliases.iter().cloned());
        Names { display, aliases, all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_derived_as_cosi_does() {
        let names = known("EtcdMembers.etcd.talos.dev").unwrap().names();
        assert_eq!(names.display, "EtcdMember");
        assert_eq!(
            names.all,
            [
                "etcdmembers",
                "etcdmembers.etcd",
                "etcdmembers.etcd.talos",
                "etcdmember",
                "em",
                "ems"
            ]
        );
        let names = known("AddressStatuses.net.talos.dev").unwrap().names();
        assert_eq!(names.aliases, ["address", "addresses", "addressstatus", "as"]);
        assert_eq!(known("NodeAddresses.net.talos.dev").unwrap().names().display, "NodeAddress");
    }
}
