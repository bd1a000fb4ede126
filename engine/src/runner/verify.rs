//! What a selection relies on is looked at before anything is applied.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::attempt::glance::{Glance, glance};
use crate::attempt::joined;
use crate::failure::Failure;
use crate::id::Instance;
use crate::kind::{Effect, OnDrift, Retry};
use crate::ledger::{Recorded, Row};
use crate::recover;
use crate::registry::AnyVerdict;
use crate::workflow::{Resolved, Unresolved};

use super::fingerprint::lacks_secrets;
use super::session::Session;
use super::values::{Given, given_by_ledger};
use super::{Ending, RunError, Unmet};

impl Session<'_> {
    /// Looks at everything that must hold, and takes over what it has produced.
    pub(super) async fn verify(&mut self) -> Result<(), RunError> {
        let wanted: BTreeSet<Instance> =
            self.selected.verify.union(&self.selected.skip).copied().collect();
        let mut failed = Vec::new();
        let mut looks = JoinSet::new();
        for id in wanted.into_iter().filter(|id| !self.workflow.instance(*id).skipped) {
            match self.prepare(id).await {
                Ok(None) => self.endings[id.index()] = Some(Ending::Verified),
                Ok(Some(resolved)) => {
                    let row = self.rows[id.index()].clone();
                    looks.spawn(glance(Arc::clone(&self.lent), id, resolved, row));
                }
                Err(failure) => failed.push((id, failure)),
            }
            if looks.len() >= self.slots as usize {
                self.take_look(&mut looks, &mut failed).await;
            }
        }
        while !looks.is_empty() {
            self.take_look(&mut looks, &mut failed).await;
        }
        failed.sort_by_key(|(id, _)| *id);
        let (unmet, skipped): (Vec<_>, Vec<_>) =
            failed.into_iter().partition(|(id, _)| self.selected.verify.contains(id));
        for (id, _) in skipped {
            self.deny(id);
        }
        if unmet.is_empty() || self.is_stopped() {
            return Ok(());
        }
        let unmet = unmet.into_iter().map(|(id, failure)| Unmet {
            instance: self.workflow.instance(id).name.clone(),
            failure,
        });
        Err(RunError::Unmet { unmet: unmet.collect() })
    }

    /// Finds out what became of open effects that the selection leaves out.
    pub(super) async fn look_for_open(&mut self) {
        for id in recover::outside(self.workflow, &self.rows, &self.selected) {
            // What cannot even be evaluated stays open.
            if let Ok(resolved) = self.params(id).await {
                self.hand_out(id, resolved, true);
            }
        }
    }

    async fn take_look(
        &mut self,
        looks: &mut JoinSet<Glance>,
        failed: &mut Vec<(Instance, Failure)>,
    ) {
        let Some(glance) = looks.join_next().await.and_then(joined) else { return };
        let id = glance.instance;
        match self.holds(glance) {
            Ok(given) => {
                self.board.publish(id, given);
                self.endings[id.index()] = Some(Ending::Verified);
            }
            Err(failure) => failed.push((id, failure)),
        }
    }

    /// What to look at an instance with; `None` if its record is enough.
    async fn prepare(&mut self, id: Instance) -> Result<Option<Resolved>, Failure> {
        let effect = self.workflow.task_of(id).effect;
        let name = &self.workflow.instance(id).name;
        if effect == Effect::Gate {
            return self.params(id).await.map(Some);
        }
        let Some(recorded) = &self.rows[id.index()].success else {
            let failure = Failure::new(
                "engine::never-succeeded",
                format!("`{name}` has not succeeded on this site yet"),
                Retry::Human,
            );
            return Err(failure);
        };
        if effect == Effect::Action {
            let given = given_by_ledger(name, recorded, &*self.lent.vault)?;
            self.board.publish(id, given);
            return Ok(None);
        }
        let params = &recorded.said.fingerprint.params;
        if lacks_secrets(params) {
            return self.params(id).await.map(Some);
        }
        Ok(Some(Resolved { params: params.clone(), ..Resolved::default() }))
    }

    /// Evaluates the `with` of an instance on what is recorded; a gate that it reads is looked at.
    async fn params(&mut self, id: Instance) -> Result<Resolved, Failure> {
        let mut stack = vec![id];
        while let Some(&top) = stack.last() {
            match self.workflow.resolve(top, &self.board) {
                Ok(resolved) if top == id => return Ok(resolved),
                Ok(resolved) => {
                    let row = self.rows[top.index()].clone();
                    let glance = glance(Arc::clone(&self.lent), top, resolved, row).await;
                    let given = self.holds(glance)?;
                    self.board.publish(top, given);
                    stack.pop();
                }
                Err(Unresolved::Unknown(of)) if self.board.has(of) => {
                    return Err(self.unresolved(top, Unresolved::Unknown(of)));
                }
                Err(Unresolved::Unknown(of)) => match &self.rows[of.index()] {
                    _ if self.workflow.task_of(of).effect == Effect::Gate => stack.push(of),
                    Row { success: Some(recorded), .. } => {
                        let name = &self.workflow.instance(of).name;
                        let given = given_by_ledger(name, recorded, &*self.lent.vault)?;
                        self.board.publish(of, given);
                    }
                    Row { success: None, .. } => {
                        return Err(self.unresolved(top, Unresolved::Unknown(of)));
                    }
                },
                Err(unresolved @ Unresolved::Failed(_)) => {
                    return Err(self.unresolved(top, unresolved));
                }
            }
        }
        Ok(Resolved::default())
    }

    fn holds(&self, glance: Glance) -> Result<Given, Failure> {
        let Glance { instance, seen, .. } = glance;
        let name = &self.workflow.instance(instance).name;
        let not = |words: String| Failure::new("engine::does-not-hold", words, Retry::Human);
        match seen {
            None => Err(not(format!("`{name}` was not looked at to the end"))),
            Some(Err(failure)) => Err(failure),
            Some(Ok(AnyVerdict::Satisfied { outputs, secrets, .. })) => {
                Ok(Given { outputs: Arc::new(outputs), secrets })
            }
            Some(Ok(AnyVerdict::Absent(_))) => Err(not(format!("`{name}` is not there"))),
            Some(Ok(AnyVerdict::Underway(what))) => {
                Err(not(format!("`{name}` is underway")).with_causes(vec![what]))
            }
            Some(Ok(AnyVerdict::Drifted { diff, .. })) => {
                let leaves = self.workflow.task_of(instance).on_drift != OnDrift::Fix;
                match &self.rows[instance.index()].success {
                    Some(recorded) if leaves => given_by_ledger(name, recorded, &*self.lent.vault),
                    Some(Recorded { .. }) | None => {
                        let diff = self.lent.redactor.redact(&diff);
                        Err(not(format!("`{name}` differs")).with_causes(vec![diff]))
                    }
                }
            }
        }
    }
}
