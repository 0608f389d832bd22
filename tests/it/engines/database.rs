//! A database of a test's own on a PostgreSQL server.

use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::servers::Server;

/// An empty database. It is there until it is [dropped](Database::drop).
#[derive(Debug)]
pub(crate) struct Database {
    /// How to reach it.
    pub(crate) url: String,
    admin: String,
    name: String,
}

impl Database {
    /// Makes one. `None` where there is no server; `tests/zz_not_run.rs` says so.
    pub(crate) async fn create() -> Option<Self> {
        let admin = Server::Postgres.url()?;
        let name = unique_name();
        execute(&admin, &format!("CREATE DATABASE {name}")).await;
        let mut url = url::Url::parse(&admin).expect("a URL");
        url.set_path(&name);
        Some(Self {
            url: url.into(),
            admin,
            name,
        })
    }

    /// Changes it and cuts every connection: `ALTER DATABASE … <change>`.
    pub(crate) async fn alter(&self, change: &str) {
        self.alter_quietly(change).await;
        let cut = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'",
            self.name
        );
        execute(&self.admin, &cut).await;
    }

    /// Changes it under those who are connected.
    pub(crate) async fn alter_quietly(&self, change: &str) {
        execute(
            &self.admin,
            &format!("ALTER DATABASE {} {change}", self.name),
        )
        .await;
    }

    /// Cuts every connection to it and removes it.
    pub(crate) async fn drop(self) {
        let statement = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        execute(&self.admin, &statement).await;
    }
}

/// Tells `story` with the URL of an empty database, which goes however the story ends. Does nothing where there is no
/// server.
pub(crate) async fn with_database<F>(story: impl FnOnce(String) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(database) = Database::create().await else {
        return;
    };
    let told = tokio::spawn(story(database.url.clone())).await;
    database.drop().await;
    if let Err(ended) = told {
        std::panic::resume_unwind(ended.into_panic());
    }
}

/// Tells stories with the URL of an empty database.
macro_rules! with_a_server {
    ($($story:ident,)*) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)] async fn $story() {
                $crate::engines::with_database(super::$story).await;
            })*
        }
    };
}

pub(crate) use with_a_server;

/// A name that no other test has, nor another run at the same time.
pub(super) fn unique_name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    format!("crisp_sync_test_{}_{number}", std::process::id())
}

/// One statement, behind the back of what is tested.
pub(crate) async fn execute(url: &str, statement: &str) {
    let mut connection = PgConnection::connect(url).await.expect("postgres");
    connection
        .execute(AssertSqlSafe(statement.to_owned()))
        .await
        .unwrap_or_else(|error| panic!("{statement}: {error}"));
}
