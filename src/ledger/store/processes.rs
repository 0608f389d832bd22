//! The processes that share a server's ledger, and which of them may work: those with the newest definition that is alive.
//!
//! While replicas are replaced one by one, old and new definitions live side by side. Were each to correct what the other
//! wrote, every conversation would flap; so only the newest among the living works, and the others take webhooks alone.
//! Whoever goes back to an older definition ends the newer processes, and with them their word.
//!
//! A process that only observes would settle work without doing it, so it counts as older than any that acts.

use std::sync::atomic::{AtomicBool, Ordering};

use jiff::Timestamp;

use super::{
    LedgerError, Store, begin,
    cells::{failed, ms},
    engine::{Transaction, query},
};

const WHAT: &str = "tell the other processes of this one";

/// A process that was silent for so long, three heartbeats, has died.
const ALIVE: i64 = 90_000;

/// What stands in the place of a definition for a process that only observes. None has this hash.
const OBSERVES: &str = "";

/// A process that works, or observes.
#[derive(Debug)]
pub(super) struct Process {
    id: String,
    definition: String,
    /// Whether a living process has a newer definition.
    is_outdated: AtomicBool,
}

impl Store {
    /// Tells the other processes that this one works from now on, with this definition. One that is not known is the
    /// newest. Without a definition it only observes: it is not known to be older before it asks, so it asks at once.
    pub(in super::super) async fn join(
        &self,
        definition: Option<&str>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let definition = definition.unwrap_or(OBSERVES);
        let process = self.process.get_or_init(|| Process {
            id: uuid::Uuid::new_v4().to_string(),
            definition: definition.to_owned(),
            is_outdated: AtomicBool::new(false),
        });
        let mut writer = self.writer().await?;
        let mut tx = begin(&mut writer, WHAT).await?;
        query(
            "INSERT INTO definitions (hash, noted_at) SELECT $1, $2 \
             WHERE $1 <> '' AND NOT EXISTS (SELECT 1 FROM definitions WHERE hash = $1) ON CONFLICT (hash) DO NOTHING",
        )
        .bind(&process.definition)
        .bind(ms(now))
        .execute(&mut tx)
        .await
        .map_err(failed(WHAT))?;
        process.beat(&mut tx, ms(now)).await?;
        process.ask(&mut tx, ms(now)).await?;
        tx.commit().await.map_err(failed(WHAT))
    }

    /// Tells that this process ends, so that nobody waits for it. One that cannot say so is taken for dead in time.
    pub(super) async fn leave(&self) {
        let Some(process) = self.process.get() else {
            return;
        };
        if let Ok(mut writer) = self.writer().await {
            let left = query("DELETE FROM processes WHERE id = $1")
                .bind(&process.id)
                .execute(&mut *writer);
            drop(left.await);
        }
    }

    /// Whether this process must leave the work to those with a newer definition, as it was when it last asked.
    pub(super) fn is_outdated(&self) -> bool {
        self.process
            .get()
            .is_some_and(|process| process.is_outdated.load(Ordering::SeqCst))
    }
}

impl Process {
    /// Says that it lives, and forgets those that have not said so for long.
    pub(super) async fn beat(&self, tx: &mut Transaction<'_>, now: i64) -> Result<(), LedgerError> {
        const FORGOTTEN: i64 = 20 * ALIVE;
        query(
            "INSERT INTO processes (id, hash, heartbeat_at) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET heartbeat_at = excluded.heartbeat_at",
        )
        .bind(&self.id)
        .bind(&self.definition)
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(failed(WHAT))?;
        query(
            "DELETE FROM processes WHERE id IN \
               (SELECT id FROM processes WHERE heartbeat_at < $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind(now - FORGOTTEN)
        .execute(tx)
        .await
        .map_err(failed(WHAT))?;
        Ok(())
    }

    /// Asks, in the transaction of a claim, whether a living process has a newer definition.
    pub(super) async fn ask(
        &self,
        tx: &mut Transaction<'_>,
        now: i64,
    ) -> Result<bool, LedgerError> {
        let newer = query(
            "SELECT 1 FROM processes JOIN definitions ON definitions.hash = processes.hash \
             WHERE processes.heartbeat_at > $1 \
               AND definitions.number > coalesce((SELECT number FROM definitions WHERE hash = $2), 0) LIMIT 1",
        )
        .bind(now - ALIVE)
        .bind(&self.definition)
        .fetch_number(tx)
        .await
        .map_err(failed("ask for newer definitions"))?;
        self.is_outdated.store(newer.is_some(), Ordering::SeqCst);
        Ok(newer.is_some())
    }
}
