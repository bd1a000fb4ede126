//! What a decision about an instance rests on, apart from the verdict.

use crate::decide::{Case, Past, Seen};
use crate::event::Fingerprint;
use crate::id::{Instance, Token};
use crate::ledger::Row;
use crate::registry::AnyVerdict;
use crate::workflow::{InstanceDef, Task, Workflow};

/// What is known of an instance before it is looked at.
pub(crate) struct Known<'a> {
    pub(crate) task: &'a Task,
    pub(crate) def: &'a InstanceDef,
    pub(crate) row: &'a Row,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) token: &'a Token,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// The generations of what an instance lives in.
pub(crate) fn token(workflow: &Workflow, rows: &[Row], instance: Instance) -> Token {
    let part =
        |host: &Instance| (workflow.instance(*host).name.clone(), rows[host.index()].generation);
    Token(workflow.instance(instance).lives_in.iter().map(part).collect())
}

/// What the run says about this look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Said {
    pub(crate) waited: bool,
    pub(crate) force: bool,
    pub(crate) redo: bool,
}

impl Known<'_> {
    /// The case that the decision table is read for.
    pub(crate) fn case(&self, verdict: &AnyVerdict, said: Said) -> Case {
        let Said { waited, force, redo } = said;
        let recorded = self.row.success.as_ref();
        let past = match (&self.row.open, recorded) {
            (Some(_), recorded) => Past::Open { recorded: recorded.is_some() },
            (None, Some(recorded)) => Past::Recorded(recorded.said.origin),
            (None, None) => Past::Nothing,
        };
        let changed = recorded.is_some_and(|recorded| {
            recorded.said.fingerprint.inputs != self.fingerprint.inputs
                || recorded.said.fingerprint.files != self.fingerprint.files
        });
        Case {
            effect: self.task.effect,
            seen: Seen::of(verdict),
            past,
            on_drift: self.task.on_drift,
            fix_is_said: self.task.fixes_found,
            changed,
            applies_on_change: self.task.kind.applies_on_change(self.def.with.raw()),
            new_incarnation: self.is_new_incarnation(),
            stale: self.is_stale(),
            conclusive: self.task.conclusive,
            ask_on_crash: self.task.ask_on_crash,
            waited,
            force,
            redo,
        }
    }

    /// Whether everything that it lives in is new since its recorded success.
    pub(crate) fn is_new_incarnation(&self) -> bool {
        self.row.once.as_ref().is_some_and(|once| self.token.is_new_incarnation_of(once))
    }

    fn is_stale(&self) -> bool {
        let Some(fresh) = self.task.fresh else { return false };
        let applied = self.row.success.as_ref().and_then(|recorded| recorded.applied_at);
        let age = applied.map(|at| i128::from(self.now) - i128::from(at));
        age.is_none_or(|age| age > i128::try_from(fresh.as_millis()).unwrap_or(i128::MAX))
    }
}
