//! What of a success may be kept: in the clear, and so that it can be read again.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::depth::{is_too_deep, too_deep};
use crate::failure::Failure;
use crate::kind::{Mark, Retry};
use crate::redact::strings;
use crate::secret::{Secret, Secrets};

use super::Work;

impl Work {
    /// Refuses outputs and a handle that hold a secret, since they are stored in the clear and
    /// handed on, and whatever is nested too deep.
    pub(super) fn may_be_kept(
        &self,
        outputs: &Value,
        secrets: &Secrets,
        mark: Option<&Mark<Value>>,
    ) -> Result<(), Failure> {
        let (name, redactor) = (self.name(), &self.lent.redactor);
        let open = parts(secrets);
        for (field, value) in outputs.as_object().into_iter().flatten() {
            if redactor.finds(field) || redactor.finds_in(value, &open) {
                let subject = format!("the output `{}` of `{name}`", redactor.redact(field));
                let help = "declare it as a secret, or keep it out of the outputs";
                return Err(self.holds_secret(&subject, help));
            }
        }
        if is_too_deep(outputs) {
            return Err(too_deep(&format!("what `{name}` puts out")));
        }
        if let Some(Mark::Ours(handle) | Mark::Missing(handle)) = mark {
            let subject = format!("what removes `{name}` later");
            if redactor.finds_in(handle, &open) {
                let help = "hand the secret over in the environment instead of an argument";
                return Err(self.holds_secret(&subject, help));
            }
            if is_too_deep(handle) {
                return Err(too_deep(&subject));
            }
        }
        match secrets.iter().find(|(_, secret)| is_too_deep(secret.reveal())) {
            Some((secret, _)) => Err(too_deep(&format!("the secret `{secret}` of `{name}`"))),
            None => Ok(()),
        }
    }

    fn holds_secret(&self, subject: &str, help: &str) -> Failure {
        let message = format!("{subject} holds a secret, and would be stored in the clear");
        let failure = Failure::new("engine::secret-in-output", message, Retry::Never);
        let failure = failure.with_help(help);
        if self.applied.is_none() {
            return failure;
        }
        let words = "its change was made all the same; the next run looks at it first";
        failure.with_causes(vec![words.to_owned()])
    }
}

/// The strings that a kind may put out although they are in a secret of the same instance, each
/// as one part of it: the name of a cluster, in the bundle of its keys.
fn parts(secrets: &Secrets) -> BTreeSet<&str> {
    let mut parts = BTreeSet::new();
    for secret in secrets.values().map(Secret::reveal) {
        if !secret.is_string() {
            strings(secret, &mut parts);
        }
    }
    parts
}
