//! What instances have produced, for those that read it.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::id::{Instance, InstanceName};
use crate::journal::Vault;
use crate::kind::Retry;
use crate::ledger::Recorded;
use crate::redact::Redactor;
use crate::secret::{Secret, Secrets};
use crate::workflow::{Produced, Values, Workflow};

/// What one instance has produced.
#[derive(Debug, Default)]
pub(crate) struct Given {
    pub(crate) outputs: Arc<Value>,
    pub(crate) secrets: Secrets,
}

/// What each instance has produced in this run, or earlier.
#[derive(Debug, Clone)]
pub(crate) struct Board {
    given: Vec<Option<Arc<Given>>>,
    redactor: Arc<Redactor>,
}

impl Board {
    /// A board on which only the nulls of skipped instances stand.
    pub(crate) fn new(workflow: &Workflow, redactor: &Arc<Redactor>) -> Self {
        let given = workflow
            .instances
            .iter()
            .map(|def| def.skipped.then(|| Arc::new(nulls(workflow, def.task, def.with.raw()))))
            .collect();
        Self { given, redactor: Arc::clone(redactor) }
    }

    /// Lets others read what an instance has produced, and nobody its secrets.
    pub(crate) fn publish(&mut self, instance: Instance, given: Given) {
        self.redactor.learn_all(&given.secrets);
        self.given[instance.index()] = Some(Arc::new(given));
    }

    pub(crate) fn has(&self, instance: Instance) -> bool {
        self.given[instance.index()].is_some()
    }
}

impl Values for Board {
    fn produced(&self, instance: Instance) -> Option<Produced<'_>> {
        self.given[instance.index()]
            .as_ref()
            .map(|given| Produced { outputs: &given.outputs, secrets: &given.secrets })
    }
}

/// What the ledger says that an instance has produced.
///
/// # Errors
///
/// The vault cannot be read, or lacks one of its secrets.
pub(crate) fn given_by_ledger(
    name: &InstanceName,
    recorded: &Recorded,
    vault: &dyn Vault,
) -> Result<Given, Failure> {
    let mut secrets = Secrets::new();
    for secret in recorded.said.secrets.keys() {
        let value = vault.secret(name, secret)?.ok_or_else(|| {
            Failure::new(
                "vault::missing",
                format!("the vault does not hold `{secret}` of `{name}`"),
                Retry::Human,
            )
            .with_help("put back the vault that belongs to this state")
        })?;
        secrets.insert(secret.clone(), value);
    }
    Ok(Given { outputs: Arc::clone(&recorded.said.outputs), secrets })
}

/// The declared outputs of a skipped instance: all null.
fn nulls(workflow: &Workflow, task: usize, with: &Value) -> Given {
    let kind = &workflow.tasks[task].kind;
    let names = |schema: &schemars::Schema| -> Vec<String> {
        schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|fields| fields.keys().cloned().collect())
            .unwrap_or_default()
    };
    let outputs: Map<String, Value> =
        names(&kind.outputs_schema(with)).into_iter().map(|name| (name, Value::Null)).collect();
    let secrets = names(&kind.secrets_schema())
        .into_iter()
        .map(|name| (name, Secret::new(Value::Null)))
        .collect();
    Given { outputs: Arc::new(Value::Object(outputs)), secrets }
}
