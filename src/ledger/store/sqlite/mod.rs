//! A ledger in a file: one process, one connection that writes, some that read.
//!
//! WAL with `synchronous=FULL`: a commit is on the disk when it returns, and readers never wait for it. Every write is a
//! `BEGIN IMMEDIATE` transaction. `secure_delete` overwrites what is deleted: an erased person is not left in free pages.

mod copy;
mod damage;
mod files;
mod fold;
mod schema;

use std::{fs::File, path::Path, sync::Arc, time::Duration};

use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::{
    super::error::{LedgerError, Source},
    LedgerSettings,
    cells::failed,
    engine::{Connection, Readers},
};

pub(super) use copy::back_up;
pub(super) use files::identity;
pub(super) use fold::Folding;
pub use schema::MIGRATIONS;

/// Every statement that writes stays prepared.
const STATEMENTS: usize = 256;
/// The pages that the writer keeps, in KiB: rows that are triggered again soon are not read again.
const CACHE: &str = "-16384";
/// Those that a reader keeps: it forgets them all with the next commit.
const READER_CACHE: &str = "-256";

/// An opened file.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) readers: Readers,
    pub(super) folding: Arc<Folding>,
    /// Where it lies: differs for a copy.
    pub(super) place: String,
    /// Which file it is.
    pub(super) identity: Option<(u64, u64)>,
    /// Held until the ledger is closed.
    pub(super) lock: File,
}

/// Takes the file, and brings its schema up to date.
pub(super) async fn open(path: &Path, settings: &LedgerSettings) -> Result<Opened, LedgerError> {
    let open = |error: sqlx::Error| LedgerError::Open {
        path: path.to_owned(),
        source: Source::new(error),
    };
    let lock = files::lock(path)?;
    // Before anything of the file is touched: it may be the app's own database.
    schema::inspect(path, settings.busy_timeout)
        .await
        .map_err(|error| damage::told(path, error))?;
    files::claim_file(path)?;
    let mut writer = SqliteConnection::connect_with(&writing(path, settings))
        .await
        .map_err(open)?;
    schema::migrate(&mut writer, path)
        .await
        .map_err(|error| damage::told(path, error))?;
    damage::look(&mut writer, path).await?;
    if let Some(limit) = settings.size_limit {
        limit_size(&mut writer, limit).await?;
    }
    let located = files::place(path).and_then(|place| Ok((place, files::identity(path)?)));
    let (place, identity) = located.map_err(|error| LedgerError::Open {
        path: path.to_owned(),
        source: Source::new(error),
    })?;
    // All are opened now and none anew: one that is opened later might find another file under the name.
    let readers = settings.readers.max(1);
    let readers = SqlitePoolOptions::new()
        .max_connections(readers)
        .min_connections(readers)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(Duration::from_secs(5))
        // A file does not go away as a server does; to ask each time would be another wait for the connection's thread.
        .test_before_acquire(false)
        .connect_with(reading(path, settings))
        .await
        .map_err(open)?;
    Ok(Opened {
        writer: Connection::Sqlite(writer),
        readers: Readers::Sqlite(readers),
        folding: Folding::new(path, settings),
        place,
        identity,
        lock,
    })
}

fn writing(path: &Path, settings: &LedgerSettings) -> SqliteConnectOptions {
    options(path, settings.busy_timeout)
        .statement_cache_capacity(STATEMENTS)
        .pragma("cache_size", CACHE)
        // What a statement of many rows overwrites is kept until it is done, page for page: not in a file of its own.
        .pragma("temp_store", "MEMORY")
}

fn reading(path: &Path, settings: &LedgerSettings) -> SqliteConnectOptions {
    options(path, settings.busy_timeout)
        .read_only(true)
        .pragma("cache_size", READER_CACHE)
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
        // Pages that are written again and again are folded into the file once, most of them by `fold`.
        .pragma("wal_autocheckpoint", "8000")
}

/// Another connection that writes, to a ledger that is open already.
pub(super) async fn connect(
    path: &Path,
    settings: &LedgerSettings,
) -> Result<SqliteConnection, LedgerError> {
    const WHAT: &str = "open the ledger once more";
    let mut writer = SqliteConnection::connect_with(&writing(path, settings))
        .await
        .map_err(failed(WHAT))?;
    if let Some(limit) = settings.size_limit {
        limit_size(&mut writer, limit).await?;
    }
    Ok(writer)
}

/// Empties the write-ahead log beside a file that was taken away: who opens the one that lies there now would fold it in. Says
/// whether it is empty.
pub(super) async fn empties_log(writer: &mut SqliteConnection) -> bool {
    let emptied = sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(writer);
    // Somebody who reads it keeps it, which is no error.
    emptied.await.is_ok_and(|busy: i64| busy == 0)
}

/// Whether a connection believes to be inside a transaction that nobody holds any more. SQLite ends a transaction by itself
/// when the disk is full or fails; the driver then finds nothing to roll back, and begins no other transaction for ever.
pub(super) async fn is_stuck(writer: &mut SqliteConnection) -> bool {
    // A roll-back may still be on its way; it is over when the connection answers.
    writer.is_in_transaction() && (writer.ping().await.is_err() || writer.is_in_transaction())
}

/// Keeps the file from growing beyond so many bytes.
async fn limit_size(writer: &mut SqliteConnection, bytes: u64) -> Result<(), LedgerError> {
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
