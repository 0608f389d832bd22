//! What a run decided, and why: one entry per conversation or person and run, kept in the ledger for `explain`.
//!
//! It holds names of keys and our own values, which the mirror holds too; no address, no message.

use serde::Serialize;
use serde_json::Value as Json;

use super::PlannedCall;
use crate::{
    context::{Change, ChangeKind, Layer},
    crisp::client::Call,
};

/// The trace of one run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct RunTrace {
    /// Facts in the order they were found: `email: known`, `trust: unproven (no verification)`.
    pub facts: Vec<String>,
    /// What was changed, or would have been.
    pub changes: Vec<TracedChange>,
    /// Lifecycle decisions: name, state and reason.
    pub events: Vec<TracedEvent>,
    /// Requests that were made: purpose and status.
    pub calls: Vec<TracedCall>,
    /// Requests that were withheld.
    pub withheld: Vec<WithheldCall>,
    /// What stopped the run.
    pub error: Option<String>,
}

/// One change of one key or segment.
#[derive(Debug, Clone, Serialize)]
pub struct TracedChange {
    /// `session` or `contact`.
    pub target: &'static str,
    /// `data`, `segment` or `profile`.
    pub kind: &'static str,
    /// The key or segment.
    pub name: String,
    /// What was there.
    pub before: Option<Json>,
    /// What is there now.
    pub after: Option<Json>,
}

/// One lifecycle decision.
#[derive(Debug, Clone, Serialize)]
pub struct TracedEvent {
    /// The event.
    pub name: String,
    /// The state it entered.
    pub state: &'static str,
    /// Why.
    pub reason: String,
}

/// One request that was made.
#[derive(Debug, Clone, Serialize)]
pub struct TracedCall {
    /// What for.
    pub purpose: &'static str,
    /// The answer's status.
    pub status: Option<u16>,
    /// How long it took.
    pub duration_ms: u64,
}

/// One request that was not made; its path may name a person, so only the method and a count of bytes are kept.
#[derive(Debug, Clone, Serialize)]
pub struct WithheldCall {
    /// `PATCH` or `POST`.
    pub method: &'static str,
    /// The body's keys.
    pub keys: Vec<String>,
}

impl RunTrace {
    /// Notes a fact.
    pub(super) fn fact(&mut self, fact: impl Into<String>) {
        self.facts.push(fact.into());
    }

    /// Notes the changes of a patch. What was there and was not `ours` is not repeated: a visitor may have written it.
    pub(super) fn changes(
        &mut self,
        target: &'static str,
        changes: &[Change],
        ours: Option<&Layer>,
    ) {
        for change in changes {
            let was_ours = ours.is_some_and(|ours| match change.kind {
                ChangeKind::Data => ours
                    .data
                    .get(&change.name)
                    .is_some_and(|value| value.is_held_as(change.before.as_ref())),
                ChangeKind::Segment => ours.segments.contains(&change.name),
            });
            let before = change.before.as_ref();
            let is_foreign = before.is_some() && !was_ours;
            let name = match change.kind {
                ChangeKind::Segment if is_foreign => NOT_OURS,
                _ => &change.name,
            };
            self.changes.push(TracedChange {
                target,
                kind: change.kind.as_str(),
                name: name.to_owned(),
                before: if is_foreign {
                    Some(NOT_OURS.into())
                } else {
                    before.cloned()
                },
                after: change.after.clone(),
            });
        }
    }

    /// Notes a profile field that was empty and is filled; with what is the contact's business.
    pub(super) fn filled(&mut self, name: &str) {
        self.changes.push(TracedChange {
            target: "contact",
            kind: "profile",
            name: name.to_owned(),
            before: None,
            after: None,
        });
    }

    /// Notes what was called and what was withheld, once the run is over.
    pub(super) fn close(
        &mut self,
        calls: &[Call],
        withheld: &[PlannedCall],
        error: Option<String>,
    ) {
        self.error = error;
        self.calls = calls
            .iter()
            .map(|call| TracedCall {
                purpose: call.purpose,
                status: call.status,
                duration_ms: u64::try_from(call.duration.as_millis()).unwrap_or(u64::MAX),
            })
            .collect();
        self.withheld = withheld
            .iter()
            .map(|call| WithheldCall {
                method: call.method,
                keys: call
                    .body
                    .as_ref()
                    .and_then(Json::as_object)
                    .map(|body| body.keys().cloned().collect())
                    .unwrap_or_default(),
            })
            .collect();
    }

    /// What changed, for the log: keys by name, segments as one word, for a segment is a value.
    pub fn changed_names(&self) -> String {
        let mut names: Vec<&str> = self
            .changes
            .iter()
            .map(|change| {
                if change.kind == "segment" {
                    "segments"
                } else {
                    change.name.as_str()
                }
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        names.join(",")
    }
}

/// Stands for what was written by somebody else.
const NOT_OURS: &str = "(not ours)";
