//! `check-site`: the site file refers only to what is there.

use flow_engine::{
    Cx, Effect, Kind, KindError, Manual, NoHandle, Presence, Retry, Settle, Verdict,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::reference::{Reference, ReferenceError};

/// See the [module documentation](self).
#[derive(Debug)]
pub(super) struct CheckSite;

/// What to check.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Params {
    /// The whole site, as `${site}`.
    site: Value,
}

/// What is planned.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Outputs {
    /// Names of the nodes, in order.
    nodes: Vec<String>,
    /// How many references to secrets and files resolve.
    references: usize,
}

/// Why the site cannot be built from.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub(super) enum Error {
    /// References that do not resolve, all of them.
    #[error("the site refers to what is not there:\n{}", listed(.broken))]
    #[diagnostic(code(site::reference), help("correct the site file, or provide them"))]
    Broken {
        /// Path in the site file and what is wrong with it.
        broken: Vec<(String, ReferenceError)>,
    },
}

fn listed(broken: &[(String, ReferenceError)]) -> String {
    let lines = broken.iter().map(|(path, error)| format!("{path}: {error}"));
    lines.collect::<Vec<_>>().join("\n")
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Broken { .. } => Retry::Human,
        }
    }
}

impl Kind for CheckSite {
    const NAME: &'static str = "check-site";
    const EFFECT: Effect = Effect::Gate;
    const MANUAL: Manual = Manual {
        summary: "Check that everything a site file refers to is there",
        details: "Every `{ env }`, `{ file }` and `{ command }` of the site is resolved once; no \
                  value is shown. The file itself is checked when it is loaded.",
        example: "site = { name = \"home\" }",
    };
    const SETTLE: Settle = Settle::within(std::time::Duration::ZERO);

    type Params = Params;
    type Outputs = Outputs;
    type Secrets = ();
    type Handle = NoHandle;
    type Error = Error;

    async fn probe(&self, _: &Cx, params: &Params) -> Result<Verdict<Self>, Error> {
        let mut references = Vec::new();
        collect(&params.site, "site", &mut references);
        let mut broken = Vec::new();
        for (path, reference) in &references {
            if let Err(error) = reference.read().await {
                broken.push((path.clone(), error));
            }
        }
        if !broken.is_empty() {
            return Err(Error::Broken { broken });
        }
        let nodes = params.site.get("nodes").and_then(Value::as_object);
        let nodes = nodes.into_iter().flat_map(|nodes| nodes.keys().cloned()).collect();
        Ok(Verdict::satisfied(Outputs { nodes, references: references.len() }))
    }

    async fn apply(&self, _: &Cx, _: &Params) -> Result<(), Error> {
        Ok(())
    }

    async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Error> {
        match *handle {}
    }

    async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Error> {
        match *handle {}
    }
}

/// All tables of exactly one key that is the name of a reference.
fn collect(value: &Value, path: &str, references: &mut Vec<(String, Reference)>) {
    match value {
        Value::Object(fields) => {
            if let (1, Ok(reference)) = (fields.len(), Reference::deserialize(value)) {
                references.push((path.to_owned(), reference));
                return;
            }
            for (key, field) in fields {
                collect(field, &format!("{path}.{key}"), references);
            }
        }
        Value::Array(items) => {
            for (i, item) in items.iter().enumerate() {
                collect(item, &format!("{path}.{i}"), references);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use flow_engine::{AnyKind, AnyVerdict};
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn every_reference_is_resolved_and_all_broken_ones_are_told() {
        let probe = async |site: Value| {
            AnyKind::probe(&CheckSite, &Cx::default(), &json!({ "site": site })).await
        };
        let broken = json!({
            "proxmox": { "ca": { "file": "/nonexistent/ca.pem" } },
            "x": [{ "env": "FLOW_TEST_SURELY_NOT_SET" }],
        });
        let failure = probe(broken).await.unwrap_err();
        assert_eq!(failure.retry, Retry::Human);
        assert_eq!(
            failure.message,
            "the site refers to what is not there:\n\
             site.proxmox.ca: /nonexistent/ca.pem cannot be read\n\
             site.x.0: the environment variable FLOW_TEST_SURELY_NOT_SET is not set"
        );
        let verdict = probe(json!({ "t": { "command": ["echo", "x"] }, "nodes": { "a": {} } }));
        let AnyVerdict::Satisfied { outputs, .. } = verdict.await.unwrap() else { panic!() };
        assert_eq!(outputs, json!({ "nodes": ["a"], "references": 1 }));
    }
}
