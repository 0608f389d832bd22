//! How a database is opened: a URL and settings become a pool, and a URL that was replaced is what it connects with from then on.

use std::{str::FromStr, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions,
    mysql::{MySqlConnectOptions, MySqlPoolOptions},
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};
use tokio::sync::Semaphore;

use crate::breaker::Breaker;

use super::{
    super::{
        query::Dialect,
        settings::{UsersSettings, dialect},
    },
    AppDatabase, Engine, Guards, QueryName, UsersError, WallClock, classify, mysql, postgres,
    sqlite,
};

impl AppDatabase {
    /// Takes a URL; opens nothing.
    pub(in super::super) fn new(
        url: &SecretString,
        what: &str,
        settings: &UsersSettings,
        breaker: Option<Breaker>,
    ) -> Result<Self, UsersError> {
        let text = url.expose_secret();
        let engine = match dialect(url, what)? {
            Dialect::Sqlite => Engine::Sqlite(
                pool::<_, SqlitePoolOptions>(settings).connect_lazy_with(sqlite::options(
                    parse::<SqliteConnectOptions>(text)?,
                    settings.statement_timeout,
                )),
            ),
            Dialect::Postgres => {
                let guards = guards(settings);
                Engine::Postgres(
                    postgres::guard(pool::<_, PgPoolOptions>(settings), guards).connect_lazy_with(
                        postgres::options(parse::<PgConnectOptions>(text)?, guards),
                    ),
                )
            }
            Dialect::MySql => Engine::MySql(
                mysql::guard(
                    pool::<_, MySqlPoolOptions>(settings),
                    settings.statement_timeout,
                )
                .connect_lazy_with(mysql::options(
                    parse::<MySqlConnectOptions>(text)?,
                    settings.pooler,
                )),
            ),
        };
        Ok(Self {
            engine,
            permits: Arc::new(Semaphore::new(
                usize::try_from(settings.pool_size.get()).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            wall: WallClock::new(settings.timezone.clone()),
            statement_timeout: settings.statement_timeout,
            acquire_timeout: settings.acquire_timeout,
            pooler: settings.pooler,
            breaker,
        })
    }

    /// Whether both are one pool.
    pub(in super::super) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.permits, &other.permits)
    }

    /// Opens connections with this URL from now on.
    pub(in super::super) fn renew(&self, url: &SecretString) -> Result<(), UsersError> {
        let text = url.expose_secret();
        match &self.engine {
            // A file has neither user nor password.
            Engine::Sqlite(_) => {}
            Engine::Postgres(pool) => {
                let options = postgres::options(parse::<PgConnectOptions>(text)?, self.guards());
                pool.set_connect_options(options);
            }
            Engine::MySql(pool) => {
                let options = mysql::options(parse::<MySqlConnectOptions>(text)?, self.pooler);
                pool.set_connect_options(options);
            }
        }
        Ok(())
    }

    pub(in super::super) fn dialect(&self) -> Dialect {
        match self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
            Engine::MySql(_) => Dialect::MySql,
        }
    }
}

fn guards(settings: &UsersSettings) -> Guards {
    Guards {
        statement_timeout: settings.statement_timeout,
        pooler: settings.pooler,
    }
}

fn pool<DB: sqlx::Database, O: Into<PoolOptions<DB>> + Default>(
    settings: &UsersSettings,
) -> PoolOptions<DB> {
    O::default()
        .into()
        .max_connections(settings.pool_size.get())
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(Duration::from_mins(5))
}

/// Reads a URL and turns the driver's own log lines off: they repeat the SQL.
fn parse<O: ConnectOptions + FromStr<Err = sqlx::Error>>(text: &str) -> Result<O, UsersError> {
    O::from_str(text)
        .map(ConnectOptions::disable_statement_logging)
        .map_err(|error| classify(&QueryName::Clock, &error, &[], Duration::ZERO))
}
