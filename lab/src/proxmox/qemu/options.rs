//! A VM's configuration keys: what they may be, who may set them, and how the server writes them.

use uuid::Uuid;

use super::{
    super::params::Param,
    drive::{self, Drive},
    properties::{self, Properties},
};

/// The schema of a VM's configuration.
pub(super) const CONFIG: &[Param] = &[
    Param::text("acpi", 1),
    Param::text("affinity", 256),
    Param::text("agent", 128),
    Param::one_of("arch", &["x86_64", "aarch64"]),
    Param::text("args", 4096),
    Param::boolean("autostart"),
    Param::integer("balloon", 0, i64::MAX),
    Param::one_of("bios", &["seabios", "ovmf"]),
    Param::text("boot", 256),
    Param::text("bootdisk", 16),
    Param::text("cdrom", 256),
    Param::text("cicustom", 512),
    Param::text("cipassword", 256),
    Param::one_of("citype", &["configdrive2", "nocloud", "opennebula"]),
    Param::boolean("ciupgrade"),
    Param::text("ciuser", 64),
    Param::integer("cores", 1, 512),
    Param::text("cpu", 256),
    Param::text("cpulimit", 16),
    Param::integer("cpuunits", 1, 262_144),
    Param::text("description", 8192),
    Param::text("efidisk0", 512),
    Param::text("hookscript", 256),
    Param::text("hostpci", 256).indexed(16),
    Param::text("hotplug", 128),
    Param::one_of("hugepages", &["any", "2", "1024"]),
    Param::text("ide", 512).indexed(4),
    Param::text("ipconfig", 256).indexed(32),
    Param::boolean("kvm"),
    Param::one_of(
        "lock",
        &["backup", "clone", "create", "migrate", "rollback", "snapshot", "snapshot-delete"],
    ),
    Param::format("machine", check_machine),
    Param::text("memory", 32),
    Param::format("name", check_name),
    Param::text("nameserver", 256),
    Param::text("net", 256).indexed(32),
    Param::boolean("numa"),
    Param::boolean("onboot"),
    Param::one_of(
        "ostype",
        &[
            "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11",
            "l24", "l26", "solaris",
        ],
    ),
    Param::boolean("protection"),
    Param::boolean("reboot"),
    Param::text("rng0", 128),
    Param::text("sata", 512).indexed(6),
    Param::text("scsi", 512).indexed(31),
    Param::one_of(
        "scsihw",
        &["lsi", "lsi53c810", "virtio-scsi-pci", "virtio-scsi-single", "megasas", "pvscsi"],
    ),
    Param::text("searchdomain", 256),
    Param::text("serial", 64).indexed(4),
    Param::integer("shares", 0, 50_000),
    Param::text("smbios1", 512),
    Param::integer("sockets", 1, 64),
    Param::text("sshkeys", 8192),
    Param::text("startup", 64),
    Param::boolean("tablet"),
    Param::format("tags", check_tags),
    Param::boolean("template"),
    Param::text("tpmstate0", 256),
    Param::text("unused", 256).indexed(255),
    Param::text("usb", 256).indexed(14),
    Param::integer("vcpus", 1, 512),
    Param::text("vga", 128),
    Param::text("virtio", 512).indexed(16),
    Param::text("vmgenid", 64),
    Param::text("vmstatestorage", 64),
    Param::text("watchdog", 64),
];

fn check_name(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if text.split('.').all(label) {
        return Ok(());
    }
    Err("invalid format - value does not look like a valid DNS name".to_owned())
}

fn check_machine(text: &str) -> Result<(), String> {
    let kind = text.split(',').next().unwrap_or_default();
    let kind = kind.strip_prefix("type=").unwrap_or(kind);
    let known = ["pc", "q35", "virt"].contains(&kind) || kind.starts_with("pc-");
    if known { Ok(()) } else { Err("value does not match the regex pattern".to_owned()) }
}

fn check_tags(text: &str) -> Result<(), String> {
    let fits = |tag: &str| {
        tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_.+-".contains(c))
    };
    match tags(text).find(|tag| !fits(tag)) {
        None => Ok(()),
        Some(_) => Err("invalid format - invalid characters in tag".to_owned()),
    }
}

fn tags(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', ',', ' ']).filter(|tag| !tag.is_empty())
}

/// Who may set a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// One of these privileges on the VM.
    Any(&'static [&'static str]),
    /// Being root, with a ticket.
    Root,
}

/// Who may set a key to a value.
pub(super) fn needs(key: &str, value: &str) -> Needs {
    let bare = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match bare {
        "cores" | "sockets" | "cpu" | "numa" | "vcpus" | "cpulimit" | "cpuunits" => {
            Needs::Any(&["VM.Config.CPU"])
        }
        "memory" | "balloon" | "shares" => Needs::Any(&["VM.Config.Memory"]),
        "machine" | "scsihw" | "vga" | "smbios" | "tablet" | "hotplug" | "kvm" | "acpi"
        | "watchdog" | "rng" => Needs::Any(&["VM.Config.HWType"]),
        "serial" if value == "socket" => Needs::Any(&["VM.Config.HWType"]),
        "name" | "description" | "agent" | "bios" | "onboot" | "ostype" | "protection"
        | "startup" | "tags" | "autostart" | "reboot" | "template" => {
            Needs::Any(&["VM.Config.Options"])
        }
        "boot" | "bootdisk" | "vmstatestorage" | "unused" => Needs::Any(&["VM.Config.Disk"]),
        "cdrom" => Needs::Any(&["VM.Config.CDROM"]),
        "net" => Needs::Any(&["VM.Config.Network"]),
        "ciuser" | "cipassword" | "citype" | "ciupgrade" | "cicustom" | "ipconfig"
        | "nameserver" | "searchdomain" | "sshkeys" => {
            Needs::Any(&["VM.Config.Cloudinit", "VM.Config.Network"])
        }
        _ if drive::is_drive(key) && drive::is_disc(value) => Needs::Any(&["VM.Config.CDROM"]),
        _ if drive::is_drive(key) => Needs::Any(&["VM.Config.Disk"]),
        _ => Needs::Root,
    }
}

/// A value as the server stores it; drives are checked, and stored when their volume is made.
pub(super) fn normal(key: &str, value: &str) -> Result<String, String> {
    if drive::is_drive(key) {
        Drive::parse(key, value)?;
        return Ok(value.to_owned());
    }
    let bare = key.trim_end_matches(|c: char| c.is_ascii_digit());
    match bare {
        "net" => net(value),
        "tags" => {
            let mut tags: Vec<String> = tags(value).map(str::to_ascii_lowercase).collect();
            tags.sort();
            tags.dedup();
            Ok(tags.join(";"))
        }
        "description" => Ok(value.trim_end().replace("\r\n", "\n")),
        "agent" => agent(value),
        "memory" => memory(value),
        "boot" => boot(value),
        "smbios" => smbios(value),
        "cpu" => Ok(Properties::parse(value)?.default_key(&["cputype"])?.to_string()),
        "vga" | "machine" => Ok(Properties::parse(value)?.default_key(&["type"])?.to_string()),
        "serial" if value == "socket" || value.starts_with("/dev/") => Ok(value.to_owned()),
        "serial" => Err("value does not match the regex pattern".to_owned()),
        _ => Ok(value.to_owned()),
    }
}

const MODELS: [&str; 6] = ["virtio", "e1000", "e1000e", "rtl8139", "vmxnet3", "ne2k_pci"];

/// A network device, with a drawn MAC if it has none.
fn net(value: &str) -> Result<String, String> {
    let mut properties = Properties::parse(value)?.default_key(&["model"])?;
    let named = MODELS.iter().find_map(|model| Some((*model, properties.rest.remove(*model)?)));
    let given = properties.rest.remove("macaddr");
    let (model, mac) =
        match (named, properties.first.take()) {
            (Some((model, mac)), None) => (model.to_owned(), Some(mac)),
            (None, Some(model)) if MODELS.contains(&model.as_str()) => (model, given),
            (_, _) => return Err(
                "invalid format - format error\nmodel: property is missing and it is not optional"
                    .to_owned(),
            ),
        };
    let mac = mac.unwrap_or_else(|| {
        let drawn: [u8; 3] = rand::random();
        format!("BC:24:11:{:02X}:{:02X}:{:02X}", drawn[0], drawn[1], drawn[2])
    });
    let parts: Vec<&str> = mac.split(':').collect();
    let hex = |part: &&str| part.len() == 2 && u8::from_str_radix(part, 16).is_ok();
    let unicast = parts.first().and_then(|part| u8::from_str_radix(part, 16).ok());
    if parts.len() != 6 || !parts.iter().all(hex) || unicast.is_none_or(|first| first & 1 == 1) {
        return Err("invalid format - format error\nmacaddr: value does not look like a valid unicast MAC address".to_owned());
    }
    let rest = properties
        .only(&["bridge", "firewall", "link_down", "mtu", "queues", "rate", "tag", "trunks"])?
        .booleans(&["firewall", "link_down"])?;
    let tag = rest.rest.get("tag").map(|tag| tag.parse::<u16>());
    if tag.is_some_and(|tag| !tag.is_ok_and(|tag| (1..=4094).contains(&tag))) {
        return Err("invalid format - format error\ntag: value must have a maximum value of 4094"
            .to_owned());
    }
    let rest = Properties { first: Some(format!("{model}={mac}")), ..rest };
    Ok(rest.to_string())
}

fn agent(value: &str) -> Result<String, String> {
    let mut agent = Properties::parse(value)?.default_key(&["enabled"])?.only(&[
        "freeze-fs",
        "freeze-fs-on-backup",
        "fstrim_cloned_disks",
        "type",
    ])?;
    agent.first = Some(properties::boolean(agent.first.as_deref().unwrap_or("0"))?);
    Ok(agent.to_string())
}

fn memory(value: &str) -> Result<String, String> {
    let memory = Properties::parse(value)?.default_key(&["current"])?;
    let mib = memory.first.unwrap_or_default();
    match mib.parse::<u64>() {
        Ok(number) if number >= 16 => Ok(mib),
        Ok(_) => Err("value must have a minimum value of 16".to_owned()),
        Err(_) => Err(format!("type check ('integer') failed - got '{mib}'")),
    }
}

fn boot(value: &str) -> Result<String, String> {
    let legacy = value.chars().all(|c| "acdn".contains(c));
    if legacy {
        return Ok(value.to_owned());
    }
    let boot = Properties::parse(value)?.default_key(&["legacy"])?.only(&["order"])?;
    Ok(boot.to_string())
}

fn smbios(value: &str) -> Result<String, String> {
    let known = ["base64", "family", "manufacturer", "product", "serial", "sku", "uuid", "version"];
    let smbios = Properties::parse(value)?.only(&known)?.booleans(&["base64"])?;
    match smbios.rest.get("uuid").map(|uuid| Uuid::parse_str(uuid)) {
        Some(Err(_)) => {
            Err("invalid format - format error\nuuid: value does not match the regex pattern"
                .to_owned())
        }
        Some(Ok(_)) | None => Ok(smbios.to_string()),
    }
}

/// Whether a key's new value takes effect while the VM runs.
pub(super) fn is_hot(key: &str, is_new: bool) -> bool {
    let bare = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let at_once = [
        "name",
        "description",
        "tags",
        "onboot",
        "startup",
        "protection",
        "shares",
        "hookscript",
        "vmstatestorage",
        "ciuser",
        "cipassword",
        "citype",
        "ciupgrade",
        "cicustom",
        "ipconfig",
        "nameserver",
        "searchdomain",
        "sshkeys",
        "net",
        "unused",
        "cpulimit",
        "cpuunits",
    ];
    let plugged = is_new && matches!(bare, "scsi" | "virtio") && drive::is_drive(key);
    at_once.contains(&bare) || plugged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_server_does() {
        for (key, given, stored) in [
            ("tags", "b;A,b", "a;b"),
            ("description", "text \n", "text"),
            (
                "net0",
                "virtio=bc:24:11:00:00:01,bridge=vmbr4,tag=4,firewall=on",
                "virtio=bc:24:11:00:00:01,bridge=vmbr4,firewall=1,tag=4",
            ),
            (
                "net0",
                "model=virtio,macaddr=BC:24:11:00:00:01,bridge=vmbr0",
                "virtio=BC:24:11:00:00:01,bridge=vmbr0",
            ),
            ("agent", "enabled=1", "1"),
            ("memory", "current=2048", "2048"),
            ("cpu", "cputype=host", "host"),
            (
                "smbios1",
                "uuid=2f7e41fc-25bc-4e95-8a24-3f27a0b0d4a0",
                "uuid=2f7e41fc-25bc-4e95-8a24-3f27a0b0d4a0",
            ),
        ] {
            assert_eq!(normal(key, given).unwrap(), stored);
        }
        assert!(normal("net0", "virtio,bridge=vmbr0").unwrap().starts_with("virtio=BC:24:11:"));
        for (key, given) in [
            ("net0", "toaster,bridge=a"),
            ("net0", "virtio=01:00:00:00:00:00"),
            ("memory", "8"),
            ("smbios1", "uuid=x"),
        ] {
            assert!(normal(key, given).is_err(), "{key}={given}");
        }
    }

    #[test]
    fn keys_need_their_privileges() {
        assert_eq!(needs("cores", "2"), Needs::Any(&["VM.Config.CPU"]));
        assert_eq!(needs("scsi0", "a:1"), Needs::Any(&["VM.Config.Disk"]));
        assert_eq!(needs("ide2", "none,media=cdrom"), Needs::Any(&["VM.Config.CDROM"]));
        assert_eq!(needs("smbios1", "uuid=x"), Needs::Any(&["VM.Config.HWType"]));
        for key in ["args", "arch", "vmgenid", "lock", "hostpci0"] {
            assert_eq!(needs(key, "x"), Needs::Root, "{key}");
        }
    }
}
