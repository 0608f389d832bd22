//! The SQL behind the ledger, one text for two engines: a file that one process has ([`sqlite`]), a server that any number
//! of processes share ([`postgres`]).

mod accept;
mod brake;
mod cells;
mod chosen;
mod claim;
mod columns;
mod conditions;
mod definitions;
mod deliveries;
mod engine;
mod erasure;
mod facts;
mod heartbeat;
mod held;
mod home;
mod listening;
mod mirror;
mod moving;
mod operator;
mod outbox;
mod pauses;
mod postgres;
mod processes;
mod selection;
mod send;
mod settle;
mod sqlite;
mod sweeping;
mod totals;
mod traces;
mod turn;
mod work;
mod writes;

use std::{
    fs::File,
    io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use secrecy::{SecretSlice, SecretString};
use sqlx::Connection as _;
use tokio::sync::{Mutex, MutexGuard, Notify};

use super::{LedgerError, LedgerSettings, Location, Source, WorkKind};
use crate::pseudonym::Pseudonyms;
use cells::{failed, ms, unreachable};
use engine::{Connection, Readers, Transaction, Writing, query};

pub use moving::Move;
pub use postgres::POSTGRES_MIGRATIONS;
pub use sqlite::MIGRATIONS;

/// One step of a schema.
#[derive(Debug, Clone, Copy)]
pub struct MigrationFile {
    /// Its number, from 1.
    pub version: i64,
    /// What it brings.
    pub name: &'static str,
    /// How.
    pub sql: &'static str,
}

/// Callers take their time before they get here, and so come in some disorder; a clock that was set back by less delays
/// nothing by more than that.
const TOLERANCE: i64 = 60_000;

/// The ledger, open.
#[derive(Debug)]
pub(super) struct Store {
    settings: LedgerSettings,
    /// The keyed hashes, by which people who were erased are known again.
    pseudonyms: Pseudonyms,
    writers: Writers,
    readers: Readers,
    /// Whether a newer definition than this process's was noted.
    older: AtomicBool,
    /// What this process is known as among those that share a server's ledger, once it works.
    process: OnceLock<processes::Process>,
    /// The latest `now` that was seen: a smaller one means that the clock was set back.
    seen_at: AtomicI64,
}

/// Where connections that write come from.
#[derive(Debug)]
enum Writers {
    /// The only one there may be; `None` once closed.
    Only {
        writer: Mutex<Option<Connection>>,
        folding: Arc<sqlite::Folding>,
        /// Which file was opened.
        identity: Option<(u64, u64)>,
        /// Held until the ledger is closed.
        lock: File,
    },
    /// As many as the pool has.
    Pool {
        server: postgres::Server,
        bell: postgres::Bell,
        telling: postgres::Telling,
    },
}

impl Store {
    /// Opens the ledger and returns the secret for pseudonyms in it.
    pub(super) async fn open(
        settings: LedgerSettings,
        now: Timestamp,
    ) -> Result<(Self, SecretSlice<u8>), LedgerError> {
        let (writers, readers, secret) = match &settings.location {
            Location::File(path) => {
                let mut opened = sqlite::open(path, &settings).await?;
                moving::refuse_leaving(&mut opened.writer, path).await?;
                let secret = facts::secret(&mut opened.writer).await?;
                home::take_over(&mut opened.writer, &opened.place, ms(now)).await?;
                let writers = Writers::Only {
                    writer: Mutex::new(Some(opened.writer)),
                    folding: opened.folding,
                    identity: opened.identity,
                    lock: opened.lock,
                };
                (writers, opened.readers, secret)
            }
            Location::Server(url) => {
                let server = settings.location.to_string();
                let mut opening = postgres::open(url, server.clone(), &settings).await?;
                let joined = async {
                    moving::refuse_arriving(&mut opening.connection, server).await?;
                    let secret = facts::secret(&mut opening.connection).await?;
                    home::join(&mut opening.connection, &opening.place, ms(now)).await?;
                    Ok(secret)
                };
                let secret = opening.patience.with(joined).await?;
                let pooled = opening.done().await?;
                let bell = postgres::Bell::hang(&pooled);
                let readers = Readers::Postgres(pooled.clone());
                let writers = Writers::Pool {
                    server: pooled,
                    bell,
                    telling: postgres::Telling::default(),
                };
                (writers, readers, secret)
            }
        };
        let store = Self {
            settings,
            pseudonyms: Pseudonyms::new(secret.clone()),
            writers,
            readers,
            older: AtomicBool::new(false),
            process: OnceLock::new(),
            seen_at: AtomicI64::new(ms(now)),
        };
        Ok((store, secret))
    }

    /// Opens connections to the server with this URL from now on. Those that are open stay.
    pub(super) fn renew(&self, url: &SecretString) -> Result<(), LedgerError> {
        if let Writers::Pool { server, .. } = &self.writers {
            let name = self.settings.location.to_string();
            server.renew(postgres::options(url, &name)?);
        }
        Ok(())
    }

    /// The bell by which processes that share a ledger wake one another.
    fn bell(&self) -> Option<&postgres::Bell> {
        match &self.writers {
            Writers::Only { .. } => None,
            Writers::Pool { bell, .. } => Some(bell),
        }
    }

    /// Wakes the other processes soon, once for all that comes until then.
    pub(super) fn ring_soon(&self) {
        if let Some(bell) = self.bell() {
            bell.ring_soon();
        }
    }

    /// Wakes the other processes now.
    pub(super) async fn ring(&self) {
        if let Some(bell) = self.bell() {
            bell.ring().await;
        }
    }

    /// Has the other processes wake this one from now on.
    pub(super) fn listen(&self, wake: &Arc<Notify>) {
        if let Some(bell) = self.bell() {
            bell.listen(wake);
        }
    }

    /// Whether other processes may have the ledger at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.writers, Writers::Pool { .. })
    }

    /// Refuses a file that is not the one that was opened any more: one that was taken away can be written until it is closed, and nothing
    /// tells that nobody will read it. What else is wrong with the storage is told by whoever meets it.
    fn refuse_replaced(&self) -> Result<(), LedgerError> {
        let (Writers::Only { identity, .. }, Some(path)) =
            (&self.writers, self.settings.location.path())
        else {
            return Ok(());
        };
        match sqlite::identity(path) {
            Ok(found) if found == *identity => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Ok(()),
            _ => Err(LedgerError::Replaced {
                path: path.to_owned(),
            }),
        }
    }

    /// A connection that writes, for as long as the guard lives.
    async fn writer(&self) -> Result<Writing<'_>, LedgerError> {
        match &self.writers {
            Writers::Only { writer, .. } => {
                let mut writer = writer.lock().await;
                self.refuse_replaced()?;
                if let (Some(Connection::Sqlite(connection)), Some(path)) =
                    (writer.as_mut(), self.settings.location.path())
                    && sqlite::is_stuck(connection).await
                {
                    *connection = sqlite::connect(path, &self.settings).await?;
                }
                MutexGuard::try_map(writer, Option::as_mut)
                    .map(Writing::Only)
                    .map_err(|_closed| LedgerError::Closed)
            }
            Writers::Pool { server, .. } => {
                let connection = Box::pin(server.lend()).await.map_err(unreachable)?;
                Ok(Writing::Own(Connection::Postgres(connection)))
            }
        }
    }

    /// Closes the readers and then, as the last one, the writer, which folds the write-ahead log into the file.
    pub(super) async fn close(&self) -> Result<(), LedgerError> {
        if let Some(bell) = self.bell() {
            bell.still();
        }
        self.leave().await;
        self.fault_is_over().await;
        match &self.readers {
            Readers::Sqlite(pool) => pool.close().await,
            Readers::Postgres(server) => server.close().await,
        }
        let Writers::Only {
            writer,
            folding,
            lock,
            ..
        } = &self.writers
        else {
            return Ok(());
        };
        folding.close().await;
        let mut closed = Ok(());
        if let Some(Connection::Sqlite(mut writer)) = writer.lock().await.take() {
            if let Err(replaced) = self.refuse_replaced()
                && !sqlite::empties_log(&mut writer).await
            {
                closed = Err(replaced);
            }
            let ended = writer.close().await.map_err(failed("close the ledger"));
            closed = closed.and(ended);
        }
        // Handles may outlive this; what they ask for fails, so they must not keep the next process out.
        let unlocked = lock.unlock().map_err(|error| LedgerError::Storage {
            what: "let go of the ledger's lock",
            source: Source::new(error),
        });
        closed.and(unlocked)
    }

    /// The server's clock, which every process that shares the ledger follows. `None`: there is no server.
    pub(super) async fn server_time(&self) -> Result<Option<Timestamp>, LedgerError> {
        match &self.readers {
            Readers::Sqlite(_) => Ok(None),
            Readers::Postgres(_) => {
                let now =
                    query("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)")
                        .fetch_number(&self.readers)
                        .await
                        .map_err(failed("ask the server for the time"))?;
                Ok(now.map(crate::clock::millis))
            }
        }
    }

    pub(super) async fn backup(&self, to: &Path) -> Result<(), LedgerError> {
        match &self.readers {
            Readers::Sqlite(pool) => {
                let mut reader = pool.acquire().await.map_err(failed("copy the ledger"))?;
                sqlite::back_up(&mut reader, to).await
            }
            Readers::Postgres(_) => Err(LedgerError::NoFile),
        }
    }

    /// Remembers `now` and returns by how much the clock went back, if it did.
    fn watch_clock(&self, now: i64) -> Option<i64> {
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
