//! Workflows by name: found, read with what they include, and checked.

use std::collections::BTreeMap;
use std::path::Path;

use flow_engine::workflow::{self, Diagnostics, Given, Source, Sources, Workflow};
use miette::Report;
use serde_json::Value;

use crate::abort::Abort;
use crate::args::Inputs;
use crate::assets::{self, Asset};
use crate::env;
use crate::exit::Exit;
use crate::site::SiteAt;

/// Reads and checks a workflow for a site.
///
/// # Errors
///
/// Everything that is wrong with it, in one go.
pub(crate) fn load(asset: &Asset, site: &SiteAt, set: Set) -> Result<Workflow, Abort> {
    let given = Given {
        site: site.site.value.clone(),
        run: Value::Null,
        workflows: Value::Null,
        set: set.typed,
        environment: set.environment,
        file: set.file,
    };
    let files = Files { entry: asset };
    workflow::load(&files, &asset.shown, &given, &flow_tasks::registry())
        .map_err(|diagnostics| invalid(&diagnostics))
}

fn invalid(diagnostics: &Diagnostics) -> Abort {
    let reports = diagnostics.problems().iter().cloned().map(Report::new).collect();
    Abort { exit: Exit::InvalidFile, reports }
}

/// Inputs as they were given on the command line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Set {
    /// By `--set`.
    typed: BTreeMap<String, String>,
    /// By variables, with their names.
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, Value>,
}

impl Set {
    /// Reads `--set`, the environment and `--inputs`.
    ///
    /// # Errors
    ///
    /// One of them is not `NAME=VALUE`, or the file cannot be read.
    pub(crate) fn from_args(inputs: &Inputs) -> Result<Self, Abort> {
        let Inputs { set, inputs } = inputs;
        let mut read = Self { environment: env::inputs(), ..Self::default() };
        for pair in set {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                let message = format!("`--set {pair}` is not NAME=VALUE");
                let help = "write it as `--set writes=3`";
                Abort::words(Exit::Usage, "flow::set", message, help)
            })?;
            read.typed.insert(name.to_owned(), value.to_owned());
        }
        if let Some(path) = inputs {
            read.file = from_file(path)?;
        }
        Ok(read)
    }

    /// The inputs as the history keeps them; of variables those that the workflow declares.
    pub(crate) fn recorded(&self, declared: &Value) -> BTreeMap<String, Value> {
        let given = |(name, value): (String, &String)| (name, Value::from(value.as_str()));
        let variables = self.environment.iter().map(|(variable, value)| {
            let name = variable
                .strip_prefix(env::INPUT)
                .unwrap_or(variable)
                .to_lowercase()
                .replace('_', "-");
            (name, value)
        });
        let variables = variables.filter(|(name, _)| declared.get(name).is_some());
        let typed = self.typed.iter().map(|(name, value)| (name.clone(), value));
        self.file.clone().into_iter().chain(variables.map(given)).chain(typed.map(given)).collect()
    }

    /// The inputs of an earlier session, whatever the environment says now.
    pub(crate) fn from_recorded(recorded: &BTreeMap<String, Value>) -> Self {
        let mut set = Self::default();
        for (name, value) in recorded {
            match value {
                Value::String(text) => drop(set.typed.insert(name.clone(), text.clone())),
                other @ (Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_)) => drop(set.file.insert(name.clone(), other.clone())),
            }
        }
        set
    }
}

fn from_file(path: &Path) -> Result<BTreeMap<String, Value>, Abort> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Abort::io(Exit::InvalidFile, format!("{} cannot be read", path.display()), error)
    })?;
    toml::from_str(&text).map_err(|error| {
        let message = format!("{} is not TOML: {}", path.display(), error.message());
        Abort::words(Exit::InvalidFile, "flow::inputs", message, "write one `name = value` a line")
    })
}

/// The files of a workflow: the entry as found, others beside their reader.
struct Files<'a> {
    entry: &'a Asset,
}

impl Sources for Files<'_> {
    fn workflow(&self, name: &str, includer: Option<&str>) -> Result<Source, String> {
        let Some(includer) = includer else {
            let text = self.entry.text.clone();
            return Ok(Source { name: self.entry.shown.clone(), text });
        };
        if self.entry.path.is_none() {
            let asset = assets::workflow(name.trim_end_matches(".toml"));
            let asset = asset.map_err(|_| "no shipped workflow has this name".to_owned())?;
            return Ok(Source { name: asset.shown, text: asset.text });
        }
        let path = beside(includer, name);
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        Ok(Source { name: path.display().to_string(), text })
    }

    fn file(&self, path: &str, reader: &str) -> Result<String, String> {
        std::fs::read_to_string(beside(reader, path)).map_err(|error| error.to_string())
    }

    fn secret(&self, reference: &Value) -> Option<Result<String, String>> {
        let text = |key: &str| reference.get(key).and_then(Value::as_str);
        let read = match (text("env"), text("file")) {
            (Some(name), _) => {
                std::env::var(name).map_err(|_| format!("the variable {name} is not set"))
            }
            (None, Some(path)) => std::fs::read_to_string(path)
                .map(|text| text.strip_suffix('\n').unwrap_or(&text).to_owned())
                .map_err(|error| format!("{path}: {error}")),
            (None, None) => return None,
        };
        Some(read)
    }
}

fn beside(reader: &str, name: &str) -> std::path::PathBuf {
    Path::new(reader).parent().unwrap_or(Path::new("")).join(name)
}
