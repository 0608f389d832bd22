//! One database of the app's, whichever engine it is: a small pool, a place in the queue for it, and a deadline.
//!
//! Connections are opened when first needed, so the service starts while the database is down. A statement that passes its
//! deadline loses its connection: nobody can tell what that one is still busy with.

mod opening;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use sqlx::{MySqlPool, PgPool, Pool, SqlitePool, pool::PoolConnection};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::{
    breaker::{Breaker, Permit},
    record::{Record, Value},
};

use super::{
    classify::classify,
    error::UsersError,
    moment::WallClock,
    mysql,
    postgres::{self, Guards},
    query_name::QueryName,
    sqlite,
    statement::{Column, Description, Failure, Parameters, Statement, text_of},
};

/// How much longer than the server's own limit we wait: the server stops a statement more cleanly than we can.
const GRACE: Duration = Duration::from_millis(500);

/// A pool over one of the three engines.
#[derive(Debug, Clone)]
enum Engine {
    Sqlite(SqlitePool),
    Postgres(PgPool),
    MySql(MySqlPool),
}

/// A database of the app's.
#[derive(Debug, Clone)]
pub(super) struct AppDatabase {
    engine: Engine,
    /// One permit a connection, so that a queue of our own making is told from a server that does not answer.
    permits: Arc<Semaphore>,
    wall: WallClock,
    statement_timeout: Duration,
    acquire_timeout: Duration,
    pooler: bool,
    breaker: Option<Breaker>,
}

/// Runs `$work` with a connection of each engine under the deadline. A macro, because a closure over three connection
/// types has no type.
macro_rules! with_connection {
    ($self:ident, $name:expr, $bound:expr, |$connection:ident| {
        sqlite: $sqlite:expr, postgres: $postgres:expr, mysql: $mysql:expr $(,)?
    }) => {{
        let _permit = $self.permit($name).await?;
        let deadline = $self.statement_timeout + GRACE;
        let result = match &$self.engine {
            Engine::Sqlite(pool) => {
                let mut $connection = $self.acquire(pool, $name).await?;
                let result = timeout(deadline, Box::pin($sqlite)).await;
                close_unless_done(&mut $connection, result.is_ok());
                result
            }
            Engine::Postgres(pool) => {
                let mut $connection = $self.acquire(pool, $name).await?;
                let result = timeout(deadline, Box::pin($postgres)).await;
                close_unless_done(&mut $connection, result.is_ok());
                result
            }
            Engine::MySql(pool) => {
                let mut $connection = $self.acquire(pool, $name).await?;
                let result = timeout(deadline, Box::pin($mysql)).await;
                close_unless_done(&mut $connection, result.is_ok());
                result
            }
        };
        match result {
            Ok(result) => result.map_err(|failure| $self.explain($name, failure, $bound)),
            Err(_elapsed) => Err(UsersError::Timeout {
                query: $name.clone(),
                after: $self.statement_timeout,
            }),
        }
    }};
}

impl AppDatabase {
    /// The rows of a query. Should the tables have changed since the server described it, it is described anew, once.
    pub(super) async fn rows(
        &self,
        statement: &Statement,
        parameters: &Parameters,
    ) -> Result<Vec<Record>, UsersError> {
        let arguments = statement.arguments(parameters)?;
        let _leave = (
            leave(self.breaker.as_ref())?,
            leave(statement.breaker.as_ref())?,
        );
        let described_before = statement.description().is_some();
        let mut result = self.rows_once(statement, &arguments).await;
        let stale = matches!(
            result,
            Err(UsersError::Query { .. } | UsersError::Decode { .. })
        );
        if stale && statement.forget_description() && described_before {
            result = self.rows_once(statement, &arguments).await;
        }
        // A sweep reads much, and one that is too slow says nothing of the look-ups that a chat waits for.
        let is_slow_sweep =
            statement.name == QueryName::Sweep && matches!(result, Err(UsersError::Timeout { .. }));
        if !is_slow_sweep {
            self.report(result.as_ref().err());
        }
        result
    }

    /// The instant of a text of the database's.
    pub(super) fn instant_of(&self, text: &str) -> Option<Timestamp> {
        self.wall.parse(text)
    }

    /// Tells the database's breaker how a statement ended. One that the server refused is an answer, too.
    fn report(&self, error: Option<&UsersError>) {
        let Some(breaker) = &self.breaker else {
            return;
        };
        match error.filter(|error| error.is_transient()) {
            Some(error) => breaker.failed(&error.told()),
            None => breaker.succeeded(),
        }
    }

    async fn rows_once(
        &self,
        statement: &Statement,
        arguments: &[&Value],
    ) -> Result<Vec<Record>, UsersError> {
        let wall = &self.wall;
        with_connection!(self, &statement.name, arguments, |connection| {
            sqlite: sqlite::fetch(&mut connection, statement, arguments, wall, self.statement_timeout),
            postgres: postgres::fetch(&mut connection, statement, arguments, wall, self.guards()),
            mysql: async {
                let (rows, unread) =
                    mysql::fetch(&mut connection, statement, arguments, wall, self.pooler).await?;
                if unread {
                    connection.close_on_drop();
                }
                Ok(rows)
            },
        })
    }

    /// What the server says of a query without running it.
    pub(super) async fn describe(&self, statement: &Statement) -> Result<Description, UsersError> {
        with_connection!(self, &statement.name, &[], |connection| {
            sqlite: sqlite::describe(&mut connection, statement, self.statement_timeout),
            postgres: postgres::describe(&mut connection, statement, self.guards()),
            mysql: mysql::describe(&mut connection, statement),
        })
    }

    /// The database's clock.
    pub(super) async fn now(&self) -> Result<Timestamp, UsersError> {
        let name = &QueryName::Clock;
        let text: String = with_connection!(self, name, &[], |connection| {
            sqlite: scalar(sqlx::query_scalar(sqlite::CLOCK).persistent(false).fetch_one(&mut *connection)),
            postgres: scalar(sqlx::query_scalar(postgres::CLOCK).persistent(false).fetch_one(&mut *connection)),
            mysql: scalar(sqlx::query_scalar(mysql::CLOCK).persistent(false).fetch_one(&mut *connection)),
        })?;
        text.parse().map_err(|_not_a_moment| UsersError::Decode {
            query: QueryName::Clock,
            column: "now".to_owned(),
            message: "holds no time we can read".to_owned(),
        })
    }

    /// Whether the account could write if a session let it; `None` where the server does not say.
    pub(super) async fn could_write(&self) -> Result<Option<bool>, UsersError> {
        let name = &QueryName::Clock;
        with_connection!(self, name, &[], |connection| {
            // A file has no accounts, and we open it read only.
            sqlite: async { Ok::<_, Failure>(None) },
            postgres: async {
                let tables: i64 = sqlx::query_scalar(postgres::WRITABLE)
                    .persistent(false)
                    .fetch_one(&mut *connection)
                    .await?;
                Ok(Some(tables > 0))
            },
            mysql: async {
                let grants: Vec<String> = sqlx::query_scalar(mysql::GRANTS)
                    .persistent(false)
                    .fetch_all(&mut *connection)
                    .await?;
                Ok(Some(grants.iter().any(|grant| grants_writing(grant))))
            },
        })
    }

    fn guards(&self) -> Guards {
        Guards {
            statement_timeout: self.statement_timeout,
            pooler: self.pooler,
        }
    }

    async fn permit(&self, name: &QueryName) -> Result<SemaphorePermit<'_>, UsersError> {
        match timeout(self.acquire_timeout, self.permits.acquire()).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_elapsed) => Err(UsersError::Busy {
                query: name.clone(),
                after: self.acquire_timeout,
            }),
        }
    }

    async fn acquire<DB: sqlx::Database>(
        &self,
        pool: &Pool<DB>,
        name: &QueryName,
    ) -> Result<PoolConnection<DB>, UsersError> {
        pool.acquire()
            .await
            .map_err(|error| classify(name, &error, &[], self.acquire_timeout))
    }

    fn explain(&self, name: &QueryName, failure: Failure, bound: &[&Value]) -> UsersError {
        match failure {
            Failure::Driver(error) => {
                let bound: Vec<_> = bound.iter().filter_map(|value| text_of(value)).collect();
                classify(name, &error, &bound, self.statement_timeout)
            }
            Failure::Column { column, message } => UsersError::Decode {
                query: name.clone(),
                column,
                message,
            },
            Failure::Parameter {
                name: parameter,
                type_name,
            } => UsersError::Query {
                query: name.clone(),
                message: format!("the value of `:{parameter}` is no {type_name}"),
                hint: Some("cast the column that it is compared with, as in `column::text = :key`"),
                refusal: None,
            },
        }
    }
}

/// Leave to ask, as far as a breaker has a say.
fn leave(breaker: Option<&Breaker>) -> Result<Option<Permit>, UsersError> {
    breaker
        .map(|breaker| {
            breaker.admit().map_err(|_until| UsersError::Waits {
                breaker: breaker.name().to_owned(),
            })
        })
        .transpose()
}

impl super::statement::Column {
    /// Names that occur more than once.
    pub(super) fn repeated(columns: &[Column]) -> Vec<&str> {
        let mut names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        let mut repeated: Vec<_> = names
            .windows(2)
            .filter(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
            .collect();
        repeated.dedup();
        repeated
    }
}

async fn scalar(
    query: impl Future<Output = Result<String, sqlx::Error>>,
) -> Result<String, Failure> {
    Ok(query.await?)
}

fn close_unless_done<DB: sqlx::Database>(connection: &mut PoolConnection<DB>, done: bool) {
    if !done {
        connection.close_on_drop();
    }
}

/// Whether a line of `SHOW GRANTS` lets the account change data.
fn grants_writing(grant: &str) -> bool {
    let Some((privileges, _)) = grant
        .strip_prefix("GRANT ")
        .and_then(|rest| rest.split_once(" ON "))
    else {
        return false;
    };
    privileges.split(", ").any(|privilege| {
        [
            "ALL", "INSERT", "UPDATE", "DELETE", "DROP", "ALTER", "CREATE",
        ]
        .iter()
        .any(|word| privilege.starts_with(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_that_writes_is_seen() {
        for (grant, writes) in [
            ("GRANT USAGE ON *.* TO `app`@`%`", false),
            ("GRANT SELECT ON `app`.* TO `app`@`%`", false),
            ("GRANT SELECT, UPDATE ON `app`.* TO `app`@`%`", true),
            ("GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost`", true),
            (
                "GRANT SELECT (email), INSERT (email) ON `a`.`b` TO `c`",
                true,
            ),
        ] {
            assert_eq!(grants_writing(grant), writes, "{grant}");
        }
    }
}
