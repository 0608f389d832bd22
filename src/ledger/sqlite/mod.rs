//! The SQLite dialect: one process, one connection that writes, some that read.
//!
//! WAL with `synchronous=FULL`: a commit is on the disk when it returns, and readers never wait for it. Every write is a
//! `BEGIN IMMEDIATE` transaction. `secure_delete` overwrites what is deleted: an erased person is not left in free pages.

mod accept;
mod cells;
mod claim;
mod deliveries;
mod files;
mod held;
mod mirror;
mod operator;
mod outbox;
mod pauses;
mod schema;
mod send;
mod settle;
mod totals;
mod traces;
mod upkeep;
mod work;

use std::{
    fs::File,
    path::Path,
    sync::atomic::{AtomicBool, AtomicI64, Ordering},
    time::Duration,
};

use jiff::Timestamp;
use secrecy::SecretSlice;
use sqlx::{
    Connection, Sqlite, SqliteConnection, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::{LedgerError, LedgerSettings, Source};
use cells::{failed, ms};

pub use schema::{MIGRATIONS, MigrationFile};

/// The ledger's file, open.
#[derive(Debug)]
pub(super) struct Store {
    settings: LedgerSettings,
    /// `None` once closed.
    writer: Mutex<Option<SqliteConnection>>,
    readers: SqlitePool,
    /// Whether a newer definition than this process's was noted.
    older: AtomicBool,
    /// The latest `now` that was seen: a smaller one means that the clock was set back.
    seen_at: AtomicI64,
    /// Held until the ledger is closed.
    lock: File,
}

type Writing<'store> = MappedMutexGuard<'store, SqliteConnection>;

impl Store {
    /// Opens the file and returns the secret for pseudonyms beside it.
    pub(super) async fn open(
        settings: LedgerSettings,
        now: Timestamp,
    ) -> Result<(Self, SecretSlice<u8>), LedgerError> {
        let path = settings.path.clone();
        let open = |error: sqlx::Error| LedgerError::Open {
            path: path.clone(),
            source: Source::new(error),
        };
        let lock = files::lock(&path)?;
        // Before anything of the file is touched: it may be the app's own database.
        schema::inspect(&path, settings.busy_timeout).await?;
        files::claim_file(&path)?;
        let mut writer = SqliteConnection::connect_with(&options(&path, settings.busy_timeout))
            .await
            .map_err(open)?;
        schema::migrate(&mut writer, &path).await?;
        if let Some(limit) = settings.size_limit {
            upkeep::limit_size(&mut writer, limit).await?;
        }
        let secret = upkeep::secret(&mut writer).await?;
        let place = files::place(&path).map_err(|error| LedgerError::Open {
            path: path.clone(),
            source: Source::new(error),
        })?;
        let seen_at = upkeep::take_over(&mut writer, &place, ms(now)).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(settings.readers.max(1))
            .acquire_timeout(Duration::from_secs(5))
            .connect_with(options(&path, settings.busy_timeout).read_only(true))
            .await
            .map_err(open)?;
        let store = Self {
            settings,
            writer: Mutex::new(Some(writer)),
            readers,
            older: AtomicBool::new(false),
            seen_at: AtomicI64::new(seen_at),
            lock,
        };
        Ok((store, secret))
    }

    /// The connection that writes, for as long as the guard lives.
    async fn writer(&self) -> Result<Writing<'_>, LedgerError> {
        MutexGuard::try_map(self.writer.lock().await, Option::as_mut)
            .map_err(|_closed| LedgerError::Closed)
    }

    /// Closes the readers, then the writer, which folds the write-ahead log into the file.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        self.readers.close().await;
        let writer = self.writer.lock().await.take();
        if let Some(writer) = writer {
            writer.close().await.map_err(failed("close the ledger"))?;
        }
        // Handles may outlive this; what they ask for fails, so they must not keep the next process out.
        self.lock.unlock().map_err(|error| LedgerError::Storage {
            what: "let go of the ledger's lock",
            source: Source::new(error),
        })
    }

    pub(super) async fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        let mut reader = self
            .readers
            .acquire()
            .await
            .map_err(failed("copy the ledger"))?;
        schema::copy_into(&mut reader, to).await
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

fn options(path: &Path, busy_timeout: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(busy_timeout)
        .pragma("secure_delete", "ON")
        // Where the disk's cache needs to be told apart from the disk.
        .pragma("fullfsync", "ON")
        .pragma("journal_size_limit", "67108864")
}

/// Starts a transaction that will write.
async fn begin<'writer>(
    writer: &'writer mut SqliteConnection,
    what: &'static str,
) -> Result<Transaction<'writer, Sqlite>, LedgerError> {
    writer
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed(what))
}
