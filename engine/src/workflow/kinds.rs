//! The kinds that a workflow uses, each with its schemas, which are costly to make.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::schema;
use crate::expr::Compiled;
use crate::registry::{AnyKind, Registry};

/// A kind with its schemas.
pub(crate) struct Used {
    pub(crate) kind: Arc<dyn AnyKind>,
    /// The schema of `with`.
    pub(crate) params: Value,
    /// The schema of its secrets.
    pub(crate) secrets: Value,
    /// The names of its parameters.
    pub(crate) parameters: Vec<String>,
}

/// All kinds, their schemas made once.
pub(crate) struct Kinds<'a> {
    registry: &'a Registry,
    used: BTreeMap<String, Rc<Used>>,
}

impl<'a> Kinds<'a> {
    pub(crate) fn new(registry: &'a Registry) -> Self {
        Self { registry, used: BTreeMap::new() }
    }

    pub(crate) fn get(&mut self, name: &str) -> Option<Rc<Used>> {
        if let Some(used) = self.used.get(name) {
            return Some(Rc::clone(used));
        }
        let kind = Arc::clone(self.registry.kind(name)?);
        let params = kind.params_schema().to_value();
        let secrets = kind.secrets_schema().to_value();
        let parameters = schema::properties(&params).into_iter().collect();
        let used = Rc::new(Used { kind, params, secrets, parameters });
        self.used.insert(name.to_owned(), Rc::clone(&used));
        Some(used)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.registry.kinds().map(|kind| kind.name()).collect()
    }
}

/// What a task produces.
pub(crate) struct Produces {
    kind: Rc<Used>,
    literals: Literals,
    outputs: OnceCell<Value>,
}

/// The parameters as far as they are the same for all instances.
pub(crate) enum Literals {
    /// As they are written.
    Written(Arc<Compiled>),
    /// With what site and inputs say.
    Evaluated(Value),
}

impl Literals {
    pub(crate) fn value(&self) -> &Value {
        match self {
            Self::Written(compiled) => compiled.base(),
            Self::Evaluated(value) => value,
        }
    }
}

impl Produces {
    pub(crate) fn new(kind: Rc<Used>, literals: Literals) -> Self {
        Self { kind, literals, outputs: OnceCell::new() }
    }

    /// The schema of the outputs, made when somebody reads one.
    pub(crate) fn outputs(&self) -> &Value {
        self.outputs.get_or_init(|| self.kind.kind.outputs_schema(self.literals.value()).to_value())
    }

    /// The schema of the secrets.
    pub(crate) fn secrets(&self) -> &Value {
        &self.kind.secrets
    }

    /// The names of all outputs and secrets.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names = schema::properties(self.outputs());
        names.extend(schema::properties(self.secrets()));
        names.into_iter().collect()
    }
}
