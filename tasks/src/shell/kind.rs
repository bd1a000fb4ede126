//! The kind `shell`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::ExitStatus;

use async_trait::async_trait;
use flow_engine::{
    AnyKind, AnyVerdict, Cx, Effect, Failure, Manual, Mark, OnDrift, Presence, Retry, Secrets,
    Settle,
};
use schemars::Schema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::child::{Call, Identity, Running, describe};
use super::error::Error;
use super::output;
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
        probe(cx, &params, handle).await.map_err(|error| error.into_failure(cx))
    }

    async fn apply(&self, cx: &Cx, params: &Value) -> Result<(), Failure> {
        let params = read(params)?;
        apply(cx, &params).await.map_err(|error| error.into_failure(cx))
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
        let ended = run(cx, &call, None).await.map_err(|error| error.into_failure(cx))?;
        success("destroy", ended.status).map_err(|error| error.into_failure(cx))
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
    outputs: Map<String, Value>,
    mark: Mark<Value>,
) -> Result<AnyVerdict, Error> {
    let outputs = declared(params, outputs);
    all_written(params, &outputs, if params.check.is_some() { "check" } else { "task" })?;
    Ok(AnyVerdict::Satisfied { outputs: Value::Object(outputs), secrets: Secrets::new(), mark })
}

/// What the task declares; the rest may be anything that its command happened to print.
fn declared(params: &Params, mut outputs: Map<String, Value>) -> Map<String, Value> {
    outputs.retain(|name, _| params.outputs.contains(name));
    outputs
}

fn all_written(
    params: &Params,
    outputs: &Map<String, Value>,
    what: &'static str,
) -> Result<(), Error> {
    let names = params.outputs.iter().filter(|name| !outputs.contains_key(*name));
    let names: Vec<String> = names.cloned().collect();
    if names.is_empty() { Ok(()) } else { Err(Error::NoOutput { what, names }) }
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
    let outputs = declared(params, ended.output);
    if let Some((name, _)) = outputs.iter().find(|(_, value)| cx.holds_secret(&value.to_string())) {
        return Err(Error::SecretOutput { name: name.clone() });
    }
    match &params.check {
        None => all_written(params, &outputs, "apply")?,
        Some(check) => check_writes_the_rest(cx, params, check, &outputs).await?,
    }
    let outputs: BTreeMap<_, _> = outputs.into_iter().collect();
    cx.record("outputs", &json!(outputs).to_string()).await?;
    Ok(())
}

/// A check that says yes and forgets an output would be asked until settling is over.
async fn check_writes_the_rest(
    cx: &Cx,
    params: &Params,
    check: &Argv,
    applied: &Map<String, Value>,
) -> Result<(), Error> {
    if params.outputs.iter().all(|name| applied.contains_key(name)) {
        return Ok(());
    }
    match command(cx, params, check, "check").await {
        Ok(looked) if looked.status.success() => {
            let mut outputs = applied.clone();
            outputs.extend(looked.output);
            all_written(params, &outputs, "check")
        }
        // Whatever else it says, settling goes on with it.
        Ok(_) | Err(_) => Ok(()),
    }
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
    // What an earlier command has printed is not this one's.
    drop(cx.take_last_lines(0));
    let running = Running::start(call).map_err(|source| not_started(call, source))?;
    if let (Some(key), Some(identity)) = (record, running.identity()) {
        cx.record(key, identity.as_str()).await?;
    }
    let status = running
        .finish(cx, call.stdin)
        .await
        .map_err(|source| Error::Spawn { program: call.argv[0].clone(), source })?;
    Ok(Ended { status, output: Map::new() })
}

/// Why a command did not start: the system says the same of its folder and of its program.
fn not_started(call: &Call<'_>, source: std::io::Error) -> Error {
    match call.cwd {
        Some(folder) if !folder.is_dir() => Error::Cwd { folder: folder.to_owned(), source },
        Some(_) | None => Error::Spawn { program: call.argv[0].clone(), source },
    }
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
