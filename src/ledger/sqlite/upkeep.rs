//! What keeps the ledger itself in order: its secret, its place, the clock, definitions, counters, pruning.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use secrecy::SecretSlice;
use sqlx::{SqliteConnection, SqliteExecutor};

use crate::{clock::millis, lifecycle::OutboxState, telemetry::events};

use super::{
    super::quota::{DayQuota, Gap, Health, Standing},
    LedgerError, Store, begin,
    cells::{Cells, failed, json, ms, span},
    pauses,
};

async fn fact(
    from: impl SqliteExecutor<'_>,
    key: &'static str,
) -> Result<Option<String>, LedgerError> {
    sqlx::query_scalar("SELECT value FROM meta WHERE key = ?1")
        .bind(key)
        .fetch_optional(from)
        .await
        .map_err(failed("read a fact about the ledger"))
}

async fn instant_fact(
    from: impl SqliteExecutor<'_>,
    key: &'static str,
) -> Result<Option<i64>, LedgerError> {
    fact(from, key)
        .await?
        .map(|text| {
            text.parse().map_err(
                |_not_a_number: std::num::ParseIntError| LedgerError::Unreadable {
                    what: "a fact about the ledger",
                },
            )
        })
        .transpose()
}

async fn set_fact(
    to: impl SqliteExecutor<'_>,
    key: &'static str,
    value: &str,
) -> Result<(), LedgerError> {
    sqlx::query(
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(to)
    .await
    .map_err(failed("note a fact about the ledger"))?;
    Ok(())
}

/// The secret for pseudonyms, made with the ledger, beside its id.
pub(super) async fn secret(writer: &mut SqliteConnection) -> Result<SecretSlice<u8>, LedgerError> {
    const WHAT: &str = "make the ledger's secret";
    let text = if let Some(text) = fact(&mut *writer, "secret").await? {
        text
    } else {
        let mut tx = begin(writer, WHAT).await?;
        let text = hex::encode(rand::random::<[u8; 32]>());
        set_fact(&mut *tx, "secret", &text).await?;
        set_fact(&mut *tx, "id", &uuid::Uuid::new_v4().to_string()).await?;
        tx.commit().await.map_err(failed(WHAT))?;
        text
    };
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(SecretSlice::from(bytes)),
        _ => Err(LedgerError::Unreadable {
            what: "the ledger's secret",
        }),
    }
}

/// Takes the ledger over from the process before. Its leases are over, because only one process can have the file; a
/// copy is noticed by its place; a clock that was set back since the last heartbeat pulls what it had planned.
pub(super) async fn take_over(
    writer: &mut SqliteConnection,
    place: &str,
    now: i64,
) -> Result<i64, LedgerError> {
    const WHAT: &str = "take the ledger over";
    let mut tx = begin(writer, WHAT).await?;
    if let Some(heartbeat) = instant_fact(&mut *tx, "heartbeat").await?
        && heartbeat > now
    {
        clamp(&mut tx, now, heartbeat - now).await?;
        set_fact(&mut *tx, "heartbeat", &now.to_string()).await?;
    }
    sqlx::query(
        "UPDATE work SET lease_until = ?1 WHERE lease_token IS NOT NULL AND lease_until > ?1",
    )
    .bind(now)
    .execute(&mut *tx)
    .await
    .map_err(failed(WHAT))?;
    match fact(&mut *tx, "place").await? {
        Some(known) if known == place => {}
        known => {
            set_fact(&mut *tx, "place", place).await?;
            if known.is_some() {
                be_cautious(&mut tx, now, "the ledger is a copy, or was moved").await?;
            }
        }
    }
    tx.commit().await.map_err(failed(WHAT))?;
    Ok(now)
}

/// Until `now`, nobody knows what happened.
async fn be_cautious(
    tx: &mut SqliteConnection,
    now: i64,
    reason: &'static str,
) -> Result<(), LedgerError> {
    set_fact(tx, "cautious_until", &now.to_string()).await?;
    tracing::warn!(
        event = events::LEDGER_CAUTIOUS,
        reason,
        until = %millis(now),
        "every lifecycle event up to now needs a complete timeline before it is sent"
    );
    Ok(())
}

/// The clock was set back by `back` milliseconds: what lies ahead was planned by the wrong clock and moves by as much,
/// what seems to have happened later than now happened now. A run that comes too early finds nothing due and plans itself
/// again.
pub(super) async fn clamp(
    tx: &mut SqliteConnection,
    now: i64,
    back: i64,
) -> Result<(), LedgerError> {
    for statement in [
        "UPDATE work SET \
           run_at = CASE WHEN run_at > ?1 THEN max(?1, run_at - ?2) ELSE run_at END, \
           not_before = CASE WHEN not_before > ?1 THEN max(?1, not_before - ?2) ELSE not_before END, \
           lease_until = CASE WHEN lease_until > ?1 THEN max(?1, lease_until - ?2) ELSE lease_until END, \
           done_at = min(done_at, ?1), urgent_since = min(urgent_since, ?1), revived_at = min(revived_at, ?1), \
           dead_at = min(dead_at, ?1), first_triggered_at = min(first_triggered_at, ?1) \
         WHERE max(run_at, not_before, coalesce(lease_until, 0), coalesce(done_at, 0), coalesce(urgent_since, 0), \
                   coalesce(revived_at, 0), coalesce(dead_at, 0), first_triggered_at) > ?1",
        "UPDATE pauses SET until = max(?1, until - ?2), since = min(since, ?1) WHERE until > ?1",
    ] {
        sqlx::query(statement)
            .bind(now)
            .bind(back)
            .execute(&mut *tx)
            .await
            .map_err(failed("follow the clock"))?;
    }
    Ok(())
}

/// Keeps the file from growing beyond so many bytes.
pub(super) async fn limit_size(
    writer: &mut SqliteConnection,
    bytes: u64,
) -> Result<(), LedgerError> {
    const WHAT: &str = "limit the ledger's size";
    let page: i64 = sqlx::query_scalar("PRAGMA page_size")
        .fetch_one(&mut *writer)
        .await
        .map_err(failed(WHAT))?;
    let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
    // A pragma takes no parameters; a number needs no quoting.
    let statement = format!("PRAGMA max_page_count = {}", pages.max(1));
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(writer)
        .await
        .map_err(failed(WHAT))?;
    Ok(())
}

/// Adds calls to the day's count.
pub(super) async fn count_calls(
    tx: &mut SqliteConnection,
    calls: &[(&'static str, u32)],
    now: Timestamp,
) -> Result<(), LedgerError> {
    for (purpose, count) in calls.iter().filter(|(_, count)| *count > 0) {
        sqlx::query(
            "INSERT INTO quota (day, purpose, calls) VALUES (?1, ?2, ?3) \
             ON CONFLICT (day, purpose) DO UPDATE SET calls = quota.calls + excluded.calls",
        )
        .bind(now.to_zoned(TimeZone::UTC).date().to_string())
        .bind(*purpose)
        .bind(i64::from(*count))
        .execute(&mut *tx)
        .await
        .map_err(failed("count calls"))?;
    }
    Ok(())
}

impl Store {
    pub(in super::super) async fn heartbeat(
        &self,
        now: Timestamp,
    ) -> Result<Option<Gap>, LedgerError> {
        const WHAT: &str = "write the heartbeat";
        let at = ms(now);
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        if let Some(back) = self.watch_clock(at) {
            clamp(&mut tx, at, back).await?;
        }
        let last = instant_fact(&mut *tx, "heartbeat").await?;
        set_fact(&mut *tx, "heartbeat", &at.to_string()).await?;
        let gap = last
            .filter(|last| at - last > span(self.settings.gap))
            .map(|last| Gap {
                from: millis(last),
                to: now,
            });
        if gap.is_some() {
            be_cautious(&mut tx, at, "nobody listened for a while").await?;
        }
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(gap)
    }

    pub(in super::super) async fn cautious_until(&self) -> Result<Option<Timestamp>, LedgerError> {
        Ok(instant_fact(&self.readers, "cautious_until")
            .await?
            .map(millis))
    }

    pub(in super::super) async fn note_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<Standing, LedgerError> {
        const WHAT: &str = "note the definition";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        sqlx::query(
            "INSERT INTO definitions (hash, noted_at) VALUES (?1, ?2) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash)
        .bind(ms(now))
        .execute(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
        let newest: String =
            sqlx::query_scalar("SELECT hash FROM definitions ORDER BY number DESC LIMIT 1")
                .fetch_one(&mut *tx)
                .await
                .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        let older = newest != hash;
        self.older.store(older, Ordering::SeqCst);
        Ok(if older {
            Standing::Older
        } else {
            Standing::Current
        })
    }

    pub(in super::super) async fn adopt_definition(
        &self,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        const WHAT: &str = "adopt the definition";
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        sqlx::query("DELETE FROM definitions WHERE hash = ?1")
            .bind(hash)
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
        sqlx::query("INSERT INTO definitions (hash, noted_at) VALUES (?1, ?2)")
            .bind(hash)
            .bind(ms(now))
            .execute(&mut *tx)
            .await
            .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        self.older.store(false, Ordering::SeqCst);
        Ok(())
    }

    pub(in super::super) async fn count_calls(
        &self,
        calls: &[(&'static str, u32)],
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, "count calls").await?;
        count_calls(&mut tx, calls, now).await?;
        tx.commit().await.map_err(failed("count calls"))
    }

    pub(in super::super) async fn quota(&self, day: Date) -> Result<Vec<DayQuota>, LedgerError> {
        sqlx::query("SELECT purpose, calls FROM quota WHERE day = ?1 ORDER BY purpose")
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
        const STEP: u64 = 2_000;
        let before = ms(now).saturating_sub(span(keep));
        let mut removed = 0;
        for statement in [
            // Numbers and times rise together: the oldest come first, and no index over time is needed.
            "DELETE FROM deliveries WHERE received_at < ?1 \
               AND id IN (SELECT id FROM deliveries ORDER BY id LIMIT ?2)",
            "DELETE FROM traces WHERE at < ?1 AND id IN (SELECT id FROM traces ORDER BY id LIMIT ?2)",
        ] {
            loop {
                let mut writer = self.writer().await?;
                let done = sqlx::query(statement)
                    .bind(before)
                    .bind(i64::try_from(STEP).unwrap_or(i64::MAX))
                    .execute(&mut *writer)
                    .await
                    .map_err(failed("remove what is too old"))?;
                removed += done.rows_affected();
                if done.rows_affected() < STEP {
                    break;
                }
            }
        }
        // Work rows are looked for beside the writer, because no index leads to the idle ones.
        let idle = sqlx::query(
            "SELECT kind, website, key FROM work \
             WHERE want_gen <= done_gen AND state = 'ready' AND lease_token IS NULL AND done_at < ?1",
        )
        .bind(before)
        .fetch_all(&self.readers)
        .await
        .map_err(failed("look for what is too old"))?
        .iter()
        .map(|row| {
            let cells = Cells::of(row, "a work row");
            Ok((
                cells.text("kind")?,
                cells.text("website")?,
                cells.text("key")?,
            ))
        })
        .collect::<Result<Vec<_>, LedgerError>>()?;
        for step in idle.chunks(usize::try_from(STEP).unwrap_or(usize::MAX)) {
            let mut writer = self.writer().await?;
            let done = sqlx::query(
                "DELETE FROM work WHERE want_gen <= done_gen AND state = 'ready' AND lease_token IS NULL \
                   AND done_at < ?1 AND (kind, website, key) IN \
                     (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?2))",
            )
            .bind(before)
            .bind(json(&step))
            .execute(&mut *writer)
            .await
            .map_err(failed("remove what is too old"))?;
            removed += done.rows_affected();
        }
        Ok(removed)
    }

    pub(in super::super) async fn health(&self, now: Timestamp) -> Result<Health, LedgerError> {
        const WHAT: &str = "look at the state of the ledger";
        let row = sqlx::query(
            "SELECT count(*) AS waiting, coalesce(sum(due_at <= ?1), 0) AS due, \
               min(CASE WHEN due_at <= ?1 THEN due_at END) AS oldest_due, \
               (SELECT count(*) FROM work WHERE lease_token IS NOT NULL) AS leased, \
               (SELECT count(*) FROM work WHERE state = 'dead') AS dead, \
               (SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()) AS file_bytes \
             FROM work WHERE state = 'ready' AND want_gen > done_gen AND lease_token IS NULL",
        )
        .bind(ms(now))
        .fetch_one(&self.readers)
        .await
        .map_err(failed(WHAT))?;
        let cells = Cells::of(&row, "the state of the ledger");
        let leased = cells.total("leased")?;
        let outbox = sqlx::query("SELECT state, count(*) AS rows FROM outbox GROUP BY state")
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
