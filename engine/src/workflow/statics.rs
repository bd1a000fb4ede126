//! What is known at load: evaluating everything outside of `with` and `[outputs]`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::definition::Roots;
use super::error::{File, Finding, Findings, Span, suggest};
use super::source::{Content, Node, Sources};
use crate::expr::reference::{Reference, Root, Step};
use crate::expr::{Compiled, EvalError, Leaf, Parsed, Scope, escaped, functions, span::in_source};

/// The values and files that static expressions read.
pub(crate) struct Statics<'a> {
    pub(crate) roots: &'a Roots,
    pub(crate) files: &'a [File],
    pub(crate) sources: &'a dyn Sources,
    /// What `file` has read, by path.
    read: RefCell<BTreeMap<String, Result<Arc<str>, String>>>,
}

/// A value with its leaves, and where each of them is written.
pub(crate) struct Written {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) places: Vec<Span>,
}

impl<'a> Statics<'a> {
    pub(crate) fn new(roots: &'a Roots, files: &'a [File], sources: &'a dyn Sources) -> Self {
        Self { roots, files, sources, read: RefCell::default() }
    }

    /// The scope of static expressions.
    pub(crate) fn scope(&self, each: Option<&'a Value>) -> Scope<'a> {
        Scope {
            site: Some(&self.roots.site),
            inputs: Some(&self.roots.inputs),
            run: None,
            workflows: None,
            files: None,
            each,
            tasks: None,
        }
    }

    /// Where a part of a string is written.
    pub(crate) fn inside(&self, string: Span, part: &Range<usize>) -> Span {
        let Some(file) = self.files.get(string.file as usize) else { return string };
        let Some(written) = file.text.get(string.start as usize..string.end as usize) else {
            return string;
        };
        let range = in_source(written, part);
        let start = string.start + u32::try_from(range.start).unwrap_or(0);
        let end = string.start + u32::try_from(range.end).unwrap_or(0);
        Span { file: string.file, start, end }
    }

    /// Parses all strings of a value.
    pub(crate) fn compile(&self, node: &Node, findings: &mut Findings) -> Written {
        let mut compiler = Compiler {
            statics: self,
            leaves: Vec::new(),
            places: Vec::new(),
            escapes: false,
            findings,
        };
        let base = compiler.value(node, String::new());
        let Compiler { leaves, places, escapes, .. } = compiler;
        let raw = escapes.then(|| node.to_json());
        Written { compiled: Arc::new(Compiled::new(raw, base, leaves)), places }
    }

    fn unknown_names(&self, place: Span, leaf: &Leaf, findings: &mut Findings) {
        for unknown in &leaf.found.unknown {
            let span = self.inside(place, &unknown.span);
            let name = &unknown.name;
            findings.push(if unknown.function {
                let mut known: Vec<&str> = functions::names().collect();
                known.sort_unstable();
                Finding::new(
                    "workflow::unknown-function",
                    format!("there is no function `{name}`"),
                    span,
                    "no function has this name",
                )
                .maybe_help(suggest(name, known, "functions"))
            } else {
                let roots = Root::ALL.map(Root::name);
                let near = super::error::near(name, roots);
                let help = near.map_or_else(
                    || {
                        format!(
                            "an expression starts with {}; for a literal `${{{name}}}` write \
                             `$${{{name}}}`",
                            roots.join(", ")
                        )
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                Finding::new(
                    "workflow::unknown-reference",
                    format!("`{name}` is not known"),
                    span,
                    "nothing has this name",
                )
                .help(help)
            });
        }
    }

    /// Evaluates a value that must be known at load. `None`: it has findings.
    pub(crate) fn value(
        &self,
        node: &Node,
        each: Option<&Value>,
        findings: &mut Findings,
    ) -> Option<Value> {
        match &node.content {
            Content::Integer(_) | Content::Float(_) | Content::Bool(_) => {
                return Some(node.to_json());
            }
            Content::Text(text) if !text.contains("${") && !text.contains("%{") => {
                return Some(Value::String(text.clone()));
            }
            Content::Text(_) | Content::List(_) | Content::Table(_) => {}
        }
        let before = findings.len();
        let written = self.compile(node, findings);
        for (leaf, place) in written.compiled.leaves().iter().zip(&written.places) {
            self.only_static(leaf, *place, each.is_some(), findings);
        }
        if findings.len() > before {
            return None;
        }
        let value = self.evaluate(&written, each, &mut |_, _| true, findings);
        (findings.len() == before).then_some(value)
    }

    /// The name of the secret input that a reference reads.
    pub(crate) fn secret_input<'r>(&self, reference: &'r Reference) -> Option<&'r str> {
        secret_input(self.roots, reference)
    }

    fn only_static(&self, leaf: &Leaf, place: Span, each: bool, findings: &mut Findings) {
        for reference in &leaf.found.references {
            let span = self.inside(place, &reference.span);
            let name = reference.root.name();
            match reference.root {
                Root::Inputs if self.secret_input(reference).is_some() => findings.push(
                    Finding::new(
                        "workflow::not-static",
                        "a secret input cannot be read here",
                        span,
                        "secret",
                    )
                    .help("only `with` and `[outputs]` read it"),
                ),
                Root::Site | Root::Inputs => {}
                Root::Each if each => {}
                Root::Each => findings.push(each_outside(span)),
                Root::Tasks | Root::Run | Root::Workflows => findings.push(
                    Finding::new(
                        "workflow::not-static",
                        format!("`{name}` cannot be read here"),
                        span,
                        "known only while the workflow runs",
                    )
                    .help(
                        "only `with` and `[outputs]` read it; elsewhere expressions read `site`, \
                         `inputs` and `each`, so that the whole graph is known at load",
                    ),
                ),
            }
        }
    }

    /// Evaluates the leaves that are `wanted`, with their files; failures become findings.
    pub(crate) fn evaluate(
        &self,
        written: &Written,
        each: Option<&Value>,
        wanted: &mut dyn FnMut(usize, &Leaf) -> bool,
        findings: &mut Findings,
    ) -> Value {
        let mut files = Map::new();
        for (at, leaf) in written.compiled.leaves().iter().enumerate() {
            if !leaf.found.files.is_empty() && wanted(at, leaf) {
                files.extend(self.read_files(leaf, written.places[at], each, findings));
            }
        }
        let files = Value::Object(files);
        let scope = Scope { files: Some(&files), each, ..self.scope(None) };
        let mut failures = Vec::new();
        let value = written.compiled.evaluate(&scope, wanted, |leaf, error| {
            let at = written.compiled.leaves().iter().position(|other| std::ptr::eq(other, leaf));
            failures.push((at.unwrap_or(0), error));
        });
        for (at, error) in failures {
            let leaf = &written.compiled.leaves()[at];
            findings.push(self.failed(leaf, written.places[at], &scope, &error));
        }
        value
    }

    /// Reads what the leaf's calls of `file` name.
    pub(crate) fn read_files(
        &self,
        leaf: &Leaf,
        place: Span,
        each: Option<&Value>,
        findings: &mut Findings,
    ) -> Map<String, Value> {
        let mut files = Map::new();
        let reader = self.files.get(place.file as usize).map_or("", |file| file.name.as_str());
        for (path, part) in &leaf.found.files {
            let span = self.inside(place, part);
            let scope = Scope { each, ..self.scope(None) };
            let path = match scope.key(leaf, path) {
                Ok(path) => path,
                Err(error) => {
                    findings.push(
                        Finding::new(
                            "workflow::file",
                            "the path of `file` is not known at load",
                            span,
                            error.message,
                        )
                        .help("a path is made of literals, `site`, `inputs` and `each`"),
                    );
                    continue;
                }
            };
            let mut read = self.read.borrow_mut();
            let known = format!("{}\0{path}", place.file);
            let text = read.entry(known).or_insert_with(|| {
                self.sources.file(&path, reader).map(|text| Arc::from(text.as_str()))
            });
            match text {
                Ok(text) => {
                    files.insert(path, Value::from(&**text));
                }
                Err(words) => findings.push(
                    Finding::new(
                        "workflow::file",
                        format!("the file `{path}` cannot be read"),
                        span,
                        words.clone(),
                    )
                    .help("a path is relative to the file that names it"),
                ),
            }
        }
        files
    }

    /// A failed evaluation: if something is not there, that, else the words of the evaluator.
    pub(crate) fn failed(
        &self,
        leaf: &Leaf,
        place: Span,
        scope: &Scope<'_>,
        error: &EvalError,
    ) -> Finding {
        for reference in &leaf.found.references {
            if let Some(finding) = self.missing(reference, place, scope) {
                return finding;
            }
        }
        let span = self.inside(place, &whole(leaf));
        Finding::new("workflow::expression", error.message.clone(), span, "fails")
            .maybe_help(error.help.clone())
    }

    /// A reference to what the site, the inputs or the table of `for-each` do not have.
    pub(crate) fn missing(
        &self,
        reference: &Reference,
        place: Span,
        scope: &Scope<'_>,
    ) -> Option<Finding> {
        let is_known = match reference.root {
            Root::Site => scope.site.is_some(),
            Root::Inputs => scope.inputs.is_some(),
            Root::Each => scope.each.is_some(),
            Root::Tasks | Root::Run | Root::Workflows => false,
        };
        let reach = scope.reach(reference);
        if !is_known || reach >= reference.path.len() {
            return None;
        }
        let (Step::Name(name) | Step::Key(name)) = &reference.path[reach] else { return None };
        let mut parent = reference.clone();
        parent.path.truncate(reach);
        let way = path_text(&parent);
        let holder = scope.at(&parent)?;
        let span = self.inside(place, &reference.steps[reach]);
        let finding = Finding::new(
            "workflow::unknown-reference",
            format!("`{way}` has no `{name}`"),
            trim_dot(span, self.files),
            "not there",
        );
        let help = match holder {
            Value::Object(fields) => {
                let keys: Vec<&str> = fields.keys().map(String::as_str).collect();
                if keys.is_empty() && reference.root == Root::Site && reach == 0 {
                    Some("no site is in use: choose one by `--site`".to_owned())
                } else if keys.is_empty() {
                    Some(format!("`{way}` is empty"))
                } else {
                    suggest(name, keys, &format!("`{way}` has"))
                }
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Some(format!("`{way}` is {}", crate::expr::value::sort(holder))),
        };
        Some(finding.maybe_help(help))
    }
}

/// The name of the secret input that a reference reads.
pub(crate) fn secret_input<'r>(roots: &Roots, reference: &'r Reference) -> Option<&'r str> {
    let (Root::Inputs, Some(Step::Name(name) | Step::Key(name))) =
        (reference.root, reference.path.first())
    else {
        return None;
    };
    roots.secret_inputs.contains_key(name).then_some(name.as_str())
}

/// Parses the strings of one value.
struct Compiler<'a, 'f> {
    statics: &'a Statics<'a>,
    leaves: Vec<Leaf>,
    places: Vec<Span>,
    /// A literal is written otherwise than it is meant.
    escapes: bool,
    findings: &'f mut Findings,
}

impl Compiler<'_, '_> {
    /// The value that stands at a JSON pointer, without its leaves.
    fn value(&mut self, node: &Node, pointer: String) -> Value {
        match &node.content {
            Content::Text(text) => Value::String(self.text(text, node.span, pointer)),
            Content::List(items) => {
                let items = items.iter().enumerate();
                items.map(|(at, item)| self.value(item, format!("{pointer}/{at}"))).collect()
            }
            Content::Table(table) => {
                let fields = table.entries.iter().map(|entry| {
                    let pointer = format!("{pointer}/{}", escaped(&entry.key));
                    (entry.key.clone(), self.value(&entry.value, pointer))
                });
                Value::Object(fields.collect())
            }
            Content::Integer(_) | Content::Float(_) | Content::Bool(_) => node.to_json(),
        }
    }

    fn text(&mut self, text: &str, place: Span, pointer: String) -> String {
        match Leaf::parse(text, pointer) {
            Ok(Parsed::Literal(literal)) => {
                self.escapes |= literal != text;
                return literal;
            }
            Ok(Parsed::Leaf(leaf)) => {
                self.statics.unknown_names(place, &leaf, self.findings);
                self.leaves.push(*leaf);
                self.places.push(place);
            }
            Err(error) => self.findings.push(
                Finding::new(
                    "workflow::expression",
                    "the expression cannot be read",
                    self.statics.inside(place, &error.span),
                    error.message,
                )
                .help("`${…}` holds an expression; `$${` and `%%{` stand for `${` and `%{`"),
            ),
        }
        text.to_owned()
    }
}

/// The operator's dot is not part of the name.
fn trim_dot(span: Span, files: &[File]) -> Span {
    let text = files.get(span.file as usize).map_or("", |file| &file.text);
    match text.as_bytes().get(span.start as usize) {
        Some(b'.') if span.end > span.start + 1 => Span { start: span.start + 1, ..span },
        _ => span,
    }
}

/// The bytes of a leaf from its first to its last reference.
fn whole(leaf: &Leaf) -> Range<usize> {
    let references = &leaf.found.references;
    let start = references.iter().map(|reference| reference.span.start).min();
    let end = references.iter().map(|reference| reference.span.end).max();
    start.zip(end).map_or(0..usize::MAX, |(start, end)| start..end)
}

/// A reference as it is written, as far as it is static.
pub(crate) fn path_text(reference: &Reference) -> String {
    let mut text = reference.root.name().to_owned();
    for step in &reference.path {
        match step {
            Step::Name(name) => {
                text.push('.');
                text.push_str(name);
            }
            Step::Key(key) => {
                text.push_str("[\"");
                text.push_str(key);
                text.push_str("\"]");
            }
            Step::Index(_) | Step::Open => text.push_str("[…]"),
        }
    }
    text
}

pub(crate) fn each_outside(span: Span) -> Finding {
    Finding::new(
        "workflow::unknown-reference",
        "`each` is not known here",
        span,
        "this task has no `for-each`",
    )
    .help("`each.key` and `each.value` exist in a task with `for-each` only")
}
