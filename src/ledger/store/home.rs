//! Where the ledger lies: a process takes it up or joins it there, and one that was moved, copied or restored is noticed.

use jiff::Timestamp;
use sqlx::{Connection as _, PgConnection};

use crate::{clock::millis, telemetry::events};

use super::{
    LedgerError, Store, begin,
    cells::failed,
    engine::{Connection, Transaction, query, query_for},
    facts::{instant_fact, set_fact},
    heartbeat::{be_cautious, clamp},
    postgres::Place,
};

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

impl Store {
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
}
