//! The day's quota: whether a piece of work may call Crisp now, and what its calls tell about the quota.
//!
//! Crisp counts requests per token and day and says no number. The ledger counts ours by purpose; what matters least stops
//! first, so that an operator who opens a conversation is served to the last, and conversations without a proven address
//! share a part of the day, because anybody can start as many as they like.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    crisp::quota::{CREDIT, ELSEWHERE, Priority, QuotaSettings, UNPROVEN, UNPROVEN_CREDIT, Usage},
    identity::Trust,
    ids::SessionId,
    ledger::{Claim, Ledger, LedgerError, PauseScope, Trigger, WorkKind},
    reconcile::used,
};

/// What a refresh costs at the most (design: a read and a write of the conversation; people data, and a read and a write of
/// the profile).
const CONVERSATION_COST: u32 = 2;
const PERSON_COST: u32 = 3;
/// One page.
const GAP_COST: u32 = 1;

/// Why a pause of the token is one for the quota.
pub(super) const THROTTLED: &str = "throttled";

/// Whether the work of `claim` may call Crisp. A probe always may: the estimate is what it corrects.
pub(super) async fn admits(
    ledger: &Ledger,
    settings: QuotaSettings,
    claim: &Claim,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    if claim.probe || !claim.kind.calls_crisp() {
        return Ok(true);
    }
    let usage = used(ledger, now).await?;
    let (cost, proven) = match claim.kind {
        WorkKind::Conversation => (CONVERSATION_COST, is_proven(ledger, claim).await?),
        WorkKind::Gap => (GAP_COST, true),
        // Looking once more leaves half of what background work has to those to whom something happened.
        WorkKind::Person
            if claim.trigger == Trigger::Rescan && priority(claim) == Priority::Background =>
        {
            let share = settings.left(Usage::default(), Priority::Background);
            (PERSON_COST + share / 2, true)
        }
        _ => (PERSON_COST, claim.trigger != Trigger::Unproven),
    };
    Ok(settings.admits(usage, priority(claim), proven, cost))
}

/// How Crisp answered the calls of a run, as far as the quota goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    /// The last call was refused for the quota or a rate limit, with this wish.
    Throttled {
        /// How long Crisp asks us to wait.
        asked_to_wait: Option<Duration>,
    },
    /// Calls came through.
    Through,
}

/// What is counted besides the calls themselves, because of how Crisp answered them: calls that others must have made, or
/// the end of a day that is not ours.
pub(super) async fn corrections(
    ledger: &Ledger,
    settings: QuotaSettings,
    claim: &Claim,
    answered: Answered,
    now: Timestamp,
) -> Result<Vec<(&'static str, u32)>, LedgerError> {
    if answered == Answered::Through && !claim.probe {
        return Ok(Vec::new());
    }
    let usage = used(ledger, now).await?;
    let paused_since = ledger
        .pauses()
        .await?
        .into_iter()
        .find(|pause| pause.scope == PauseScope::Token && pause.reason == THROTTLED)
        .map(|pause| pause.since);
    Ok(match answered {
        Answered::Throttled { asked_to_wait } => {
            let refused_for = paused_since
                .map(|since| Duration::try_from(now.duration_since(since)).unwrap_or_default())
                .unwrap_or_default();
            let elsewhere = settings.calls_elsewhere(usage, asked_to_wait, refused_for);
            vec![(ELSEWHERE, elsewhere)]
        }
        Answered::Through if paused_since.is_some() && settings.is_spent(usage) => {
            vec![(CREDIT, usage.calls), (UNPROVEN_CREDIT, usage.unproven)]
        }
        Answered::Through => Vec::new(),
    })
}

/// What a run's calls are counted as besides their purposes.
pub(super) fn unproven(
    claim: &Claim,
    trust: Option<Trust>,
    calls: usize,
) -> Option<(&'static str, u32)> {
    let is_unproven = trust == Some(Trust::Unproven) || claim.trigger == Trigger::Unproven;
    (is_unproven && calls > 0).then(|| (UNPROVEN, u32::try_from(calls).unwrap_or(u32::MAX)))
}

/// Whether the conversation was last seen with a proven address, Crisp says that it was proven since, or an operator looks at
/// it: then no stranger can have made it up to spend the day. Without the second, whoever comes anew after the strangers'
/// share is used up would be taken for one of them, and never be looked at.
async fn is_proven(ledger: &Ledger, claim: &Claim) -> Result<bool, LedgerError> {
    if priority(claim) == Priority::OperatorOpened || claim.trigger == Trigger::Verified {
        return Ok(true);
    }
    let Ok(session) = SessionId::parse(&claim.key) else {
        return Ok(false);
    };
    let mirror = ledger.conversation(&claim.website, &session).await?;
    Ok(mirror.is_some_and(|mirror| mirror.trust.as_deref() == Some(Trust::Proven.as_str())))
}

fn priority(claim: &Claim) -> Priority {
    match claim.priority {
        0 => Priority::OperatorOpened,
        1 => Priority::Conversation,
        2 => Priority::Event,
        _ => Priority::Background,
    }
}
