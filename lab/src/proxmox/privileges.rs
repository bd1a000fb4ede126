//! Privileges, the roles that exist from the start, and the paths that ACLs name.

/// Every privilege of this version. `VM.Monitor` is none of them since 9.0.
pub(super) const ALL: [&str; 46] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
];

/// A role that cannot be changed, and the privileges it has by their prefixes.
const BUILT_IN: [(&str, &[&str]); 12] = [
    ("Administrator", &[""]),
    ("NoAccess", &[]),
    (
        "PVEAuditor",
        &["Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit"],
    ),
    ("PVEDatastoreAdmin", &["Datastore."]),
    ("PVEDatastoreUser", &["Datastore.AllocateSpace", "Datastore.Audit"]),
    ("PVEPoolAdmin", &["Pool."]),
    ("PVEPoolUser", &["Pool.Audit"]),
    ("PVESDNAdmin", &["SDN."]),
    ("PVESDNUser", &["SDN.Audit", "SDN.Use"]),
    ("PVEUserAdmin", &["Group.Allocate", "Realm.AllocateUser", "User.Modify"]),
    ("PVEVMAdmin", &["VM."]),
    (
        "PVEVMUser",
        &[
            "VM.Audit",
            "VM.Backup",
            "VM.Config.CDROM",
            "VM.Config.Cloudinit",
            "VM.Console",
            "VM.GuestAgent.Audit",
            "VM.PowerMgmt",
        ],
    ),
];

/// The roles that exist from the start.
pub(super) fn built_in_roles() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// The privileges of a role that exists from the start.
pub(super) fn built_in(role: &str) -> Option<Vec<&'static str>> {
    let (_, prefixes) = BUILT_IN.iter().find(|(name, _)| *name == role)?;
    let has = |privilege: &&str| {
        prefixes.iter().any(|prefix| {
            let whole = !prefix.is_empty() && !prefix.ends_with('.');
            if whole { privilege == prefix } else { privilege.starts_with(prefix) }
        })
    };
    Some(ALL.into_iter().filter(has).collect())
}

/// A path as ACLs store it: without doubled and trailing slashes; none if there can be no such path.
pub(super) fn normal_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let name = |part: &str| part.chars().all(|c| c.is_ascii_alphanumeric() || "._-@!:".contains(c));
    let fits = match parts.as_slice() {
        ["access", "groups" | "realm", one] | ["nodes" | "storage", one] => name(one),
        []
        | ["access", "groups" | "realm"]
        | ["access" | "nodes" | "pool" | "storage" | "vms" | "mapping" | "sdn"] => true,
        ["vms", id] => id.parse::<u32>().is_ok_and(|id| id >= 100),
        ["pool", nested @ ..] => nested.len() <= 3 && nested.iter().all(|part| name(part)),
        ["mapping", rest @ ..] => rest.len() <= 2 && rest.iter().all(|part| name(part)),
        ["sdn", "zones", rest @ ..] => rest.len() <= 3 && rest.iter().all(|part| name(part)),
        ["sdn", kind, rest @ ..] => {
            name(kind) && rest.len() <= 1 && rest.iter().all(|part| name(part))
        }
        _ => false,
    };
    fits.then(|| format!("/{}", parts.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_administrator_has_them_all_and_the_others_some() {
        assert_eq!(built_in("Administrator").unwrap().len(), ALL.len());
        assert_eq!(built_in("PVEPoolUser").unwrap(), ["Pool.Audit"]);
        assert!(built_in("PVEVMAdmin").unwrap().contains(&"VM.Config.Disk"));
        assert!(built_in("NoAccess").unwrap().is_empty());
        assert_eq!(built_in("Flow"), None);
    }

    #[test]
    fn paths_are_those_that_can_be() {
        for path in
            ["/", "/vms", "/vms/100", "/sdn/zones/localnetwork/vmbr4/4", "/access/realm/pve"]
        {
            assert_eq!(normal_path(path).as_deref(), Some(path));
        }
        assert_eq!(normal_path("vms//100/").as_deref(), Some("/vms/100"));
        for path in ["/vms/99", "/nope", "/storage/a/b"] {
            assert_eq!(normal_path(path), None, "{path}");
        }
    }
}
