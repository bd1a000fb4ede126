//! What instances have produced, from the ledger and the vault, for those that read it offline.

use std::collections::BTreeMap;

use flow_engine::journal::Vault;
use flow_engine::ledger::Ledger;
use flow_engine::workflow::{Produced, Read, Values, Workflow};
use flow_engine::{Failure, Instance, Secrets};
use miette::Report;
use serde_json::Value;

use crate::abort::Abort;
use crate::exit::Exit;

/// Recorded outputs, and the secrets that were asked for.
pub(super) struct Recorded {
    produced: BTreeMap<Instance, (Value, Secrets)>,
    /// Whether a secret was asked for that no vault holds: a gate's lives in memory only.
    pub(super) lacks_secret: bool,
}

impl Recorded {
    /// What these reads need. The vault is opened only for a secret.
    ///
    /// # Errors
    ///
    /// The vault cannot be read. What was never recorded is no error; it is not known.
    pub(super) fn for_reads(
        workflow: &Workflow,
        ledger: &Ledger,
        vault: &dyn Vault,
        reads: &[Read],
    ) -> Result<Self, Failure> {
        let (mut produced, mut lacks_secret) = (BTreeMap::new(), false);
        for read in reads {
            let name = &workflow.instance(read.instance).name;
            let success = ledger.row(name).and_then(|row| row.success.as_ref());
            let Some(success) = success else { continue };
            let (_, secrets) = produced
                .entry(read.instance)
                .or_insert_with(|| ((*success.said.outputs).clone(), Secrets::new()));
            let wanted = success.said.secrets.keys().filter(|secret| {
                let asked = read.field.as_deref().is_none_or(|field| field == secret.as_str());
                read.secret && asked
            });
            let mut found = false;
            for secret in wanted {
                if let Some(value) = vault.secret(name, secret)? {
                    secrets.insert(secret.clone(), value);
                    found = true;
                }
            }
            lacks_secret |= read.secret && !found;
        }
        Ok(Self { produced, lacks_secret })
    }
}

impl Values for Recorded {
    fn produced(&self, instance: Instance) -> Option<Produced<'_>> {
        let (outputs, secrets) = self.produced.get(&instance)?;
        Some(Produced { outputs, secrets })
    }
}

/// A failure of the engine or the vault as the end of a command.
pub(super) fn abort(exit: Exit, failure: Failure) -> Abort {
    Abort::new(exit, Report::new(Told(failure)))
}

/// A stored failure as a diagnostic.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
struct Told(Failure);

impl miette::Diagnostic for Told {
    fn code<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        Some(Box::new(&self.0.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        let Failure { causes, help, .. } = &self.0;
        let words: Vec<_> = causes.iter().chain(help).map(String::as_str).collect();
        if words.is_empty() { None } else { Some(Box::new(words.join("\n"))) }
    }
}
