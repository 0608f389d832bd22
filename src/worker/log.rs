//! What the worker says: one line per attempt, with the fields that dashboards and alerts hang on.

use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinError;

use super::{Worked, Worker};
use crate::{
    ids::UserKey,
    ledger::{Claim, LedgerError, Outcome as Settling, WorkKind},
    pseudonym::UserRef,
    telemetry::events,
};

/// The ledger did not do what it was asked.
pub(super) fn fault(error: &LedgerError) {
    let text = error.to_string();
    let (error, hint) = parted(&text);
    tracing::error!(
        event = events::WORKER_FAULT,
        error,
        hint,
        "the worker could not use the ledger; it tries again"
    );
}

/// A refresh that panicked settled nothing: its lease expires, which counts a crash, and the row is taken up again.
pub(super) fn ended(ended: &Result<Worked, JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        // Not the panic's own words: they may hold a value.
        tracing::error!(
            event = events::WORKER_FAULT,
            error = "a refresh panicked",
            hint = "this is a fault of crisp-sync: standard error tells where; the row is tried again when its lease is over",
            "a refresh ended in a panic"
        );
    }
}

/// An error's text, and the hint that stands behind it.
fn parted(text: &str) -> (&str, Option<&str>) {
    text.split_once("\nhint: ")
        .map_or((text, None), |(text, hint)| (text, Some(hint)))
}

/// Says that calls wait, or go on.
pub(super) fn announce(claim: &Claim, settling: &Settling, error: Option<&str>) {
    let (scope, until, reason) = match settling {
        Settling::PauseToken { until, reason, .. } => ("token", until, reason),
        Settling::PauseWebsite { until, reason, .. } => ("website", until, reason),
        Settling::PausePeople { until, reason, .. } => ("people", until, reason),
        Settling::Done | Settling::Again { .. } if claim.probe => {
            tracing::info!(
                event = events::CRISP_RESUMED,
                "website.id" = %claim.website,
                "a probe came through; calls to Crisp go on"
            );
            return;
        }
        _ => return,
    };
    tracing::warn!(
        event = events::CRISP_PAUSED,
        scope,
        "website.id" = %claim.website,
        reason,
        until = %until,
        hint = error.and_then(|error| parted(error).1),
        "calls to Crisp wait"
    );
}

impl Worker {
    fn millis_until(&self, at: Timestamp) -> u64 {
        whole_millis(Duration::try_from(at.duration_since(self.clock.now())).unwrap_or_default())
    }

    /// While something is down there is one line about it, not one about each row.
    fn log_waiting(
        &self,
        claim: &Claim,
        worked: &Worked,
        session: Option<&str>,
        user: Option<&str>,
    ) {
        let (error, hint) = worked.error.as_deref().map(parted).unzip();
        tracing::debug!(
            event = events::WORK_WAITS,
            "work.kind" = claim.kind.as_str(),
            "website.id" = %claim.website,
            "session.id" = session,
            "user.ref" = user,
            attempt = claim.attempt,
            retry_in_ms = worked.again_at.map(|at| self.millis_until(at)),
            error,
            hint = hint.flatten(),
            "waits for something that is down"
        );
    }

    /// Tells of one attempt.
    pub(super) fn log(&self, claim: &Claim, worked: &Worked, duration: Duration) {
        let duration_ms = whole_millis(duration);
        let website = &claim.website;
        let conversation = claim.kind == WorkKind::Conversation;
        let session = conversation.then_some(claim.key.as_str());
        let user = match claim.kind {
            WorkKind::Person => UserKey::parse(&claim.key)
                .ok()
                .map(|key| self.ledger.pseudonyms().user(&key)),
            _ => worked.user.clone(),
        };
        let user = user.as_ref().map(UserRef::as_str);
        let (error, hint) = worked.error.as_deref().map(parted).unzip();
        let hint = hint.flatten();
        match worked.outcome {
            "lease_lost" => tracing::warn!(
                event = events::WORK_LEASE_LOST,
                "work.kind" = claim.kind.as_str(),
                "website.id" = %website,
                "session.id" = session,
                "user.ref" = user,
                duration_ms,
                "the lease was lost; nothing was written"
            ),
            // Background work waits for hours, and many rows do.
            "over_quota" if claim.priority > 2 => self.log_waiting(claim, worked, session, user),
            "retry" | "over_quota" | "pause_token" | "pause_website" | "pause_people"
            | "unsettled" => {
                tracing::warn!(
                    event = events::WORK_RETRY,
                    "work.kind" = claim.kind.as_str(),
                    "website.id" = %website,
                    "session.id" = session,
                    "user.ref" = user,
                    attempt = claim.attempt,
                    retry_in_ms = worked.again_at.map(|at| self.millis_until(at)),
                    error,
                    hint,
                    "an attempt failed and will be made again"
                );
            }
            "waits" => self.log_waiting(claim, worked, session, user),
            "invalid" | "buried" => tracing::error!(
                event = events::WORK_BURIED,
                "work.kind" = claim.kind.as_str(),
                "website.id" = %website,
                "session.id" = session,
                "user.ref" = user,
                attempt = claim.attempt,
                outcome = worked.outcome,
                error,
                hint,
                "an attempt failed for good; `deliveries retry --dead` revives it"
            ),
            outcome if conversation => {
                let since_hook = self
                    .clock
                    .now()
                    .duration_since(claim.first_triggered_at)
                    .unsigned_abs();
                self.metrics
                    .hook_to_context_seconds
                    .observe(since_hook.as_secs_f64());
                tracing::info!(
                    event = events::CONVERSATION_REFRESHED,
                    "website.id" = %website,
                    "session.id" = session,
                    "user.ref" = user,
                    trigger = claim.trigger.as_str(),
                    trust = worked.trust,
                    outcome,
                    reason = worked.reason,
                    changed = worked.changed,
                    "crisp.calls" = worked.calls,
                    attempt = claim.attempt,
                    duration_ms,
                    hook_to_context_ms = whole_millis(since_hook),
                    "refreshed a conversation"
                );
            }
            _ if claim.kind == WorkKind::Gap => listed(claim, worked, duration_ms),
            _ if claim.kind == WorkKind::Erase => erased(claim, worked, duration_ms),
            _ if claim.kind == WorkKind::Sweep => swept(claim, worked, duration_ms),
            outcome => tracing::info!(
                event = events::PERSON_REFRESHED,
                "website.id" = %website,
                "user.ref" = user,
                trigger = claim.trigger.as_str(),
                outcome,
                reason = worked.reason,
                changed = worked.changed,
                "crisp.calls" = worked.calls,
                attempt = claim.attempt,
                duration_ms,
                "refreshed a person"
            ),
        }
    }
}

fn listed(claim: &Claim, worked: &Worked, duration_ms: u64) {
    tracing::info!(
        event = events::GAP_LISTED,
        "website.id" = %claim.website,
        outcome = worked.outcome,
        reason = worked.reason,
        "crisp.calls" = worked.calls,
        attempt = claim.attempt,
        duration_ms,
        "looked for conversations that changed while nobody listened"
    );
}

fn erased(claim: &Claim, worked: &Worked, duration_ms: u64) {
    tracing::info!(
        event = events::ERASURE_WORKED,
        "website.id" = %claim.website,
        "erasure.receipt" = claim.key,
        outcome = worked.outcome,
        reason = worked.reason,
        "crisp.calls" = worked.calls,
        attempt = claim.attempt,
        duration_ms,
        "did what an erasure owed"
    );
}

fn swept(claim: &Claim, worked: &Worked, duration_ms: u64) {
    tracing::debug!(
        event = events::SWEEP_PAGE,
        lane = claim.key,
        outcome = worked.outcome,
        reason = worked.reason,
        attempt = claim.attempt,
        duration_ms,
        "read a page of people to whom something happened"
    );
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
