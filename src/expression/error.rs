//! Why an expression that compiles has no value for some user.
//!
//! Says the expression, the place and the types. It never says a value: values belong to people.

use std::ops::Range;

/// An expression failed for a user. The definition is wrong, or the database holds what it does not expect; trying again
/// does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("could not evaluate `{expression}`: {kind}")]
pub struct EvalError {
    /// What was written.
    pub expression: String,
    /// The bytes of it at fault.
    pub range: Range<usize>,
    /// What went wrong.
    #[source]
    pub kind: EvalErrorKind,
}

/// What went wrong while an expression was evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalErrorKind {
    /// The query does not return such a column.
    #[error("the query returns no column `{column}`{}", hint(nearest.as_deref()))]
    UnknownColumn {
        /// As written: `plan`, `billing.amount`.
        column: String,
        /// A column that it might have meant.
        nearest: Option<String>,
    },
    /// `event.…` outside a lifecycle rule with a query.
    #[error("`event` is only known to a lifecycle rule that has a query")]
    NoEventRow,
    /// Two values that do not go together.
    #[error("`{operator}` does not take {left} and {right}")]
    Mismatch {
        /// The operator.
        operator: &'static str,
        /// The type on its left.
        left: &'static str,
        /// The type on its right.
        right: &'static str,
    },
    /// A tool was given what it cannot take.
    #[error("`{tool}` {reason}")]
    Tool {
        /// The tool.
        tool: &'static str,
        /// Why not.
        reason: &'static str,
    },
    /// A result that Crisp cannot keep, or a number beyond 28 digits.
    #[error("{0}")]
    Unfit(&'static str),
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| {
        format!("\nhint: did you mean `{name}`?")
    })
}

/// A failure inside an expression whose source is known further up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) range: Range<usize>,
    pub(super) kind: EvalErrorKind,
}

impl Failure {
    pub(super) fn of(self, source: &str) -> EvalError {
        EvalError {
            expression: source.to_owned(),
            range: self.range,
            kind: self.kind,
        }
    }
}
