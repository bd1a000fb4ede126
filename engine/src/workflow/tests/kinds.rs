//! Kinds, sources and values for the tests of loading.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::cx::Cx;
use crate::kind::{
    Effect, Kind, KindError, Manual, Mark, NoHandle, OnDrift, Presence, Retry, Verdict,
};
use crate::registry::Registry;
use crate::secret::{Secret, Secrets};
use crate::workflow::{Diagnostics, Given, Produced, Source, Sources, Values, Workflow};
use crate::{Instance, InstanceName};

#[derive(Debug, thiserror::Error, miette::Diagnostic)]
#[error("never")]
pub(super) struct Never;

impl KindError for Never {
    fn retry(&self) -> Retry {
        Retry::Never
    }
}

macro_rules! kind {
    ($name:ident, $uses:literal, $effect:expr, $params:ty, $outputs:ty, $secrets:ty) => {
        pub(super) struct $name;

        impl Kind for $name {
            const NAME: &'static str = $uses;
            const EFFECT: Effect = $effect;
            const MANUAL: Manual = Manual { summary: "", details: "", example: "" };
            const ON_DRIFT: OnDrift = OnDrift::Report;
            type Params = $params;
            type Outputs = $outputs;
            type Secrets = $secrets;
            type Handle = NoHandle;
            type Error = Never;

            async fn probe(&self, _: &Cx, _: &Self::Params) -> Result<Verdict<Self>, Never> {
                Ok(Verdict::Absent(Mark::Nowhere))
            }

            async fn apply(&self, _: &Cx, _: &Self::Params) -> Result<(), Never> {
                Ok(())
            }

            async fn exists(&self, _: &Cx, handle: &NoHandle) -> Result<Presence, Never> {
                match *handle {}
            }

            async fn destroy(&self, _: &Cx, handle: &NoHandle) -> Result<(), Never> {
                match *handle {}
            }
        }
    };
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "only the schema matters here")]
pub(super) struct FetchParams {
    url: String,
    #[serde(default)]
    retries: Option<u16>,
    #[serde(default)]
    sizes: Vec<u32>,
    #[serde(default)]
    password: Option<Secret<String>>,
    #[serde(default)]
    source: Option<Place>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[expect(dead_code, reason = "only the schema matters here")]
pub(super) enum Place {
    Env(String),
    File(String),
    Command(Vec<String>),
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct FetchOutputs {
    file: String,
    size: u64,
    image: Image,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Image {
    sha256: String,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct FetchSecrets {
    token: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

kind!(Fetch, "fetch", Effect::Converge, FetchParams, FetchOutputs, FetchSecrets);
kind!(Notify, "notify", Effect::Action, Nothing, (), ());
kind!(Look, "look", Effect::Gate, Nothing, (), ());
kind!(Seal, "seal", Effect::Once, Nothing, (), ());

pub(super) fn registry() -> Registry {
    Registry::default().with(Fetch).with(Notify).with(Look).with(Seal)
}

/// Files in memory.
#[derive(Default)]
pub(super) struct Memory(pub(super) BTreeMap<String, String>);

impl Memory {
    pub(super) fn of(text: &str) -> Self {
        Self(BTreeMap::from([("test.toml".to_owned(), text.to_owned())]))
    }

    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.0.insert(name.to_owned(), text.to_owned());
        self
    }
}

impl Sources for Memory {
    fn workflow(&self, name: &str, _: Option<&str>) -> Result<Source, String> {
        let text = self.file(name, "")?;
        Ok(Source { name: name.to_owned(), text })
    }

    fn file(&self, path: &str, _: &str) -> Result<String, String> {
        self.0.get(path).cloned().ok_or_else(|| "no such file".to_owned())
    }
}

pub(super) fn site() -> Value {
    json!({
        "name": "lab",
        "domain": "lab.test",
        "edge": false,
        "nodes": {
            "worker0": { "role": "worker", "address": "127.2.2.1", "host": "pve" },
            "controlplane0": { "role": "controller", "address": "127.2.1.1", "host": "pve" },
        },
        "first": { "name": "controlplane0" },
    })
}

pub(super) fn load(text: &str) -> Result<Workflow, Diagnostics> {
    load_from(&Memory::of(text))
}

pub(super) fn load_from(sources: &Memory) -> Result<Workflow, Diagnostics> {
    load_given(sources, &Given { site: site(), ..Given::default() })
}

pub(super) fn load_given(sources: &Memory, given: &Given) -> Result<Workflow, Diagnostics> {
    crate::workflow::load(sources, "test.toml", given, &registry())
}

pub(super) fn loaded(text: &str) -> Workflow {
    match load(text) {
        Ok(workflow) => workflow,
        Err(diagnostics) => panic!("{}", render(&diagnostics)),
    }
}

/// What a user sees, without colour.
pub(super) fn broken(text: &str) -> String {
    match load(text) {
        Ok(_) => "fine".to_owned(),
        Err(diagnostics) => render(&diagnostics),
    }
}

pub(super) fn render(diagnostics: &Diagnostics) -> String {
    let handler =
        miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
            .with_width(100)
            .with_links(false);
    let mut text = String::new();
    for problem in diagnostics.problems() {
        handler.render_report(&mut text, problem).unwrap();
        text.push('\n');
    }
    text.push_str(&diagnostics.to_string());
    text.push('\n');
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
}

/// What instances have produced, by name.
#[derive(Default)]
pub(super) struct Made {
    all: BTreeMap<Instance, (Value, Secrets)>,
}

impl Made {
    pub(super) fn with(mut self, workflow: &Workflow, name: &str, outputs: Value) -> Self {
        let id = workflow.find(&InstanceName::parse(name)).unwrap();
        let secrets = Secrets::from([("token".to_owned(), Secret::new(json!("s3cret")))]);
        self.all.insert(id, (outputs, secrets));
        self
    }
}

impl Values for Made {
    fn produced(&self, instance: Instance) -> Option<Produced<'_>> {
        let (outputs, secrets) = self.all.get(&instance)?;
        Some(Produced { outputs, secrets })
    }
}
