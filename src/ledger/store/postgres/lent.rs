//! Connections that are lent from a pool, and how long the server may take to answer on one.
//!
//! A server whose host loses its power, or that a network swallows, says nothing ever after. What was sent to it may have
//! been acknowledged, and then not even the connection fails: whoever waits would wait for ever. So each answer is waited for
//! so long and no longer. A connection that owes one is closed, not returned: nobody can tell what it is still busy with. That
//! goes for a wait that its caller gave up, too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sqlx::{
    PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgQueryResult},
};
use tokio::time::timeout;

use super::{STILL_THERE, place};

/// A server, as this process reaches it.
#[derive(Debug, Clone)]
pub(in super::super) struct Server {
    pool: PgPool,
    patience: Duration,
}

impl Server {
    pub(super) fn new(pool: PgPool, patience: Duration) -> Self {
        Self { pool, patience }
    }

    /// Lends a connection, for as long as the result lives.
    pub(in super::super) async fn lend(&self) -> Result<Lent, sqlx::Error> {
        Ok(Lent {
            connection: self.pool.acquire().await?,
            wire: Wire::new(self.patience),
        })
    }

    /// How connections are opened.
    pub(super) fn options(&self) -> Arc<PgConnectOptions> {
        self.pool.connect_options()
    }

    /// Opens connections so from now on.
    pub(in super::super) fn renew(&self, options: PgConnectOptions) {
        self.pool.set_connect_options(options);
    }

    pub(in super::super) async fn close(&self) {
        self.pool.close().await;
    }
}

/// A connection of a pool, which replaces those that were cut.
#[derive(Debug)]
pub(in super::super) struct Lent {
    connection: PoolConnection<Postgres>,
    wire: Wire,
}

impl Lent {
    /// The connection, and what waits for its answers.
    pub(in super::super) fn parts(&mut self) -> (&mut PgConnection, &Wire) {
        (&mut self.connection, &self.wire)
    }

    /// The server's timeline; see [`place::timeline`].
    pub(in super::super) async fn timeline(&mut self) -> Result<Option<i64>, sqlx::Error> {
        let asked = Box::pin(async { Ok(place::timeline(&mut self.connection).await) });
        self.wire.answer(asked).await
    }

    /// Runs a statement of this room's own.
    pub(super) async fn execute(
        &mut self,
        query: sqlx::query::Query<'_, Postgres, sqlx::postgres::PgArguments>,
    ) -> Result<PgQueryResult, sqlx::Error> {
        let asked = Box::pin(query.execute(&mut *self.connection));
        self.wire.answer(asked).await
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if *self.wire.owes.get_mut() {
            self.connection.close_on_drop();
            return;
        }
        // It is tried before it is lent again, and what was not committed is rolled back. Where that has no answer either, it
        // is closed: its place in the pool would be gone for good.
        let returned = self.connection.return_to_pool();
        tokio::spawn(timeout(STILL_THERE, returned));
    }
}

/// What waits for the answers on a connection.
#[derive(Debug)]
pub(in super::super) struct Wire {
    pub(super) patience: Duration,
    /// Something was asked, and its answer is not there yet.
    owes: AtomicBool,
}

impl Wire {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            owes: AtomicBool::new(false),
        }
    }

    /// Waits for what is asked on this connection.
    pub(in super::super) async fn answer<T>(
        &self,
        asked: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, sqlx::Error> {
        self.owes.store(true, Ordering::Relaxed);
        let Ok(answer) = timeout(self.patience, asked).await else {
            let silence = Silence {
                after: self.patience,
            };
            return Err(sqlx::Error::AnyDriverError(Box::new(silence)));
        };
        self.owes.store(false, Ordering::Relaxed);
        answer
    }
}

/// The server did not answer.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {after:?}")]
struct Silence {
    after: Duration,
}

/// Whether this is because the server did not answer.
pub(in super::super) fn is_silence(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::AnyDriverError(source) if source.is::<Silence>())
}
