//! How often clients had something written, durable with the write itself.

use serde::{Deserialize, Serialize};

/// Separates the parts of a count's key in the store.
const SEPARATOR: char = '\u{1f}';

/// How often one verb was asked for, and done, on one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Count {
    /// The system: `proxmox`, `talos`, `kubernetes`, `factory`.
    pub system: String,
    /// The object, as the system names it: `vm/1500`, `apps/deployments/NAMESPACE/NAME`.
    pub object: String,
    /// What was done to it: `create`, `Bootstrap`, `apply-unchanged`.
    pub verb: String,
    /// How often.
    pub times: u64,
}

/// The key of a count in the store.
pub(crate) fn key(system: &str, object: &str, verb: &str) -> String {
    format!("{system}{SEPARATOR}{object}{SEPARATOR}{verb}")
}

/// The count that a key and its value stand for; none if the key has another shape.
pub(crate) fn from_key(key: &str, times: u64) -> Option<Count> {
    let mut parts = key.split(SEPARATOR).map(str::to_owned);
    let count = Count { system: parts.next()?, object: parts.next()?, verb: parts.next()?, times };
    parts.next().is_none().then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_gives_its_count_back() {
        let count = from_key(&key("proxmox", "vm/1500", "create"), 2).unwrap();
        assert_eq!(
            (count.system.as_str(), count.object.as_str(), count.verb.as_str(), count.times),
            ("proxmox", "vm/1500", "create", 2)
        );
        assert_eq!(from_key("nothing", 1), None);
    }
}
