//! The language of a definition: templates (`plan-{{ plan }}`) and expressions (`status == 'trialing'`).
//!
//! The syntax is the expression part of Jinja, which people know; the semantics are those of a database row, which no
//! template engine has: NULL is absent and never smaller than a number, `49.50` stays exact, a boolean prints as `true`,
//! a moment compares with a moment, and two values of different types are an error and not silently unequal. There are no
//! loops, no statements and no assignments, so every expression ends. An error names the expression and the types, never a
//! value: values belong to people.
//!
//! - A *template* is text with `{{ … }}` placeholders. A template that is one placeholder keeps the type of its value.
//! - A *tool* is a function of the language. `days_until(trial_ends_at)` and `trial_ends_at | days_until` are the same call.
//! - *Text from the database is escaped for Markdown* wherever it enters a data value ([`markdown`]); the tool `link` is the
//!   only way to a link.

mod error;
mod evaluate;
mod fault;
pub mod limits;
pub mod markdown;
mod node;
mod number;
mod parse;
mod scope;
mod template;
mod token;
mod tools;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use crate::record::Value;

pub use error::{EvalError, EvalErrorKind};
pub use fault::{DefinitionFault, ExpressionFault, nearest};
pub use scope::Scope;
pub use template::Template;

use evaluate::evaluate;
use node::Node;

/// Value maps by name: `[maps.plan] price_1NxYz = "pro"`.
pub type Maps = BTreeMap<String, BTreeMap<String, String>>;

/// Compiles templates and expressions. A clone is cheap.
#[derive(Debug, Clone, Default)]
pub struct Language {
    maps: Arc<Maps>,
}

impl Language {
    /// The language with these value maps.
    pub fn new(maps: Maps) -> Self {
        Self {
            maps: Arc::new(maps),
        }
    }

    /// Compiles text with `{{ … }}` placeholders.
    pub fn template(&self, source: &str) -> Result<Template, ExpressionFault> {
        Template::compile(source, &self.maps)
    }

    /// Compiles a bare expression.
    pub fn expression(&self, source: &str) -> Result<Expression, ExpressionFault> {
        let node = parse::parse(source, 0..source.len(), &self.maps)?;
        Ok(Expression {
            source: Arc::from(source),
            node,
            maps: Arc::clone(&self.maps),
        })
    }
}

/// A compiled expression.
#[derive(Debug, Clone)]
pub struct Expression {
    source: Arc<str>,
    node: Node,
    maps: Arc<Maps>,
}

impl Expression {
    /// Whether the expression holds: NULL, `false`, `0` and the empty text do not.
    pub fn truth(&self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        evaluate(&self.node, scope, &self.maps)
            .map(|datum| datum.is_true())
            .map_err(|error| error.of(&self.source))
    }

    /// The value, typed as the database typed it.
    pub fn value(&self, scope: &Scope<'_>) -> Result<Value, EvalError> {
        evaluate(&self.node, scope, &self.maps)
            .map(evaluate::Datum::into_value)
            .map_err(|error| error.of(&self.source))
    }

    /// The columns it reads: `plan`, and `billing.amount` for a further look-up or an event row.
    pub fn columns(&self) -> BTreeSet<String> {
        self.node.columns()
    }

    /// What was written.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// What it is, maps and all: another text means that another value may come of the same row.
    pub fn meaning(&self) -> Cow<'_, str> {
        let names = self.node.maps();
        if names.is_empty() {
            return Cow::Borrowed(&self.source);
        }
        let mut code = Sha256::new();
        for name in &names {
            code.update(format!("{name:?} {:?}", self.maps.get(name)));
        }
        let code = hex::encode(&code.finalize()[..8]);
        Cow::Owned(format!("{} [{code}]", self.source))
    }
}

#[cfg(test)]
mod tests;
