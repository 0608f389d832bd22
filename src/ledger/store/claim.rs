//! Claiming: leases that ran out, then what the [selection](super::selection) takes.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use uuid::Uuid;

use crate::{clock::millis, ids::WebsiteId};

use super::{
    super::{
        quota::PauseScope,
        trigger::Trigger,
        work::{Claim, WorkKind},
    },
    LedgerError, LedgerSettings, Store, begin,
    cells::{Cells, failed, json, ms, span},
    engine::{Row, Transaction, query, query_for},
    heartbeat, held, pauses,
    selection::candidates,
    work::ROW,
};

/// Takes rows back whose lease ran out: a crash is counted, and the mirror is dirty. After the first crash a row is due at
/// once. Each further one makes it wait longer, so that a process that something else kills again and again does not use up
/// a row that happens to be in its hand each time; only after all of them is it dead. A probe among
/// them found nothing out, and the next may go.
pub(super) async fn reap(
    tx: &mut Transaction<'_>,
    settings: &LedgerSettings,
    now: i64,
) -> Result<(), LedgerError> {
    macro_rules! taken_back {
        ($rows:literal) => {
            concat!(
                "UPDATE work SET lease_token = NULL, lease_until = NULL, claimed_gen = NULL, \
                   crashes = crashes + 1, dirt = dirt + 1, run_at = min(run_at, $1), \
                   not_before = max(not_before, $1 + CASE crashes WHEN 0 THEN 0 WHEN 1 THEN 60000 \
                     WHEN 2 THEN 120000 WHEN 3 THEN 240000 WHEN 4 THEN 480000 ELSE 960000 END), \
                   state = CASE WHEN crashes + 1 >= $3 THEN 'dead' ELSE 'ready' END, \
                   dead_at = CASE WHEN crashes + 1 >= $3 THEN $1 ELSE dead_at END, \
                   last_error = 'the lease ran out before the result was settled' \
                 WHERE ",
                $rows,
                " RETURNING kind, website, key, probe"
            )
        };
    }
    let rows = query_for(
        taken_back!("lease_token IS NOT NULL AND (lease_until <= $1 OR lease_until > $1 + $2)"),
        // What another process takes back at this moment is none of ours; waiting for it would be a deadlock.
        taken_back!(
            "(kind, website, key) IN (SELECT kind, website, key FROM work \
               WHERE lease_token IS NOT NULL AND (lease_until <= $1 OR lease_until > $1 + $2) \
               FOR UPDATE SKIP LOCKED)"
        ),
    )
    .bind(now)
    .bind(span(settings.longest_lease))
    .bind(i64::from(settings.crash_limit))
    .fetch_all(&mut *tx)
    .await
    .map_err(failed("take back expired leases"))?;
    for row in &rows {
        let cells = Cells::of(row, ROW);
        if cells.flag("probe")? {
            let kind = cells.parsed("kind", WorkKind::parse)?;
            pauses::probed(tx, &cells.text("website")?, kind, false, now).await?;
        }
        if cells.text("kind")? == WorkKind::Conversation.as_str() {
            held::spoil(tx, &cells.text("website")?, &cells.text("key")?).await?;
        }
    }
    Ok(())
}

impl Store {
    pub(in super::super) async fn claim(
        &self,
        limit: u32,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claim>, LedgerError> {
        const WHAT: &str = "claim work";
        if limit == 0 || self.older.load(Ordering::SeqCst) {
            return Ok(Vec::new());
        }
        let now = ms(now);
        let lease_until = now + span(lease.min(self.settings.longest_lease));
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        if let Some(process) = self.process.get()
            && process.ask(&mut tx, now).await?
        {
            tx.rollback().await.map_err(failed(WHAT))?;
            return Ok(Vec::new());
        }
        if let Some(back) = self.watch_clock(now) {
            heartbeat::follow_back(&mut tx, now, back).await?;
        }
        reap(&mut tx, &self.settings, now).await?;
        let chosen = candidates(&mut tx, i64::from(limit), now).await?;
        let mut claims = Vec::new();
        if !chosen.is_empty() {
            let chosen: Vec<_> = chosen
                .iter()
                .map(|((kind, website, key), probe)| (kind, website, key, i64::from(*probe)))
                .collect();
            let rows = query(
                "UPDATE work SET lease_token = $2, lease_until = $3, claimed_gen = want_gen, claimed_dirt = dirt, \
                   probe = CAST(chosen.value ->> 3 AS BIGINT) \
                 FROM json_each($1) AS chosen \
                 WHERE work.kind = chosen.value ->> 0 AND work.website = chosen.value ->> 1 \
                   AND work.key = chosen.value ->> 2 \
                 RETURNING kind, website, work.key, claimed_gen, lease_token, attempts, crashes, trigger, priority, \
                   first_triggered_at, lease_until, probe, due_at",
            )
            .bind(json(&chosen))
            .bind(Uuid::new_v4().simple().to_string())
            .bind(lease_until)
            .fetch_all(&mut tx)
            .await
            .map_err(failed(WHAT))?;
            for row in &rows {
                let due_at = Cells::of(row, ROW).int("due_at")?;
                claims.push((due_at, claim(row)?));
            }
        }
        tx.commit().await.map_err(failed(WHAT))?;
        claims.sort_by_key(|(due_at, claim)| (claim.priority, *due_at));
        Ok(claims.into_iter().map(|(_, claim)| claim).collect())
    }

    pub(in super::super) async fn next_due(
        &self,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, LedgerError> {
        // Whether it is outdated still, only a claim can tell.
        if self.older.load(Ordering::SeqCst) || self.is_outdated() {
            return Ok(None);
        }
        // With the pause that holds up this kind alone, if there is one.
        let calling: Vec<_> = (WorkKind::ALL.iter().filter(|kind| kind.calls_crisp()))
            .map(|kind| {
                (
                    kind.as_str(),
                    kind.is_about_people().then_some(PauseScope::People),
                )
            })
            .collect();
        // A paused row is due when it is due and a probe may go. Without a pause only the first entry of the index per
        // priority is looked at.
        let pauses = pauses::list(&self.readers).await?;
        let statement = if pauses.is_empty() {
            "SELECT min(at) FROM ( \
               SELECT min(CASE WHEN lease_until > $2 + $3 THEN $2 ELSE lease_until END) AS at FROM work \
               WHERE lease_token IS NOT NULL \
               UNION ALL SELECT (SELECT due_at FROM work WHERE state = 'ready' AND want_gen > done_gen \
                 AND lease_token IS NULL AND priority = CAST(p.value ->> 0 AS BIGINT) ORDER BY due_at LIMIT 1) \
               FROM json_each('[[0],[1],[2],[3]]') AS p) AS soonest"
        } else if pauses.iter().all(|pause| pause.scope == PauseScope::Token) {
            // All that is more urgent than the last calls Crisp, so that here too the first entry speaks for the rest.
            "SELECT min(at) FROM ( \
               SELECT min(CASE WHEN lease_until > $2 + $3 THEN $2 ELSE lease_until END) AS at FROM work \
               WHERE lease_token IS NOT NULL \
               UNION ALL SELECT (SELECT max(due_at, coalesce((SELECT until FROM pauses WHERE scope = 'token'), 0)) \
                 FROM work WHERE state = 'ready' AND want_gen > done_gen \
                 AND lease_token IS NULL AND priority = CAST(p.value ->> 0 AS BIGINT) ORDER BY due_at LIMIT 1) \
               FROM json_each('[[0],[1],[2]]') AS p \
               UNION ALL SELECT min(CASE WHEN kind IN (SELECT value ->> 0 FROM json_each($1)) THEN max(due_at, \
                 coalesce((SELECT until FROM pauses WHERE scope = 'token'), 0)) ELSE due_at END) \
               FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL AND priority = 3) AS soonest"
        } else {
            "SELECT min(at) FROM ( \
               SELECT min(CASE WHEN lease_until > $2 + $3 THEN $2 ELSE lease_until END) AS at FROM work \
               WHERE lease_token IS NOT NULL \
               UNION ALL SELECT min(CASE WHEN kind IN (SELECT value ->> 0 FROM json_each($1)) THEN max(due_at, \
                 coalesce((SELECT until FROM pauses WHERE scope = 'token'), 0), \
                 coalesce((SELECT max(until) FROM pauses WHERE pauses.website = work.website AND (scope = 'website' \
                   OR scope IN (SELECT value ->> 1 FROM json_each($1) WHERE value ->> 0 = work.kind))), 0)) \
                 ELSE due_at END) \
               FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL) AS soonest"
        };
        let at: Option<i64> = query(statement)
            .bind(json(&calling))
            .bind(ms(now))
            .bind(span(self.settings.longest_lease))
            .fetch_number(&self.readers)
            .await
            .map_err(failed("look for the next due work"))?;
        Ok(at.map(millis))
    }
}

pub(super) fn claim(row: &Row) -> Result<Claim, LedgerError> {
    let cells = Cells::of(row, ROW);
    Ok(Claim {
        kind: cells.parsed("kind", WorkKind::parse)?,
        website: cells.parsed("website", |text| WebsiteId::parse(text).ok())?,
        key: cells.text("key")?,
        generation: cells.int("claimed_gen")?,
        token: cells.text("lease_token")?,
        attempt: cells.count("attempts")?.saturating_add(1),
        crashes: cells.count("crashes")?,
        trigger: cells.parsed("trigger", Trigger::parse)?,
        priority: u8::try_from(cells.int("priority")?).unwrap_or(u8::MAX),
        first_triggered_at: cells.instant("first_triggered_at")?,
        lease_until: cells.instant("lease_until")?,
        probe: cells.flag("probe")?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Trigger, WorkKind};
    use crate::ledger::trigger::priority;

    #[test]
    fn the_last_priority_alone_holds_what_never_calls_crisp() {
        for kind in WorkKind::ALL {
            for trigger in Trigger::ALL {
                let last = priority(*kind, *trigger) == 3;
                assert!(last || kind.calls_crisp(), "{kind} {trigger}");
            }
        }
    }
}
