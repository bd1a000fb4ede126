//! The mark by which a VM is known to be ours: tag, uuid and a line of its description.
//!
//! A VM's id is no identity, since ids are used again; a tag is none, since people copy tags; a
//! clone copies the description but gets a uuid of its own. So a VM is ours only if its uuid *and*
//! its description say so.

use std::collections::BTreeMap;

use flow_engine::Cx;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// The namespace of all uuids made here. Part of every mark, so it never changes.
const NAMESPACE: Uuid = Uuid::from_u128(0x191248a8_4f82_4b63_9c11_a06ad8d07db5);
/// How the marking line of a description begins.
const LINE: &str = "flow1 ";
/// The longest name of a cluster within a tag.
const TAG: usize = 40;

/// Whose a VM is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) cluster: String,
    pub(super) site: String,
    pub(super) node: String,
    pub(super) uuid: Uuid,
}

impl Mark {
    /// The mark of a node of the present site. The same site gives the same mark for ever.
    pub(super) fn new(cx: &Cx, node: &str) -> Self {
        let (cluster, site) = (cx.cluster(), cx.site());
        let uuid = Uuid::new_v5(&NAMESPACE, format!("{cluster}/{site}/{node}").as_bytes());
        Self { cluster: cluster.to_owned(), site: site.to_owned(), node: node.to_owned(), uuid }
    }

    /// The tag of all machines of a cluster.
    pub(super) fn tag(&self) -> String {
        let name = self.cluster.to_lowercase();
        let safe =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' });
        format!("flow-{}", safe.take(TAG).collect::<String>())
    }

    /// The description of a VM: a line for us, a line for people.
    ///
    /// `kept` names the disks of its id that were there before it.
    pub(super) fn description(&self, image: &str, kept: &str, made: bool) -> String {
        let Self { cluster, site, node, uuid } = self;
        let made = if made { "yes" } else { "no" };
        format!(
            "{LINE}cluster={cluster} site={site} node={node} uuid={uuid} image={image} \
             kept={kept} made={made}\nMade by flow; `flow destroy` removes it."
        )
    }

    /// An address for the machine's network card: locally administered, the same for ever.
    pub(super) fn mac(&self) -> String {
        let hash = Sha256::digest(self.uuid.as_bytes());
        let tail = hash.iter().take(5).map(|byte| format!(":{byte:02X}"));
        format!("02{}", tail.collect::<String>())
    }

    /// Whether a description names this cluster and this uuid.
    pub(super) fn describes(&self, line: &Line) -> bool {
        line.get("cluster") == Some(&self.cluster)
            && line.get("uuid") == Some(&self.uuid.to_string())
    }
}

/// The fields of the marking line.
pub(super) type Line = BTreeMap<String, String>;

/// The marking line of a description; empty if there is none.
pub(super) fn line(description: &str) -> Line {
    let fields = description.lines().find_map(|line| line.strip_prefix(LINE)).unwrap_or_default();
    let pairs = fields.split_whitespace().filter_map(|field| field.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark() -> Mark {
        Mark::new(&Cx::default(), "worker0")
    }

    /// The golden mark: machines that exist carry it.
    #[test]
    fn a_mark_never_changes() {
        let mark = mark();
        assert_eq!(mark.uuid.to_string(), "2880ec3e-4046-5236-b04c-3303a027ef3d");
        assert_eq!(mark.mac(), "02:E1:BE:6D:C7:78");
        assert_eq!(mark.tag(), "flow-test");
    }

    #[test]
    fn a_description_is_known_again() {
        let text = mark().description("local:import/x.qcow2", "", false);
        let found = line(&text);
        assert!(mark().describes(&found));
        assert_eq!(found.get("made").map(String::as_str), Some("no"));
        assert_eq!(found.get("image").map(String::as_str), Some("local:import/x.qcow2"));
        assert!(!mark().describes(&line("somebody's VM")));
        let other = Mark { cluster: "other".to_owned(), ..mark() };
        assert!(!other.describes(&found));
    }

    #[test]
    fn a_network_card_has_a_local_unicast_address() {
        let mac = mark().mac();
        assert_eq!(mac.len(), 17);
        assert!(mac.starts_with("02:"));
    }
}
