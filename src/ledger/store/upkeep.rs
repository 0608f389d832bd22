//! What keeps the ledger itself in order: its secret, its place, the clock, the definitions it was worked with.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use secrecy::SecretSlice;
use sqlx::{Connection as _, PgConnection};

use crate::{clock::millis, telemetry::events};

use super::{
    super::quota::{Gap, Standing},
    LedgerError, Store, TOLERANCE, begin,
    cells::{failed, json, ms, span},
    engine::{Connection, Through, Transaction, query, query_for},
    postgres::Place,
};

pub(super) async fn fact(
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

/// Where several processes write, waits for its turn at something that has no row to lock. It lasts to the end of the
/// transaction.
pub(super) async fn turn(tx: &mut Transaction<'_>, at: &[&str]) -> Result<(), LedgerError> {
    if tx.is_shared() {
        query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0)) IS NULL")
            .bind(json(&at))
            .fetch_number(tx)
            .await
            .map_err(failed("wait for a turn"))?;
    }
    Ok(())
}

/// The secret for pseudonyms, made with the ledger, beside its id.
pub(super) async fn secret<C>(writer: &mut C) -> Result<SecretSlice<u8>, LedgerError>
where
    for<'a> Through<'a>: From<&'a mut C>,
{
    let text = if let Some(text) = fact(&mut *writer, "secret").await? {
        text
    } else {
        // Nobody else is opening the ledger now. The secret comes last: with it, both are there.
        set_fact(&mut *writer, "id", &uuid::Uuid::new_v4().to_string()).await?;
        let text = hex::encode(rand::random::<[u8; 32]>());
        set_fact(&mut *writer, "secret", &text).await?;
        text
    };
    match hex::decode(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(SecretSlice::from(bytes)),
        _ => Err(LedgerError::Unreadable {
            what: "the ledger's secret",
        }),
    }
}

/// Takes a file over from the process before. Its leases are over, because only one process can have the file; a copy is
/// noticed by its place; a clock that was set back since the last heartbeat pulls what it had planned.
pub(super) async fn take_over(
    writer: &mut Connection,
    place: &str,
    now: i64,
) -> Result<(), LedgerError> {
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
    note_home(&mut tx, place, now).await?;
    tx.commit().await.map_err(failed(WHAT))
}

/// Joins the processes that share a server's ledger: their leases are none of ours.
pub(super) async fn join(
    connection: &mut PgConnection,
    place: &Place,
    now: i64,
) -> Result<(), LedgerError> {
    const WHAT: &str = "join the ledger";
    let tx = connection.begin().await.map_err(failed(WHAT))?;
    let mut tx = Transaction::Postgres(tx, None);
    note_home(&mut tx, &place.name, now).await?;
    note_timeline(&mut tx, place.timeline, now).await?;
    tx.commit().await.map_err(failed(WHAT))
}

/// Notes where the ledger lies. One that was armed elsewhere tells Crisp nothing here until a person says so: it may be a
/// copy of production on a machine for tests, or yesterday's backup, and its original may be at work.
async fn note_home(tx: &mut Transaction<'_>, place: &str, now: i64) -> Result<(), LedgerError> {
    const COPIED: &str = "the ledger is a copy, or was moved";
    if !note_place(tx, PLACE, place, now, COPIED).await? {
        return Ok(());
    }
    let armed = query("SELECT count(*) FROM armings")
        .fetch_number(&mut *tx)
        .await
        .map_err(failed("look whether anything is armed"))?;
    if armed.unwrap_or(0) > 0 {
        set_fact(tx, DISPLACED, &now.to_string()).await?;
        tracing::error!(
            event = events::LEDGER_DISPLACED,
            hint = "if this is the one that is to tell Crisp, type `crisp-sync events arm` here; a copy for tests is left as it is",
            "the ledger is a copy, or was moved: no lifecycle event leaves"
        );
    }
    Ok(())
}

/// Where the ledger lies.
pub(super) const PLACE: &str = "place";
/// Since when it lies where nobody has armed it.
const DISPLACED: &str = "displaced";

/// The server's history: another one than last time means that a standby was promoted, or a backup restored.
/// Says whether it is.
pub(super) async fn note_timeline(
    tx: &mut Transaction<'_>,
    timeline: Option<i64>,
    now: i64,
) -> Result<bool, LedgerError> {
    let Some(timeline) = timeline else {
        return Ok(false);
    };
    let reason = "the server's timeline changed: what was committed last may be gone";
    note_place(tx, "timeline", &timeline.to_string(), now, reason).await
}

/// Notes where the ledger is, and is cautious if it was elsewhere: what happened since its last heartbeat is not in it.
async fn note_place(
    tx: &mut Transaction<'_>,
    key: &'static str,
    place: &str,
    now: i64,
    reason: &'static str,
) -> Result<bool, LedgerError> {
    // Of two processes that notice it at once the second finds it noted.
    let known = query_for(
        "SELECT value FROM meta WHERE key = $1",
        "SELECT value FROM meta WHERE key = $1 FOR UPDATE",
    )
    .bind(key)
    .fetch_text(&mut *tx)
    .await
    .map_err(failed("read where the ledger was"))?;
    if known.as_deref() == Some(place) {
        return Ok(false);
    }
    set_fact(&mut *tx, key, place).await?;
    if known.is_some() {
        let since = instant_fact(&mut *tx, "heartbeat").await?.unwrap_or(now);
        be_cautious(tx, since, now, reason).await?;
    }
    Ok(known.is_some())
}

/// The last time of which the ledger may know less than happened.
const CAUTIOUS_FROM: &str = "cautious_from";
const CAUTIOUS_UNTIL: &str = "cautious_until";

/// Between `since` and `now`, more may have happened than the ledger knows.
async fn be_cautious(
    tx: &mut Transaction<'_>,
    since: i64,
    now: i64,
    reason: &'static str,
) -> Result<(), LedgerError> {
    set_fact(&mut *tx, CAUTIOUS_FROM, &since.to_string()).await?;
    set_fact(tx, CAUTIOUS_UNTIL, &now.to_string()).await?;
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
async fn clamp(tx: &mut Transaction<'_>, now: i64, back: i64) -> Result<(), LedgerError> {
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
        let from = instant_fact(&self.readers, CAUTIOUS_FROM).await?;
        let to = instant_fact(&self.readers, CAUTIOUS_UNTIL).await?;
        Ok(from.zip(to).map(|(from, to)| Gap {
            from: millis(from),
            to: millis(to),
        }))
    }

    pub(in super::super) async fn displaced_since(&self) -> Result<Option<Timestamp>, LedgerError> {
        Ok(instant_fact(&self.readers, DISPLACED).await?.map(millis))
    }

    pub(in super::super) async fn settle_in(&self) -> Result<(), LedgerError> {
        let mut writer = self.writer().await?;
        query("DELETE FROM meta WHERE key = $1")
            .bind(DISPLACED)
            .execute(&mut *writer)
            .await
            .map_err(failed("say that the ledger belongs here"))?;
        Ok(())
    }

    pub(in super::super) async fn cautious_until(&self) -> Result<Option<Timestamp>, LedgerError> {
        Ok(instant_fact(&self.readers, CAUTIOUS_UNTIL)
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
