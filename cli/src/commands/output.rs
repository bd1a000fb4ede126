//! `flow output`: the outputs of a workflow, from what is recorded.

use std::io::{IsTerminal, Write};
use std::path::Path;

use flow_engine::event::Origin;
use flow_engine::ledger::Ledger;
use flow_engine::workflow::{Resolved, Unresolved, Workflow};
use flow_engine::{Effect, Instance};
use flow_state::{Reader, SiteDir, WorkflowVault};
use serde_json::{Value, json};

use super::past::{Past, name_of};
use super::recorded::{self, Recorded};
use crate::abort::Abort;
use crate::args::{Global, Output};
use crate::execution;
use crate::exit::Exit;
use crate::render::names::folded;
use crate::render::output::{self as lines, Known};
use crate::site::{self, SiteAt};
use crate::terminal::{Terminal, stream};

/// Prints one output, a field of it, or the list of all.
///
/// # Errors
///
/// There is none of this name, it is not known yet, or it is a secret that may not be shown so.
pub(crate) fn output(terminal: Terminal, global: &Global, args: &Output) -> Result<Exit, Abort> {
    let past = Past::find(global, args.workflow.as_deref())?;
    let name = args.workflow.as_deref().map(name_of).transpose()?;
    let run = past.run(None, name.as_deref())?;
    let workflow = past.workflow(&run, args.workflow.as_deref())?;
    let ledger = past.reader()?.ledger(&run.workflow).map_err(execution::state)?;
    let vault = execution::vault(&past.dir, &past.site).of(&run.workflow);
    let outputs = Outputs { workflow: &workflow, ledger: &ledger, vault, flag: past.site.flag() };
    match &args.name {
        Some(name) => one(terminal, &outputs, args, name),
        None if args.to.is_some() || args.reveal => {
            let message = "`--to` and `--reveal` are for one output";
            Err(Abort::words(Exit::Usage, "output::name", message, "flow output NAME --to FILE"))
        }
        None => all(terminal, &outputs),
    }
}

/// Where outputs come from.
struct Outputs<'a> {
    workflow: &'a Workflow,
    ledger: &'a Ledger,
    vault: WorkflowVault,
    flag: String,
}

/// An output, or what it waits for.
enum Looked {
    Known(Resolved),
    Until(String),
}

impl Outputs<'_> {
    fn look(&self, name: &str) -> Result<Looked, Abort> {
        let reads = self.workflow.output_reads(name);
        let values = Recorded::for_reads(self.workflow, self.ledger, &self.vault, &reads)
            .map_err(|failure| recorded::abort(Exit::State, failure))?;
        match self.workflow.resolve_output(name, &values) {
            Some(Ok(resolved)) => Ok(Looked::Known(resolved)),
            Some(Err(Unresolved::Unknown(instance))) => {
                Ok(Looked::Until(self.workflow.instance(instance).name.to_string()))
            }
            Some(Err(Unresolved::Failed(failure))) => {
                Err(recorded::abort(Exit::InvalidFile, failure))
            }
            None => Err(self.unknown(name)),
        }
    }

    /// What is known of each; no secret is in it.
    fn known(&self) -> Result<Vec<(String, Known)>, Abort> {
        let known = |name: &String| {
            let known = match self.look(name)? {
                Looked::Known(resolved) if resolved.secret.is_empty() => {
                    Known::Value(resolved.params)
                }
                Looked::Known(_) => Known::Secret,
                Looked::Until(instance) => Known::Until(instance),
            };
            Ok((name.clone(), known))
        };
        self.workflow.outputs.keys().map(known).collect()
    }

    fn unknown(&self, name: &str) -> Abort {
        let names: Vec<_> = self.workflow.outputs.keys().map(String::as_str).collect();
        let message = format!("the workflow `{}` has no output `{name}`", self.workflow.name);
        let help = match names.as_slice() {
            [] => "write `[outputs]` in the workflow's file".to_owned(),
            names => format!("it has: {}", names.join(", ")),
        };
        Abort::words(Exit::Usage, "output::unknown", message, help)
    }
}

/// What a run has led to, by label: the outputs, what is protected, what is not ours. Whatever
/// cannot be read now is left out: the run has ended well all the same.
pub(super) fn facts(site: &SiteAt, workflow: &Workflow) -> Vec<(String, String)> {
    let dir = SiteDir::new(&site::root(), &site.site.name);
    let ledger = Reader::open(&dir).ok().flatten();
    let ledger = ledger.and_then(|reader| reader.ledger(&workflow.name).ok()).unwrap_or_default();
    let vault = execution::vault(&dir, site).of(&workflow.name);
    let outputs = Outputs { workflow, ledger: &ledger, vault, flag: site.flag() };
    let known = outputs.known().unwrap_or_default();
    let short = |(name, known): (String, Known)| (name.clone(), lines::in_short(&name, &known));
    let mut facts: Vec<_> = known.into_iter().map(short).collect();
    let named = |wanted: &dyn Fn(Instance) -> bool| {
        let names = workflow.ids().filter(|id| wanted(*id));
        let names: Vec<_> = names.map(|id| workflow.instance(id).name.as_str()).collect();
        folded(names).join(", ")
    };
    let success = |id: Instance| ledger.row(&workflow.instance(id).name)?.success.as_ref();
    let protected = named(&|id| workflow.task_of(id).protected && success(id).is_some());
    let found = named(&|id| {
        let lasts = matches!(workflow.task_of(id).effect, Effect::Converge | Effect::Once);
        lasts && success(id).is_some_and(|recorded| recorded.said.origin == Origin::Found)
    });
    for (label, names) in [("protected", protected), ("not ours", found)] {
        if !names.is_empty() {
            facts.push((label.to_owned(), names));
        }
    }
    facts
}

fn all(terminal: Terminal, outputs: &Outputs<'_>) -> Result<Exit, Abort> {
    let listed = outputs.known()?;
    if !terminal.json {
        for line in lines::list(&listed) {
            terminal.data(line);
        }
        return Ok(Exit::Ok);
    }
    for (name, known) in &listed {
        let mut object = json!({ "flow": stream::VERSION, "type": "output", "name": name });
        match known {
            Known::Value(value) => object["value"] = value.clone(),
            Known::Secret => object["secret"] = json!(true),
            Known::Until(instance) => object["until"] = json!(instance),
        }
        terminal.object(&object);
    }
    Ok(Exit::Ok)
}

fn one(
    terminal: Terminal,
    outputs: &Outputs<'_>,
    args: &Output,
    asked: &str,
) -> Result<Exit, Abort> {
    // Names of outputs hold no dots; what follows the first one leads into the value.
    let (name, path) =
        asked.split_once('.').map_or((asked, None), |(name, path)| (name, Some(path)));
    let resolved = match outputs.look(name)? {
        Looked::Known(resolved) => resolved,
        Looked::Until(instance) => {
            let message = format!("`{name}` is not known until {instance} has succeeded");
            let help = format!("flow run --until {instance}{}", outputs.flag);
            return Err(Abort::words(Exit::NeedsHuman, "output::not-yet", message, help));
        }
    };
    let pointer = path.map_or_else(String::new, |path| {
        path.split('.').fold(String::new(), |pointer, part| pointer + "/" + &escaped(part))
    });
    let value =
        resolved.params.pointer(&pointer).ok_or_else(|| no_field(asked, &resolved.params))?;
    let is_secret = resolved.secret.iter().any(|secret| overlaps(secret, &pointer));
    let object = terminal.json.then(
        || json!({ "flow": stream::VERSION, "type": "output", "name": asked, "value": value }),
    );
    let data = object.as_ref().map_or_else(|| lines::raw(value), |object| format!("{object}\n"));
    if let Some(file) = &args.to {
        write(file, &data)?;
        terminal.say(format!("{} holds {asked}, readable by you only", file.display()));
        return Ok(Exit::Ok);
    }
    if is_secret && !(args.reveal && std::io::stdout().is_terminal()) {
        return Err(hidden(asked, args.reveal));
    }
    match object {
        Some(object) => terminal.object(&object),
        None => terminal.raw(data.as_bytes()),
    }
    Ok(Exit::Ok)
}

fn escaped(part: &str) -> String {
    part.replace('~', "~0").replace('/', "~1")
}

/// Whether one of two places in a value holds the other.
fn overlaps(one: &str, other: &str) -> bool {
    let holds = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    holds(one, other) || holds(other, one)
}

fn no_field(asked: &str, value: &Value) -> Abort {
    let fields: Vec<_> = value.as_object().into_iter().flat_map(|fields| fields.keys()).collect();
    let help = if fields.is_empty() {
        "it is no table".to_owned()
    } else {
        let names: Vec<_> = fields.into_iter().map(String::as_str).collect();
        format!("it has: {}", names.join(", "))
    };
    Abort::words(Exit::Usage, "output::unknown", format!("there is no `{asked}`"), help)
}

fn hidden(asked: &str, revealed: bool) -> Abort {
    let message = if revealed {
        format!("`{asked}` is a secret, and this is no terminal")
    } else {
        format!("`{asked}` is a secret")
    };
    let help = format!(
        "`flow output {asked} --reveal` shows it on a terminal, `--to FILE` writes it to a file \
         that only you can read"
    );
    Abort::words(Exit::NeedsHuman, "output::secret", message, help)
}

/// Writes a file as a whole, readable by its owner only from its first byte on.
fn write(path: &Path, data: &str) -> Result<(), Abort> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(folder).and_then(|mut file| {
        file.write_all(data.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path).map(drop).map_err(|error| error.error)
    });
    let message = || format!("{} cannot be written", path.display());
    written.map_err(|error| Abort::io(Exit::Failed, message(), error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_covers_what_is_in_it_and_what_it_is_in() {
        assert!(overlaps("", "/a") && overlaps("/a", "") && overlaps("/a/b", "/a"));
        assert!(!overlaps("/a", "/ab") && !overlaps("/a", "/b"));
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "old and longer").unwrap();
        write(&path, "new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert_eq!(write(Path::new("/nowhere/at/all"), "").unwrap_err().exit, Exit::Failed);
    }
}
