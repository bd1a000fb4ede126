//! The way from files to a checked workflow.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::bind::{self, Binder, Plan};
use super::build::Build;
use super::definition::{Roots, Workflow};
use super::draft::{Draft, Drafts, draft};
use super::error::{Diagnostics, File, Finding, Findings, suggest};
use super::inputs::{self, Given};
use super::kinds::Kinds;
use super::needs::{self, Edges};
use super::parameters::Parameters;
use super::source::{self, Sources};
use super::statics::{Statics, each_outside};
use super::syntax::{self, Sections};
use super::{cycle, names, pools, task, units};
use crate::expr::reference::Root;
use crate::expr::{Bound, Template};
use crate::graph::Graph;
use crate::registry::Registry;
use crate::secret::Secrets;

/// Reads a workflow and everything that it includes, and checks all of it.
///
/// # Errors
///
/// Everything that is wrong with it, in one report.
///
/// # Panics
///
/// Never: what cannot be built has an error.
pub fn load(
    sources: &dyn Sources,
    entry: &str,
    given: &Given,
    registry: &Registry,
) -> Result<Workflow, Diagnostics> {
    let mut findings = Findings::default();
    let mut files = Vec::new();
    let sections = read(sources, entry, &mut files, &mut findings)?;
    let mut roots = Roots {
        site: table(&given.site),
        inputs: Value::Object(Map::new()),
        run: table(&given.run),
        workflows: table(&given.workflows),
        files: Value::Object(Map::new()),
        secret_inputs: Secrets::new(),
    };
    let (inputs, secret_inputs) = {
        let statics = Statics::new(&roots, &files, sources);
        inputs::resolve(&sections.inputs, given, &statics, &mut findings)
    };
    roots.inputs = inputs;
    roots.secret_inputs = secret_inputs;
    let loaded = {
        let statics = Statics::new(&roots, &files, sources);
        let mut loader = Loader { statics: &statics, sections: &sections, findings: &mut findings };
        loader.head(entry);
        loader.workflow(entry, registry)
    };
    if !findings.is_empty() {
        return Err(findings.into_diagnostics(&files));
    }
    let mut workflow = loaded.expect("a workflow without findings is complete");
    roots.files = std::mem::take(&mut workflow.roots.files);
    workflow.roots = roots;
    workflow.text = joined(&files);
    Ok(workflow)
}

fn table(value: &Value) -> Value {
    if value.is_object() { value.clone() } else { Value::Object(Map::new()) }
}

fn joined(files: &[File]) -> String {
    match files {
        [only] => only.text.to_string(),
        several => several
            .iter()
            .map(|file| format!("# file: {}\n{}", file.name, file.text))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}

/// Reads the entry and what it includes, each once.
fn read(
    sources: &dyn Sources,
    entry: &str,
    files: &mut Vec<File>,
    findings: &mut Findings,
) -> Result<Sections, Diagnostics> {
    let mut sections = Sections::default();
    let source = sources.workflow(entry, None).map_err(|words| {
        Diagnostics::without_place(
            "workflow::unreadable",
            format!("the workflow `{entry}` cannot be read: {words}"),
            Some("`flow run NAME` takes the name of a shipped workflow or a path".to_owned()),
        )
    })?;
    files.push(File { name: source.name, text: source.text.into() });
    let mut at = 0;
    while at < files.len() {
        let number = u32::try_from(at).unwrap_or(u32::MAX);
        let file = files[at].clone();
        let table = source::parse(&file, number, findings);
        for include in syntax::sections(table, at == 0, &mut sections, findings) {
            match sources.workflow(&include.value, Some(&file.name)) {
                Ok(source) if files.iter().any(|known| known.name == source.name) => {
                    findings.push(
                        Finding::new(
                            "workflow::include",
                            format!("`{}` is included twice, or includes itself", include.value),
                            include.span,
                            "already read",
                        )
                        .help("each file is included once, by one other file"),
                    );
                }
                Ok(source) => files.push(File { name: source.name, text: source.text.into() }),
                Err(words) => findings.push(
                    Finding::new(
                        "workflow::include",
                        format!("`{}` cannot be read", include.value),
                        include.span,
                        words,
                    )
                    .help("a path is relative to the file that includes it"),
                ),
            }
        }
        at += 1;
    }
    for (entries, what) in [
        (&sections.inputs, "input"),
        (&sections.pools, "pool"),
        (&sections.tasks, "task"),
        (&sections.outputs, "output"),
    ] {
        syntax::duplicates(entries, what, findings);
    }
    Ok(sections)
}

struct Loader<'a, 'f> {
    statics: &'a Statics<'a>,
    sections: &'a Sections,
    findings: &'f mut Findings,
}

/// What references of a task mean: once for all instances, and for each of them.
struct Bindings {
    plans: Vec<Vec<Option<Plan>>>,
    /// By provisional number; `None` if something has a finding.
    bound: Vec<Option<Vec<Bound>>>,
}

impl<'a> Loader<'a, '_> {
    fn head(&mut self, entry: &str) {
        let head = &self.sections.head;
        if let Some(name) = &head.name
            && !units::is_name(&name.value)
        {
            self.findings.push(names::bad_name("a workflow", &name.value, name.span));
        }
        for layer in &head.layers {
            if !units::is_name(&layer.value) {
                self.findings.push(names::bad_name("a layer", &layer.value, layer.span));
            }
        }
        if self.sections.tasks.is_empty() && self.findings.is_empty() {
            self.findings.push(
                Finding::nowhere("workflow::empty", format!("`{entry}` has no tasks"))
                    .help("a task begins with [tasks.NAME]"),
            );
        }
        self.requires();
    }

    fn requires(&mut self) {
        let Some(requires) = &self.sections.head.requires else { return };
        let own = env!("CARGO_PKG_VERSION");
        match semver::VersionReq::parse(&requires.value) {
            Ok(wanted) => {
                let version = semver::Version::parse(own).expect("cargo checks the version");
                if !wanted.matches(&version) {
                    self.findings.push(
                        Finding::new(
                            "workflow::requires",
                            format!("the workflow requires flow {}", requires.value),
                            requires.span,
                            format!("this is flow {own}"),
                        )
                        .help("take another release of flow, or of the workflow"),
                    );
                }
            }
            Err(error) => self.findings.push(
                Finding::new(
                    "workflow::type",
                    "`requires` is not a range of versions",
                    requires.span,
                    error.to_string(),
                )
                .help("as in Cargo: \">= 0.1\", \"0.1\", \">= 0.1, < 0.3\""),
            ),
        }
    }

    fn workflow(&mut self, entry: &str, registry: &Registry) -> Option<Workflow> {
        let drafts = self.drafts(registry);
        let mut edges = Edges::default();
        let hosts = needs::read(&drafts, self.statics, &mut edges, self.findings);
        let bindings = self.bind(&drafts, &mut edges);
        let pools = pools::resolve(&self.sections.pools, &drafts, self.statics, self.findings);
        let mut files = Map::new();
        for (draft, plans) in drafts.list.iter().zip(&bindings.plans) {
            let statics = self.statics;
            let reads = &self.sections.head.reads;
            let mut parameters = Parameters { drafts: &drafts, statics, draft, plans, reads };
            parameters.check(&bindings.bound, &mut files, self.findings);
        }
        let outputs = self.outputs(&drafts, &mut files);
        let vertices = drafts.count() as usize;
        let numbered = match Graph::new(vertices, edges.barriers.len(), &edges.list) {
            Ok(numbered) => numbered,
            Err(cycles) => {
                for found in cycles {
                    self.findings.push(cycle::finding(&found, &drafts, &edges));
                }
                return None;
            }
        };
        self.size(&numbered.graph);
        if !self.findings.is_empty() {
            return None;
        }
        let bound = bindings.bound;
        let build = Build { drafts: &drafts, numbered: &numbered, hosts, bound, pools };
        let mut workflow = build.workflow(&self.sections.head, entry);
        workflow.outputs = outputs
            .into_iter()
            .map(|(name, compiled, bound)| (name, Template::new(compiled, build.renumber(bound))))
            .collect();
        workflow.roots.files = Value::Object(files);
        Some(workflow)
    }

    /// Each instance lists what it needs, so barriers must not multiply into more than fits.
    fn size(&mut self, graph: &Graph) {
        const MOST: usize = 50_000_000;

        let barriers = (graph.instances()..).take(graph.len() - graph.instances() as usize);
        let pairs =
            barriers.map(|b| graph.parents(b).len().saturating_mul(graph.children(b).len()));
        if pairs.fold(0, usize::saturating_add) > MOST {
            self.findings.push(
                Finding::nowhere(
                    "workflow::too-large",
                    format!("more than {MOST} needs between instances"),
                )
                .help("put a task of one instance between two that have very many"),
            );
        }
    }

    fn drafts(&mut self, registry: &Registry) -> Drafts<'a> {
        let layers = self.sections.head.layers.clone();
        let mut list = Vec::new();
        let mut by_name = BTreeMap::new();
        let mut kinds = Kinds::new(registry);
        let mut first = 0_u32;
        for entry in &self.sections.tasks {
            let Some(syntax) = task::read(entry, &mut kinds, self.statics, self.findings) else {
                continue;
            };
            let draft = draft(syntax, &layers, first, self.statics, self.findings);
            first = first.saturating_add(draft.count());
            by_name.entry(draft.syntax.name).or_insert(list.len());
            list.push(draft);
        }
        for draft in &list {
            self.names_of(draft, &by_name);
        }
        let sections = self.sections;
        let spans = |entries: &'a [source::Entry]| {
            entries.iter().map(|entry| (entry.key.as_str(), entry.key_span))
        };
        names::confusable(spans(&sections.tasks), "task", self.findings);
        names::confusable(spans(&sections.inputs), "input", self.findings);
        Drafts { list, by_name, layers }
    }

    /// The names that a task has for itself and for others outside of the graph.
    fn names_of(&mut self, draft: &Draft<'a>, by_name: &BTreeMap<&'a str, usize>) {
        for was in &draft.syntax.was {
            let Some(before) = by_name.get(was.value.split('/').next().unwrap_or_default()) else {
                continue;
            };
            if !was.value.contains('/') || *before != by_name[draft.syntax.name] {
                self.findings.push(
                    Finding::new(
                        "workflow::was",
                        format!("`{}` was not renamed: it is still there", was.value),
                        was.span,
                        "a task has this name",
                    )
                    .help("`was` names what a task was called before; take it out"),
                );
            }
        }
        for capture in &draft.syntax.capture {
            let task = capture.value.split('/').next().unwrap_or_default();
            let is_pattern = task.contains(['*', '?', ':']);
            if !is_pattern && !by_name.contains_key(task) {
                let names: Vec<&str> = by_name.keys().copied().collect();
                self.findings.push(
                    Finding::new(
                        "workflow::unknown-task",
                        format!("there is no task `{task}`"),
                        capture.span,
                        "no task has this name",
                    )
                    .maybe_help(suggest(task, names, "tasks")),
                );
            }
        }
    }

    fn bind(&mut self, drafts: &Drafts<'a>, edges: &mut Edges) -> Bindings {
        let mut bindings = Bindings {
            plans: Vec::with_capacity(drafts.list.len()),
            bound: Vec::with_capacity(drafts.count() as usize),
        };
        for draft in &drafts.list {
            let Some(written) = &draft.with else {
                bindings.plans.push(Vec::new());
                bindings.bound.extend(draft.instances().map(|_| Some(Vec::new())));
                continue;
            };
            let plans = bind::plan(drafts, self.statics, written, self.findings);
            bind::layers(drafts, draft, &plans, self.findings);
            let binder = Binder { drafts, statics: self.statics, draft: Some(draft), written };
            for at in 0..draft.skipped.len() {
                let mut own = Findings::default();
                bindings.bound.push(binder.bind(&plans, at, edges, &mut own));
                if draft.skipped[at] {
                    self.findings.append_left_out(own);
                } else {
                    self.findings.append(own);
                }
            }
            bindings.plans.push(plans);
        }
        bindings
    }

    fn outputs(
        &mut self,
        drafts: &Drafts<'a>,
        files: &mut Map<String, Value>,
    ) -> Vec<(String, std::sync::Arc<crate::expr::Compiled>, Vec<Bound>)> {
        let mut outputs = Vec::new();
        for entry in &self.sections.outputs {
            if !units::is_name(&entry.key) {
                self.findings.push(names::bad_name("an output", &entry.key, entry.key_span));
            }
            let written = self.statics.compile(&entry.value, self.findings);
            for (leaf, place) in written.compiled.leaves().iter().zip(&written.places) {
                for reference in &leaf.found.references {
                    let span = self.statics.inside(*place, &reference.span);
                    if reference.root == Root::Each {
                        self.findings.push(each_outside(span));
                    } else if !reference.guarded {
                        let scope = self.statics.scope(None);
                        let missing = self.statics.missing(reference, *place, &scope);
                        if let Some(finding) = missing {
                            self.findings.push(finding);
                        }
                    }
                }
                files.extend(self.statics.read_files(leaf, *place, None, self.findings));
            }
            let plans = bind::plan(drafts, self.statics, &written, self.findings);
            let binder = Binder { drafts, statics: self.statics, draft: None, written: &written };
            let bound = binder.bind(&plans, 0, &mut Edges::default(), self.findings);
            outputs.push((entry.key.clone(), written.compiled.clone(), bound.unwrap_or_default()));
        }
        outputs
    }
}
