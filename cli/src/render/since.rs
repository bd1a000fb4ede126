//! What is different since something ran last: in the file, and in the ledger beside it.

use std::collections::BTreeSet;

use flow_engine::ledger::Ledger;
use flow_engine::workflow::Workflow;
use flow_state::OpenIntent;
use toml::Table;

/// What a run is told before it begins.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Since {
    /// Tasks that are declared otherwise than they were.
    pub(crate) changed: Vec<String>,
    /// Tasks that were not there.
    pub(crate) new: Vec<String>,
    /// Tasks that are there no more.
    pub(crate) gone: Vec<String>,
}

impl Since {
    /// Compares the tasks of two files; `None` where one of them is more than one document.
    pub(crate) fn between(before: &str, now: &str) -> Option<Self> {
        let tasks = |text: &str| {
            let mut table: Table = text.parse().ok()?;
            table.remove("tasks").map_or_else(|| Some(Table::new()), |tasks| tasks.try_into().ok())
        };
        let (before, now): (Table, Table) = (tasks(before)?, tasks(now)?);
        let names = |table: &Table| table.keys().cloned().collect::<BTreeSet<_>>();
        let (old, new) = (names(&before), names(&now));
        Some(Self {
            changed: (&old & &new).into_iter().filter(|name| before[name] != now[name]).collect(),
            new: (&new - &old).into_iter().collect(),
            gone: (&old - &new).into_iter().collect(),
        })
    }

    /// The lines, one for each sort of difference.
    pub(crate) fn lines(&self) -> Vec<String> {
        let sorts = [("changed", &self.changed), ("new", &self.new), ("gone", &self.gone)];
        let told = sorts.into_iter().filter(|(_, names)| !names.is_empty());
        told.map(|(word, names)| format!("{word:<10} {}", names.join(", "))).collect()
    }
}

/// What the ledger holds beside the workflow, in lines: it is told, and left alone.
pub(crate) fn apart(workflow: &Workflow, ledger: &Ledger, intents: Vec<OpenIntent>) -> Vec<String> {
    let known: BTreeSet<_> = workflow.instances.iter().map(|def| &def.name).collect();
    let orphans =
        ledger.rows().filter(|(name, row)| row.success.is_some() && !known.contains(name));
    let orphans: Vec<&str> = orphans.map(|(name, _)| name.as_str()).collect();
    let mut lines = Vec::new();
    if !orphans.is_empty() {
        lines.push(format!("left alone {}: no longer in the file", orphans.join(", ")));
    }
    for OpenIntent { workflow: of, name, open: _ } in intents {
        if of != workflow.name {
            lines.push(format!("in doubt   {name} of {of}: asked for, the end is not known"));
        } else if !known.contains(&name) {
            lines.push(format!("in doubt   {name}, no longer in the file: the end is not known"));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_compared_by_name() {
        let before =
            "[tasks.a]\nuses = \"shell\"\n[tasks.b]\nuses = \"shell\"\n[tasks.c]\nuses = \"x\"";
        let now = "[tasks.b]\nuses='shell'\n[tasks.c]\nuses = \"y\"\n[tasks.d]\nuses = \"x\"\n";
        let since = Since::between(before, now).unwrap();
        assert_eq!(since.lines(), ["changed    c", "new        d", "gone       a"]);
        assert!(Since::between(before, before).unwrap().lines().is_empty());
        assert_eq!(Since::between("[tasks.a]\n[tasks.a]\n", now), None);
    }
}
