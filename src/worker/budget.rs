//! The day's quota: whether a piece of work may call Crisp now.
//!
//! Crisp counts requests per token and day and says no number. The ledger counts ours by purpose; what matters least stops
//! first, so that an operator who opens a conversation is served to the last, and conversations without a proven address
//! share a part of the day, because anybody can start as many as they like.

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    crisp::quota::{Priority, QuotaSettings, Usage},
    identity::Trust,
    ids::SessionId,
    ledger::{Claim, Ledger, LedgerError, Trigger, WorkKind},
};

/// The purpose under which calls for unproven conversations are counted once more.
pub(super) const UNPROVEN: &str = "unproven";

/// What a refresh costs at the most (design: a read and a write of the conversation; people data, and a read and a write of
/// the profile).
const CONVERSATION_COST: u32 = 2;
const PERSON_COST: u32 = 3;

/// Whether the work of `claim` may call Crisp.
pub(super) async fn admits(
    ledger: &Ledger,
    settings: QuotaSettings,
    claim: &Claim,
    now: Timestamp,
) -> Result<bool, LedgerError> {
    let usage = usage(ledger, now).await?;
    let (cost, proven) = match claim.kind {
        WorkKind::Conversation => (CONVERSATION_COST, is_proven(ledger, claim).await?),
        _ => (PERSON_COST, true),
    };
    Ok(settings.admits(usage, priority(claim), proven, cost))
}

async fn usage(ledger: &Ledger, now: Timestamp) -> Result<Usage, LedgerError> {
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut usage = Usage::default();
    for counted in ledger.quota(today).await? {
        let calls = u32::try_from(counted.calls).unwrap_or(u32::MAX);
        let sum = if counted.purpose == UNPROVEN {
            &mut usage.unproven
        } else {
            &mut usage.calls
        };
        *sum = sum.saturating_add(calls);
    }
    Ok(usage)
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
