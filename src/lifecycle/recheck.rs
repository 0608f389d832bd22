//! The last look before an event leaves: is it still true, still wanted, still in time?
//!
//! The caller reads the user again, by user key and past every cache, and asks here right before it commits `sending`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    Color, Edges, Guards, Known, Memory, Occurrence, OutboxState, Rule, RuleError, Rules,
    due::{Look, Sight, looks, occurrences},
    later_events::LaterEvents,
    memory::LOOK_AGAIN,
    occurrence::{occurrence_key, payload},
    period::later,
    reason,
};
use crate::{
    data::DataMap,
    expression::Scope,
    record::{Record, User},
};

/// The user as the app's database has them now.
#[derive(Debug, Clone, Copy)]
pub struct Fresh<'a> {
    /// The user; `None` when the key is gone.
    pub user: Option<&'a User>,
    /// The rows of the rules' own queries, by event: of the rule, and of the others of its group.
    pub rows: &'a BTreeMap<String, Vec<Record>>,
    /// What is remembered of values that change.
    pub edges: &'a Edges,
}

/// Whether the event may leave.
#[derive(Debug, Clone, PartialEq)]
pub enum Recheck {
    /// Send this.
    Send {
        /// The text of the event.
        text: String,
        /// Its colour.
        color: Color,
        /// Its data, our two keys included, as the user's row has it now.
        data: DataMap,
    },
    /// It is not sent. The row takes this state.
    Drop {
        /// The state.
        state: OutboxState,
        /// Why, in a word or two that never changes.
        reason: &'static str,
    },
    /// Not yet. The row becomes `scheduled` for then.
    Wait {
        /// When to ask again.
        until: Timestamp,
        /// For what.
        reason: &'static str,
    },
}

/// Looks once more at a row that is due.
pub fn recheck(
    rules: &Rules,
    known: &Known,
    fresh: &Fresh<'_>,
    memory: &Memory<'_>,
    now: Timestamp,
) -> Result<Recheck, RuleError> {
    let drop = |state, reason| Ok(Recheck::Drop { state, reason });
    if !matches!(known.state, OutboxState::Due | OutboxState::Scheduled) {
        return drop(known.state, reason::ALREADY_DECIDED);
    }
    let Some(rule) = rules.rule(&known.event) else {
        return drop(OutboxState::Superseded, reason::RULE_REMOVED);
    };
    let happened_at = known.happened_at();
    match memory.watermark(rule) {
        None => return drop(OutboxState::Held, reason::NOT_ARMED),
        Some(watermark) if happened_at < watermark => {
            return drop(OutboxState::Baseline, reason::BEFORE_ARMED);
        }
        Some(_) => {}
    }
    if now > rule.sent_until(happened_at) {
        return drop(OutboxState::Expired, reason::MAX_AGE);
    }
    let high_water = memory.high_water(rule, &known.subject);
    if high_water.is_some_and(|mark| happened_at < mark) {
        return drop(OutboxState::Superseded, reason::OLDER_THAN_SENT);
    }
    let Some(user) = fresh.user else {
        return drop(OutboxState::Superseded, reason::USER_GONE);
    };
    let occurrence = still_there(rules, rule, known, user, fresh, now)?;
    // What happened since the last look counts too, though no row has it yet. A rule that fails says nothing, here as there.
    // It comes first, because it is beyond doubt: a replica may lag behind, but none runs ahead.
    let found = occurrences(rules, user, fresh.rows, fresh.edges, &[], now);
    if LaterEvents::new(rules, memory.known, &found, now).supersede(
        rule,
        &known.subject,
        happened_at,
    ) {
        return drop(OutboxState::Superseded, reason::LATER_EVENT);
    }
    let Some(occurrence) = occurrence else {
        return drop(OutboxState::Superseded, reason::NO_LONGER_TRUE);
    };
    // The row's own moment, and what the definition of today makes of it: somebody may have lengthened the delay.
    let due_at = known.due_at.max(occurrence.due);
    if due_at > now {
        return Ok(Recheck::Wait {
            until: due_at,
            reason: reason::NOT_DUE,
        });
    }
    if !occurrence.holds {
        let end = later(
            rule.sent_until(happened_at),
            jiff::SignedDuration::from_secs(1),
        );
        return Ok(Recheck::Wait {
            until: later(now, LOOK_AGAIN).min(end),
            reason: reason::WHEN,
        });
    }
    match pass(&rules.guards_of(rule, user, now)?, rule, now) {
        Some(stopped) => return Ok(stopped),
        None if memory.is_too_soon(rule, Some(&known.key), now) => {
            return drop(OutboxState::Held, reason::MIN_GAP);
        }
        None => {}
    }
    Ok(Recheck::Send {
        text: occurrence.event,
        color: occurrence.color,
        data: payload(occurrence.data, &known.reference, happened_at),
    })
}

fn pass(guards: &Guards, rule: &Rule, now: Timestamp) -> Option<Recheck> {
    let stop = guards.stop(rule, now)?;
    Some(match stop.until {
        Some(until) => Recheck::Wait {
            until,
            reason: stop.reason,
        },
        None => Recheck::Drop {
            state: stop.state,
            reason: stop.reason,
        },
    })
}

/// The occurrence of the row, as the database tells it now; `None` when it tells it no more.
///
/// A change is there as long as its value is: as long as the edge has the number of the change, and the row the value of
/// the edge.
fn still_there(
    rules: &Rules,
    rule: &Rule,
    known: &Known,
    user: &User,
    fresh: &Fresh<'_>,
    now: Timestamp,
) -> Result<Option<Occurrence>, RuleError> {
    let rows = fresh.rows.get(rule.name());
    for row in looks(rule, rows.map_or(&[][..], Vec::as_slice)) {
        let look = Look {
            rules,
            rule,
            scope: Scope { user, now, row },
        };
        let sight = look.sight()?;
        let subject = look.subject()?;
        let at = match sight {
            Sight::Dated(at) => at,
            Sight::Value(Some(value)) => {
                let edge = fresh.edges.of(rule, &subject);
                match edge.filter(|edge| edge.value == value) {
                    Some(edge) => look.changed(value, edge.count, known.happened_at()),
                    None => continue,
                }
            }
            Sight::Nothing | Sight::Value(None) => continue,
        };
        let is_it = rule
            .names()
            .any(|name| occurrence_key(name, &subject, &at) == known.key);
        if is_it {
            let (earliest, holds) = (at.happened_at(), look.holds()?);
            return look.occurrence(subject, at, earliest, holds).map(Some);
        }
    }
    Ok(None)
}
