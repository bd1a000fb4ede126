//! HCL templates: static references and evaluation.
//!
//! A string with `${…}` is a *leaf* of a [`Template`]. What it reads is known when it is parsed
//! (`reference`); it is evaluated against those values only, so that nothing else can leak in.

pub(crate) mod functions;
pub(crate) mod reference;
pub(crate) mod span;
pub(crate) mod value;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use hcl::edit::expr as edit;
use hcl::edit::visit_mut::{VisitMut, visit_expr_mut};
use hcl::eval::{Context, ErrorKind, Evaluate};
use hcl::template::{Element, Strip};
use serde_json::{Map, Value};

use self::reference::{Found, Reference, Root, Step};

/// A TOML value whose strings may hold `${…}`.
#[derive(Debug, Clone, Default)]
pub struct Template {
    compiled: Arc<Compiled>,
    /// What the references to tasks mean for this instance, in the order of the leaves.
    bound: Arc<[Bound]>,
}

impl Template {
    pub(crate) fn new(compiled: Arc<Compiled>, bound: Vec<Bound>) -> Self {
        Self { compiled, bound: bound.into() }
    }

    /// A value without expressions.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn literal(raw: Value) -> Self {
        let compiled = Compiled::new(None, raw, Vec::new());
        Self { compiled: Arc::new(compiled), bound: Arc::default() }
    }

    /// The value as written.
    #[must_use]
    pub fn raw(&self) -> &Value {
        self.compiled.raw.as_ref().unwrap_or(&self.compiled.base)
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    pub(crate) fn bound(&self) -> &[Bound] {
        &self.bound
    }
}

/// What a reference to a task means for one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bound {
    /// What is read.
    pub(crate) target: Target,
    /// The output or secret, unless everything is read.
    pub(crate) field: Option<Arc<str>>,
    /// A secret is among what is read.
    pub(crate) secret: bool,
}

/// Whom a reference reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// This instance.
    One(u32),
    /// All instances of a `for-each` task, as a table.
    All(Arc<[u32]>),
}

impl Target {
    pub(crate) fn instances(&self) -> &[u32] {
        match self {
            Self::One(instance) => std::slice::from_ref(instance),
            Self::All(instances) => instances,
        }
    }
}

/// A value with its leaves, shared by all instances of a task.
#[derive(Debug, Default)]
pub(crate) struct Compiled {
    /// As written, where that differs from `base`.
    raw: Option<Value>,
    /// Everything but the leaves.
    base: Value,
    leaves: Vec<Leaf>,
    functions: BTreeSet<String>,
}

impl Compiled {
    /// `base` is the value with the escapes of its literal strings undone; `raw`, if that makes a
    /// difference, the value as written.
    pub(crate) fn new(raw: Option<Value>, base: Value, leaves: Vec<Leaf>) -> Self {
        let functions =
            leaves.iter().flat_map(|leaf| leaf.found.functions.iter().cloned()).collect();
        Self { raw, base, leaves, functions }
    }

    /// A table without fields: a `with` that is not there.
    pub(crate) fn nothing() -> Self {
        Self::new(None, Value::Object(Map::new()), Vec::new())
    }

    /// The value without its leaves, which stay as written.
    pub(crate) fn base(&self) -> &Value {
        &self.base
    }

    pub(crate) fn leaves(&self) -> &[Leaf] {
        &self.leaves
    }

    /// The references to tasks, in the order that [`Template::bound`] has.
    pub(crate) fn task_references(&self) -> impl Iterator<Item = (&Leaf, &Reference)> {
        self.leaves.iter().flat_map(|leaf| {
            let references = leaf.found.references.iter();
            references.filter(|found| found.root == Root::Tasks).map(move |found| (leaf, found))
        })
    }

    /// Evaluates every leaf that `wanted` accepts; the others stay as written.
    ///
    /// A leaf that is null is left out of its table, since TOML has no null.
    pub(crate) fn evaluate(
        &self,
        scope: &Scope<'_>,
        mut wanted: impl FnMut(usize, &Leaf) -> bool,
        mut failed: impl FnMut(&Leaf, EvalError),
    ) -> Value {
        let mut value = self.base.clone();
        let leaves = || self.leaves.iter();
        let context = scope.context(leaves(), &self.functions);
        for (at, leaf) in leaves().enumerate() {
            if !wanted(at, leaf) {
                continue;
            }
            match leaf.evaluate(&context) {
                Ok(result) => put(&mut value, &leaf.pointer, result),
                Err(error) => failed(leaf, error),
            }
        }
        value
    }
}

fn put(value: &mut Value, pointer: &str, result: Value) {
    if result.is_null()
        && let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(Value::Object(fields)) = value.pointer_mut(parent)
    {
        fields.remove(&unescaped(key));
        return;
    }
    if let Some(place) = value.pointer_mut(pointer) {
        *place = result;
    }
}

/// A token of a JSON pointer, as it is written.
pub(crate) fn escaped(token: &str) -> String {
    token.replace('~', "~0").replace('/', "~1")
}

fn unescaped(token: &str) -> String {
    token.replace("~1", "/").replace("~0", "~")
}

/// A string with at least one `${…}`.
#[derive(Debug)]
pub(crate) struct Leaf {
    /// Where it stands, as a JSON pointer.
    pub(crate) pointer: String,
    /// What it reads.
    pub(crate) found: Found,
    template: hcl::Template,
    whole: bool,
}

/// A string, parsed.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// It holds no expression; escapes are undone.
    Literal(String),
    /// It does.
    Leaf(Box<Leaf>),
}

/// Why a string could not be parsed.
#[derive(Debug)]
pub(crate) struct ParseError {
    pub(crate) message: String,
    /// Bytes of the text.
    pub(crate) span: Range<usize>,
}

impl Leaf {
    /// Parses the string that stands at a JSON pointer.
    pub(crate) fn parse(text: &str, pointer: String) -> Result<Parsed, ParseError> {
        if !text.contains("${") && !text.contains("%{") {
            return Ok(Parsed::Literal(text.to_owned()));
        }
        let mut edit: hcl::edit::template::Template =
            text.parse().map_err(|error: hcl::edit::parser::Error| parse_error(text, &error))?;
        let known = |name: &str| functions::names().any(|known| known == name);
        let found = reference::find(&edit, &known);
        if !found.files.is_empty() {
            FileCalls.visit_template_mut(&mut edit);
        }
        let template = hcl::Template::from(edit);
        let literals: Option<String> = template
            .elements()
            .iter()
            .map(|element| match element {
                Element::Literal(literal) => Some(literal.as_str()),
                Element::Interpolation(_) | Element::Directive(_) => None,
            })
            .collect();
        if let Some(literal) = literals {
            return Ok(Parsed::Literal(literal));
        }
        let whole = matches!(template.elements(), [Element::Interpolation(_)]);
        Ok(Parsed::Leaf(Box::new(Self { pointer, found, template, whole })))
    }

    /// Whether it is one `${…}` and nothing else, so that it keeps its type.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The one reference that the leaf consists of, if it is nothing else.
    pub(crate) fn plain_reference(&self) -> Option<&Reference> {
        let [Element::Interpolation(interpolation)] = self.template.elements() else {
            return None;
        };
        let is_plain = matches!(
            &interpolation.expr,
            hcl::Expression::Traversal(_) | hcl::Expression::Variable(_)
        );
        self.found.references.first().filter(|_| is_plain)
    }

    /// Whether all that it reads is known at load.
    pub(crate) fn is_static(&self) -> bool {
        self.found.references.iter().all(|reference| match reference.root {
            Root::Site | Root::Inputs | Root::Each => true,
            Root::Tasks | Root::Run | Root::Workflows => false,
        })
    }

    /// Evaluates this leaf alone.
    pub(crate) fn evaluate_in(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        self.evaluate(&scope.context(std::iter::once(self), &self.found.functions))
    }

    fn evaluate(&self, context: &Context<'_>) -> Result<Value, EvalError> {
        if let [Element::Interpolation(interpolation)] = self.template.elements() {
            let result = interpolation.expr.evaluate(context).map_err(|e| EvalError::new(&e))?;
            return Ok(value::to_json(result));
        }
        let mut text = String::new();
        for element in self.template.elements() {
            match element {
                Element::Literal(literal) => text.push_str(literal),
                Element::Interpolation(interpolation) if interpolation.strip == Strip::None => {
                    let result =
                        interpolation.expr.evaluate(context).map_err(|e| EvalError::new(&e))?;
                    push(&mut text, &result)?;
                }
                // White space is stripped across elements: HCL does the whole string.
                Element::Interpolation(_) | Element::Directive(_) => {
                    let result = self.template.evaluate(context);
                    return result.map(Value::String).map_err(|error| EvalError::new(&error));
                }
            }
        }
        Ok(Value::String(text))
    }
}

fn push(text: &mut String, value: &hcl::Value) -> Result<(), EvalError> {
    match value {
        hcl::Value::String(part) => text.push_str(part),
        hcl::Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        hcl::Value::Number(number) => text.push_str(&number.to_string()),
        hcl::Value::Null => {
            return Err(EvalError {
                message: "null cannot stand inside a string".to_owned(),
                help: Some("give it a value by `coalesce(…, \"…\")`".to_owned()),
            });
        }
        hcl::Value::Array(_) | hcl::Value::Object(_) => {
            return Err(EvalError {
                message: format!("{} cannot stand inside a string", value::sort_of(value)),
                help: Some("make it a string by `join` or `jsonencode`".to_owned()),
            });
        }
    }
    Ok(())
}

fn parse_error(text: &str, error: &hcl::edit::parser::Error) -> ParseError {
    let offset = error.location().offset().min(text.len());
    let mut start = offset;
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let end = text[start..].chars().next().map_or(start, |first| start + first.len_utf8());
    ParseError { message: error.message().to_owned(), span: start..end }
}

/// Turns `file(PATH)` into a look into the table of files that were read at load.
struct FileCalls;

/// The variable that holds the files; no expression can name it, since it is no root.
const FILES: &str = "file";

impl VisitMut for FileCalls {
    fn visit_expr_mut(&mut self, expression: &mut edit::Expression) {
        visit_expr_mut(self, expression);
        let edit::Expression::FuncCall(call) = expression else { return };
        if call.name.is_namespaced() || call.name.name.as_str() != FILES || call.args.len() != 1 {
            return;
        }
        let Some(path) = call.args.pop() else { return };
        let variable = edit::Expression::Variable(hcl::edit::Ident::new(FILES).into());
        let index = edit::TraversalOperator::Index(path);
        *expression = edit::Expression::Traversal(Box::new(edit::Traversal::new(
            variable,
            vec![index.into()],
        )));
    }
}

/// Why an expression fails on the values at hand. Never quotes one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvalError {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl EvalError {
    fn new(error: &hcl::eval::Error) -> Self {
        let sort = value::sort_of;
        let message = match error.kind() {
            ErrorKind::Message(message) => message.clone(),
            ErrorKind::UndefinedVar(name) => format!("`{name}` is not known"),
            ErrorKind::UndefinedFunc(name) => format!("there is no function `{name}`"),
            ErrorKind::Unexpected(found, expected) => {
                format!("expected {expected}, found {}", sort(found))
            }
            ErrorKind::Index(index) => format!("the list has no element {index}"),
            ErrorKind::UnaryOp(operator, operand) => {
                format!("`{operator}` does not apply to {}", sort(operand))
            }
            ErrorKind::BinaryOp(left, operator, right) => {
                format!("`{operator}` does not apply to {} and {}", sort(left), sort(right))
            }
            ErrorKind::NoSuchKey(key) => format!("there is no key `{key}`"),
            ErrorKind::KeyExists(_) => "a `for` makes the same key twice".to_owned(),
            ErrorKind::FuncCall(name, message) => format!("`{name}`: {message}"),
            _ => "the expression fails".to_owned(),
        };
        Self { message, help: None }
    }
}

/// The values that expressions can read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    pub(crate) site: Option<&'a Value>,
    pub(crate) inputs: Option<&'a Value>,
    pub(crate) run: Option<&'a Value>,
    pub(crate) workflows: Option<&'a Value>,
    pub(crate) files: Option<&'a Value>,
    /// `{ key, value }`.
    pub(crate) each: Option<&'a Value>,
    /// Only what is referenced.
    pub(crate) tasks: Option<&'a Value>,
}

impl<'a> Scope<'a> {
    fn root(&self, root: Root) -> Option<&'a Value> {
        match root {
            Root::Site => self.site,
            Root::Inputs => self.inputs,
            Root::Tasks => self.tasks,
            Root::Each => self.each,
            Root::Run => self.run,
            Root::Workflows => self.workflows,
        }
    }

    /// A context that holds what these leaves read, and nothing else.
    fn context<'l>(
        &self,
        leaves: impl Iterator<Item = &'l Leaf>,
        functions: &BTreeSet<String>,
    ) -> Context<'static> {
        let mut context = Context::new();
        functions::declare(&mut context, functions.iter());
        let mut pruned: [Option<Value>; Root::ALL.len()] = Default::default();
        let mut files = false;
        for leaf in leaves {
            files |= !leaf.found.files.is_empty();
            for reference in &leaf.found.references {
                if let Some(values) = self.root(reference.root) {
                    let place = &mut pruned[reference.root as usize];
                    let kept = place.get_or_insert_with(|| Value::Object(Map::new()));
                    keep(kept, values, &reference.path);
                }
            }
        }
        for (root, values) in Root::ALL.into_iter().zip(pruned) {
            if let Some(values) = values {
                let name = hcl::Identifier::unchecked(root.name());
                context.declare_var(name, value::to_hcl(&values));
            }
        }
        if files && let Some(files) = self.files {
            context.declare_var(hcl::Identifier::unchecked(FILES), value::to_hcl(files));
        }
        context
    }

    /// The value at a static path; `None` where there is none.
    pub(crate) fn at(&self, reference: &Reference) -> Option<&'a Value> {
        reference.path.iter().try_fold(self.root(reference.root)?, |value, step| match step {
            Step::Name(name) | Step::Key(name) => value.get(name),
            Step::Index(_) | Step::Open => Some(value),
        })
    }

    /// How many steps of a path lead somewhere.
    pub(crate) fn reach(&self, reference: &Reference) -> usize {
        let Some(mut value) = self.root(reference.root) else { return 0 };
        for (at, step) in reference.path.iter().enumerate() {
            match step {
                Step::Name(name) | Step::Key(name) => match value.get(name) {
                    Some(next) => value = next,
                    None => return at,
                },
                Step::Index(_) | Step::Open => return reference.path.len(),
            }
        }
        reference.path.len()
    }

    /// Evaluates the index of a reference to a task, which stands in this leaf.
    pub(crate) fn key(&self, leaf: &Leaf, index: &hcl::Expression) -> Result<String, EvalError> {
        let context = self.context(std::iter::once(leaf), &BTreeSet::new());
        let key = index.evaluate(&context).map_err(|error| EvalError::new(&error))?;
        let sort = value::sort_of(&key);
        let hcl::Value::String(key) = key else {
            return Err(EvalError {
                message: format!("a key is a string, not {sort}"),
                help: None,
            });
        };
        Ok(key)
    }
}

/// Copies what a path leads to, and the way to it.
fn keep(kept: &mut Value, values: &Value, path: &[Step]) {
    let mut kept = kept;
    let mut values = values;
    for step in path {
        let (Step::Name(name) | Step::Key(name)) = step else { break };
        let Some(next) = values.get(name) else { return };
        if !kept.is_object() {
            return;
        }
        kept = &mut kept[name.as_str()];
        if kept.is_null() {
            *kept = if next.is_object() { Value::Object(Map::new()) } else { next.clone() };
        }
        values = next;
    }
    *kept = values.clone();
}

#[cfg(test)]
mod tests;
