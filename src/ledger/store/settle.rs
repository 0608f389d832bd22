//! The end of an attempt, and what may be written on its way: always under the lease's token.

use std::time::Duration;

use jiff::Timestamp;

use crate::{clock::millis, ids::SessionId};

use super::{
    super::{
        mirror::Write,
        quota::PauseScope,
        trigger::{Trigger, priority},
        work::{Claim, Outcome, Settled, Settlement, WorkKind},
    },
    LedgerError, Store, begin,
    cells::{failed, ms, span},
    engine::{Transaction, query, query_for},
    erasure, held, pauses, totals, traces,
    work::Fold,
};

const WHAT: &str = "settle an attempt";

/// What became of the row: whether its mirror became dirty since it was claimed. `None`: the lease was lost.
type Dirtied = Option<bool>;

impl Store {
    pub(in super::super) async fn settle(
        &self,
        claim: &Claim,
        settlement: &Settlement,
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        let now_ms = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let dirtied = match &settlement.outcome {
            Outcome::Done | Outcome::Gone => complete(&mut tx, claim, None, now_ms).await?,
            Outcome::Again { at } => complete(&mut tx, claim, Some(ms(*at)), now_ms).await?,
            Outcome::Retry { at, error } => retry(&mut tx, claim, ms(*at), error).await?,
            Outcome::Wait { at, error } => wait(&mut tx, claim, ms(*at), error).await?,
            Outcome::PutOff { at, reason } => put_off(&mut tx, claim, ms(*at), reason).await?,
            Outcome::PauseToken { reason, .. }
            | Outcome::PauseWebsite { reason, .. }
            | Outcome::PausePeople { reason, .. } => put_back(&mut tx, claim, reason).await?,
            Outcome::Invalid { error } | Outcome::Buried { error } => {
                bury(
                    &mut tx,
                    claim,
                    error,
                    now_ms,
                    span(self.settings.revive_every),
                )
                .await?
            }
        };
        let Some(dirtied) = dirtied else {
            tx.rollback().await.map_err(failed(WHAT))?;
            return Ok(Settled::LeaseLost);
        };
        let mut fold = Fold::default();
        let learned = (settlement.writes.as_slice(), dirtied);
        let is_erased = self.write(&mut tx, &mut fold, claim, learned, now).await?;
        let complete = matches!(settlement.outcome, Outcome::Done | Outcome::Again { .. });
        if claim.kind == WorkKind::Conversation
            && let Ok(session) = SessionId::parse(&claim.key)
        {
            held::settle(
                &mut tx,
                &mut fold,
                &claim.website,
                &session,
                complete,
                now_ms,
            )
            .await?;
        }
        fold.write(&mut tx, self, now_ms).await?;
        if settlement.outcome == Outcome::Gone && claim.kind == WorkKind::Conversation {
            erasure::settle_conversation(&mut tx, claim).await?;
        }
        if let Some(trace) = settlement.trace.as_ref().filter(|_| !is_erased) {
            traces::keep(&mut tx, claim, trace, self.settings.traces_per_key, now_ms).await?;
        }
        totals::count_calls(&mut tx, &settlement.calls, self.settings.quota_day(now)).await?;
        settle_pauses(&mut tx, claim, settlement, now_ms).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(Settled::Written)
    }

    pub(in super::super) async fn checkpoint(
        &self,
        claim: &Claim,
        learned: &[Write],
        now: Timestamp,
    ) -> Result<Settled, LedgerError> {
        const WHAT: &str = "write down the state of an attempt";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        let Some(dirtied) = held_by(&mut tx, claim).await? else {
            tx.rollback().await.map_err(failed(WHAT))?;
            return Ok(Settled::LeaseLost);
        };
        let mut fold = Fold::default();
        self.write(&mut tx, &mut fold, claim, (learned, dirtied), now)
            .await?;
        fold.write(&mut tx, self, ms(now)).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(Settled::Written)
    }

    pub(in super::super) async fn extend(
        &self,
        claim: &Claim,
        lease: Duration,
        now: Timestamp,
    ) -> Result<bool, LedgerError> {
        let mut writer = self.writer().await?;
        let done = query(
            "UPDATE work SET lease_until = max(lease_until, $5) \
             WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4",
        )
        .bind(claim.kind.as_str())
        .bind(claim.website.as_str())
        .bind(&claim.key)
        .bind(&claim.token)
        .bind(ms(now) + span(lease.min(self.settings.longest_lease)))
        .execute(&mut *writer)
        .await
        .map_err(failed("lengthen a lease"))?;
        Ok(done > 0)
    }
}

macro_rules! under_lease {
    ($tx:expr, $claim:expr, $set:literal $(, $bind:expr)* $(,)?) => {{
        let dirtied: Option<i64> = query(concat!(
            "UPDATE work SET lease_token = NULL, lease_until = NULL, probe = 0, ", $set,
            " WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4 RETURNING dirt > claimed_dirt",
        ))
        .bind($claim.kind.as_str())
        .bind($claim.website.as_str())
        .bind(&$claim.key)
        .bind(&$claim.token)
        $(.bind($bind))*
        .fetch_number(&mut *$tx)
        .await
        .map_err(failed(WHAT))?;
        Ok(dirtied.map(|dirtied| dirtied != 0))
    }};
}

/// Sets the claimed generation done. What was triggered meanwhile waits for its freshness, counted from now. What is still owed
/// goes before what a stranger asked for meanwhile, whose share of the quota may be spent.
async fn complete(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    again: Option<i64>,
    now: i64,
) -> Result<Dirtied, LedgerError> {
    under_lease!(
        tx,
        claim,
        "done_gen = claimed_gen, attempts = 0, crashes = 0, not_before = 0, last_error = NULL, done_at = $5, \
         unsettled = CASE WHEN dirt = claimed_dirt THEN 0 ELSE unsettled END, \
         want_gen = want_gen + CASE WHEN $6 IS NOT NULL THEN 1 ELSE 0 END, \
         run_at = CASE WHEN want_gen > claimed_gen \
                       THEN min(max(run_at, $5 + fresh_ms), coalesce($6, max(run_at, $5 + fresh_ms))) \
                       ELSE coalesce($6, run_at) END, \
         trigger = CASE WHEN $6 IS NOT NULL AND (want_gen = claimed_gen OR trigger = 'unproven') \
                        THEN 'follow_up' ELSE trigger END, \
         priority = CASE WHEN $6 IS NOT NULL AND (want_gen = claimed_gen OR trigger = 'unproven') \
                         THEN $7 ELSE priority END, \
         first_triggered_at = CASE WHEN $6 IS NOT NULL AND want_gen = claimed_gen THEN $6 \
                                   ELSE first_triggered_at END",
        now,
        again,
        i64::from(priority(claim.kind, Trigger::FollowUp)),
    )
}

async fn retry(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    until: i64,
    error: &str,
) -> Result<Dirtied, LedgerError> {
    under_lease!(
        tx,
        claim,
        "attempts = attempts + 1, not_before = $5, last_error = $6",
        until,
        error,
    )
}

/// Puts the row back for later; the attempt does not count.
async fn wait(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    until: i64,
    error: &str,
) -> Result<Dirtied, LedgerError> {
    under_lease!(tx, claim, "not_before = $5, last_error = $6", until, error)
}

/// Puts the row back for later, as it was. What was asked meanwhile keeps its own time.
async fn put_off(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    until: i64,
    reason: &str,
) -> Result<Dirtied, LedgerError> {
    under_lease!(
        tx,
        claim,
        "run_at = CASE WHEN want_gen > claimed_gen THEN run_at ELSE max(run_at, $5) END, last_error = $6",
        until,
        reason,
    )
}

/// Puts the row back as if it had not been claimed.
async fn put_back(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    reason: &str,
) -> Result<Dirtied, LedgerError> {
    under_lease!(tx, claim, "last_error = $5", reason)
}

/// Makes the row a dead letter; if something new was asked meanwhile, it gets another chance as from any trigger.
async fn bury(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    error: &str,
    now: i64,
    revive_every: i64,
) -> Result<Dirtied, LedgerError> {
    under_lease!(
        tx,
        claim,
        "last_error = $5, \
         state = CASE WHEN want_gen > claimed_gen AND (revived_at IS NULL OR revived_at <= $6 - $7) \
                      THEN 'ready' ELSE 'dead' END, \
         dead_at = CASE WHEN want_gen > claimed_gen AND (revived_at IS NULL OR revived_at <= $6 - $7) \
                        THEN NULL ELSE $6 END, \
         attempts = CASE WHEN want_gen > claimed_gen THEN 0 ELSE attempts + 1 END, \
         revived_at = CASE WHEN want_gen > claimed_gen AND (revived_at IS NULL OR revived_at <= $6 - $7) \
                           THEN $6 ELSE revived_at END",
        error,
        now,
        revive_every,
    )
}

/// Whether the claim still holds its lease, and whether its mirror became dirty since.
async fn held_by(tx: &mut Transaction<'_>, claim: &Claim) -> Result<Dirtied, LedgerError> {
    // Whoever takes the row over meanwhile waits until what is written under this lease is there.
    let dirtied: Option<i64> = query_for(
        "SELECT dirt > claimed_dirt FROM work \
         WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4",
        "SELECT dirt > claimed_dirt FROM work \
         WHERE kind = $1 AND website = $2 AND key = $3 AND lease_token = $4 FOR UPDATE",
    )
    .bind(claim.kind.as_str())
    .bind(claim.website.as_str())
    .bind(&claim.key)
    .bind(&claim.token)
    .fetch_number(tx)
    .await
    .map_err(failed("look at a lease"))?;
    Ok(dirtied.map(|dirtied| dirtied != 0))
}

async fn settle_pauses(
    tx: &mut Transaction<'_>,
    claim: &Claim,
    settlement: &Settlement,
    now: i64,
) -> Result<(), LedgerError> {
    let called = settlement.calls.iter().any(|(_, count)| *count > 0);
    let website = claim.website.as_str();
    let (whose, until, probe_every, reason) = match &settlement.outcome {
        Outcome::PauseToken {
            until,
            probe_every,
            reason,
        } => ((PauseScope::Token, ""), until, probe_every, reason),
        Outcome::PauseWebsite {
            until,
            probe_every,
            reason,
        } => ((PauseScope::Website, website), until, probe_every, reason),
        Outcome::PausePeople {
            until,
            probe_every,
            reason,
        } => ((PauseScope::People, website), until, probe_every, reason),
        // Crisp answered as it should, or refused only what was said.
        Outcome::Done | Outcome::Again { .. } | Outcome::Gone | Outcome::Invalid { .. }
            if claim.probe =>
        {
            return pauses::probed(tx, website, claim.kind, called, now).await;
        }
        // No answer, or one that says nothing about the pause.
        Outcome::Retry { at, .. } | Outcome::Wait { at, .. } if claim.probe => {
            return pauses::unanswered(tx, website, claim.kind, *at).await;
        }
        _ => return Ok(()),
    };
    if whose.0 == PauseScope::People && claim.probe {
        // Refused for contacts alone: of another pause it may have probed that says nothing, and a conversation may try.
        pauses::unanswered(tx, website, claim.kind, millis(now)).await?;
    }
    pauses::pause(tx, whose, *until, *probe_every, reason, now).await
}
