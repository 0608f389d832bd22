//! What keeps the ledger itself in order: its secret, its place, the clock, the definitions it was worked with.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use secrecy::SecretSlice;

use crate::{clock::millis, telemetry::events};

use super::{
    super::quota::{Gap, Standing},
    LedgerError, Store, begin,
    cells::{failed, ms, span},
    engine::{Connection, Through, Transaction, query},
};

async fn fact(
    from: impl Into<Through<'_>>,
    key: &'static str,
) -> Result<Option<String>, LedgerError> {
    query("SELECT value FROM meta WHERE key = $1")
        .bind(key)
        .fetch_text(from)
        .await
        .map_err(failed("read a fact about the ledger"))
}

pub(super) async fn instant_fact(
    from: impl Into<Through<'_>>,
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

pub(super) async fn set_fact(
    to: impl Into<Through<'_>>,
    key: &'static str,
    value: &str,
) -> Result<(), LedgerError> {
    query(
        "INSERT INTO meta (key, value) VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
    )
    .bind(key)
    .bind(value)
    .execute(to)
    .await
    .map_err(failed("note a fact about the ledger"))?;
    Ok(())
}

/// The secret for pseudonyms, made with the ledger, beside its id.
pub(super) async fn secret(writer: &mut Connection) -> Result<SecretSlice<u8>, LedgerError> {
    const WHAT: &str = "make the ledger's secret";
    let text = if let Some(text) = fact(&mut *writer, "secret").await? {
        text
    } else {
        let mut tx = begin(writer, WHAT).await?;
        let text = hex::encode(rand::random::<[u8; 32]>());
        set_fact(&mut tx, "secret", &text).await?;
        set_fact(&mut tx, "id", &uuid::Uuid::new_v4().to_string()).await?;
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
    writer: &mut Connection,
    place: &str,
    now: i64,
) -> Result<i64, LedgerError> {
    const WHAT: &str = "take the ledger over";
    let mut tx = begin(writer, WHAT).await?;
    if let Some(heartbeat) = instant_fact(&mut tx, "heartbeat").await?
        && heartbeat > now
    {
        clamp(&mut tx, now, heartbeat - now).await?;
        set_fact(&mut tx, "heartbeat", &now.to_string()).await?;
    }
    query("UPDATE work SET lease_until = $1 WHERE lease_token IS NOT NULL AND lease_until > $1")
        .bind(now)
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
    match fact(&mut tx, "place").await? {
        Some(known) if known == place => {}
        known => {
            set_fact(&mut tx, "place", place).await?;
            if known.is_some() {
                let since = instant_fact(&mut tx, "heartbeat").await?.unwrap_or(now);
                be_cautious(&mut tx, since, now, "the ledger is a copy, or was moved").await?;
            }
        }
    }
    tx.commit().await.map_err(failed(WHAT))?;
    Ok(now)
}

/// Between `since` and `now`, more may have happened than the ledger knows.
async fn be_cautious(
    tx: &mut Transaction<'_>,
    since: i64,
    now: i64,
    reason: &'static str,
) -> Result<(), LedgerError> {
    set_fact(&mut *tx, "cautious_from", &since.to_string()).await?;
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
    tx: &mut Transaction<'_>,
    now: i64,
    back: i64,
) -> Result<(), LedgerError> {
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
    ] {
        query(statement)
            .bind(now)
            .bind(back)
            .execute(&mut *tx)
            .await
            .map_err(failed("follow the clock"))?;
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
        let last = instant_fact(&mut tx, "heartbeat").await?;
        set_fact(&mut tx, "heartbeat", &at.to_string()).await?;
        let gap = last
            .filter(|last| at - last > span(self.settings.gap))
            .map(|last| Gap {
                from: millis(last),
                to: now,
            });
        if let Some(gap) = gap {
            be_cautious(&mut tx, ms(gap.from), at, "nobody listened for a while").await?;
        }
        tx.commit().await.map_err(failed(WHAT))?;
        Ok(gap)
    }

    pub(in super::super) async fn last_gap(&self) -> Result<Option<Gap>, LedgerError> {
        let from = instant_fact(&self.readers, "cautious_from").await?;
        let to = instant_fact(&self.readers, "cautious_until").await?;
        Ok(from.zip(to).map(|(from, to)| Gap {
            from: millis(from),
            to: millis(to),
        }))
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
        query(
            "INSERT INTO definitions (hash, noted_at) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(hash)
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        let newest = query("SELECT hash FROM definitions ORDER BY number DESC LIMIT 1")
            .fetch_text(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        let older = newest.as_deref() != Some(hash);
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
        query("DELETE FROM definitions WHERE hash = $1")
            .bind(hash)
            .execute(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        query("INSERT INTO definitions (hash, noted_at) VALUES ($1, $2)")
            .bind(hash)
            .bind(ms(now))
            .execute(&mut tx)
            .await
            .map_err(failed(WHAT))?;
        tx.commit().await.map_err(failed(WHAT))?;
        self.older.store(false, Ordering::SeqCst);
        Ok(())
    }
}
