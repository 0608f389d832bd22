//! Ledgers as binaries of earlier schemas left them: `fixtures/ledger/v<schema>.sql`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crisp_sync::ledger::{MIGRATIONS, MigrationFile};
use sqlx::{
    Connection as _, SqlSafeStr as _, SqliteConnection,
    migrate::{Migration, MigrationType, Migrator},
    sqlite::SqliteConnectOptions,
};

/// Everything in a database, as JSON by table.
pub(crate) type Contents = BTreeMap<String, Vec<String>>;

/// The schema of this binary.
pub(crate) fn newest() -> i64 {
    MIGRATIONS.last().expect("a step").version
}

/// The rows that a service with this schema wrote.
pub(crate) fn rows(version: i64) -> String {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/ledger/v{version}.sql"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}\nhint: a new schema needs rows in every table, as a service with it writes them",
            path.display()
        )
    })
}

pub(crate) async fn connect(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .pragma("journal_mode", "WAL")
        .pragma("synchronous", "OFF")
        .pragma("wal_autocheckpoint", "0");
    SqliteConnection::connect_with(&options)
        .await
        .expect("a connection")
}

/// The steps of a schema, as sqlx takes them.
pub(super) fn migrator(steps: &[MigrationFile]) -> Migrator {
    let step = |step: &MigrationFile| {
        let (name, sql) = (step.name.into(), step.sql.into_sql_str());
        Migration::new(step.version, name, MigrationType::Simple, sql, false)
    };
    Migrator::with_migrations(steps.iter().map(step).collect())
}

/// Writes a ledger of this schema, with its rows.
pub(crate) async fn write(connection: &mut SqliteConnection, version: i64) {
    migrator(MIGRATIONS)
        .run_direct(Some(version), &mut *connection, false)
        .await
        .expect("migrated");
    sqlx::raw_sql(sqlx::AssertSqlSafe(rows(version)))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("rows of schema {version}: {error}"));
}

/// A ledger of this schema, as a service that ended in order leaves it.
pub(crate) async fn older(path: &Path, version: i64) {
    let mut connection = connect(path).await;
    write(&mut connection, version).await;
    connection.close().await.expect("closed");
}

/// A ledger of this schema, as a service that was killed leaves it: most of it is in a long write-ahead log. Returns
/// that log's length.
pub(crate) async fn older_and_killed(path: &Path, version: i64) -> u64 {
    const LONG: u64 = 300_000;
    let folder = tempfile::tempdir().expect("a folder");
    let alive = folder.path().join("ledger.db");
    let mut connection = connect(&alive).await;
    write(&mut connection, version).await;
    let length = |path: &Path| log_of(path).metadata().expect("a log").len();
    while length(&alive) < LONG {
        for statement in [
            "UPDATE quota SET calls = calls + 1",
            "UPDATE quota SET calls = calls - 1",
        ] {
            let written = sqlx::query(statement).execute(&mut connection).await;
            written.expect("written");
        }
    }
    std::fs::copy(&alive, path).expect("copied");
    std::fs::copy(log_of(&alive), log_of(path)).expect("copied");
    length(path)
}

fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

/// Everything in a ledger, read from a copy of its files so that looking changes nothing.
pub(crate) async fn contents(path: &Path) -> Contents {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy.db");
    std::fs::copy(path, &copy).expect("copied");
    if log_of(path).exists() {
        std::fs::copy(log_of(path), log_of(&copy)).expect("copied");
    }
    let mut connection = connect(&copy).await;
    let sound: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&mut connection)
        .await
        .expect("a check");
    assert_eq!(sound, "ok", "{}", path.display());
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )
    .fetch_all(&mut connection)
    .await
    .expect("a schema");
    let mut contents = Contents::new();
    for table in tables {
        let columns: Vec<String> = columns(&mut connection, &table)
            .await
            .iter()
            .map(|name| format!("CASE typeof({name}) WHEN 'blob' THEN hex({name}) ELSE {name} END"))
            .collect();
        let columns = columns.join(", ");
        let statement = format!("SELECT json_array({columns}) FROM {table} ORDER BY 1");
        let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        contents.insert(table, rows);
    }
    contents
}

/// The columns that are written; what is computed from them is not.
async fn columns(connection: &mut SqliteConnection, table: &str) -> Vec<String> {
    sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
        .bind(table)
        .fetch_all(connection)
        .await
        .expect("columns")
}

/// The schema's version, by what a ledger says of itself.
pub(crate) fn version(contents: &Contents) -> i64 {
    contents["_sqlx_migrations"]
        .iter()
        .map(|row| {
            let row: serde_json::Value = serde_json::from_str(row).expect("JSON");
            row[0].as_i64().expect("a version")
        })
        .max()
        .expect("a step")
}

/// Columns that hold nothing in any row: `table.column`.
pub(crate) async fn empty_columns(connection: &mut SqliteConnection) -> Vec<String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT GLOB 'sqlite_*' AND name NOT GLOB '_sqlx*'",
    )
    .fetch_all(&mut *connection)
    .await
    .expect("a schema");
    let mut empty = Vec::new();
    for table in tables {
        for column in columns(connection, &table).await {
            let statement = format!("SELECT count({column}) FROM {table}");
            let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
                .fetch_one(&mut *connection)
                .await
                .expect("a count");
            if count == 0 {
                empty.push(format!("{table}.{column}"));
            }
        }
    }
    empty
}
