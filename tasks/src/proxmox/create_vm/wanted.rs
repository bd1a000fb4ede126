//! The VM as planned, compared with the VM as it is. Pure.

use flow_engine::Cx;

use super::super::admin::Admin;
use super::super::config::{Config, properties};
use super::super::door::Door;
use super::super::mark::Mark;
use super::super::node::{Bridge, Node};
use super::{Outputs, Params};

/// The system disk.
const DISK: &str = "scsi0";
/// The firmware's variables.
const FIRMWARE: &str = "efidisk0";

/// The VM as planned.
pub(super) struct Wanted<'a> {
    pub(super) mark: Mark,
    pub(super) node: &'a Node,
    pub(super) image: &'a str,
    pub(super) store: &'a str,
    /// Root's way in, if the task may use it.
    pub(super) root: Option<&'a Admin>,
    pub(super) door: &'a Door,
    bridge: &'a Bridge,
    agent: bool,
}

/// A step of making a VM that exists and carries our mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// The disk of the firmware's variables.
    Firmware,
    /// The system disk, imported from the image.
    Disk,
    /// The size of the system disk.
    Grow,
    /// What it boots from, and that it does so with its host.
    Boot,
    /// The word that it is made.
    Finish,
}

/// A field that differs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    key: &'static str,
    wished: String,
    found: String,
    /// What to write to put it right; `None` where only a new VM helps.
    pub(super) repair: Option<(&'static str, String)>,
}

/// All differences in one line.
pub(super) fn tell(differences: &[Difference]) -> String {
    let words = differences.iter().map(|Difference { key, wished, found, .. }| {
        let found = if found.is_empty() { "nothing" } else { found };
        format!("{key}: {found}, not {wished}")
    });
    words.collect::<Vec<_>>().join("; ")
}

impl<'a> Wanted<'a> {
    pub(super) fn new(cx: &Cx, params: &'a Params) -> Self {
        let Params { node, image, store, bridge, agent, door, .. } = params;
        let root = params.admin.as_ref().filter(|admin| admin.is_root());
        let mark = Mark::new(cx, &node.name);
        Self { mark, node, image, store, root, door, bridge, agent: *agent }
    }

    pub(super) fn outputs(&self, host: &str) -> Outputs {
        Outputs {
            vmid: self.node.vmid,
            uuid: self.mark.uuid.to_string(),
            mac: self.mark.mac(),
            host: host.to_owned(),
        }
    }

    /// Whether a VM of our id carries our mark.
    pub(super) fn is_ours(&self, config: &Config) -> bool {
        config.uuid() == Some(self.mark.uuid) && self.mark.describes(&config.mark())
    }

    /// The first step that is not done yet; `None` once the VM was said to be made.
    pub(super) fn missing(&self, config: &Config) -> Option<Step> {
        if config.mark().get("made").is_some_and(|made| made == "yes") {
            return None;
        }
        let steps = [Step::Firmware, Step::Disk, Step::Grow, Step::Boot, Step::Finish];
        steps.into_iter().find(|step| !self.is_done(*step, config))
    }

    fn is_done(&self, step: Step, config: &Config) -> bool {
        match step {
            Step::Firmware => config.disk(FIRMWARE).is_some(),
            Step::Disk => config.disk(DISK).is_some(),
            Step::Grow => {
                config.disk(DISK).is_some_and(|disk| disk.size >= self.node.machine.disk.bytes())
            }
            Step::Boot => {
                config.is_on("onboot")
                    && config.boot_order().first().is_some_and(|first| first == DISK)
            }
            Step::Finish => false,
        }
    }

    /// What a call that takes a step writes; growing is a call of its own.
    pub(super) fn form(&self, step: Step, kept: &str) -> Vec<(&'static str, String)> {
        let Self { store, image, .. } = self;
        match step {
            Step::Firmware => {
                vec![(FIRMWARE, format!("{store}:1,efitype=4m,pre-enrolled-keys=0"))]
            }
            Step::Disk => {
                let options = "discard=on,iothread=1,ssd=1";
                vec![(DISK, format!("{store}:0,import-from={image},{options}"))]
            }
            Step::Grow => {
                vec![("disk", DISK.to_owned()), ("size", self.node.machine.disk.proxmox())]
            }
            Step::Boot => vec![("boot", format!("order={DISK}")), ("onboot", "1".to_owned())],
            Step::Finish => vec![("description", self.mark.description(image, kept, true))],
        }
    }

    /// The VM without disks, marked, as its create call asks for it.
    pub(super) fn create(&self, kept: &str) -> Vec<(&'static str, String)> {
        let fixed = [
            ("vmid", self.node.vmid.to_string()),
            ("tags", format!("{};flow-{}", self.mark.tag(), self.node.role)),
            ("description", self.mark.description(self.image, kept, false)),
            ("smbios1", format!("uuid={}", self.mark.uuid)),
            ("ostype", "l26".to_owned()),
            ("serial0", "socket".to_owned()),
            ("balloon", "0".to_owned()),
            ("onboot", "0".to_owned()),
        ];
        let mut form: Vec<_> = fixed.into();
        form.extend(self.fields());
        form.push(("net0", self.net0()));
        form
    }

    /// The plain fields: their wished values.
    fn fields(&self) -> [(&'static str, String); 8] {
        let machine = &self.node.machine;
        [
            ("name", self.node.name.clone()),
            ("cores", machine.cores.to_string()),
            ("memory", machine.memory.mib().to_string()),
            ("cpu", machine.cpu.clone()),
            ("agent", u8::from(self.agent).to_string()),
            // What a Talos image needs: its firmware, its chipset, its disk controller.
            ("bios", "ovmf".to_owned()),
            ("machine", "q35".to_owned()),
            ("scsihw", "virtio-scsi-single".to_owned()),
        ]
    }

    fn net0(&self) -> String {
        let Bridge { name, vlan } = self.bridge;
        let tag = vlan.map(|vlan| format!(",tag={vlan}")).unwrap_or_default();
        format!("virtio={},bridge={name}{tag}", self.mark.mac())
    }

    /// Where a VM that is made differs from the plan. More than was asked for is no difference.
    pub(super) fn differences(&self, config: &Config) -> Vec<Difference> {
        let mut all: Vec<_> = self
            .fields()
            .into_iter()
            .map(|(key, wished)| {
                let repair = Some((key, wished.clone()));
                Difference { key, wished, found: plain(key, config), repair }
            })
            .filter(|difference| difference.wished != difference.found)
            .collect();
        all.extend(self.tag_difference(config));
        all.extend(self.network_difference(config));
        all.extend(self.disk_difference(config));
        if !self.is_done(Step::Boot, config) {
            let found = format!("{} first", config.boot_order().join(";"));
            let repair = Some(("boot", format!("order={DISK}")));
            all.push(Difference { key: "boot", wished: "scsi0 first".to_owned(), found, repair });
        }
        all
    }

    /// Our tag among others: people may add their own.
    fn tag_difference(&self, config: &Config) -> Option<Difference> {
        let (tag, mut tags) = (self.mark.tag(), config.tags());
        if tags.contains(&tag) {
            return None;
        }
        let found = tags.join(";");
        tags.push(tag.clone());
        let repair = Some(("tags", tags.join(";")));
        Some(Difference { key: "tags", wished: tag, found, repair })
    }

    fn network_difference(&self, config: &Config) -> Option<Difference> {
        let found = config.net0().unwrap_or_default();
        let field = |name: &str| found.get(name).map(String::as_str);
        let tag = self.bridge.vlan.map(|vlan| vlan.to_string());
        let same = field("model") == Some("virtio")
            && field("macaddr") == Some(&self.mark.mac())
            && field("bridge") == Some(&self.bridge.name)
            && field("tag") == tag.as_deref();
        (!same).then(|| Difference {
            key: "net0",
            wished: self.net0(),
            found: config.get("net0").unwrap_or_default().to_owned(),
            repair: Some(("net0", self.net0())),
        })
    }

    fn disk_difference(&self, config: &Config) -> Option<Difference> {
        let disk = config.disk(DISK);
        let wished = self.node.machine.disk;
        let store = disk.as_ref().is_some_and(|disk| disk.store == self.store);
        let size = disk.as_ref().is_some_and(|disk| disk.size >= wished.bytes());
        (!store || !size).then(|| Difference {
            key: DISK,
            wished: format!("{}:{}", self.store, wished.proxmox()),
            found: config.get(DISK).unwrap_or_default().to_owned(),
            repair: store.then(|| ("size", wished.proxmox())),
        })
    }
}

/// A plain field in the form in which it is wished.
fn plain(key: &str, config: &Config) -> String {
    let found = config.get(key).unwrap_or_default();
    let main = |name: &str| properties(found, name).remove(name).unwrap_or_default();
    match key {
        "memory" => main("current"),
        "cpu" => main("cputype"),
        "agent" => {
            let enabled = main("enabled");
            u8::from(super::super::lenient::is_yes(&enabled)).to_string()
        }
        _ => found.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn params() -> Params {
        serde_json::from_value(json!({
            "api": "https://a:8006", "ca": { "file": "ca" },
            "token-id": "flow@pve!flow", "token": "s",
            "image": "local:import/t.qcow2", "store": "zfs", "bridge": { "name": "vmbr4", "vlan": 4 },
            "node": {
                "name": "worker0", "role": "worker", "cidr": "10.2.2.1/16", "vmid": 2000,
                "host": "atlas", "address": "10.2.2.1",
                "machine": { "cores": 2, "memory": "2GiB", "disk": "10GiB", "cpu": "host" },
            },
        }))
        .unwrap()
    }

    /// The VM as Proxmox would show it after these writes.
    fn shown(forms: &[Vec<(&'static str, String)>]) -> Config {
        let fields = forms.iter().flatten().map(|(key, value)| ((*key).to_owned(), json!(value)));
        Config::read(&fields.collect::<serde_json::Map<_, _>>().into()).unwrap()
    }

    #[test]
    fn steps_follow_each_other_until_the_vm_is_made() {
        let params = params();
        let wanted = Wanted::new(&Cx::default(), &params);
        let mut forms = vec![wanted.create("")];
        let efi = vec![(FIRMWARE, "zfs:vm-2000-disk-0,efitype=4m,size=1M".to_owned())];
        let small = vec![(DISK, "zfs:vm-2000-disk-1,size=4G".to_owned())];
        let grown = vec![(DISK, "zfs:vm-2000-disk-1,size=10G".to_owned())];
        let (boot, finish) = (wanted.form(Step::Boot, ""), wanted.form(Step::Finish, ""));
        let expected = [
            (Step::Firmware, efi),
            (Step::Disk, small),
            (Step::Grow, grown),
            (Step::Boot, boot),
            (Step::Finish, finish),
        ];
        for (step, written) in expected {
            assert!(wanted.is_ours(&shown(&forms)));
            assert_eq!(wanted.missing(&shown(&forms)), Some(step));
            forms.push(written);
        }
        assert_eq!(wanted.missing(&shown(&forms)), None);
        assert_eq!(wanted.differences(&shown(&forms)), []);
    }

    #[test]
    fn differences_are_told_in_one_line() {
        let params = params();
        let wanted = Wanted::new(&Cx::default(), &params);
        let disk = vec![(DISK, "zfs:vm-2000-disk-1,size=20G".to_owned())];
        let changed = vec![("cores", "1".to_owned()), ("memory", "current=2048".to_owned())];
        let config = shown(&[wanted.create(""), disk, wanted.form(Step::Boot, ""), changed]);
        assert_eq!(tell(&wanted.differences(&config)), "cores: 1, not 2");
    }

    #[test]
    fn a_copy_of_our_vm_is_not_ours() {
        let params = params();
        let wanted = Wanted::new(&Cx::default(), &params);
        let uuid = vec![("smbios1", "uuid=11111111-2222-4333-8444-555555555555".to_owned())];
        assert!(!wanted.is_ours(&shown(&[wanted.create(""), uuid])));
    }
}
