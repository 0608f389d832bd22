//! A database of its own for each test, and the app's schema in each engine's words.

use std::path::PathBuf;

use secrecy::SecretString;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, SqliteConnection};

use super::{database::unique_name, servers::Server};

/// An engine of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Sqlite,
    Postgres,
    MySql,
}

/// A database with the app's schema and people.
pub(super) struct App {
    pub(super) engine: Engine,
    url: String,
    folder: PathBuf,
}

impl App {
    pub(super) fn url(&self) -> SecretString {
        SecretString::from(self.url.clone())
    }

    /// Another database of the app's: a SQLite file, whatever the engine.
    pub(super) async fn billing(&self) -> SecretString {
        let url = sqlite_url(&self.folder.join("billing.db"));
        execute(
            Engine::Sqlite,
            &url,
            &["CREATE TABLE invoices (user_uid TEXT, amount TEXT, state TEXT, issued_at DATETIME)",
              "INSERT INTO invoices VALUES ('6f1c2a0e-9d1b-4c58-8a53-0d6d1a4f7b11', '19.90', 'paid', '2026-06-30T22:00:00Z')"],
        )
        .await;
        SecretString::from(url)
    }

    /// Changes the app's data behind the directory's back.
    pub(super) async fn execute(&self, statements: &[&str]) {
        execute(self.engine, &self.url, statements).await;
    }

    /// How many people there are.
    pub(super) async fn count(&self) -> i64 {
        const COUNT: &str = "SELECT count(*) FROM users";
        let url = &self.url;
        match self.engine {
            Engine::Sqlite => {
                let mut connection = SqliteConnection::connect(url).await.expect("sqlite");
                sqlx::query_scalar(COUNT).fetch_one(&mut connection).await
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(url).await.expect("postgres");
                sqlx::query_scalar(COUNT).fetch_one(&mut connection).await
            }
            Engine::MySql => {
                let mut connection = MySqlConnection::connect(url).await.expect("mysql");
                sqlx::query_scalar(COUNT).fetch_one(&mut connection).await
            }
        }
        .expect("a count")
    }
}

/// Tells `story` with a database of its own, and drops the database however the story ends. Does nothing where the engine
/// is missing; `tests/zz_not_run.rs` says so.
pub(super) async fn with_app<F>(engine: Engine, story: impl FnOnce(App) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().expect("a temporary folder");
    let name = unique_name();
    let admin = match engine {
        Engine::Sqlite => None,
        Engine::Postgres => Some(Server::Postgres.url()),
        Engine::MySql => Some(Server::MySql.url()),
    };
    let url = match &admin {
        None => sqlite_url(&folder.path().join("app.db")),
        Some(None) => return,
        Some(Some(admin)) => {
            execute(engine, admin, &[&format!("CREATE DATABASE {name}")]).await;
            let mut url = url::Url::parse(admin).expect("a URL");
            url.set_path(&name);
            url.into()
        }
    };
    execute(engine, &url, schema(engine)).await;
    execute(engine, &url, people(engine)).await;
    let app = App {
        engine,
        url,
        folder: folder.path().to_owned(),
    };
    let told = tokio::spawn(story(app)).await;
    if let Some(Some(admin)) = admin {
        let force = if engine == Engine::Postgres {
            " WITH (FORCE)"
        } else {
            ""
        };
        execute(engine, &admin, &[&format!("DROP DATABASE {name}{force}")]).await;
    }
    if let Err(ended) = told {
        std::panic::resume_unwind(ended.into_panic());
    }
}

fn sqlite_url(path: &std::path::Path) -> String {
    format!("sqlite://{}", path.to_str().expect("a plain path"))
}

async fn execute(engine: Engine, url: &str, statements: &[&str]) {
    for statement in statements {
        let sql = AssertSqlSafe((*statement).to_owned());
        let done = match engine {
            Engine::Sqlite => {
                let url = format!("{url}?mode=rwc");
                let mut connection = SqliteConnection::connect(&url).await.expect("sqlite");
                let done = connection.execute(sql).await.map(drop);
                connection.close().await.expect("a clean end");
                done
            }
            Engine::Postgres => {
                let mut connection = PgConnection::connect(url).await.expect("postgres");
                connection.execute(sql).await.map(drop)
            }
            Engine::MySql => {
                let mut connection = MySqlConnection::connect(url).await.expect("mysql");
                connection.execute(sql).await.map(drop)
            }
        };
        done.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

fn schema(engine: Engine) -> &'static [&'static str] {
    match engine {
        Engine::Sqlite => &[
            "CREATE TABLE users (id INTEGER PRIMARY KEY, uid TEXT NOT NULL, email TEXT, name VARCHAR(80),
               active BOOLEAN, logins INTEGER, price NUMERIC(12,2), balance TEXT, plan TEXT, settings JSON,
               born DATE, created_at DATETIME, trial_ends_at TIMESTAMP, gone TEXT)",
            "CREATE TABLE payments (user_id INTEGER, reference TEXT, paid_at DATETIME)",
        ],
        Engine::Postgres => &[
            "CREATE COLLATION fuzzy (provider = icu, locale = 'und-u-ks-level1', deterministic = false)",
            "CREATE TYPE plan AS ENUM ('free', 'pro')",
            "CREATE DOMAIN moment AS timestamptz",
            "CREATE TABLE users (id bigint PRIMARY KEY, uid uuid NOT NULL, email text COLLATE fuzzy, name varchar(80),
               active boolean, logins integer, price numeric(12,2), balance numeric(38,9), plan plan, settings jsonb,
               born date, created_at timestamp, trial_ends_at moment, gone text)",
            "CREATE TABLE payments (user_id bigint, reference text, paid_at timestamptz)",
        ],
        Engine::MySql => &[
            "CREATE TABLE users (id bigint PRIMARY KEY, uid char(36) NOT NULL,
               email varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci, name varchar(80) CHARACTER SET utf8mb4,
               active boolean, logins int unsigned, price decimal(12,2), balance decimal(38,9), plan enum('free','pro'),
               settings json, born date, created_at datetime(6), trial_ends_at timestamp(6) NULL, gone text)",
            "CREATE TABLE payments (user_id bigint, reference text, paid_at timestamp NULL)",
        ],
    }
}

/// Ada has a value in every column; two accounts share an address; `ádmin` and `admin` are two people.
fn people(engine: Engine) -> &'static [&'static str] {
    const OTHERS: &str = "INSERT INTO users (id, uid, email, name) VALUES
        (1, '00000000-0000-4000-8000-000000000001', 'two@example.org', 'older'),
        (2, '00000000-0000-4000-8000-000000000002', 'Two@example.org', 'newer'),
        (3, '00000000-0000-4000-8000-000000000003', 'ádmin@example.org', 'accented')";
    const PAYMENTS: &str = "INSERT INTO payments VALUES
        (9007199254740993, 'first', '2026-01-01 00:00:00'),
        (9007199254740993, 'second', '2026-06-01 00:00:00'),
        (9007199254740993, 'third', '2026-07-01 00:00:00'),
        (1, 'of another', '2026-07-01 00:00:00')";
    match engine {
        Engine::Sqlite => &[
            "INSERT INTO users VALUES (9007199254740993, '6f1c2a0e-9d1b-4c58-8a53-0d6d1a4f7b11', 'Ada@Example.org', 'Ada ☕',
               1, 7, 49.50, '123456789012345678.123456789', 'pro', '{\"beta\":true}',
               '1815-12-10', '2026-07-01 10:00:00', '2026-07-15T12:30:00.250Z', NULL)",
            OTHERS,
            PAYMENTS,
        ],
        Engine::Postgres => &[
            "INSERT INTO users VALUES (9007199254740993, '6F1C2A0E-9D1B-4C58-8A53-0D6D1A4F7B11', 'Ada@Example.org', 'Ada ☕',
               true, 7, 49.50, 123456789012345678.123456789, 'pro', '{\"beta\":true}',
               '1815-12-10', '2026-07-01 10:00:00', '2026-07-15 12:30:00.25+00', NULL)",
            OTHERS,
            PAYMENTS,
        ],
        Engine::MySql => &[
            "INSERT INTO users VALUES (9007199254740993, '6f1c2a0e-9d1b-4c58-8a53-0d6d1a4f7b11', 'Ada@Example.org', 'Ada ☕',
               true, 7, 49.50, 123456789012345678.123456789, 'pro', '{\"beta\":true}',
               '1815-12-10', '2026-07-01 10:00:00', '2026-07-15 12:30:00.25', NULL)",
            OTHERS,
            PAYMENTS,
        ],
    }
}
