//! Which instances a command is about: selectors, and the lists that a run prints.

use std::collections::BTreeSet;

use super::definition::Workflow;
use super::error::near;
use crate::event::SelectionArgs;
use crate::id::Instance;
use crate::kind::Effect;
use crate::runner::Selected;

/// Which instances run, and what becomes of the others.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// What a run is told.
    pub selected: Selected,
    /// Those that are neither run nor looked at.
    pub unconsidered: BTreeSet<Instance>,
}

impl Selection {
    /// Whether something that could run does not.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        !self.unconsidered.is_empty()
            || !self.selected.verify.is_empty()
            || !self.selected.skip.is_empty()
    }
}

/// Why nothing can be selected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, miette::Diagnostic)]
pub enum SelectError {
    /// A selector matches nothing.
    #[error("`{selector}` matches nothing in `{workflow}`")]
    #[diagnostic(code("select::no-match"), help("{help}"))]
    NoMatch {
        /// As typed.
        selector: String,
        /// The workflow.
        workflow: String,
        /// What was probably meant.
        help: String,
    },
    /// Only instances match that `when` leaves out.
    #[error("`{selector}` matches only what `when` leaves out")]
    #[diagnostic(
        code("select::left-out"),
        help("change the site or the input that its `when` reads; `flow graph` shows all")
    )]
    LeftOut {
        /// As typed.
        selector: String,
    },
    /// `--force` names what does not run.
    #[error("`{selector}` is forced, but does not run")]
    #[diagnostic(code(select::forced), help("select it as well, or take `--force` away"))]
    NotRunning {
        /// As typed.
        selector: String,
    },
    /// `--force` names an effect that must happen once.
    #[error("`{instance}` must never take effect twice, so it is not forced")]
    #[diagnostic(code(select::once), help("if it must be: `--redo {instance}`"))]
    Once {
        /// The instance.
        instance: String,
    },
    /// `--redo` names what does not run.
    #[error("`{selector}` is to be done again, but does not run")]
    #[diagnostic(code(select::redone), help("select it as well, or take `--redo` away"))]
    NotRedone {
        /// As typed.
        selector: String,
    },
    /// `--redo` names what no stop ever waits for.
    #[error("`{instance}` may be applied at any time, so there is nothing to lift")]
    #[diagnostic(
        code("select::not-once"),
        help(
            "`--redo` is for what must not take effect twice; `--force {instance}` applies the rest"
        )
    )]
    NotOnce {
        /// The instance.
        instance: String,
    },
}

/// Reads the selection as typed.
///
/// Without `--only`, `--until` and `--from`, everything is selected.
///
/// # Errors
///
/// A selector matches nothing that can run.
pub fn select(workflow: &Workflow, args: &SelectionArgs) -> Result<Selection, SelectError> {
    let selector = Selector { workflow };
    let only = selector.all(&args.only)?;
    let until = selector.all(&args.until)?;
    let from = selector.all(&args.from)?;
    let skip = selector.all(&args.skip)?;
    let mut run: BTreeSet<Instance> =
        if args.only.is_empty() && args.until.is_empty() && args.from.is_empty() {
            workflow.ids().collect()
        } else {
            let before = workflow.graph.ancestors(until.iter().map(|id| id.0));
            let after = workflow.graph.descendants(from.iter().map(|id| id.0));
            let around = before.into_iter().chain(after).filter(|v| !workflow.graph.is_barrier(*v));
            around.map(Instance).chain(only).chain(until).chain(from).collect()
        };
    run.retain(|id| !workflow.instance(*id).skipped && !skip.contains(id));
    let needed: BTreeSet<Instance> = run
        .iter()
        .flat_map(|id| workflow.instance(*id).needs.iter().copied())
        .filter(|id| !run.contains(id))
        .collect();
    let (skip, verify): (BTreeSet<_>, BTreeSet<_>) =
        needed.into_iter().partition(|id| skip.contains(id));
    let force = selector.forced(&args.force, &run)?;
    let redo = selector.redone(&args.redo, &run)?;
    let unconsidered = workflow
        .ids()
        .filter(|id| !workflow.instance(*id).skipped)
        .filter(|id| !run.contains(id) && !verify.contains(id) && !skip.contains(id))
        .collect();
    Ok(Selection { selected: Selected { run, verify, skip, force, redo }, unconsidered })
}

/// The instances that selectors match.
///
/// # Errors
///
/// One of them matches nothing that can run.
pub fn matching(
    workflow: &Workflow,
    selectors: &[String],
) -> Result<BTreeSet<Instance>, SelectError> {
    Selector { workflow }.all(selectors)
}

struct Selector<'a> {
    workflow: &'a Workflow,
}

impl Selector<'_> {
    fn all(&self, selectors: &[String]) -> Result<BTreeSet<Instance>, SelectError> {
        let mut all = BTreeSet::new();
        for selector in selectors {
            all.extend(self.one(selector)?);
        }
        Ok(all)
    }

    fn one(&self, selector: &str) -> Result<BTreeSet<Instance>, SelectError> {
        let found: BTreeSet<Instance> =
            self.workflow.ids().filter(|id| self.matches(selector, *id)).collect();
        if found.is_empty() {
            return Err(self.no_match(selector));
        }
        if found.iter().all(|id| self.workflow.instance(*id).skipped) {
            return Err(SelectError::LeftOut { selector: selector.to_owned() });
        }
        Ok(found)
    }

    fn matches(&self, selector: &str, id: Instance) -> bool {
        let task = self.workflow.task_of(id);
        if let Some(pattern) = selector.strip_prefix("layer:") {
            let layer = task.layer.and_then(|at| self.workflow.layers.get(at));
            return layer.is_some_and(|layer| glob(pattern, layer));
        }
        if let Some(pattern) = selector.strip_prefix("tag:") {
            return task.tags.iter().any(|tag| glob(pattern, tag));
        }
        match selector.split_once('/') {
            None => glob(selector, &task.name),
            Some((name, key)) => {
                let own = self.workflow.instance(id).name.key();
                glob(name, &task.name) && own.is_some_and(|own| glob(key, own))
            }
        }
    }

    fn forced(
        &self,
        selectors: &[String],
        run: &BTreeSet<Instance>,
    ) -> Result<BTreeSet<Instance>, SelectError> {
        let mut force = BTreeSet::new();
        for selector in selectors {
            let running = self.running(selector, run)?;
            if running.is_empty() {
                return Err(SelectError::NotRunning { selector: selector.clone() });
            }
            for id in running {
                if self.workflow.task_of(id).effect == Effect::Once {
                    let instance = self.workflow.instance(id).name.to_string();
                    return Err(SelectError::Once { instance });
                }
                force.insert(id);
            }
        }
        Ok(force)
    }

    /// Whose stops are lifted: only what has any, and runs.
    fn redone(
        &self,
        selectors: &[String],
        run: &BTreeSet<Instance>,
    ) -> Result<BTreeSet<Instance>, SelectError> {
        let mut redo = BTreeSet::new();
        for selector in selectors {
            let running = self.running(selector, run)?;
            if running.is_empty() {
                return Err(SelectError::NotRedone { selector: selector.clone() });
            }
            for id in running {
                let task = self.workflow.task_of(id);
                let stops = match task.effect {
                    Effect::Once => true,
                    Effect::Action => task.ask_on_crash,
                    Effect::Converge | Effect::Gate => false,
                };
                if !stops {
                    let instance = self.workflow.instance(id).name.to_string();
                    return Err(SelectError::NotOnce { instance });
                }
                redo.insert(id);
            }
        }
        Ok(redo)
    }

    /// What a selector matches of that which runs.
    fn running(
        &self,
        selector: &str,
        run: &BTreeSet<Instance>,
    ) -> Result<BTreeSet<Instance>, SelectError> {
        Ok(self.one(selector)?.intersection(run).copied().collect())
    }

    fn no_match(&self, selector: &str) -> SelectError {
        let workflow = self.workflow;
        let tasks = || workflow.tasks.iter().map(|task| task.name.as_str());
        let known: Vec<String> = if let Some(pattern) = selector.strip_prefix("layer:") {
            let near = near(pattern, workflow.layers.iter().map(String::as_str));
            near.map_or_else(|| workflow.layers.clone(), |near| vec![near.to_owned()])
                .into_iter()
                .map(|layer| format!("layer:{layer}"))
                .collect()
        } else if let Some(pattern) = selector.strip_prefix("tag:") {
            let all = workflow.tasks.iter().flat_map(|task| &task.tags);
            let tags: BTreeSet<&str> = all.map(String::as_str).collect();
            let near = near(pattern, tags.iter().copied());
            near.map_or_else(|| tags.into_iter().collect(), |near| vec![near])
                .into_iter()
                .map(|tag| format!("tag:{tag}"))
                .collect()
        } else if let Some((name, key)) = selector.split_once('/') {
            let names = workflow.instances.iter().map(|def| &def.name);
            let keys = names.filter(|known| known.task() == name).filter_map(|known| known.key());
            let keys: Vec<&str> = keys.collect();
            match (near(key, keys.iter().copied()), keys.is_empty()) {
                (Some(near), _) => vec![format!("{name}/{near}")],
                (None, false) => keys.into_iter().map(|key| format!("{name}/{key}")).collect(),
                (None, true) => near(name, tasks()).map(str::to_owned).into_iter().collect(),
            }
        } else {
            near(selector, tasks()).map(str::to_owned).into_iter().collect()
        };
        let help = match known.as_slice() {
            [] => "`flow graph` shows all tasks".to_owned(),
            [only] => format!("did you mean `{only}`?"),
            several if several.len() <= 12 => format!("there are {}", several.join(", ")),
            _ => "`flow graph` shows all instances".to_owned(),
        };
        let selector = selector.to_owned();
        SelectError::NoMatch { selector, workflow: workflow.name.clone(), help }
    }
}

/// `*` stands for any characters, `?` for one.
fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on if what follows the last star does not fit.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            Some(_) | None => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("create-vm", "create-vm", true),
            ("create-*", "create-vm", true),
            ("*-vm", "create-vm", true),
            ("*a*b", "xxaxxbxb", true),
            ("worker?", "worker0", true),
            ("worker?", "worker10", false),
            ("", "a", false),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
