//! The kind `shell`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitStatus;

use async_trait::async_trait;
use flow_engine::{
    AnyKind, AnyVerdict, Cx, Effect, Failure, KindError, Manual, Mark, NotRecorded, OnDrift,
    Presence, Retry, Secrets, Settle,
};
use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::child::{Call, Identity, Running, describe};
use super::output::{self, BadOutput};
use super::params::{self, Argv, Covers, Params};

/// The exit code of `apply` that asks for another try (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;

/// See the [module documentation](self).
///
/// Implements the erased trait: effect and outputs are the task's, not the kind's.
pub(super) struct Shell;

/// How to remove what a shell task made; nothing else is ever executed from the database.
#[derive(Debug, Serialize, Deserialize)]
struct Handle {
    destroy: Vec<String>,
    env: Vec<String>,
}

/// Why a command did not do what was asked.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
enum Error {
    #[error("`{program}` cannot be run")]
    #[diagnostic(code(shell::spawn), help("check that the program exists and may be executed"))]
    Spawn { program: String, source: std::io::Error },
    #[error("the {what} ended with {how}")]
    #[diagnostic(
        code(shell::failed),
        help("`flow logs INSTANCE` shows what it printed; exit code 75 means: try again")
    )]
    Failed { what: &'static str, how: String, again: bool },
    #[error("the check ended with {how}, which says neither yes nor no")]
    #[diagnostic(
        code(shell::unknown),
        help("a check exits 0 for satisfied, 1 for not; `flow logs INSTANCE` shows its words")
    )]
    Unknown { how: String },
    #[error("what the {what} wrote to $FLOW_OUTPUT cannot be understood")]
    #[diagnostic(code(shell::output), help("write a JSON object, or lines of `key=value`"))]
    Output { what: &'static str, source: BadOutput },
    #[error("the output `{name}` is declared, and neither check nor apply wrote it")]
    #[diagnostic(code(shell::no_output), help("write `{name}=VALUE` to the file $FLOW_OUTPUT"))]
    NoOutput { name: String },
    #[error("`{what}` is not a list of words")]
    #[diagnostic(
        code(shell::argv),
        help("write [\"program\", \"argument\"], or set `sh = true` for a line of shell")
    )]
    Argv { what: &'static str },
    #[error(transparent)]
    #[diagnostic(transparent)]
    NotRecorded(#[from] NotRecorded),
    #[error("a file for $FLOW_OUTPUT cannot be made")]
    #[diagnostic(
        code(shell::scratch),
        help("check that the folder for temporary files is writable")
    )]
    Scratch { source: std::io::Error },
}

impl KindError for Error {
    fn retry(&self) -> Retry {
        match self {
            Self::Failed { again: true, .. } | Self::Unknown { .. } | Self::Scratch { .. } => {
                Retry::Backoff
            }
            Self::Failed { again: false, .. }
            | Self::Spawn { .. }
            | Self::Output { .. }
            | Self::NoOutput { .. }
            | Self::Argv { .. }
            | Self::NotRecorded(_) => Retry::Never,
        }
    }

    fn refused(&self) -> bool {
        match self {
            Self::Spawn { .. } | Self::Argv { .. } | Self::Scratch { .. } => true,
            Self::Failed { .. }
            | Self::Unknown { .. }
            | Self::Output { .. }
            | Self::NoOutput { .. }
            | Self::NotRecorded(_) => false,
        }
    }
}

#[async_trait]
impl AnyKind for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn manual(&self) -> Manual {
        Manual {
            summary: "Run any command, with a check that tells whether it is needed",
            details: "`check` exits 0 when nothing is to be done, 1 when `apply` is to run; any \
                      other end means that nobody knows, and nothing is applied. Without `check` \
                      and `creates` the task is an action, which runs again when its definition \
                      or its inputs change. No shell is involved unless `sh = true`. Both write \
                      outputs to the file $FLOW_OUTPUT.",
            example: "check = [\"test\", \"-e\", \"greeting\"]\n\
                      apply = [\"cp\", \"template\", \"greeting\"]\n",
        }
    }

    fn effect(&self, with: &Value) -> Result<Effect, String> {
        params::effect(with)
    }

    fn settle(&self) -> Settle {
        Settle::DEFAULT
    }

    fn on_drift(&self) -> OnDrift {
        OnDrift::Fix
    }

    fn conclusive(&self, with: &Value) -> bool {
        with.get("conclusive") == Some(&Value::Bool(true))
    }

    fn applies_on_change(&self, with: &Value) -> bool {
        let covers = with.get("check-covers").map(Covers::deserialize);
        !matches!(covers, Some(Ok(Covers::Inputs)))
    }

    fn params_schema(&self) -> Schema {
        schemars::schema_for!(Params)
    }

    fn outputs_schema(&self, with: &Value) -> Schema {
        let names = with.get("outputs").and_then(Value::as_array).into_iter().flatten();
        let properties: Map<String, Value> = names
            .filter_map(Value::as_str)
            .map(|name| (name.to_owned(), json!({ "type": "string" })))
            .collect();
        schemars::json_schema!({ "type": "object", "properties": properties })
    }

    fn secrets_schema(&self) -> Schema {
        schemars::schema_for!(())
    }

    fn check(&self, params: &Value) -> Result<(), Failure> {
        read(params).map(drop)
    }

    async fn probe(&self, cx: &Cx, params: &Value) -> Result<AnyVerdict, Failure> {
        let handle = handle(params);
        let params = read(params)?;
        probe(cx, &params, handle).await.map_err(|error| Failure::from_kind(&error))
    }

    async fn apply(&self, cx: &Cx, params: &Value) -> Result<(), Failure> {
        let params = read(params)?;
        apply(cx, &params).await.map_err(|error| Failure::from_kind(&error))
    }

    async fn exists(&self, _: &Cx, _: &Value) -> Result<Presence, Failure> {
        // Nothing but its own command knows: removing goes on, and the command says.
        Ok(Presence::Ours)
    }

    async fn destroy(&self, cx: &Cx, handle: &Value) -> Result<(), Failure> {
        let handle = Handle::deserialize(handle).map_err(|error| {
            Failure::new("kind::handle", "a recorded handle cannot be read", Retry::Human)
                .with_causes(vec![error.to_string()])
        })?;
        let env =
            handle.env.iter().filter_map(|name| Some((name.clone(), std::env::var_os(name)?)));
        let call = Call { argv: handle.destroy, env: env.collect(), cwd: None, stdin: None };
        let ended = run(cx, &call, None).await.map_err(|error| Failure::from_kind(&error))?;
        success("destroy", ended.status).map_err(|error| Failure::from_kind(&error))
    }
}

fn read(params: &Value) -> Result<Params, Failure> {
    Params::deserialize(params).map_err(|error| {
        Failure::new("kind::params", "`with` does not fit the kind `shell`", Retry::Never)
            .with_causes(vec![error.to_string()])
            .with_help("`flow explain shell` shows what it takes")
    })
}

/// The handle that a task with a `destroy` leaves: its argv and the names of its environment.
fn handle(params: &Value) -> Mark<Value> {
    let sh = params.get("sh") == Some(&Value::Bool(true));
    let argv = params.get("destroy").and_then(|argv| Argv::deserialize(argv).ok());
    match argv.and_then(|argv| argv.words(sh)) {
        None => Mark::Nowhere,
        Some(destroy) => {
            let env = params.get("env").and_then(Value::as_object);
            let env: Vec<_> = env.into_iter().flat_map(|env| env.keys().cloned()).collect();
            Mark::Missing(json!({ "destroy": destroy, "env": env }))
        }
    }
}

async fn probe(cx: &Cx, params: &Params, mark: Mark<Value>) -> Result<AnyVerdict, Error> {
    if cx.recorded("child").is_some_and(|child| Identity::is_alive(&child)) {
        return Ok(AnyVerdict::Underway("its command of an earlier try still runs".to_owned()));
    }
    let applied = recorded_outputs(cx);
    if params.creates.as_ref().is_some_and(|path| !in_cwd(params, path).exists()) {
        return Ok(AnyVerdict::Absent(mark));
    }
    let found = match &params.check {
        None if params.creates.is_some() => Map::new(),
        None => match applied {
            // An action leaves nothing to look at but the outputs of its own apply.
            Some(outputs) => return satisfied(params, outputs, mark),
            None => return Ok(AnyVerdict::Absent(mark)),
        },
        Some(check) => {
            let ended = command(cx, params, check, "check").await?;
            match ended.status.code() {
                Some(0) => ended.output,
                Some(1) => return Ok(not_satisfied(&ended.output, mark)),
                Some(_) | None => return Err(Error::Unknown { how: describe(ended.status) }),
            }
        }
    };
    let mut outputs = applied.unwrap_or_default();
    outputs.extend(found);
    satisfied(params, outputs, mark)
}

fn in_cwd(params: &Params, path: &std::path::Path) -> std::path::PathBuf {
    params.cwd.as_ref().map_or_else(|| path.to_owned(), |cwd| cwd.join(path))
}

fn satisfied(
    params: &Params,
    mut outputs: Map<String, Value>,
    mark: Mark<Value>,
) -> Result<AnyVerdict, Error> {
    outputs.retain(|name, _| params.outputs.contains(name));
    if let Some(name) = params.outputs.iter().find(|name| !outputs.contains_key(*name)) {
        return Err(Error::NoOutput { name: name.clone() });
    }
    Ok(AnyVerdict::Satisfied { outputs: Value::Object(outputs), secrets: Secrets::new(), mark })
}

fn not_satisfied(output: &Map<String, Value>, mark: Mark<Value>) -> AnyVerdict {
    if output.get("state").and_then(Value::as_str) == Some("drifted") {
        let diff = output.get("diff").and_then(Value::as_str).unwrap_or("the check says so");
        return AnyVerdict::Drifted { diff: diff.to_owned(), mark };
    }
    AnyVerdict::Absent(mark)
}

async fn apply(cx: &Cx, params: &Params) -> Result<(), Error> {
    let Some(argv) = &params.apply else { return Ok(()) };
    let ended = command(cx, params, argv, "apply").await?;
    success("apply", ended.status)?;
    let outputs: BTreeMap<_, _> = ended.output.into_iter().collect();
    cx.record("outputs", &json!(outputs).to_string()).await?;
    Ok(())
}

fn recorded_outputs(cx: &Cx) -> Option<Map<String, Value>> {
    cx.recorded("outputs").and_then(|text| serde_json::from_str(&text).ok())
}

fn success(what: &'static str, status: ExitStatus) -> Result<(), Error> {
    if status.success() {
        return Ok(());
    }
    Err(Error::Failed { what, how: describe(status), again: status.code() == Some(TRY_AGAIN) })
}

/// How a command ended, and what it wrote to `$FLOW_OUTPUT`.
struct Ended {
    status: ExitStatus,
    output: Map<String, Value>,
}

async fn command(
    cx: &Cx,
    params: &Params,
    argv: &Argv,
    what: &'static str,
) -> Result<Ended, Error> {
    let argv = argv.words(params.sh).ok_or(Error::Argv { what })?;
    let scratch = Scratch::new().map_err(|source| Error::Scratch { source })?;
    let mut env: Vec<(String, OsString)> =
        params.env.iter().map(|(name, value)| (name.clone(), value.into())).collect();
    env.push(("FLOW_OUTPUT".to_owned(), scratch.path().into()));
    env.push(("FLOW_INSTANCE".to_owned(), cx.instance().as_str().into()));
    env.push(("FLOW_SITE".to_owned(), cx.site().into()));
    if let Some(intent) = cx.intent() {
        env.push(("FLOW_INTENT".to_owned(), intent.to_string().into()));
    }
    let call = Call { argv, env, cwd: params.cwd.as_deref(), stdin: params.stdin.as_deref() };
    let mut ended = run(cx, &call, (what == "apply").then_some("child")).await?;
    ended.output = output::read(scratch.path()).map_err(|source| Error::Output { what, source })?;
    Ok(ended)
}

/// Runs a command; `record` names the fact under which its identity becomes durable.
async fn run(cx: &Cx, call: &Call<'_>, record: Option<&str>) -> Result<Ended, Error> {
    let running = Running::start(call)
        .map_err(|source| Error::Spawn { program: call.argv[0].clone(), source })?;
    if let (Some(key), Some(identity)) = (record, running.identity()) {
        cx.record(key, identity.as_str()).await?;
    }
    let status = running
        .finish(cx, call.stdin)
        .await
        .map_err(|source| Error::Spawn { program: call.argv[0].clone(), source })?;
    Ok(Ended { status, output: Map::new() })
}

/// An empty file that only we can read, removed when dropped.
struct Scratch(tempfile::NamedTempFile);

impl Scratch {
    fn new() -> std::io::Result<Self> {
        tempfile::Builder::new().prefix("flow-output-").tempfile().map(Self)
    }

    fn path(&self) -> &std::path::Path {
        self.0.path()
    }
}

#[cfg(test)]
mod tests;
