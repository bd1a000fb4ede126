//! What the resources of a machine say now.
//!
//! Source: `pkg/machinery/resources` of Talos 1.13.

use prost::Message as _;
use serde_json::{Value, json};

use super::{
    kinds::{DEFINITIONS, KINDS, Kind, NAMESPACE_NAMES, NAMESPACES},
    specs,
};
use crate::talos::{
    live::{Live, Part, Stage},
    rack::{Fleet, Machine},
    release::Release,
    service::timestamp,
    wire::cosi::resource::{Metadata, Resource, Spec},
};

/// Marks a resource whose YAML is one text, so that clients parse it once more.
const TEXT_MARK: (&str, &str) = ("talos.dev/yaml-spec", "1");

/// One resource, before it has a version.
struct Item {
    id: String,
    yaml: String,
    proto: Vec<u8>,
    text: bool,
}

impl Item {
    fn new(id: impl Into<String>, value: &Value) -> Self {
        Self { id: id.into(), yaml: yaml(value), proto: Vec::new(), text: false }
    }

    fn proto(mut self, message: &impl prost::Message) -> Self {
        self.proto = message.encode_to_vec();
        self
    }
}

fn yaml(value: &Value) -> String {
    serde_yaml_ng::to_string(value).unwrap_or_default()
}

/// All resources of a type in a namespace, in the order of their ids.
pub(super) fn list(
    fleet: &mut Fleet,
    vmid: u32,
    (namespace, kind): (&str, &'static Kind),
) -> Vec<Resource> {
    if kind.namespace != namespace {
        return Vec::new();
    }
    let Some((machine, live)) = fleet.machines.get(&vmid).zip(fleet.live(vmid)) else {
        return Vec::new();
    };
    let mut items = items(kind, fleet, machine, live);
    items.sort_by(|one, other| one.id.cmp(&other.id));
    let created = timestamp(live.since);
    let Some(live) = fleet.live_mut(vmid) else { return Vec::new() };
    items
        .into_iter()
        .map(|item| {
            let version = version(live, kind.name, &item);
            let annotations = item.text.then(|| (TEXT_MARK.0.to_owned(), TEXT_MARK.1.to_owned()));
            let metadata = Metadata {
                namespace: namespace.to_owned(),
                r#type: kind.name.to_owned(),
                id: item.id,
                version: version.to_string(),
                phase: "running".to_owned(),
                created: Some(created),
                updated: Some(created),
                annotations: annotations.into_iter().collect(),
                ..Metadata::default()
            };
            let spec = Spec { proto_spec: item.proto, yaml_spec: item.yaml };
            Resource { metadata: Some(metadata), spec: Some(spec) }
        })
        .collect()
}

/// Grows whenever somebody finds the resource changed.
fn version(live: &mut Live, kind: &str, item: &Item) -> u64 {
    let seen = live.seen.entry((kind.to_owned(), item.id.clone())).or_default();
    if seen.0 != item.yaml || seen.1 == 0 {
        *seen = (item.yaml.clone(), seen.1 + 1);
    }
    seen.1
}

fn items(kind: &Kind, fleet: &Fleet, machine: &Machine, live: &Live) -> Vec<Item> {
    match kind.name {
        DEFINITIONS => KINDS.iter().map(definition).collect(),
        NAMESPACES => NAMESPACE_NAMES
            .iter()
            .map(|name| Item::new(*name, &json!({"description": ""})))
            .collect(),
        "AddressStatuses.net.talos.dev" => addresses(live),
        "NodeAddresses.net.talos.dev" => node_addresses(live),
        "HostnameStatuses.net.talos.dev" => {
            let spec = json!({"hostname": live.hostname, "domainname": ""});
            let proto = specs::Hostname { hostname: live.hostname.clone() };
            vec![Item::new("hostname", &spec).proto(&proto)]
        }
        "NetworkStatuses.net.talos.dev" => vec![network(!live.hostname.is_empty())],
        "SystemInformations.hardware.talos.dev" => vec![hardware(machine)],
        "TimeStatuses.v1alpha1.talos.dev" => {
            let synced = live.has(Part::Clock) || live.stage == Stage::Maintenance;
            let spec = json!({"synced": synced, "epoch": 0, "syncDisabled": false});
            vec![Item::new("node", &spec).proto(&specs::Time { synced })]
        }
        "Versions.runtime.talos.dev" => {
            vec![Item::new(
                "version",
                &json!({"name": "Talos", "version": machine.release().tag()}),
            )]
        }
        "MetaKeys.runtime.talos.dev" => meta(machine),
        "MachineStatuses.runtime.talos.dev" => vec![status(live)],
        "Services.v1alpha1.talos.dev" => live
            .services
            .summary()
            .map(|(id, running, healthy, unknown)| {
                let spec = json!({"running": running, "healthy": healthy, "unknown": unknown});
                Item::new(id, &spec).proto(&specs::Service { running, healthy, unknown })
            })
            .collect(),
        _ => configured(kind, fleet, machine, live),
    }
}

/// What only a configured machine shows.
fn configured(kind: &Kind, fleet: &Fleet, machine: &Machine, live: &Live) -> Vec<Item> {
    let Some(config) = &live.config else { return Vec::new() };
    let (role, number) = if config.is_controller() { ("controlplane", 2) } else { ("worker", 3) };
    match kind.name {
        "MachineConfigs.config.talos.dev" => {
            let persistent = machine.disk.config.as_deref();
            let active = Some(("v1alpha1", config.text()));
            let both = active.into_iter().chain(persistent.map(|text| ("persistent", text)));
            both.map(|(id, text)| Item {
                text: true,
                ..Item::new(id, &json!(text)).proto(&specs::Text { yaml: text.as_bytes().to_vec() })
            })
            .collect()
        }
        "MachineTypes.config.talos.dev" => {
            vec![Item::new("machine-type", &json!(role)).proto(&specs::Type { number })]
        }
        "Nodenames.kubernetes.talos.dev" => vec![Item::new(
            "nodename",
            &json!({
                "nodename": live.hostname, "hostnameVersion": "1", "skipNodeRegistration": false,
            }),
        )],
        "EtcdMembers.etcd.talos.dev" if live.has(Part::Etcd) => {
            let member = machine.disk.etcd.as_ref().map(|data| format!("{:016x}", data.member));
            member
                .map(|id| {
                    Item::new("local", &json!({"memberID": id})).proto(&specs::Meta { value: id })
                })
                .into_iter()
                .collect()
        }
        "Members.cluster.talos.dev" => members(fleet, live),
        _ => Vec::new(),
    }
}

fn definition(kind: &Kind) -> Item {
    let names = kind.names();
    let columns: Vec<Value> =
        kind.columns.iter().map(|(name, path)| json!({"name": name, "jsonPath": path})).collect();
    let spec = json!({
        "type": kind.name, "displayType": names.display, "defaultNamespace": kind.namespace,
        "aliases": names.aliases, "allAliases": names.all, "printColumns": columns,
        "sensitivity": if kind.sensitive { "sensitive" } else { "" },
    });
    let proto = specs::Definition {
        resource_type: kind.name.to_owned(),
        display_type: names.display,
        default_namespace: kind.namespace.to_owned(),
        aliases: names.aliases,
        all_aliases: names.all,
        print_columns: kind
            .columns
            .iter()
            .map(|(name, path)| specs::Column { name: (*name).into(), json_path: (*path).into() })
            .collect(),
        sensitivity: i32::from(kind.sensitive),
    };
    Item::new(kind.name.to_lowercase(), &spec).proto(&proto)
}

fn addresses(live: &Live) -> Vec<Item> {
    let own = live.interfaces.iter().map(|one| (one.link.clone(), one.cidr()));
    let link = live.interfaces.first().map(|one| one.link.clone()).unwrap_or_default();
    let shared = live.vips.iter().map(|vip| (link.clone(), format!("{vip}/32")));
    let loopback = ("lo".to_owned(), "127.0.0.1/8".to_owned());
    own.chain(shared).chain([loopback]).map(|(link, cidr)| address(&link, &cidr)).collect()
}

fn address(link: &str, cidr: &str) -> Item {
    let host = link == "lo";
    let index = if host { 1 } else { 7 };
    let spec = json!({
        "address": cidr, "linkIndex": index, "linkName": link, "family": "inet4",
        "scope": if host { "host" } else { "global" }, "flags": "permanent", "priority": 0,
    });
    let proto = specs::AddressStatus {
        address: specs::Network::of(cidr),
        link_index: index,
        link_name: link.to_owned(),
        family: specs::INET4,
        scope: if host { specs::HOST } else { 0 },
        flags: specs::PERMANENT,
    };
    Item::new(format!("{link}/{cidr}"), &spec).proto(&proto)
}

fn node_addresses(live: &Live) -> Vec<Item> {
    let own: Vec<String> =
        live.interfaces.iter().map(super::super::network::Interface::cidr).collect();
    let mut current = own.clone();
    current.extend(live.vips.iter().map(|vip| format!("{vip}/32")));
    let sets = [
        ("default", own.first().cloned().into_iter().collect::<Vec<_>>()),
        ("current", current.clone()),
        ("accumulative", current.clone()),
        ("routed", current),
    ];
    let item = |id: String, addresses: &[String]| {
        let proto = specs::Addresses::of(addresses);
        Item::new(id, &json!({"addresses": addresses, "sortAlgorithm": "v1"})).proto(&proto)
    };
    let mut items: Vec<Item> = Vec::new();
    for (id, addresses) in sets {
        items.push(item(id.to_owned(), &addresses));
        if id != "default" && live.config.is_some() {
            items.push(item(format!("{id}-no-k8s"), &addresses));
            items.push(item(format!("{id}-only-k8s"), &[]));
        }
    }
    items
}

fn network(named: bool) -> Item {
    let spec = json!({
        "addressReady": true, "connectivityReady": true, "hostnameReady": named,
        "etcFilesReady": true,
    });
    let proto =
        specs::NetworkStatus { address: true, connectivity: true, hostname: named, files: true };
    Item::new("status", &spec).proto(&proto)
}

fn hardware(machine: &Machine) -> Item {
    let uuid = machine.hardware.uuid.clone();
    let spec = json!({
        "manufacturer": "QEMU", "productName": "Standard PC (Q35 + ICH9, 2009)",
        "version": "pc-q35-10.1", "uuid": uuid, "wakeUpType": "Power Switch",
    });
    let proto = specs::System {
        manufacturer: "QEMU".to_owned(),
        product_name: "Standard PC (Q35 + ICH9, 2009)".to_owned(),
        version: "pc-q35-10.1".to_owned(),
        uuid,
    };
    Item::new("systeminformation", &spec).proto(&proto)
}

fn meta(machine: &Machine) -> Vec<Item> {
    let values = machine.hardware.disk.iter().flat_map(|image| &image.meta);
    values
        .map(|(key, value)| {
            let value = String::from_utf8_lossy(value).into_owned();
            Item::new(format!("0x{key:02x}"), &json!({"value": value}))
                .proto(&specs::Meta { value })
        })
        .collect()
}

fn status(live: &Live) -> Item {
    let conditions = unmet(live);
    let shown: Vec<Value> =
        conditions.iter().map(|(name, why)| json!({"name": name, "reason": why})).collect();
    let ready = conditions.is_empty();
    let spec = json!({
        "stage": live.stage.to_string(),
        "status": {"ready": ready, "unmetConditions": shown},
    });
    let proto = specs::Status {
        stage: live.stage.number(),
        status: Some(specs::Readiness {
            ready,
            unmet: conditions
                .into_iter()
                .map(|(name, reason)| specs::Condition { name: name.to_owned(), reason })
                .collect(),
        }),
    };
    Item::new("machine", &spec).proto(&proto)
}

/// What keeps a machine from being ready.
fn unmet(live: &Live) -> Vec<(&'static str, String)> {
    let mut unmet = Vec::new();
    if !matches!(live.stage, Stage::Booting | Stage::Running) {
        return unmet;
    }
    if !live.has(Part::Clock) {
        unmet.push(("time", "time is not synced".to_owned()));
    }
    let controller: &[&str] = &["apid", "machined", "kubelet", "etcd", "trustd"];
    let needed = if live.is_controller() { controller } else { &controller[..3] };
    let problems = live.services.problems(needed);
    if !problems.is_empty() {
        unmet.push(("services", problems.join(", ")));
    }
    let name = &live.hostname;
    if !live.has(Part::Node) {
        unmet.push(("nodeReady", format!("node \"{name}\" status is not available yet")));
    } else if !live.has(Part::NodeReady) {
        unmet.push(("nodeReady", format!("node \"{name}\" is not ready")));
    }
    unmet
}

/// The machines of the same cluster, as discovery shows them.
fn members(fleet: &Fleet, live: &Live) -> Vec<Item> {
    let identity = |live: &Live| {
        let config = live.config.as_ref()?;
        Some(config.text_at("cluster.id").to_owned())
    };
    let own = identity(live);
    let known = fleet.machines.values().filter_map(|machine| {
        let live = &machine.power.as_ref()?.live;
        (identity(live) == own && live.config.is_some()).then_some((machine, live))
    });
    known.map(|(machine, live)| member(machine, live, &machine.release())).collect()
}

fn member(machine: &Machine, live: &Live, release: &Release) -> Item {
    let controller = live.is_controller();
    let addresses: Vec<String> = live.addresses().iter().map(ToString::to_string).collect();
    let mut spec = json!({
        "nodeId": machine.disk.identity.simple().to_string(), "addresses": addresses,
        "hostname": live.hostname,
        "machineType": if controller { "controlplane" } else { "worker" },
        "operatingSystem": format!("Talos ({})", release.tag()),
    });
    if controller {
        spec["controlPlane"] = json!({"port": 6443});
    }
    let proto = specs::Member {
        node_id: machine.disk.identity.simple().to_string(),
        addresses: live.addresses().iter().map(|address| specs::Address::of(*address)).collect(),
        hostname: live.hostname.clone(),
        machine_type: if controller { 2 } else { 3 },
        operating_system: format!("Talos ({})", release.tag()),
        control_plane: controller.then_some(specs::ControlPlane { port: 6443 }),
    };
    Item::new(live.hostname.clone(), &spec).proto(&proto)
}

/// Whether two resources say the same.
pub(super) fn same(one: &Resource, other: &Resource) -> bool {
    one.encode_to_vec() == other.encode_to_vec()
}
