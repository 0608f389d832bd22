//! A ledger on a server: any number of processes, each with a pool of connections.
//!
//! Its tables and functions lie in a schema of their own, `crisp_sync`, of the database that the URL names. A commit waits
//! for the server's disk (`synchronous_commit` is never off). Statements run in `READ COMMITTED`; where two processes
//! could read the same row before either writes it, the row is locked first.
//!
//! A server that becomes read-only, because its disk is full or because it is a standby now, can still be read; no connection
//! is kept from that time on, or it would stay read-only when the server is not any more.
//!
//! Sessions keep settings, prepared statements and an advisory lock, so a pooler between us and the server has to pool
//! sessions, not transactions.

mod bell;
mod lent;
mod patience;
mod place;
mod schema;
mod teller;

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{
    super::error::{LedgerError, Source},
    LedgerSettings,
};

pub(super) use bell::Bell;
pub(super) use lent::{Lent, Server, Wire, is_silence};
pub(super) use patience::Patience;
pub(super) use place::{Place, place};
pub use schema::POSTGRES_MIGRATIONS;
pub(super) use schema::{is_there, migrate};
pub(super) use teller::Telling;

/// Where everything of ours lies in the database.
const SCHEMA: &str = "crisp_sync";

/// The oldest server we know to work.
const OLDEST: i32 = 130_000;

/// Longest wait for a connection, a new one included. Whoever waits for a commit gets an answer rather than a hanging one.
const ACQUIRE: Duration = Duration::from_secs(3);

/// How long a connection that nobody uses has to say that it still works: whoever asks for one has time for a new one then.
const STILL_THERE: Duration = Duration::from_secs(1);

/// What every session says first. Waits for locks are short, because transactions are; a process that hangs in the middle
/// of one loses it, and with it the locks. The server ends a statement before we give it up (`answer_timeout`). `off` alone would acknowledge what a crash can lose.
///
/// Each daily statement finds its few rows by an index. The server cannot know how few: it takes a list of keys for a
/// hundred, and a table that it has not analyzed for short, and then prefers to walk all of it. Where walking is all that is
/// left it counts as so dear that each statement would be compiled first (`jit`).
const SESSION: &str = "SET search_path = crisp_sync; SET default_transaction_isolation = 'read committed'; \
    SET statement_timeout = '30s'; SET lock_timeout = '1s'; SET idle_in_transaction_session_timeout = '10s'; \
    SET client_min_messages = 'warning'; \
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// A server's ledger, with its schema up to date, and locked against others that open it.
#[derive(Debug)]
pub(super) struct Opening {
    /// The connection that holds the lock.
    pub(super) connection: PgConnection,
    pub(super) pooled: Server,
    pub(super) place: Place,
    pub(super) patience: Patience,
    server: String,
}

/// How connections are opened.
pub(super) fn options(url: &SecretString, server: &str) -> Result<PgConnectOptions, LedgerError> {
    let options: PgConnectOptions =
        (url.expose_secret().parse()).map_err(|error: sqlx::Error| LedgerError::Connect {
            server: server.to_owned(),
            source: Source::new(error),
        })?;
    Ok(options.application_name("crisp-sync"))
}

/// Connects to do `what` there, and waits for its turn, which lasts as long as the connection.
pub(super) async fn connect(
    url: &SecretString,
    server: &str,
    what: &'static str,
    answer_timeout: Duration,
) -> Result<(PgConnection, Patience), LedgerError> {
    let connect = |error: sqlx::Error| LedgerError::Connect {
        server: server.to_owned(),
        source: Source::new(error),
    };
    let options = options(url, server)?;
    let mut connection = tokio::time::timeout(ACQUIRE, PgConnection::connect_with(&options))
        .await
        .unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())))
        .map_err(connect)?;
    let wire = Wire::new(answer_timeout);
    let asked =
        sqlx::query_as("SELECT current_setting('server_version_num')::integer, pg_backend_pid()")
            .fetch_one(&mut connection);
    let (version, backend): (i32, i32) = wire.answer(asked).await.map_err(connect)?;
    if version < OLDEST {
        return Err(LedgerError::OldServer {
            server: server.to_owned(),
            found: version / 10_000,
            needed: OLDEST / 10_000,
        });
    }
    let patience = Patience::new((wire, options, backend), what, server);
    let turn = async {
        connection.execute(SESSION).await?;
        // Another process may be migrating a large ledger, and this one may be about to carry one over.
        connection
            .execute(
                "SET lock_timeout = '5min'; SET statement_timeout = 0; \
                 SET idle_in_transaction_session_timeout = 0",
            )
            .await?;
        schema::lock(&mut connection).await
    };
    patience.with(async { turn.await.map_err(connect) }).await?;
    Ok((connection, patience))
}

/// Connects, waits for its turn, and brings the schema up to date.
pub(super) async fn open(
    url: &SecretString,
    server: String,
    settings: &LedgerSettings,
) -> Result<Opening, LedgerError> {
    let what = "open the ledger";
    let (mut connection, patience) = connect(url, &server, what, settings.answer_timeout).await?;
    let prepared = async {
        schema::migrate(&mut connection, &server).await?;
        place(&mut connection)
            .await
            .map_err(|error| LedgerError::Connect {
                server: server.clone(),
                source: Source::new(error),
            })
    };
    let place = patience.with(prepared).await?;
    let pool = PgPoolOptions::new()
        .max_connections(settings.connections.max(2))
        .acquire_timeout(ACQUIRE)
        .max_lifetime(Duration::from_mins(30))
        // One that was cut is replaced, and whoever asked does not notice. So is one that takes nothing: a session keeps what
        // the database was when it began, and a standby that is promoted is reached anew.
        .test_before_acquire(false)
        .before_acquire(|connection, _| Box::pin(takes_writes(connection)))
        .after_connect(|connection, _| {
            Box::pin(async move { connection.execute(SESSION).await.map(drop) })
        })
        .connect_lazy_with(patience.options.clone());
    Ok(Opening {
        connection,
        pooled: Server::new(pool, settings.answer_timeout),
        place,
        patience,
        server,
    })
}

/// Neither of a standby nor of a database that is read-only.
async fn takes_writes(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let asked = sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'off'")
        .fetch_one(connection);
    tokio::time::timeout(STILL_THERE, asked)
        .await
        .unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())))
}

impl Opening {
    /// Lets the next process open, and says goodbye.
    pub(super) async fn done(mut self) -> Result<Server, LedgerError> {
        let connect = |error: sqlx::Error| LedgerError::Connect {
            server: self.server.clone(),
            source: Source::new(error),
        };
        let let_go = async {
            schema::unlock(&mut self.connection).await?;
            self.connection.close().await
        };
        self.patience
            .with(async { let_go.await.map_err(connect) })
            .await?;
        Ok(self.pooled)
    }
}
