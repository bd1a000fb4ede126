//! `ReplicaSet`s: as many pods as wanted.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Turn, pods};
use crate::kubernetes::{
    json::{is_true, number, set_status, uid},
    objects::View,
};

/// A short word that changes with the pod template.
pub(super) fn template_hash(owner: &Value) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(owner["spec"]["template"].to_string().as_bytes());
    digest.iter().take(10).map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect()
}

/// Looks at every `ReplicaSet`.
pub(super) fn run(turn: &mut Turn<'_, '_>) {
    for set in turn.tx.list("apps/replicasets") {
        if pods::is_leaving(&set) {
            continue;
        }
        let mut held = turn.pods_of(&set);
        held.retain(|p| !pods::is_leaving(p));
        for over in held.iter().filter(|p| pods::is_over(p)) {
            turn.delete("core/pods", over);
        }
        held.retain(|p| !pods::is_over(p));
        let wanted = usize::try_from(number(&set, "/spec/replicas")).unwrap_or_default();
        for _ in held.len()..wanted {
            let pod = pods::from_template(&set, &[]);
            turn.tx.make("core/pods", pod);
        }
        if held.len() > wanted {
            // Those that are not ready go first, then the youngest.
            held.sort_by_key(|p| (is_true(p, "Ready"), std::cmp::Reverse(uid(p).to_owned())));
            for pod in held.iter().take(held.len() - wanted) {
                turn.delete("core/pods", pod);
            }
        }
        status(turn, &set);
    }
}

fn status(turn: &mut Turn<'_, '_>, set: &Value) {
    let mut held = turn.pods_of(set);
    held.retain(|p| !pods::is_leaving(p) && !pods::is_over(p));
    let ready = held.iter().filter(|p| is_true(p, "Ready")).count();
    let generation = number(set, "/metadata/generation");
    turn.change("apps/replicasets", set, |s| {
        set_status(s, "replicas", held.len());
        set_status(s, "fullyLabeledReplicas", held.len());
        set_status(s, "readyReplicas", ready);
        set_status(s, "availableReplicas", ready);
        set_status(s, "observedGeneration", generation);
    });
}
