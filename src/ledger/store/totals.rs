//! Totals: counted calls, the state of the whole, and the removal of what is too old.

use std::time::Duration;

use jiff::{Timestamp, civil::Date};

use crate::{clock::millis, lifecycle::OutboxState};

use super::{
    super::quota::{DayQuota, Health},
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms, span},
    engine::{Transaction, query, query_for},
    facts::instant_fact,
    pauses,
};

/// Adds calls to the day's count.
pub(super) async fn count_calls(
    tx: &mut Transaction<'_>,
    calls: &[(&'static str, u32)],
    day: Date,
) -> Result<(), LedgerError> {
    for (purpose, count) in calls.iter().filter(|(_, count)| *count > 0) {
        query(
            "INSERT INTO quota (day, purpose, calls) VALUES ($1, $2, $3) \
             ON CONFLICT (day, purpose) DO UPDATE SET calls = quota.calls + excluded.calls",
        )
        .bind(day.to_string())
        .bind(*purpose)
        .bind(i64::from(*count))
        .execute(&mut *tx)
        .await
        .map_err(failed("count calls"))?;
    }
    Ok(())
}

impl Store {
    pub(in super::super) fn quota_day(&self, at: Timestamp) -> Date {
        self.settings.quota_day(at)
    }

    pub(in super::super) async fn count_calls(
        &self,
        calls: &[(&'static str, u32)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, "count calls").await?;
        count_calls(&mut tx, calls, self.settings.quota_day(now)).await?;
        tx.commit().await.map_err(failed("count calls"))
    }

    pub(in super::super) async fn quota(&self, day: Date) -> Result<Vec<DayQuota>, LedgerError> {
        query("SELECT purpose, calls FROM quota WHERE day = $1 ORDER BY purpose")
            .bind(day.to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(failed("read the counted calls"))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "a count");
                Ok(DayQuota {
                    day,
                    purpose: cells.text("purpose")?,
                    calls: cells.total("calls")?,
                })
            })
            .collect()
    }

    /// Removes in small steps, so that acceptances wait for one of them only.
    pub(in super::super) async fn prune(
        &self,
        keep: Duration,
        now: Timestamp,
    ) -> Result<u64, LedgerError> {
        const STEP: i64 = 2_000;
        let before = ms(now).saturating_sub(span(keep));
        let mut removed = 0;
        for statement in [
            // Numbers and times rise together: the oldest come first, and no index over time is needed.
            "DELETE FROM deliveries WHERE received_at < $1 \
               AND id IN (SELECT id FROM deliveries ORDER BY id LIMIT $2)",
            "DELETE FROM traces WHERE at < $1 AND id IN (SELECT id FROM traces ORDER BY id LIMIT $2)",
        ] {
            loop {
                let mut writer = self.writer().await?;
                let done = query(statement)
                    .bind(before)
                    .bind(STEP)
                    .execute(&mut *writer)
                    .await
                    .map_err(failed("remove what is too old"))?;
                removed += done;
                if done < STEP.unsigned_abs() {
                    break;
                }
            }
        }
        // Work rows are looked for beside the writer, because no index leads to the idle ones: page by page, in the order in
        // which they lie.
        let mut after: [String; 3] = Default::default();
        loop {
            let idle = self.idle_work(&after, before, STEP).await?;
            let Some(last) = idle.last() else {
                break;
            };
            after.clone_from(last);
            let mut writer = self.writer().await?;
            let done = query(
                "DELETE FROM work WHERE want_gen <= done_gen AND state = 'ready' AND lease_token IS NULL \
                   AND coalesce(done_at, first_triggered_at) < $1 AND (kind, website, key) IN \
                     (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each($2))",
            )
            .bind(before)
            .bind(json(&idle))
            .execute(&mut *writer)
            .await
            .map_err(failed("remove what is too old"))?;
            removed += done;
        }
        Ok(removed)
    }

    /// Kind, website and key of work that was done before an instant, behind a row in the table's order.
    async fn idle_work(
        &self,
        after: &[String; 3],
        before: i64,
        limit: i64,
    ) -> Result<Vec<[String; 3]>, LedgerError> {
        query(
            "SELECT kind, website, key FROM work \
             WHERE (kind, website, key) > ($1, $2, $3) \
               AND want_gen <= done_gen AND state = 'ready' AND lease_token IS NULL \
               AND coalesce(done_at, first_triggered_at) < $4 \
             ORDER BY kind, website, key LIMIT $5",
        )
        .bind(&after[0])
        .bind(&after[1])
        .bind(&after[2])
        .bind(before)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for what is too old"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "a work row");
            Ok([
                cells.text("kind")?,
                cells.text("website")?,
                cells.text("key")?,
            ])
        })
        .collect()
    }

    pub(in super::super) async fn health(&self, now: Timestamp) -> Result<Health, LedgerError> {
        const WHAT: &str = "look at the state of the ledger";
        let row = query_for(
            "SELECT count(*) AS waiting, count(CASE WHEN due_at <= $1 THEN 1 END) AS due, \
               min(CASE WHEN due_at <= $1 THEN due_at END) AS oldest_due, \
               (SELECT count(*) FROM work WHERE lease_token IS NOT NULL) AS leased, \
               (SELECT count(*) FROM work WHERE state = 'dead') AS dead, \
               (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()) AS file_bytes \
             FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL",
            "SELECT count(*) AS waiting, count(CASE WHEN due_at <= $1 THEN 1 END) AS due, \
               min(CASE WHEN due_at <= $1 THEN due_at END) AS oldest_due, \
               (SELECT count(*) FROM work WHERE lease_token IS NOT NULL) AS leased, \
               (SELECT count(*) FROM work WHERE state = 'dead') AS dead, \
               (SELECT CAST(sum(pg_total_relation_size(c.oid)) AS BIGINT) FROM pg_class c \
                  JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE n.nspname = 'crisp_sync' AND c.relkind = 'r') AS file_bytes \
             FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL",
        )
        .bind(ms(now))
        .fetch_one(&self.readers)
        .await
        .map_err(failed(WHAT))?;
        let cells = Cells::of(&row, "the state of the ledger");
        let leased = cells.total("leased")?;
        let outbox = query("SELECT state, count(*) AS rows FROM outbox GROUP BY state")
            .fetch_all(&self.readers)
            .await
            .map_err(failed(WHAT))?
            .iter()
            .map(|row| {
                let cells = Cells::of(row, "the state of the outbox");
                Ok((
                    cells.parsed("state", OutboxState::parse)?,
                    cells.total("rows")?,
                ))
            })
            .collect::<Result<_, LedgerError>>()?;
        Ok(Health {
            pending: cells.total("waiting")? + leased,
            due: cells.total("due")?,
            leased,
            dead: cells.total("dead")?,
            oldest_due: cells.instant_if("oldest_due")?,
            pauses: pauses::list(&self.readers).await?,
            quarantined: 0,
            cautious_until: self.cautious_until().await?,
            heartbeat_at: instant_fact(&self.readers, "heartbeat").await?.map(millis),
            file_bytes: cells.total("file_bytes")?,
            outbox,
        })
    }
}
