//! What a controller says of its etcd.

use tonic::Status;

use super::Api;
use crate::talos::{
    etcd::{Etcd, Member},
    live::Part,
    wire::machine::{
        EtcdAlarm, EtcdAlarmListResponse, EtcdMember, EtcdMemberListResponse, EtcdMemberStatus,
        EtcdMembers, EtcdStatus, EtcdStatusResponse,
    },
};

/// Bytes of a small cluster's database.
const DATABASE: i64 = 20 << 20;
/// What Go's client says when nobody answers on the local port before the call's deadline.
const NOBODY: &str = "context deadline exceeded";

impl Api {
    /// The members, as this machine's member or any other knows them.
    pub(super) fn member_list(&self, local: bool) -> Result<EtcdMemberListResponse, Status> {
        self.controller("member list")?;
        self.look(|fleet, _, _| {
            let own = fleet.serving_etcd(self.vmid);
            // A machine that is no member asks the controllers that its cluster knows.
            let etcd = own.or_else(|| (!local).then(|| fleet.joinable_etcd(self.vmid)).flatten());
            let etcd = etcd.ok_or_else(|| Status::deadline_exceeded(NOBODY))?;
            let members = EtcdMembers {
                metadata: None,
                legacy_members: etcd.members.iter().map(|one| one.name.clone()).collect(),
                members: etcd.members.iter().map(listed).collect(),
            };
            Ok(EtcdMemberListResponse { messages: vec![members] })
        })
    }

    /// The state of this machine's member.
    pub(super) fn member_status(&self) -> Result<EtcdStatusResponse, Status> {
        self.controller("etcd status")?;
        self.look(|fleet, machine, live| {
            let known = fleet
                .etcd_of(self.vmid)
                .filter(|_| live.has(Part::Etcd))
                .ok_or_else(|| Status::unknown(format!("failed to query etcd status: {NOBODY}")))?;
            let id = machine.disk.etcd.as_ref().map_or(0, |data| data.member);
            let leader = known.leader_among(|one| fleet.runs(one));
            let status = status(known, id, leader, machine.release().etcd());
            let messages = vec![EtcdStatus { metadata: None, member_status: Some(status) }];
            Ok(EtcdStatusResponse { messages })
        })
    }

    /// The alarms: none in this world.
    pub(super) fn alarm_list(&self) -> Result<EtcdAlarmListResponse, Status> {
        self.controller("etcd alarm list")?;
        self.look(|fleet, _, _| match fleet.serving_etcd(self.vmid) {
            Some(_) => Ok(EtcdAlarmListResponse { messages: vec![EtcdAlarm::default()] }),
            None => Err(Status::unknown(format!("failed to list etcd alarms: {NOBODY}"))),
        })
    }
}

fn listed(member: &Member) -> EtcdMember {
    EtcdMember {
        id: member.id,
        hostname: member.name.clone(),
        peer_urls: vec![member.peer_url()],
        client_urls: vec![member.client_url()],
        is_learner: member.learner,
    }
}

fn status(etcd: &Etcd, id: u64, leader: Option<u64>, version: &str) -> EtcdMemberStatus {
    let index = etcd.index();
    let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
    EtcdMemberStatus {
        protocol_version: version.to_owned(),
        db_size: DATABASE,
        db_size_in_use: DATABASE / 2,
        leader: leader.unwrap_or_default(),
        raft_index: index,
        raft_term: etcd.term,
        raft_applied_index: index,
        errors: leader.is_none().then(|| "etcdserver: no leader".to_owned()).into_iter().collect(),
        is_learner: etcd.member(id).is_some_and(|member| member.learner),
        member_id: id,
        storage_version: format!("{minor}.0"),
    }
}
