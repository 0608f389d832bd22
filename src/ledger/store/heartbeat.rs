//! The heartbeat: who listened until when, how the clock went meanwhile, and from when on the ledger may know less than happened.

use jiff::Timestamp;

use crate::{
    clock::millis,
    lifecycle::{self, note_gap},
    telemetry::events,
};

use super::{
    super::quota::Gap,
    LedgerError, Store, TOLERANCE, begin,
    cells::{failed, json, ms, span},
    engine::{Connection, Through, Transaction, query},
    facts::{fact, facts, instant, instant_fact, set_fact},
    home::note_timeline,
};

/// The last time of which the ledger may know less than happened.
const CAUTIOUS_FROM: &str = "cautious_from";
const CAUTIOUS_UNTIL: &str = "cautious_until";
/// Those before it, as JSON: none ends what an earlier one put in doubt.
const CAUTIOUS_BEFORE: &str = "cautious_before";

/// Between `since` and `now`, more may have happened than the ledger knows.
pub(super) async fn be_cautious(
    tx: &mut Transaction<'_>,
    since: i64,
    now: i64,
    reason: &'static str,
) -> Result<(), LedgerError> {
    let mut gaps = gaps(&mut *tx).await?;
    note_gap(
        &mut gaps,
        lifecycle::Gap {
            from: millis(since),
            until: millis(now),
        },
    );
    gaps.pop();
    set_fact(&mut *tx, CAUTIOUS_BEFORE, &json(&gaps)).await?;
    set_fact(&mut *tx, CAUTIOUS_FROM, &since.to_string()).await?;
    set_fact(&mut *tx, CAUTIOUS_UNTIL, &now.to_string()).await?;
    // Whoever answered for it that an event was not told knew nothing of this time.
    query(
        "UPDATE outbox SET reason = CASE reason WHEN 'released_unsure' THEN 'released' ELSE 'released_over_cap' END \
         WHERE state IN ('scheduled', 'due') AND reason IN ('released_unsure', 'released_unsure_over_cap')",
    )
    .execute(tx)
    .await
    .map_err(failed("take back who was let go"))?;
    tracing::warn!(
        event = events::LEDGER_CAUTIOUS,
        reason,
        until = %millis(now),
        "every lifecycle event up to now needs a complete timeline before it is sent"
    );
    Ok(())
}

/// All gaps, as they are at one moment.
async fn gaps(from: impl Into<Through<'_>>) -> Result<Vec<lifecycle::Gap>, LedgerError> {
    let [before, from, until] =
        facts(from, [CAUTIOUS_BEFORE, CAUTIOUS_FROM, CAUTIOUS_UNTIL]).await?;
    let mut gaps = gaps_before(before)?;
    if let (Some(from), Some(until)) = (instant(from)?, instant(until)?) {
        gaps.push(lifecycle::Gap {
            from: millis(from),
            until: millis(until),
        });
    }
    Ok(gaps)
}

/// Those before the last one.
fn gaps_before(text: Option<String>) -> Result<Vec<lifecycle::Gap>, LedgerError> {
    let gaps = text.map(|text| serde_json::from_str(&text)).transpose();
    let gaps = gaps.map_err(|_not_json: serde_json::Error| LedgerError::Unreadable {
        what: "the times of which the ledger may know less than happened",
    })?;
    Ok(gaps.unwrap_or_default())
}

/// The clock was set back by `back` milliseconds: what lies ahead was planned by the wrong clock and moves by as much,
/// what seems to have happened later than now happened now. A run that comes too early finds nothing due and plans itself
/// again.
pub(super) async fn clamp(
    tx: &mut Transaction<'_>,
    now: i64,
    back: i64,
) -> Result<(), LedgerError> {
    const WHAT: &str = "follow the clock";
    for statement in [
        "UPDATE work SET \
           run_at = CASE WHEN run_at > $1 THEN max($1, run_at - $2) ELSE run_at END, \
           not_before = CASE WHEN not_before > $1 THEN max($1, not_before - $2) ELSE not_before END, \
           lease_until = CASE WHEN lease_until > $1 THEN max($1, lease_until - $2) ELSE lease_until END, \
           done_at = min(done_at, $1), urgent_since = min(urgent_since, $1), revived_at = min(revived_at, $1), \
           dead_at = min(dead_at, $1), first_triggered_at = min(first_triggered_at, $1) \
         WHERE max(run_at, not_before, coalesce(lease_until, 0), coalesce(done_at, 0), coalesce(urgent_since, 0), \
                   coalesce(revived_at, 0), coalesce(dead_at, 0), first_triggered_at) > $1",
        "UPDATE pauses SET until = max($1, until - $2), since = min(since, $1) WHERE until > $1",
        // What is waited for, and not the moment that the app named.
        "UPDATE outbox SET \
           not_before = CASE WHEN not_before > $1 THEN max($1, not_before - $2) ELSE not_before END, \
           due_at = CASE WHEN due_at > $1 AND state = 'scheduled' \
                          AND (reason IN ('when', 'after', 'rule_after', 'rule_failed', 'user_missing') \
                               OR reason LIKE 'released%') \
                         THEN max($1, due_at - $2) ELSE due_at END \
         WHERE state IN ('scheduled', 'due', 'sending', 'parked') AND max(due_at, coalesce(not_before, 0)) > $1",
    ] {
        query(statement)
            .bind(now)
            .bind(back)
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
    }
    for statement in [
        "UPDATE sweeps SET began_at = min(began_at, $1), covered_at = min(covered_at, $1), \
           finished_at = min(finished_at, $1) \
         WHERE max(coalesce(began_at, 0), coalesce(covered_at, 0), coalesce(finished_at, 0)) > $1",
        // The brake and `min_gap` ask when they were sent, and they were by now. When a request left whose answer is still waited
        // for stays as it was noted: a list that does not show it must reach back to then.
        "UPDATE outbox SET attempted_at = min(attempted_at, $1), sent_at = min(sent_at, $1) \
         WHERE state IN ('sent', 'unsure') AND max(coalesce(attempted_at, 0), coalesce(sent_at, 0)) > $1",
    ] {
        query(statement)
            .bind(now)
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
    }
    pull_gaps(tx, now, back).await
}

/// Nobody has to be careful longer than since the clock was put right. What began by the wrong clock began so much earlier.
async fn pull_gaps(tx: &mut Transaction<'_>, now: i64, back: i64) -> Result<(), LedgerError> {
    let began = |at: i64| if at > now { now.min(at - back) } else { at };
    for (name, pulled) in [
        (CAUTIOUS_FROM, &began as &(dyn Fn(i64) -> i64 + Sync)),
        (CAUTIOUS_UNTIL, &|at| now.min(at)),
        (UNHEARD, &|at| now.min(at)),
    ] {
        let at = instant_fact(&mut *tx, name).await?;
        if let Some(at) = at.filter(|at| *at > now) {
            set_fact(&mut *tx, name, &pulled(at).to_string()).await?;
        }
    }
    let mut before = gaps_before(fact(&mut *tx, CAUTIOUS_BEFORE).await?)?;
    if before.iter().any(|gap| gap.until > millis(now)) {
        for gap in &mut before {
            gap.from = millis(began(ms(gap.from)));
            gap.until = gap.until.min(millis(now));
        }
        set_fact(tx, CAUTIOUS_BEFORE, &json(&before)).await?;
    }
    Ok(())
}

/// Follows the clock, which this process saw go back. Of several processes the first pulls what was planned: the last
/// heartbeat of any of them tells the others that it is done.
pub(super) async fn follow_back(
    tx: &mut Transaction<'_>,
    now: i64,
    back: i64,
) -> Result<(), LedgerError> {
    if !tx.is_shared() {
        return clamp(tx, now, back).await;
    }
    if let Some(back) = set_back(tx, now).await? {
        clamp(tx, now, back).await?;
        set_fact(tx, "heartbeat", &now.to_string()).await?;
    }
    Ok(())
}

/// By how much the clock that all processes follow was set back since the last heartbeat of any of them, if it was. Until
/// the transaction ends no other process asks.
async fn set_back(tx: &mut Transaction<'_>, now: i64) -> Result<Option<i64>, LedgerError> {
    let last = query("SELECT value FROM meta WHERE key = 'heartbeat' FOR UPDATE")
        .fetch_text(tx)
        .await
        .map_err(failed("read the last heartbeat"))?
        .and_then(|text| text.parse::<i64>().ok());
    Ok(last.map(|last| last - now).filter(|back| *back > TOLERANCE))
}

/// Since when it may be that nobody listened, as long as nobody has looked for what happened then.
const UNHEARD: &str = "unheard";
/// Three heartbeats: between two that are further apart, nobody listened for longer than a start takes.
const A_START: i64 = 90_000;

impl Store {
    /// Says that somebody listens, and returns the gap before.
    pub(in super::super) async fn heartbeat(
        &self,
        now: Timestamp,
    ) -> Result<Option<Gap>, LedgerError> {
        self.look_back(now, true).await
    }

    /// Looks whether anybody listened, and goes on as if nobody had looked: a command that somebody types every minute
    /// hears nothing of what Crisp says.
    pub(in super::super) async fn notice_silence(&self, now: Timestamp) -> Result<(), LedgerError> {
        self.look_back(now, false).await.map(drop)
    }

    async fn look_back(&self, now: Timestamp, listens: bool) -> Result<Option<Gap>, LedgerError> {
        const WHAT: &str = "write the heartbeat";
        let at = ms(now);
        let mut writer = self.writer().await?;
        // Outside of the transaction, which a server that does not tell would end.
        let timeline = match &mut *writer {
            Connection::Sqlite(_) => None,
            Connection::Postgres(connection) => {
                connection.timeline().await.map_err(failed(WHAT))?
            }
        };
        let mut tx = begin(&mut writer, WHAT).await?;
        let has_other_history = note_timeline(&mut tx, timeline, at).await?;
        if let Some(process) = self.process.get() {
            process.beat(&mut tx, at).await?;
            process.ask(&mut tx, at).await?;
        }
        let mut back = self.watch_clock(at);
        if tx.is_shared() {
            back = set_back(&mut tx, at).await?;
        }
        if let Some(back) = back {
            clamp(&mut tx, at, back).await?;
        }
        let last = instant_fact(&mut tx, "heartbeat").await?;
        // Of two processes one is always a little behind.
        let latest = last
            .filter(|_| back.is_none())
            .map_or(at, |last| last.max(at));
        // Without a first one no silence has a beginning; and a clock that was set back is followed once.
        if listens || last.is_none() || back.is_some() {
            set_fact(&mut tx, "heartbeat", &latest.to_string()).await?;
        }
        let gap = last
            .filter(|last| at - last > span(self.settings.gap))
            .map(|last| Gap {
                from: millis(last),
                to: now,
            });
        if let Some(last) = last.filter(|last| at - last > A_START)
            && fact(&mut tx, UNHEARD).await?.is_none()
        {
            set_fact(&mut tx, UNHEARD, &last.to_string()).await?;
        }
        if let Some(gap) = gap {
            let from = ms(gap.from);
            if instant_fact(&mut tx, CAUTIOUS_FROM).await? == Some(from) {
                // The same silence goes on: it was told.
                set_fact(&mut tx, CAUTIOUS_UNTIL, &at.to_string()).await?;
            } else {
                be_cautious(&mut tx, from, at, "nobody listened for a while").await?;
            }
        }
        tx.commit().await.map_err(failed(WHAT))?;
        // What was committed last may be gone, and with it deliveries that nobody sends again.
        let since_the_switch = has_other_history.then(|| Gap {
            from: millis(last.unwrap_or(at).min(at)),
            to: now,
        });
        Ok(gap.or(since_the_switch))
    }

    /// Whether there was a time in which nobody listened and of which nobody has said that it is looked through.
    pub(in super::super) async fn is_unheard(&self) -> Result<bool, LedgerError> {
        Ok(fact(&self.readers, UNHEARD).await?.is_some())
    }

    /// Every website is being looked through for what happened then.
    pub(in super::super) async fn note_looking(&self) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        query("DELETE FROM meta WHERE key = $1")
            .bind(UNHEARD)
            .execute(&mut *writer)
            .await
            .map_err(failed("note that what nobody heard is looked for"))?;
        Ok(())
    }

    pub(in super::super) async fn last_gap(&self) -> Result<Option<Gap>, LedgerError> {
        let last = self.gaps().await?.pop();
        Ok(last.map(|gap| Gap {
            from: gap.from,
            to: gap.until,
        }))
    }

    pub(in super::super) async fn gaps(&self) -> Result<Vec<lifecycle::Gap>, LedgerError> {
        gaps(&self.readers).await
    }

    pub(in super::super) async fn cautious_until(&self) -> Result<Option<Timestamp>, LedgerError> {
        Ok(instant_fact(&self.readers, CAUTIOUS_UNTIL)
            .await?
            .map(millis))
    }
}
