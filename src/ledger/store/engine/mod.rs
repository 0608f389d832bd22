//! One way to speak to either engine: a connection, a transaction on it, a pool to read from.
//!
//! The statements are one text for both, in the common subset: `$1` for parameters, `CAST(value ->> 'k' AS BIGINT)` for
//! JSON, `TRUE` and `FALSE`, `NULLS LAST`. The PostgreSQL schema brings the few functions that SQLite has and it lacks.

mod query;
mod row;
mod rows;

use std::ops::{Deref, DerefMut};

use sqlx::{
    Connection as _, PgConnection, Postgres, Sqlite, SqliteConnection, SqlitePool,
    postgres::PgDatabaseError,
};
use tokio::sync::MappedMutexGuard;

use super::postgres::{Lent, Server, Wire};

pub(super) use query::{Query, Value, query, query_for};
pub(super) use row::Row;
pub(super) use rows::{Column, RowsStatement};

/// A connection that may write.
#[derive(Debug)]
pub(super) enum Connection {
    Sqlite(SqliteConnection),
    Postgres(Lent),
}

/// Connections that only read.
#[derive(Debug)]
pub(super) enum Readers {
    Sqlite(SqlitePool),
    Postgres(Server),
}

/// Whether the connection ended in the middle, and with it whatever had not been committed.
pub(super) fn is_cut(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        sqlx::Error::Database(database) => database
            .try_downcast_ref::<PgDatabaseError>()
            // Connection exceptions; shut down by an operator, by a crash, not up yet; idle for too long in a transaction.
            .is_some_and(|error| {
                let code = error.code();
                code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P03" | "25P03")
            }),
        _ => false,
    }
}

/// No connection that reads the file was free in time. To a pool that is the same as a server out of reach; a file is none.
#[derive(Debug, thiserror::Error)]
#[error("none of them was free in time")]
pub(super) struct AllReading;

impl AllReading {
    fn told(error: sqlx::Error) -> sqlx::Error {
        match error {
            sqlx::Error::PoolTimedOut => sqlx::Error::AnyDriverError(Box::new(Self)),
            error => error,
        }
    }

    pub(super) fn is(error: &sqlx::Error) -> bool {
        matches!(error, sqlx::Error::AnyDriverError(error) if error.is::<Self>())
    }
}

/// Where a statement goes.
pub(super) enum Through<'a> {
    Sqlite(&'a mut SqliteConnection),
    SqlitePool(&'a SqlitePool),
    /// Without a wire, it takes as long as it takes.
    Postgres(&'a mut PgConnection, Option<&'a Wire>),
    Server(&'a Server),
}

impl<'a> From<&'a mut Connection> for Through<'a> {
    fn from(connection: &'a mut Connection) -> Self {
        match connection {
            Connection::Sqlite(connection) => Self::Sqlite(connection),
            Connection::Postgres(lent) => {
                let (connection, wire) = lent.parts();
                Self::Postgres(connection, Some(wire))
            }
        }
    }
}

impl<'a> From<&'a mut PgConnection> for Through<'a> {
    fn from(connection: &'a mut PgConnection) -> Self {
        Self::Postgres(connection, None)
    }
}

impl<'a> From<&'a mut Transaction<'_>> for Through<'a> {
    fn from(tx: &'a mut Transaction<'_>) -> Self {
        match tx {
            Transaction::Sqlite(tx) => Self::Sqlite(tx),
            Transaction::Postgres(tx, wire) => Self::Postgres(tx, *wire),
        }
    }
}

impl<'a> From<&'a Readers> for Through<'a> {
    fn from(readers: &'a Readers) -> Self {
        match readers {
            Readers::Sqlite(pool) => Self::SqlitePool(pool),
            Readers::Postgres(server) => Self::Server(server),
        }
    }
}

/// Waits for an answer, for as long as the wire does.
async fn answered<T>(
    wire: Option<&Wire>,
    asked: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    match wire {
        Some(wire) => wire.answer(asked).await,
        None => asked.await,
    }
}

/// A connection for writing, for as long as this lives.
#[derive(Debug)]
pub(super) enum Writing<'store> {
    /// The only one there is.
    Only(MappedMutexGuard<'store, Connection>),
    /// One of several.
    Own(Connection),
}

impl Deref for Writing<'_> {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        match self {
            Self::Only(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

impl DerefMut for Writing<'_> {
    fn deref_mut(&mut self) -> &mut Connection {
        match self {
            Self::Only(connection) => connection,
            Self::Own(connection) => connection,
        }
    }
}

/// A transaction that will write. Dropped without a commit, it is rolled back.
#[derive(Debug)]
pub(super) enum Transaction<'connection> {
    Sqlite(sqlx::Transaction<'connection, Sqlite>),
    Postgres(
        sqlx::Transaction<'connection, Postgres>,
        Option<&'connection Wire>,
    ),
}

impl<'connection> Transaction<'connection> {
    /// Whether other processes write the same rows at the same time.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Self::Postgres(..))
    }

    pub(super) async fn begin(
        connection: &'connection mut Connection,
    ) -> Result<Self, sqlx::Error> {
        Ok(match connection {
            Connection::Sqlite(connection) => {
                Self::Sqlite(connection.begin_with("BEGIN IMMEDIATE").await?)
            }
            Connection::Postgres(lent) => {
                let (connection, wire) = lent.parts();
                Self::Postgres(wire.answer(Box::pin(connection.begin())).await?, Some(wire))
            }
        })
    }

    pub(super) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            // A connection that is cut now, or a server that is silent, leaves it open whether all of it is kept or none.
            Self::Postgres(tx, wire) => match answered(wire, Box::pin(tx.commit())).await {
                Err(error) if is_cut(&error) => Err(sqlx::Error::AnyDriverError(error.into())),
                result => result,
            },
        }
    }

    pub(super) async fn rollback(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(tx) => tx.rollback().await,
            Self::Postgres(tx, wire) => answered(wire, Box::pin(tx.rollback())).await,
        }
    }
}
