//! Why a rule says nothing about a user.

use crate::expression::EvalError;

/// A rule failed for one user. Trying again does not help: the definition or the row has to change.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RuleError {
    /// An expression of a rule has no value.
    #[error("could not evaluate `{part}` of event `{event}`")]
    Evaluate {
        /// The rule.
        event: String,
        /// The part of it.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<EvalError>,
    },
    /// One of `require`, `exclude` and `after` has no value.
    #[error("could not evaluate `lifecycle.{part}`")]
    Guard {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        source: Box<EvalError>,
    },
    /// `at` has to be an instant where a query or an `id` tells occurrences apart, and is never a list or a boolean.
    #[error(
        "`at` of event `{event}` is {found}\nhint: take a column that says when it happened; with neither `query` nor `id`, a unique id will do"
    )]
    NotAnInstant {
        /// The rule.
        event: String,
        /// What it is.
        found: &'static str,
    },
    /// `id` is NULL or empty.
    #[error("`id` of event `{event}` is empty\nhint: take a column that is never empty")]
    NoId {
        /// The rule.
        event: String,
    },
}

impl RuleError {
    /// `event`: the rule whose own guard it is.
    pub(super) fn guard(event: Option<&str>, part: &'static str, source: EvalError) -> Self {
        let source = Box::new(source);
        match event {
            None => Self::Guard { part, source },
            Some(event) => Self::Evaluate {
                event: event.to_owned(),
                part,
                source,
            },
        }
    }

    /// The rule that failed; `None` for a guard, which all rules share.
    pub fn event(&self) -> Option<&str> {
        match self {
            Self::Evaluate { event, .. }
            | Self::NotAnInstant { event, .. }
            | Self::NoId { event } => Some(event),
            Self::Guard { .. } => None,
        }
    }
}
