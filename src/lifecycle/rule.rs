//! One rule: an event, what makes an occurrence of it, and what is asked before one goes out.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};

use super::{Brake, Color, gate::Gate, period::later};
use crate::expression::{Expression, Template};

/// One compiled rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its place in the file.
    pub(super) rank: usize,
    pub(super) name: String,
    pub(super) former: Option<String>,
    pub(super) moment: Moment,
    pub(super) has_query: bool,
    pub(super) when: Option<Expression>,
    pub(super) group: Option<String>,
    pub(super) color: Color,
    pub(super) data: Vec<(String, Template)>,
    pub(super) max_age: SignedDuration,
    pub(super) delay: SignedDuration,
    pub(super) min_gap: Option<SignedDuration>,
    pub(super) gate: Gate,
    pub(super) brake: Brake,
    pub(super) subject: Option<Template>,
}

/// What makes an occurrence.
#[derive(Debug, Clone)]
pub(super) enum Moment {
    /// A value: an instant, or an id.
    At {
        at: Expression,
        id: Option<Expression>,
    },
    /// A value that changes.
    OnChange {
        value: Expression,
        /// Since when the one that is seen first is what it is.
        first: Option<Expression>,
    },
}

impl Rule {
    /// The name: the event's text in Crisp.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name it had.
    pub fn renamed_from(&self) -> Option<&str> {
        self.former.as_deref()
    }

    /// Its name and the one it had.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.former.as_deref())
    }

    /// Its group.
    pub fn group(&self) -> Option<&str> {
        self.group.as_deref()
    }

    /// The age beyond which an occurrence is never sent.
    pub const fn max_age(&self) -> SignedDuration {
        self.max_age
    }

    /// How much later than it happened an occurrence is sent.
    pub const fn delay(&self) -> SignedDuration {
        self.delay
    }

    /// How many of it may go within an hour.
    pub const fn brake(&self) -> Brake {
        self.brake
    }

    /// How long after it happened an occurrence may still be sent.
    pub fn window(&self) -> SignedDuration {
        self.delay
            .checked_add(self.max_age)
            .unwrap_or(SignedDuration::MAX)
    }

    /// The last moment at which an occurrence may be sent.
    pub fn sent_until(&self, happened_at: Timestamp) -> Timestamp {
        later(happened_at, self.window())
    }

    /// The least time between two of it to one address.
    pub const fn min_gap(&self) -> Option<SignedDuration> {
        self.min_gap
    }

    /// Whether its occurrences are the rows of a query of its own.
    pub const fn has_query(&self) -> bool {
        self.has_query
    }

    /// Whether an id of the app's tells its occurrences apart.
    pub(super) const fn has_id(&self) -> bool {
        matches!(self.moment, Moment::At { id: Some(_), .. })
    }

    /// The columns that it reads.
    pub(super) fn columns(&self) -> BTreeSet<String> {
        let mut expressions: Vec<&Expression> = self.when.iter().collect();
        expressions.extend(self.gate.expressions());
        match &self.moment {
            Moment::At { at, id } => {
                expressions.push(at);
                expressions.extend(id);
            }
            Moment::OnChange { value, first } => {
                expressions.push(value);
                expressions.extend(first);
            }
        }
        expressions
            .into_iter()
            .flat_map(Expression::columns)
            .chain(
                self.data
                    .iter()
                    .map(|(_, template)| template)
                    .chain(&self.subject)
                    .flat_map(Template::columns),
            )
            .collect()
    }
}
