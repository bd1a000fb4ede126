//! etcd clusters: who is a member, who votes, whether there is a quorum.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// The port that members talk to each other on.
const PEER_PORT: u16 = 2380;
/// The port that clients talk to.
const CLIENT_PORT: u16 = 2379;

/// One etcd cluster, as all its members know it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Etcd {
    /// Drawn at the bootstrap; the Kubernetes data hang on it.
    pub(super) id: String,
    /// The fingerprint of the authority that its members trust.
    pub(super) authority: String,
    /// Its members.
    pub(super) members: Vec<Member>,
    /// Raft's term: grows with each new leader.
    pub(super) term: u64,
    /// The leader that the term belongs to.
    pub(super) leader: u64,
    /// Unix seconds of the bootstrap.
    pub(super) since: i64,
}

/// A member of an etcd cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    /// Its number.
    pub(super) id: u64,
    /// The machine that it runs on.
    pub(super) vmid: u32,
    /// The machine's name.
    pub(super) name: String,
    /// The machine's address.
    pub(super) address: IpAddr,
    /// Whether it does not vote yet.
    pub(super) learner: bool,
}

/// Why a member cannot be added or promoted now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// Fewer than a majority of the voters run.
    #[error("etcdserver: no leader")]
    NoLeader,
    /// Another one is still catching up.
    #[error("etcdserver: too many learner members in cluster")]
    LearnerPresent,
}

impl Member {
    /// Where other members reach it.
    pub(super) fn peer_url(&self) -> String {
        format!("https://{}:{PEER_PORT}", self.address)
    }

    /// Where clients reach it.
    pub(super) fn client_url(&self) -> String {
        format!("https://{}:{CLIENT_PORT}", self.address)
    }
}

impl Etcd {
    /// A new cluster with one voter.
    pub(super) fn new(authority: String, mut first: Member) -> Self {
        first.learner = false;
        let leader = first.id;
        Self {
            id: format!("{:016x}", rand::random::<u64>()),
            authority,
            members: vec![first],
            term: 2,
            leader,
            since: OffsetDateTime::now_utc().unix_timestamp(),
        }
    }

    /// The member on a machine.
    pub(super) fn member(&self, id: u64) -> Option<&Member> {
        self.members.iter().find(|member| member.id == id)
    }

    /// Whether a majority of the voters runs.
    pub(super) fn has_quorum(&self, runs: impl Fn(&Member) -> bool) -> bool {
        let voters: Vec<&Member> = self.members.iter().filter(|member| !member.learner).collect();
        let running = voters.iter().filter(|member| runs(member)).count();
        running * 2 > voters.len()
    }

    /// The voter that leads: the last leader if it runs, else the first that does.
    pub(super) fn leader_among(&self, runs: impl Fn(&Member) -> bool) -> Option<u64> {
        if !self.has_quorum(&runs) {
            return None;
        }
        let mut voters = self.members.iter().filter(|member| !member.learner && runs(member));
        let first = voters.next()?.id;
        Some(if first == self.leader || voters.any(|one| one.id == self.leader) {
            self.leader
        } else {
            first
        })
    }

    /// Adds a member that does not vote yet, in place of one with the same name.
    pub(super) fn add(
        &mut self,
        member: Member,
        runs: impl Fn(&Member) -> bool,
    ) -> Result<(), Refusal> {
        if !self.has_quorum(runs) {
            return Err(Refusal::NoLeader);
        }
        self.members.retain(|known| known.name != member.name);
        if self.members.iter().any(|known| known.learner) {
            return Err(Refusal::LearnerPresent);
        }
        self.members.push(Member { learner: true, ..member });
        Ok(())
    }

    /// Lets a member vote.
    pub(super) fn promote(
        &mut self,
        id: u64,
        runs: impl Fn(&Member) -> bool,
    ) -> Result<(), Refusal> {
        if !self.has_quorum(runs) {
            return Err(Refusal::NoLeader);
        }
        for member in self.members.iter_mut().filter(|member| member.id == id) {
            member.learner = false;
        }
        Ok(())
    }

    /// Raft's index: grows while the cluster is used.
    pub(super) fn index(&self) -> u64 {
        let age = OffsetDateTime::now_utc().unix_timestamp() - self.since;
        100 + 10 * u64::try_from(age).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: u8) -> Member {
        Member {
            id: number.into(),
            vmid: 1500 + u32::from(number),
            name: format!("cp{number}"),
            address: IpAddr::from([127, 2, 1, number]),
            learner: true,
        }
    }

    #[test]
    fn members_join_one_by_one_as_learners() {
        let mut etcd = Etcd::new("ca".to_owned(), member(1));
        assert!(!etcd.members[0].learner);
        etcd.add(member(2), |_| true).unwrap();
        assert_eq!(etcd.add(member(3), |_| true), Err(Refusal::LearnerPresent));
        etcd.promote(2, |_| true).unwrap();
        etcd.add(member(3), |_| true).unwrap();
        assert_eq!(etcd.members.len(), 3);
        assert_eq!(etcd.members[1].peer_url(), "https://127.2.1.2:2380");
    }

    #[test]
    fn a_learner_has_no_vote_and_half_is_no_majority() {
        let mut etcd = Etcd::new("ca".to_owned(), member(1));
        etcd.add(member(2), |_| true).unwrap();
        assert!(etcd.has_quorum(|one| one.id == 1));
        etcd.promote(2, |_| true).unwrap();
        assert!(!etcd.has_quorum(|one| one.id == 1));
        assert_eq!(etcd.add(member(3), |one| one.id == 1), Err(Refusal::NoLeader));
    }

    #[test]
    fn the_leader_stays_while_it_runs() {
        let mut etcd = Etcd::new("ca".to_owned(), member(1));
        for number in [2, 3] {
            etcd.add(member(number), |_| true).unwrap();
            etcd.promote(number.into(), |_| true).unwrap();
        }
        assert_eq!(etcd.leader_among(|_| true), Some(1));
        assert_eq!(etcd.leader_among(|one| one.id != 1), Some(2));
        etcd.leader = 2;
        assert_eq!(etcd.leader_among(|_| true), Some(2));
        assert_eq!(etcd.leader_among(|one| one.id == 3), None);
    }

    #[test]
    fn a_member_of_the_same_name_is_replaced() {
        let mut etcd = Etcd::new("ca".to_owned(), member(1));
        etcd.add(member(2), |_| true).unwrap();
        etcd.promote(2, |_| true).unwrap();
        etcd.add(Member { id: 9, ..member(2) }, |_| true).unwrap();
        assert_eq!(etcd.members.iter().map(|one| one.id).collect::<Vec<_>>(), [1, 9]);
    }
}
