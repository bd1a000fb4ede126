//! What an expression reads, found without evaluating it.

use std::collections::BTreeSet;
use std::ops::Range;

use hcl::edit::Span as _;
use hcl::edit::expr::{Expression, ForExpr, FuncCall, ObjectKey, Traversal, TraversalOperator};
use hcl::edit::template::{Directive, Element, Template};

/// The first part of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Root {
    /// The site file.
    Site,
    /// The workflow's inputs.
    Inputs,
    /// What other instances produced.
    Tasks,
    /// The key and value of this instance.
    Each,
    /// The run.
    Run,
    /// What other workflows of the site put out.
    Workflows,
}

impl Root {
    pub(crate) const ALL: [Self; 6] =
        [Self::Site, Self::Inputs, Self::Tasks, Self::Each, Self::Run, Self::Workflows];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Inputs => "inputs",
            Self::Tasks => "tasks",
            Self::Each => "each",
            Self::Run => "run",
            Self::Workflows => "workflows",
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|root| root.name() == name)
    }
}

/// One step of a reference after its root.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// `.name`.
    Name(String),
    /// `["key"]`.
    Key(String),
    /// `[…]` that reads only what is known at load.
    Index(Box<hcl::Expression>),
    /// Anything that is known only by evaluating: a splat, a number, what a task produced.
    Open,
}

/// A path from a root, as far as it can be read without evaluating.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    /// Where it starts.
    pub(crate) root: Root,
    /// The steps, up to the first [`Step::Open`].
    pub(crate) path: Vec<Step>,
    /// Where each step is written, as bytes of the text.
    pub(crate) steps: Vec<Range<usize>>,
    /// Where all of it is written, as bytes of the text.
    pub(crate) span: Range<usize>,
    /// It stands where evaluation may never come: in a branch of a conditional.
    pub(crate) guarded: bool,
    /// It is an argument or a collection, so a whole table makes sense.
    pub(crate) collected: bool,
}

/// A name that means nothing.
#[derive(Debug, Clone)]
pub(crate) struct Unknown {
    /// The name.
    pub(crate) name: String,
    /// Where it is written, as bytes of the text.
    pub(crate) span: Range<usize>,
    /// Whether it is called as a function.
    pub(crate) function: bool,
}

/// Everything that a template reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Found {
    pub(crate) references: Vec<Reference>,
    pub(crate) unknown: Vec<Unknown>,
    /// Names of attributes that are asked for anywhere.
    pub(crate) mentions: BTreeSet<String>,
    /// Names of functions that are called.
    pub(crate) functions: BTreeSet<String>,
    /// The paths that `file` is called with.
    pub(crate) files: Vec<(hcl::Expression, Range<usize>)>,
}

/// Looks through a template. `known` says whether a function exists.
pub(crate) fn find(template: &Template, known: &dyn Fn(&str) -> bool) -> Found {
    let mut finder =
        Finder { found: Found::default(), known, locals: Vec::new(), guards: 0, collected: false };
    finder.template(template);
    finder.found
}

struct Finder<'a> {
    found: Found,
    known: &'a dyn Fn(&str) -> bool,
    locals: Vec<String>,
    guards: u32,
    collected: bool,
}

/// The parser bounds how deep expressions nest, so recursion is safe here.
impl Finder<'_> {
    fn template(&mut self, template: &Template) {
        for element in template {
            match element {
                Element::Literal(_) => {}
                Element::Interpolation(interpolation) => self.expression(&interpolation.expr),
                Element::Directive(directive) => self.directive(directive),
            }
        }
    }

    fn directive(&mut self, directive: &Directive) {
        match directive {
            Directive::If(directive) => {
                self.expression(&directive.if_expr.cond_expr);
                self.guards += 1;
                self.template(&directive.if_expr.template);
                if let Some(otherwise) = &directive.else_expr {
                    self.template(&otherwise.template);
                }
                self.guards -= 1;
            }
            Directive::For(directive) => {
                let intro = &directive.for_expr;
                self.collection(&intro.collection_expr);
                let before = self.locals.len();
                self.locals.extend(intro.key_var.iter().map(ToString::to_string));
                self.locals.push(intro.value_var.to_string());
                self.template(&intro.template);
                self.locals.truncate(before);
            }
        }
    }

    fn collection(&mut self, expression: &Expression) {
        let before = std::mem::replace(&mut self.collected, true);
        self.expression(expression);
        self.collected = before;
    }

    fn expression(&mut self, expression: &Expression) {
        match expression {
            Expression::Null(_)
            | Expression::Bool(_)
            | Expression::Number(_)
            | Expression::String(_) => {}
            Expression::Array(items) => items.iter().for_each(|item| self.expression(item)),
            Expression::Object(fields) => {
                for (key, value) in fields {
                    if let ObjectKey::Expression(key) = key {
                        self.expression(key);
                    }
                    self.expression(value.expr());
                }
            }
            Expression::StringTemplate(template) => {
                self.template(&Template::from(template.clone()));
            }
            Expression::HeredocTemplate(heredoc) => self.template(&heredoc.template),
            Expression::Parenthesis(inner) => self.expression(inner.inner()),
            Expression::Variable(name) => {
                self.reference(name.as_str(), name.span(), expression.span(), &[]);
            }
            Expression::Conditional(conditional) => {
                self.expression(&conditional.cond_expr);
                self.guards += 1;
                self.expression(&conditional.true_expr);
                self.expression(&conditional.false_expr);
                self.guards -= 1;
            }
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::UnaryOp(operation) => self.expression(&operation.expr),
            Expression::BinaryOp(operation) => {
                self.expression(&operation.lhs_expr);
                self.expression(&operation.rhs_expr);
            }
            Expression::ForExpr(each) => self.for_each(each),
        }
    }

    fn for_each(&mut self, each: &ForExpr) {
        self.collection(&each.intro.collection_expr);
        let before = self.locals.len();
        self.locals.extend(each.intro.key_var.iter().map(ToString::to_string));
        self.locals.push(each.intro.value_var.to_string());
        let guarded = u32::from(each.cond.is_some());
        if let Some(condition) = &each.cond {
            self.expression(&condition.expr);
        }
        self.guards += guarded;
        if let Some(key) = &each.key_expr {
            self.expression(key);
        }
        self.expression(&each.value_expr);
        self.guards -= guarded;
        self.locals.truncate(before);
    }

    fn call(&mut self, call: &FuncCall) {
        let name = call.name.name.as_str();
        if call.name.is_namespaced() || !(self.known)(name) {
            self.found.unknown.push(Unknown {
                name: name.to_owned(),
                span: call.name.name.span().unwrap_or_default(),
                function: true,
            });
        }
        self.found.functions.insert(name.to_owned());
        if name == "file"
            && let Some(path) = call.args.get(0)
        {
            let span = call.span().unwrap_or_default();
            self.found.files.push((hcl::Expression::from(path.clone()), span));
        }
        for argument in &call.args {
            self.collection(argument);
        }
    }

    fn traversal(&mut self, traversal: &Traversal) {
        for operator in &traversal.operators {
            match operator.value() {
                TraversalOperator::GetAttr(name) => {
                    self.found.mentions.insert(name.to_string());
                }
                TraversalOperator::Index(Expression::String(key)) => {
                    self.found.mentions.insert(key.value().clone());
                }
                TraversalOperator::AttrSplat(_)
                | TraversalOperator::FullSplat(_)
                | TraversalOperator::Index(_)
                | TraversalOperator::LegacyIndex(_) => {}
            }
        }
        let Expression::Variable(name) = &traversal.expr else {
            self.expression(&traversal.expr);
            self.indices(traversal);
            return;
        };
        self.reference(name.as_str(), name.span(), traversal.span(), &traversal.operators);
        self.indices(traversal);
    }

    /// What stands in the brackets is read as well.
    fn indices(&mut self, traversal: &Traversal) {
        let before = std::mem::replace(&mut self.collected, false);
        for operator in &traversal.operators {
            if let TraversalOperator::Index(index) = operator.value() {
                self.expression(index);
            }
        }
        self.collected = before;
    }

    fn reference(
        &mut self,
        name: &str,
        name_span: Option<Range<usize>>,
        span: Option<Range<usize>>,
        operators: &[hcl::edit::Decorated<TraversalOperator>],
    ) {
        if self.locals.iter().any(|local| local == name) {
            return;
        }
        let Some(root) = Root::of(name) else {
            self.found.unknown.push(Unknown {
                name: name.to_owned(),
                span: name_span.unwrap_or_default(),
                function: false,
            });
            return;
        };
        let start = name_span.unwrap_or_default();
        let mut end = start.end;
        let (mut path, mut steps) = (Vec::new(), Vec::new());
        for operator in operators {
            let step = self.step(operator.value());
            let open = matches!(step, Step::Open);
            let place = operator.span().unwrap_or(end..end);
            end = if open { end } else { place.end };
            steps.push(place);
            path.push(step);
            if open {
                break;
            }
        }
        let span = if path.is_empty() { span.unwrap_or(start) } else { start.start..end };
        self.found.references.push(Reference {
            root,
            path,
            steps,
            span,
            guarded: self.guards > 0,
            collected: self.collected,
        });
    }

    fn step(&self, operator: &TraversalOperator) -> Step {
        match operator {
            TraversalOperator::GetAttr(name) => Step::Name(name.to_string()),
            TraversalOperator::Index(Expression::String(key)) => Step::Key(key.value().clone()),
            TraversalOperator::Index(index) if self.is_static(index) => {
                Step::Index(Box::new(hcl::Expression::from(index.clone())))
            }
            TraversalOperator::Index(_)
            | TraversalOperator::AttrSplat(_)
            | TraversalOperator::FullSplat(_)
            | TraversalOperator::LegacyIndex(_) => Step::Open,
        }
    }

    /// Whether an index can be evaluated at load, and is not a number.
    fn is_static(&self, index: &Expression) -> bool {
        if matches!(index, Expression::Number(_)) {
            return false;
        }
        let mut inner = Finder {
            found: Found::default(),
            known: self.known,
            locals: Vec::new(),
            guards: 0,
            collected: false,
        };
        inner.expression(index);
        inner.found.unknown.is_empty()
            && inner.found.functions.is_empty()
            && inner.found.references.iter().all(|reference| match reference.root {
                Root::Site | Root::Inputs | Root::Each => true,
                Root::Tasks | Root::Run | Root::Workflows => false,
            })
    }
}
