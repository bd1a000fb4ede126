//! What our users may do: privileges by name, and where they hold.

/// What making machines takes.
///
/// `Datastore.Allocate` removes images and disks that an interrupted call left behind;
/// `Sys.AccessNetwork` lets the host download images. Names that a version of Proxmox does not
/// know are left out.
pub(super) const MACHINES: [&str; 17] = [
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "VM.Allocate",
    "VM.Audit",
    "VM.Config.CPU",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.PowerMgmt",
];

/// The part of the wanted privileges that this Proxmox knows, in order.
pub(super) fn known<'a>(valid: impl Fn(&str) -> bool, wanted: &[&'a str]) -> Vec<&'a str> {
    wanted.iter().copied().filter(|privilege| valid(privilege)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_are_sorted_and_distinct() {
        assert!(MACHINES.is_sorted());
        assert_eq!(known(|name| name.starts_with("SDN"), &MACHINES), ["SDN.Audit", "SDN.Use"]);
    }
}
