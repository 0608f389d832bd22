//! What would become of everything that happened to a user, for a look that writes nothing.
//!
//! It asks the same bench as [`decide`](super::decide()), and goes one step further: of two that are due at once the second
//! is held by `min_gap`, because the first one's request will have left by then. The brake looks at everybody and is not
//! asked here.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{Found, Guards, Judgement, Memory, Occurrence, OutboxState, Rules, judge};

/// What becomes of one occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forecast {
    /// The event.
    pub event: String,
    /// When it happened, or will.
    pub happened_at: Timestamp,
    /// When it may be sent; `None` where no row would be made.
    pub due_at: Option<Timestamp>,
    /// A state of the outbox, or `not_armed` or `not_yet`.
    pub state: &'static str,
    /// Why.
    pub reason: &'static str,
    /// Whether a row would be made.
    pub is_new: bool,
}

/// Says it of each occurrence, in the order they happened.
pub fn forecast(
    rules: &Rules,
    found: &Found,
    memory: &Memory<'_>,
    guards: Guards,
    now: Timestamp,
) -> Vec<Forecast> {
    let judgements = judge(rules, found, memory, guards, now);
    let mut judged: Vec<(&Occurrence, Judgement)> =
        found.occurrences.iter().zip(judgements).collect();
    judged.sort_by_key(|(occurrence, _)| occurrence.happened_at());
    let mut leaves = BTreeMap::new();
    judged
        .into_iter()
        .map(|(occurrence, judgement)| {
            let mut forecast = told(occurrence, &judgement);
            if let Judgement::New { state, due_at, .. } = judgement
                && matches!(state, OutboxState::Due | OutboxState::Scheduled)
                && let Some(gap) = rules.rule(&occurrence.event).and_then(super::Rule::min_gap)
            {
                let at = due_at.max(now);
                let before = leaves.get(&occurrence.event);
                if before.is_some_and(|before| at.duration_since(*before) < gap) {
                    forecast.state = OutboxState::Held.as_str();
                    forecast.reason = "min_gap";
                } else {
                    leaves.insert(&occurrence.event, at);
                }
            }
            forecast
        })
        .collect()
}

fn told(occurrence: &Occurrence, judgement: &Judgement) -> Forecast {
    let (state, reason, due_at) = match judgement {
        Judgement::NotArmed => ("not_armed", "not_armed", None),
        Judgement::Baseline => (OutboxState::Baseline.as_str(), "before_armed", None),
        Judgement::NotYet => ("not_yet", "when", None),
        Judgement::Known(state) => (state.as_str(), "in_outbox", None),
        Judgement::New {
            state,
            due_at,
            reason,
        } => (state.as_str(), *reason, Some(*due_at)),
    };
    Forecast {
        event: occurrence.event.clone(),
        happened_at: occurrence.happened_at(),
        due_at,
        state,
        reason,
        is_new: matches!(judgement, Judgement::New { .. }),
    }
}
