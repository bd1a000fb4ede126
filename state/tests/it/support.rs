//! A site in a folder of its own, and events for it.

use std::sync::Arc;

use flow_engine::event::{
    Body, Done, Event, Facts, Fingerprint, Intent, Origin, Outcome, RunEnded, RunStarted, Success,
};
use flow_engine::journal::{Batch, Store};
use flow_engine::{Attempt, Generation, Instance, InstanceName, RunId, Seq, Token};
use flow_state::{Begin, EventStore, Reader, Site, SiteDir, SiteVault, VaultPlace};
use serde_json::json;

pub(crate) const WORKFLOW: &str = "bootstrap";

pub(crate) struct Place {
    _folder: tempfile::TempDir,
    pub(crate) dir: SiteDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = SiteDir::new(folder.path(), "lab");
        Self { _folder: folder, dir }
    }

    pub(crate) fn open(&self) -> Site {
        Site::open(&self.dir, "flow run").unwrap()
    }

    pub(crate) fn begin(&self, instances: u32) -> EventStore {
        begin(self.open(), instances, None)
    }

    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.dir).unwrap().unwrap()
    }
}

pub(crate) fn vault(dir: &SiteDir) -> Arc<SiteVault> {
    let identity = dir.path().join("identity");
    let place = VaultPlace { create_identity: true, ..VaultPlace::of(dir, identity) };
    Arc::new(SiteVault::new(place))
}

pub(crate) fn begin(site: Site, instances: u32, resumed: Option<RunId>) -> EventStore {
    let vault = vault(site.dir());
    let names: Arc<[InstanceName]> = (0..instances).map(name).collect();
    let (workflow, text) = (WORKFLOW.to_owned(), "[workflow]\n".to_owned());
    site.begin(Begin { workflow, text, names, resumed }, vault).unwrap()
}

pub(crate) fn name(number: u32) -> InstanceName {
    InstanceName::new("task", Some(&number.to_string()))
}

/// Turns what happened into events that continue a history.
pub(crate) struct Clerk {
    run: RunId,
    next: Seq,
}

impl Clerk {
    pub(crate) fn of(store: &EventStore) -> Self {
        Self { run: store.run(), next: store.first_seq() }
    }

    pub(crate) fn events(&mut self, told: Vec<(Option<u32>, Body)>) -> Vec<Event> {
        let events = told.into_iter().map(|(instance, body)| {
            let seq = self.next;
            self.next = seq.next();
            let at = 1_700_000_000_000 + i64::try_from(seq.0).unwrap();
            Event { seq, run: self.run, instance: instance.map(Instance), at, body }
        });
        events.collect()
    }

    pub(crate) fn batch(&mut self, told: Vec<(Option<u32>, Body)>) -> Batch {
        Batch { events: self.events(told).into(), ..Batch::default() }
    }

    /// Appends what happened as one batch.
    pub(crate) async fn tell(&mut self, store: &EventStore, told: Vec<(Option<u32>, Body)>) {
        store.append(self.batch(told)).await.unwrap();
    }
}

pub(crate) fn started(resumed: bool) -> (Option<u32>, Body) {
    let started = RunStarted {
        workflow: WORKFLOW.to_owned(),
        command: "flow run".to_owned(),
        resumed,
        ..RunStarted::default()
    };
    (None, Body::Run(Box::new(started)))
}

pub(crate) fn ended(how: RunEnded) -> (Option<u32>, Body) {
    (None, Body::End(how))
}

pub(crate) fn intent(instance: u32) -> (Option<u32>, Body) {
    let intent = Intent { attempt: Attempt(1), token: Token::default(), from_absent: true };
    (Some(instance), Body::Intent(intent))
}

pub(crate) fn outcome(instance: u32, outcome: Outcome) -> (Option<u32>, Body) {
    (Some(instance), Body::Outcome(outcome))
}

pub(crate) fn succeeded(instance: u32) -> (Option<u32>, Body) {
    outcome(instance, Outcome::Succeeded(success(instance).into()))
}

pub(crate) fn success(instance: u32) -> Success {
    Success {
        done: Done::Created,
        outputs: json!({ "address": format!("10.2.1.{instance}") }).into(),
        secrets: [("key".to_owned(), "ab".repeat(32))].into(),
        origin: Origin::Made,
        generation: Generation(1),
        token: Token::default(),
        handle: Some(json!({ "vmid": instance })),
        fingerprint: Fingerprint::default(),
        facts: Facts { kind: "create-vm".into(), ..Facts::default() },
        notes: Vec::new(),
        drift: None,
        probe_ms: 3,
        apply_ms: Some(40),
    }
}
