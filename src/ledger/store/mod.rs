//! The SQL behind the ledger, one text for two engines.
//!
//! SQLite ([`sqlite`]): one process, one connection that writes, some that read. WAL with `synchronous=FULL`: a commit is on the disk when it returns, and readers never wait for it. Every write is a
//! `BEGIN IMMEDIATE` transaction. `secure_delete` overwrites what is deleted: an erased person is not left in free pages.

mod accept;
mod cells;
mod claim;
mod conditions;
mod deliveries;
mod engine;
mod held;
mod listening;
mod mirror;
mod operator;
mod outbox;
mod pauses;
mod send;
mod settle;
mod sqlite;
mod totals;
mod traces;
mod upkeep;
mod work;

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
};

use jiff::Timestamp;
use secrecy::SecretSlice;
use sqlx::Connection as _;
use tokio::sync::{Mutex, MutexGuard};

use super::{LedgerError, LedgerSettings, Source};
use cells::{failed, ms};
use engine::{Connection, Readers, Transaction, Writing};

pub use sqlite::{MIGRATIONS, MigrationFile};

/// The ledger, open.
#[derive(Debug)]
pub(super) struct Store {
    settings: LedgerSettings,
    /// `None` once closed.
    writer: Mutex<Option<Connection>>,
    readers: Readers,
    /// Whether a newer definition than this process's was noted.
    older: AtomicBool,
    /// The latest `now` that was seen: a smaller one means that the clock was set back.
    seen_at: AtomicI64,
    /// Held until the ledger is closed.
    lock: File,
}

impl Store {
    /// Opens the ledger and returns the secret for pseudonyms in it.
    pub(super) async fn open(
        settings: LedgerSettings,
        now: Timestamp,
    ) -> Result<(Self, SecretSlice<u8>), LedgerError> {
        let mut opened = sqlite::open(&settings.path, &settings).await?;
        let secret = upkeep::secret(&mut opened.writer).await?;
        let seen_at = upkeep::take_over(&mut opened.writer, &opened.place, ms(now)).await?;
        let store = Self {
            settings,
            writer: Mutex::new(Some(opened.writer)),
            readers: opened.readers,
            older: AtomicBool::new(false),
            seen_at: AtomicI64::new(seen_at),
            lock: opened.lock,
        };
        Ok((store, secret))
    }

    /// A connection that writes, for as long as the guard lives.
    async fn writer(&self) -> Result<Writing<'_>, LedgerError> {
        let mut writer = self.writer.lock().await;
        if let Some(Connection::Sqlite(connection)) = writer.as_mut()
            && sqlite::is_stuck(connection).await
        {
            *connection = sqlite::connect(&self.settings.path, &self.settings).await?;
        }
        MutexGuard::try_map(writer, Option::as_mut)
            .map(Writing::Only)
            .map_err(|_closed| LedgerError::Closed)
    }

    /// Closes the readers, then the writer, which folds the write-ahead log into the file.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(pool) => pool.close().await,
        }
        if let Some(Connection::Sqlite(writer)) = self.writer.lock().await.take() {
            writer.close().await.map_err(failed("close the ledger"))?;
        }
        // Handles may outlive this; what they ask for fails, so they must not keep the next process out.
        self.lock.unlock().map_err(|error| LedgerError::Storage {
            what: "let go of the ledger's lock",
            source: Source::new(error),
        })
    }

    pub(super) async fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        match &self.readers {
            Readers::Sqlite(pool) => {
                let mut reader = pool.acquire().await.map_err(failed("copy the ledger"))?;
                sqlite::back_up(&mut reader, to).await
            }
            Readers::Postgres(_) => Err(LedgerError::Closed),
        }
    }

    /// Remembers `now` and returns by how much the clock went back, if it did.
    fn watch_clock(&self, now: i64) -> Option<i64> {
        // Callers take their time before they get here, and so come in some disorder; a smaller step delays nothing by
        // more than that.
        const TOLERANCE: i64 = 60_000;
        let seen = self.seen_at.fetch_max(now, Ordering::SeqCst);
        let back = seen - now;
        (back > TOLERANCE).then(|| {
            self.seen_at.store(now, Ordering::SeqCst);
            back
        })
    }
}

/// Starts a transaction that will write.
async fn begin<'writer>(
    writer: &'writer mut Connection,
    what: &'static str,
) -> Result<Transaction<'writer>, LedgerError> {
    Transaction::begin(writer).await.map_err(failed(what))
}
