//! What becomes of each occurrence, given all that is remembered.
//!
//! Nothing here sends. A decision makes or moves a row of the outbox; whoever sends a `due` row asks [`recheck`](super::recheck())
//! right before.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{
    Found, Guards, Known, Memory, Occurrence, OccurrenceAt, OutboxState, Rule, Rules,
    later_events::LaterEvents, memory::LOOK_AGAIN, period::later, reason,
};

/// A row to write: a new one, or another state for one that is known.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The key of the row.
    pub key: String,
    /// What happened, for a new row; `None` for a row that is known.
    pub occurrence: Option<Occurrence>,
    /// The state.
    pub state: OutboxState,
    /// When it may be sent.
    pub due_at: Timestamp,
    /// Why, in a word or two that never changes.
    pub reason: &'static str,
}

/// What is to be said about one occurrence, whether a row is written for it or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// The rule is not armed: it is observed, and no row is made.
    NotArmed,
    /// It happened before the rule was armed. No row is made.
    Baseline,
    /// `when` is not true yet. No row is made.
    NotYet,
    /// The outbox has it.
    Known(OutboxState),
    /// A row in this state is made.
    New {
        /// The state.
        state: OutboxState,
        /// When it may be sent.
        due_at: Timestamp,
        /// Why.
        reason: &'static str,
    },
}

/// Decides about everything that was found, and about every row that waits.
///
/// A row that waits is moved whether it was found again or not: a change is found only once. Whether what it tells is still
/// true is asked when it is sent.
pub fn decide(
    rules: &Rules,
    found: &Found,
    memory: &Memory<'_>,
    guards: Guards,
    now: Timestamp,
) -> Vec<Decision> {
    let bench = Bench::new(rules, found, memory, guards, now);
    let mut decisions: Vec<Decision> = memory
        .known
        .iter()
        .filter_map(|known| bench.move_known(known))
        .collect();
    let mut new: Vec<&Occurrence> = found.occurrences.iter().collect();
    new.sort_by_key(|occurrence| occurrence.happened_at());
    let mut seen = BTreeSet::new();
    for occurrence in new {
        if let Judgement::New {
            state,
            due_at,
            reason,
        } = bench.judge(occurrence)
            && seen.insert(occurrence.key())
        {
            decisions.push(Decision {
                key: occurrence.key(),
                occurrence: Some(occurrence.clone()),
                state,
                due_at,
                reason,
            });
        }
    }
    decisions
}

/// What is to be said about each occurrence, in the order given: for `plan` and `explain`.
pub fn judge(
    rules: &Rules,
    found: &Found,
    memory: &Memory<'_>,
    guards: Guards,
    now: Timestamp,
) -> Vec<Judgement> {
    let bench = Bench::new(rules, found, memory, guards, now);
    found
        .occurrences
        .iter()
        .map(|occurrence| bench.judge(occurrence))
        .collect()
}

/// When a user has to be looked at again for what is not true yet: no row waits for it, so nothing else would come back.
pub fn look_again(
    rules: &Rules,
    found: &Found,
    memory: &Memory<'_>,
    now: Timestamp,
) -> Option<Timestamp> {
    let bench = Bench::new(rules, found, memory, Guards::OPEN, now);
    found
        .occurrences
        .iter()
        .filter(|occurrence| {
            bench.judge(occurrence) == Judgement::NotYet
                && rules
                    .rule(&occurrence.event)
                    .is_some_and(|rule| !bench.is_too_old(rule, occurrence.happened_at()))
        })
        .map(|occurrence| occurrence.due.max(later(now, LOOK_AGAIN)))
        .min()
}

struct Bench<'a> {
    rules: &'a Rules,
    memory: &'a Memory<'a>,
    guards: Guards,
    now: Timestamp,
    by_key: BTreeMap<&'a str, &'a Known>,
    found: BTreeMap<String, &'a Occurrence>,
    later: LaterEvents,
}

impl<'a> Bench<'a> {
    fn new(
        rules: &'a Rules,
        found: &'a Found,
        memory: &'a Memory<'a>,
        guards: Guards,
        now: Timestamp,
    ) -> Self {
        Self {
            rules,
            memory,
            guards,
            now,
            by_key: memory
                .known
                .iter()
                .map(|known| (known.key.as_str(), known))
                .collect(),
            found: found
                .occurrences
                .iter()
                .map(|occurrence| (occurrence.key(), occurrence))
                .collect(),
            later: LaterEvents::new(rules, memory.known, found, now),
        }
    }

    fn judge(&self, occurrence: &Occurrence) -> Judgement {
        let Some(rule) = self.rules.rule(&occurrence.event) else {
            return Judgement::NotArmed;
        };
        let known = rule
            .names()
            .find_map(|name| self.by_key.get(occurrence.key_as(name).as_str()));
        if let Some(known) = known {
            return Judgement::Known(known.state);
        }
        let happened_at = occurrence.happened_at();
        let Some(watermark) = self.memory.watermark(rule) else {
            return Judgement::NotArmed;
        };
        if happened_at < watermark {
            return Judgement::Baseline;
        }
        if !occurrence.holds {
            return Judgement::NotYet;
        }
        let (state, due_at, reason) = self.begin(rule, occurrence);
        Judgement::New {
            state,
            due_at,
            reason,
        }
    }

    fn begin(
        &self,
        rule: &Rule,
        occurrence: &Occurrence,
    ) -> (OutboxState, Timestamp, &'static str) {
        let due = occurrence.due;
        let happened_at = occurrence.happened_at();
        if self.is_too_old(rule, happened_at) {
            return (OutboxState::Expired, due, reason::MAX_AGE);
        }
        // An instant that equals the mark is the one that raised it, and its row was pruned. Ids can share a second.
        let high_water = self.memory.high_water(rule, &occurrence.subject);
        let is_below = high_water.is_some_and(|mark| match occurrence.at {
            OccurrenceAt::Instant(instant) => instant <= mark,
            OccurrenceAt::Id(_, instant) | OccurrenceAt::Edge(_, instant) => instant < mark,
        });
        if is_below {
            return (OutboxState::Superseded, due, reason::OLDER_THAN_SENT);
        }
        if self.later.supersede(rule, &occurrence.subject, happened_at) {
            return (OutboxState::Superseded, due, reason::LATER_EVENT);
        }
        if self.may_be_old(rule, occurrence) {
            return (OutboxState::Held, due, reason::CHANGED_UNSEEN);
        }
        if due > self.now {
            return (OutboxState::Scheduled, due, reason::NOT_DUE);
        }
        if let Some(stop) = self.guards.stop(rule, self.now) {
            return (stop.state, stop.until.unwrap_or(due), stop.reason);
        }
        if self.memory.is_too_soon(rule, None, self.now) {
            return (OutboxState::Held, due, reason::MIN_GAP);
        }
        (OutboxState::Due, due, reason::DUE)
    }

    fn move_known(&self, known: &Known) -> Option<Decision> {
        if !known.state.is_undecided() {
            return None;
        }
        let decided = |state, reason| {
            Some(Decision {
                key: known.key.clone(),
                occurrence: None,
                state,
                due_at: known.due_at,
                reason,
            })
        };
        let Some(rule) = self.rules.rule(&known.event) else {
            return decided(OutboxState::Superseded, reason::RULE_REMOVED);
        };
        let happened_at = known.happened_at();
        let (state, reason) = if self.is_too_old(rule, happened_at) {
            let reason = match known.state {
                OutboxState::Parked => reason::PARKED_TOO_LONG,
                _ => reason::MAX_AGE,
            };
            (OutboxState::Expired, reason)
        } else if self
            .memory
            .high_water(rule, &known.subject)
            .is_some_and(|mark| happened_at < mark)
        {
            (OutboxState::Superseded, reason::OLDER_THAN_SENT)
        } else if self.later.supersede(rule, &known.subject, happened_at) {
            (OutboxState::Superseded, reason::LATER_EVENT)
        } else {
            self.advance(rule, known)?
        };
        decided(state, reason)
    }

    /// The step that time or the guards allow.
    fn advance(&self, rule: &Rule, known: &Known) -> Option<(OutboxState, &'static str)> {
        match known.state {
            OutboxState::Scheduled if known.due_at <= self.now && self.still_holds(known) => {
                Some((OutboxState::Due, reason::DUE))
            }
            OutboxState::NoConsent | OutboxState::Excluded
                if self.guards.stop(rule, self.now).is_none() =>
            {
                Some((OutboxState::Due, reason::GUARDS_PASSED))
            }
            _ => None,
        }
    }

    fn still_holds(&self, known: &Known) -> bool {
        self.found
            .get(&known.key)
            .is_none_or(|occurrence| occurrence.holds)
    }

    /// Whether it may have happened before the rule was armed, or longer ago than it may be sent: it is as old as the look
    /// that shows it, and the one before that was long ago.
    fn may_be_old(&self, rule: &Rule, occurrence: &Occurrence) -> bool {
        let earliest = self.memory.earliest(occurrence, self.now);
        let armed_at = self.memory.watermark(rule);
        armed_at.is_none_or(|armed_at| earliest < armed_at) || self.is_too_old(rule, earliest)
    }

    fn is_too_old(&self, rule: &Rule, happened_at: Timestamp) -> bool {
        self.now > rule.sent_until(happened_at)
    }
}
