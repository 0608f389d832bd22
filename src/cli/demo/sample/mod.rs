//! Harbor, the demo's app: the small SQLite database of a made-up booking desk for freight brokers, and what can
//! happen in it.
//!
//! Every instant is a distance from the `now` it is made with, so the demo looks the same on any day. An action changes
//! rows as the app itself would and nothing else: it tells neither Crisp nor crisp-sync, which find out by reading.

mod action;
mod people;

use std::path::Path;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use sqlx::{
    SqlitePool,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

pub(crate) use action::act;
pub(crate) use people::{Offer, Person, people};

const SCHEMA: &str = include_str!("schema.sql");
const SEED: &str = include_str!("seed.sql");

/// The configuration that reads this database: SQL, context, profile and the six lifecycle events. Where the database is,
/// Crisp's address and the credentials are the demo's to add.
pub(crate) const DEFINITION: &str = include_str!("../demo.toml");

/// Why the sample did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SampleError {
    /// SQLite refused.
    #[error("could not {task} the sample database")]
    Database {
        /// What was tried, as a verb.
        task: &'static str,
        /// What SQLite said.
        #[source]
        source: sqlx::Error,
    },
    /// No such person, or nothing of the kind can happen to them as they stand.
    #[error(
        "`{action}` is not something this person can do now\nhint: read the list of people again: it names each one's actions"
    )]
    NotOffered {
        /// The action that was asked for.
        action: String,
    },
}

impl SampleError {
    fn database(task: &'static str) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self::Database { task, source }
    }
}

/// Makes the database at `path`, which must not hold one yet, with everybody where they stand at `now`.
pub(crate) async fn create(path: &Path, now: Timestamp) -> Result<(), SampleError> {
    let pool = connect(path, true).await?;
    let mut transaction = pool
        .begin()
        .await
        .map_err(SampleError::database("begin to fill"))?;
    sqlx::raw_sql(SCHEMA)
        .execute(&mut *transaction)
        .await
        .map_err(SampleError::database("lay out"))?;
    sqlx::query(SEED)
        .bind(instant(now))
        .execute(&mut *transaction)
        .await
        .map_err(SampleError::database("fill"))?;
    transaction
        .commit()
        .await
        .map_err(SampleError::database("fill"))?;
    pool.close().await;
    Ok(())
}

/// Opens a database that [`create`] made, to read people and to act as the app.
pub(crate) async fn open(path: &Path) -> Result<SqlitePool, SampleError> {
    connect(path, false).await
}

async fn connect(path: &Path, create: bool) -> Result<SqlitePool, SampleError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(create)
        .foreign_keys(true);
    SqlitePoolOptions::new()
        .max_connections(2)
        .connect_with(options)
        .await
        .map_err(SampleError::database("open"))
}

/// How Harbor writes an instant: UTC, whole seconds. Never a later one, or what has just happened would lie ahead.
fn instant(at: Timestamp) -> String {
    let whole = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Trunc);
    at.round(whole).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn noon() -> Timestamp {
        "2026-03-10T12:00:00Z".parse().expect("an instant")
    }

    pub(super) async fn sample() -> (tempfile::TempDir, SqlitePool) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("harbor.db");
        create(&path, noon()).await.expect("a sample");
        let pool = open(&path).await.expect("the sample opens");
        (folder, pool)
    }

    #[tokio::test]
    async fn instants_follow_the_clock_they_are_given() {
        let (_folder, pool) = sample().await;
        let (trial_ends, joined): (String, String) = sqlx::query_as(
            "SELECT s.trial_ends_at, u.created_at FROM users u JOIN subscriptions s USING (tenant_id) \
             WHERE u.id = 'usr_maren'",
        )
        .fetch_one(&pool)
        .await
        .expect("a row");
        assert_eq!(trial_ends, "2026-03-12T12:00:00Z");
        assert_eq!(joined, "2026-02-26T12:00:00Z");
        let missing: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM users WHERE created_at IS NULL OR created_at >= ?",
        )
        .bind(instant(noon()))
        .fetch_one(&pool)
        .await
        .expect("a count");
        assert_eq!(missing, 0, "everybody signed up before the demo began");
    }

    #[test]
    fn what_has_just_happened_does_not_lie_ahead() {
        let late = "2026-03-10T12:00:00.9Z".parse().expect("an instant");
        assert_eq!(instant(late), "2026-03-10T12:00:00Z");
    }

    #[tokio::test]
    async fn a_second_sample_does_not_overwrite_the_first() {
        let (folder, _pool) = sample().await;
        let error = create(&folder.path().join("harbor.db"), noon())
            .await
            .expect_err("the file holds a sample");
        assert!(
            matches!(
                error,
                SampleError::Database {
                    task: "lay out",
                    ..
                }
            ),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn the_definition_tells_the_six_events_with_sql_that_fits() {
        let (_folder, pool) = sample().await;
        let definition: toml::Table = DEFINITION.parse().expect("TOML");
        let events = definition["lifecycle"]["event"].as_array().expect("events");
        let names: Vec<&str> = events
            .iter()
            .filter_map(|event| event["name"].as_str())
            .collect();
        assert_eq!(
            names,
            [
                "user:signup",
                "user:subscription:started",
                "user:subscription:canceled",
                "user:subscription:churned",
                "user:onboarding:completed",
                "user:import:completed",
            ]
        );
        let users = &definition["users"];
        let more = users["more"].as_table().expect("look-ups").values();
        let queries = [&users["query"], &users["query_by_key"]]
            .into_iter()
            .chain(more.map(|look_up| &look_up["query"]))
            .chain(events.iter().filter_map(|event| event.get("query")));
        for query in queries {
            let mut sql = query.as_str().expect("text").to_owned();
            for name in [":email", ":key", ":since", ":tenant_id", ":id"] {
                sql = sql.replace(name, "'x'");
            }
            sqlx::query(sqlx::AssertSqlSafe(sql))
                .fetch_all(&pool)
                .await
                .expect("SQL that fits the schema");
        }
    }
}
