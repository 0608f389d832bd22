//! What happened to a user, as the app's database tells it.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;

use super::{
    Edge, Edges, Gap, Occurrence, OccurrenceAt, Rule, RuleError, Rules,
    edges::{Change, Seen},
    moment,
    occurrence::whole_second,
    rule::Moment,
};
use crate::{
    data::{DataMap, DataValue},
    expression::{EvalError, Scope},
    record::{Record, User, Value},
};

/// What a look at a user found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Everything that happened, whether it was told before or not.
    pub occurrences: Vec<Occurrence>,
    /// What to remember, in the transaction that stores what was decided.
    pub edges: Edges,
    /// Rules that said nothing about this user. The others are not held up by them.
    pub failures: Vec<RuleError>,
}

/// Evaluates every rule for a user. `rows` are those of the rules' own queries, by event; `gaps` are those of the
/// ledger.
pub fn occurrences(
    rules: &Rules,
    user: &User,
    rows: &BTreeMap<String, Vec<Record>>,
    edges: &Edges,
    gaps: &[Gap],
    now: Timestamp,
) -> Found {
    let mut found = Found::default();
    for rule in rules.iter() {
        let rows = rows.get(rule.name()).map_or(&[][..], Vec::as_slice);
        for row in looks(rule, rows) {
            let look = Look {
                rules,
                rule,
                scope: Scope { user, now, row },
            };
            match look.see(edges, gaps) {
                Ok((occurrence, edge)) => {
                    if let Some((subject, edge)) = edge {
                        found.edges.insert(rule, &subject, edge);
                    }
                    found.occurrences.extend(occurrence);
                }
                Err(error) => found.failures.push(error),
            }
        }
        found.edges.keep(rule, edges);
    }
    found
}

/// The rows a rule is evaluated on: those of its query, or the user's own, once.
pub(super) fn looks<'a>(
    rule: &Rule,
    rows: &'a [Record],
) -> impl Iterator<Item = Option<&'a Record>> {
    let own = (!rule.has_query()).then_some(None);
    let rows = if rule.has_query() { rows } else { &[] };
    own.into_iter().chain(rows.iter().map(Some))
}

/// One rule, about to look at one row.
pub(super) struct Look<'a> {
    pub(super) rules: &'a Rules,
    pub(super) rule: &'a Rule,
    pub(super) scope: Scope<'a>,
}

/// An edge to remember, with its subject.
type Remember = (String, Edge);

/// What a rule sees in a row.
pub(super) enum Sight {
    /// Nothing happened.
    Nothing,
    /// Something that the database dates.
    Dated(OccurrenceAt),
    /// A value of which only a change is something: an id without an instant, or the value of `on_change`.
    Value(Option<String>),
}

impl Look<'_> {
    /// The occurrence in the row, and the edge to remember with its subject.
    fn see(
        &self,
        edges: &Edges,
        gaps: &[Gap],
    ) -> Result<(Option<Occurrence>, Option<Remember>), RuleError> {
        let value = match self.sight()? {
            Sight::Nothing => return Ok((None, None)),
            Sight::Dated(at) => {
                let subject = self.subject()?;
                let holds = self.holds()?;
                let earliest = at.happened_at();
                return Ok((Some(self.occurrence(subject, at, earliest, holds)?), None));
            }
            Sight::Value(value) => value,
        };
        let subject = self.subject()?;
        let holds = self.holds()?;
        let remembered = edges.of(self.rule, &subject);
        if remembered.is_none()
            && value.is_some()
            && let Some(at) = self.first()?
        {
            // The ledger may have told of it, as a change of a value that it has forgotten, and under another number.
            let is_forgotten = gaps.iter().any(|gap| at <= gap.until);
            let earliest = if is_forgotten { Timestamp::MIN } else { at };
            let which = OccurrenceAt::Edge(0, at);
            let occurrence = self.occurrence(subject.clone(), which, earliest, holds)?;
            let waits = !holds && self.scope.now <= self.rule.sent_until(at);
            if waits {
                // Until `when` is true, or it is too late, the value is seen for the first time at each look.
                return Ok((Some(occurrence), None));
            }
            let (edge, _) = self.compared(None, value.as_deref(), holds, gaps);
            return Ok((Some(occurrence), Some((subject, edge))));
        }
        let (edge, change) = self.compared(remembered, value.as_deref(), holds, gaps);
        let occurrence = change
            .map(|change| {
                let at = self.changed(value.unwrap_or_default(), change.count, change.at);
                let earliest = change.since.unwrap_or(Timestamp::MIN).min(change.at);
                self.occurrence(subject.clone(), at, earliest, holds)
            })
            .transpose()?;
        Ok((occurrence, Some((subject, edge))))
    }

    /// What is seen, compared with what is remembered.
    fn compared(
        &self,
        remembered: Option<&Edge>,
        value: Option<&str>,
        holds: bool,
        gaps: &[Gap],
    ) -> (Edge, Option<Change>) {
        Edge::look(
            remembered,
            &Seen {
                of: &self.value_meaning(),
                value,
                holds,
                max_age: self.rule.window(),
            },
            gaps,
            self.scope.now,
        )
    }

    /// Since when the value that is seen first is what it is, where the rule says so.
    fn first(&self) -> Result<Option<Timestamp>, RuleError> {
        let Moment::OnChange {
            first: Some(first), ..
        } = &self.rule.moment
        else {
            return Ok(None);
        };
        let value = first.value(&self.scope).map_err(self.failed("first"))?;
        if moment::identity(&value).is_none() {
            return Ok(None);
        }
        let instant = moment::instant(&value).map(whole_second);
        instant.map(Some).ok_or_else(|| RuleError::NotAnInstant {
            event: self.rule.name().to_owned(),
            found: kind(&value),
        })
    }

    /// What the rule sees, before anything is compared with what is remembered.
    pub(super) fn sight(&self) -> Result<Sight, RuleError> {
        let (at, id) = match &self.rule.moment {
            Moment::OnChange { value, .. } => {
                let value = value.value(&self.scope).map_err(self.failed("on_change"))?;
                return Ok(Sight::Value(moment::identity(&value)));
            }
            Moment::At { at, id } => (at, id),
        };
        let value = at.value(&self.scope).map_err(self.failed("at"))?;
        let Some(identity) = moment::identity(&value) else {
            // An id that is gone is remembered as gone; a date that is gone is nothing at all. Both are NULL, and the
            // one memory that exists belongs to an id.
            return Ok(if self.rule.has_query() || id.is_some() {
                Sight::Nothing
            } else {
                Sight::Value(None)
            });
        };
        let instant = moment::instant(&value).map(whole_second);
        match (id, instant) {
            (None, Some(instant)) => Ok(Sight::Dated(OccurrenceAt::Instant(instant))),
            (Some(id), Some(instant)) => {
                let id = id.value(&self.scope).map_err(self.failed("id"))?;
                let id = moment::identity(&id).ok_or_else(|| RuleError::NoId {
                    event: self.rule.name().to_owned(),
                })?;
                Ok(Sight::Dated(OccurrenceAt::Id(id, instant)))
            }
            (None, None) if !self.rule.has_query() && may_be_id(&value) => {
                Ok(Sight::Value(Some(identity)))
            }
            (_, None) => Err(RuleError::NotAnInstant {
                event: self.rule.name().to_owned(),
                found: kind(&value),
            }),
        }
    }

    /// The expression whose value is remembered, with its maps.
    fn value_meaning(&self) -> Cow<'_, str> {
        match &self.rule.moment {
            Moment::At { at, .. } => at.meaning(),
            Moment::OnChange { value, .. } => value.meaning(),
        }
    }

    /// Which occurrence a change to `value` is.
    pub(super) fn changed(&self, value: String, count: u64, at: Timestamp) -> OccurrenceAt {
        match self.rule.moment {
            Moment::At { .. } => OccurrenceAt::Id(value, at),
            Moment::OnChange { .. } => OccurrenceAt::Edge(count, at),
        }
    }

    pub(super) fn subject(&self) -> Result<String, RuleError> {
        self.rule
            .subject
            .as_ref()
            .map_or(Ok(String::new()), |subject| {
                subject
                    .plain_text(&self.scope)
                    .map(Option::unwrap_or_default)
                    .map_err(self.failed("subject"))
            })
    }

    pub(super) fn holds(&self) -> Result<bool, RuleError> {
        self.rule.when.as_ref().map_or(Ok(true), |when| {
            when.truth(&self.scope).map_err(self.failed("when"))
        })
    }

    pub(super) fn occurrence(
        &self,
        subject: String,
        at: OccurrenceAt,
        earliest: Timestamp,
        holds: bool,
    ) -> Result<Occurrence, RuleError> {
        let due = self.rules.due(self.rule, at.happened_at());
        Ok(Occurrence {
            event: self.rule.name().to_owned(),
            subject,
            at,
            earliest,
            group: self.rule.group().map(str::to_owned),
            color: self.rule.color,
            data: self.data()?,
            holds,
            due,
        })
    }

    pub(super) fn data(&self) -> Result<DataMap, RuleError> {
        let mut data = DataMap::new();
        for (key, template) in &self.rule.data {
            let value = template
                .value_opt(&self.scope)
                .map_err(self.failed("data"))?;
            if let Some(value) = value {
                let value = match value {
                    DataValue::Text(text) => DataValue::Text(super::limits::cut(text)),
                    other => other,
                };
                data.insert(key.clone(), value);
            }
        }
        Ok(data)
    }

    fn failed(&self, part: &'static str) -> impl Fn(EvalError) -> RuleError {
        let event = self.rule.name().to_owned();
        move |source| RuleError::Evaluate {
            event: event.clone(),
            part,
            source: Box::new(source),
        }
    }
}

const fn may_be_id(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::Decimal(_) | Value::Text(_))
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "NULL",
        Value::Bool(_) => "a boolean",
        Value::Int(_) | Value::Decimal(_) => "a number",
        Value::Text(_) => "text that is no instant",
        Value::Instant(_) => "an instant",
        Value::Date(_) => "a date",
        Value::Json(_) => "a JSON list or object",
    }
}
