//! Migrations: one by one over rows, forwards only.

use std::path::Path;

use crisp_sync::{
    clock::millis,
    ids::WebsiteId,
    ledger::{Ledger, LedgerError, LedgerSettings, MIGRATIONS, WorkKind},
};
use sqlx::{
    Connection, Row, SqlSafeStr, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

/// Rows that a schema of this version may hold, written with its own columns.
fn sample(version: i64) -> &'static str {
    match version {
        1 => {
            "INSERT INTO meta VALUES ('secret', '0000000000000000000000000000000000000000000000000000000000000000');
             INSERT INTO deliveries (received_at, website, event, hook, bytes) VALUES (1, 'w', 'message:send', 'plugin', 9);
             INSERT INTO work (kind, website, key, want_gen, run_at, trigger, priority, first_triggered_at)
               VALUES ('conversation', 'w', 'session_a', 1, 5, 'message_send', 1, 5);
             INSERT INTO conversations (website, session, session_layer, dirty)
               VALUES ('w', 'session_a', '{\"data\":{},\"segments\":[]}', 0);
             INSERT INTO persons (website, user_key, contact, contact_layer, profile_done, edges)
               VALUES ('w', '1', 'exists', '{\"data\":{},\"segments\":[]}', 1, '{}');
             INSERT INTO outbox VALUES ('w', '1', 'k', 'e', '', 1, 'sent', 'r', 1, NULL, 1, 1, 1, 0, NULL, 'x', NULL,
               '{}', 'green', 1, 1);
             INSERT INTO high_water VALUES ('w', '1', 'e', '', 1);
             INSERT INTO armings VALUES ('w', 'trial', 1, 1);
             INSERT INTO owned_names VALUES ('session', 'key', 'plan');
             INSERT INTO verified_seen VALUES ('w', 1);
             INSERT INTO pauses VALUES ('website', 'w', 'x', 1, 2, 3, 0);
             INSERT INTO traces (kind, website, key, at, trigger, attempt, outcome, detail)
               VALUES ('conversation', 'w', 'session_a', 1, 'message_send', 1, 'done', '{}');
             INSERT INTO quota VALUES ('2025-11-21', 'refresh', 3);
             INSERT INTO definitions (hash, noted_at) VALUES ('one', 1)"
        }
        2 => "INSERT INTO held VALUES ('w', 'session_a', '{}', NULL)",
        3 => "",
        _ => panic!("schema {version} needs sample rows here"),
    }
}

async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    SqliteConnection::connect_with(&options)
        .await
        .expect("a connection")
}

async fn migrate_to(connection: &mut SqliteConnection, target: i64) {
    let steps = MIGRATIONS
        .iter()
        .map(|step| {
            Migration::new(
                step.version,
                step.name.into(),
                MigrationType::Simple,
                step.sql.into_sql_str(),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(steps)
        .run_direct(Some(target), connection, false)
        .await
        .expect("migrated");
}

/// A ledger as a binary of that version left it.
async fn older(path: &Path, version: i64) {
    let mut connection = connect(path).await;
    for step in MIGRATIONS.iter().filter(|step| step.version <= version) {
        migrate_to(&mut connection, step.version).await;
        sqlx::raw_sql(sample(step.version))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("rows of schema {}: {error}", step.version));
    }
    connection.close().await.expect("closed");
}

async fn open(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerSettings::at(path), millis(10)).await
}

async fn count(path: &Path, table: &'static str) -> i64 {
    let mut connection = connect(path).await;
    let statement = format!("SELECT count(*) FROM {table}");
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .fetch_one(&mut connection)
        .await
        .expect("a count")
        .get(0)
}

#[test]
fn steps_are_numbered_without_a_gap() {
    for (step, version) in MIGRATIONS.iter().zip(1..) {
        assert_eq!(step.version, version, "{}", step.name);
    }
}

#[tokio::test]
async fn every_step_goes_over_the_rows_of_the_one_before() {
    for step in MIGRATIONS {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        older(&path, step.version).await;
        let ledger = open(&path).await.expect("opened");
        let website = WebsiteId::parse("w").expect("an id");
        let work = ledger
            .work(WorkKind::Conversation, &website, "session_a")
            .await
            .expect("a read");
        assert!(work.expect("the row").is_pending(), "{}", step.name);
        assert_eq!(ledger.owned_names().await.expect("a read").len(), 1);
        ledger.close().await.expect("closed");
    }
}

#[tokio::test]
async fn an_older_ledger_is_copied_before_it_is_migrated() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    older(&path, 1).await;
    let newest = MIGRATIONS.last().expect("a step").version;
    let copy = folder.path().join(format!("ledger.db.before-{newest}"));
    open(&path)
        .await
        .expect("opened")
        .close()
        .await
        .expect("closed");
    assert_eq!(count(&copy, "deliveries").await, 1);
    assert_eq!(
        count(&copy, "sqlite_schema WHERE name = 'held'").await,
        0,
        "the copy has the older schema"
    );
    // An up-to-date ledger is not copied again.
    std::fs::remove_file(&copy).expect("removed");
    open(&path).await.expect("opened");
    assert!(!copy.exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let newest = MIGRATIONS.last().expect("a step").version;
    older(&path, newest).await;
    let mut connection = connect(&path).await;
    sqlx::raw_sql(
        "INSERT INTO _sqlx_migrations SELECT 9999, 'later', installed_on, success, checksum, execution_time \
         FROM _sqlx_migrations LIMIT 1",
    )
    .execute(&mut connection)
    .await
    .expect("a later step");
    connection.close().await.expect("closed");
    let error = open(&path).await.expect_err("refused");
    assert!(
        matches!(error, LedgerError::Newer { found: 9999, .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("\nhint: "), "{error}");
    assert_eq!(count(&path, "work").await, 1);
}
