//! Upgrades of a ledger on a server: other processes use it meanwhile, and no copy of it is made.
//!
//! A step of the server's schema brings the columns that the step of the same name brings to a file, and so the rows of the
//! file's fixtures are its rows, too.

use crisp_sync::{
    ids::UserKey,
    ledger::{Ledger, LedgerError, LedgerSettings, Location, MIGRATIONS, POSTGRES_MIGRATIONS},
};
use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};

use super::{
    assert_holds_the_rows_of, fixture,
    meaning::{self, at, website},
};
use crate::engines::{execute, with_a_server};

with_a_server! {
    every_row_of_every_schema_means_the_same_after_an_upgrade,
    of_many_that_open_an_older_ledger_one_brings_it_up,
    whose_connection_is_cut_over_an_upgrade_leaves_the_schema_that_was_there,
    a_column_that_another_version_adds_stops_nobody,
}

/// The file's schema with the same columns.
fn in_a_file(version: i64) -> i64 {
    let mut steps = POSTGRES_MIGRATIONS
        .iter()
        .skip_while(|step| step.version <= version);
    let next = steps.next().map(|step| step.name);
    let same = MIGRATIONS.iter().take_while(|step| Some(step.name) != next);
    same.last().expect("a step").version
}

/// A ledger of this schema, as a service with it wrote it.
async fn older(url: &str, version: i64) {
    let mut connection = PgConnection::connect(url).await.expect("postgres");
    connection
        .execute("DROP SCHEMA IF EXISTS crisp_sync CASCADE; CREATE SCHEMA crisp_sync; SET search_path TO crisp_sync")
        .await
        .expect("an empty schema");
    fixture::migrator(POSTGRES_MIGRATIONS)
        .set_locking(false)
        .run_direct(Some(version), &mut connection, false)
        .await
        .expect("migrated");
    let rows =
        fixture::rows(in_a_file(version)).replace(") VALUES", ") OVERRIDING SYSTEM VALUE VALUES");
    connection
        .execute(AssertSqlSafe(rows))
        .await
        .unwrap_or_else(|error| panic!("rows of schema {version}: {error}"));
    // Whoever opens a file ends the leases in it, because nobody else can have it. On a server they run out.
    let ended = format!(
        "UPDATE work SET lease_until = {} WHERE lease_until IS NOT NULL",
        at(0).as_millisecond()
    );
    connection
        .execute(AssertSqlSafe(ended))
        .await
        .expect("ended");
    // The server numbers on from the last one.
    for (table, number) in [
        ("deliveries", "id"),
        ("traces", "id"),
        ("definitions", "number"),
    ] {
        let numbered = format!(
            "SELECT setval(pg_get_serial_sequence('{table}', '{number}'), (SELECT max({number}) FROM {table}))"
        );
        connection
            .execute(AssertSqlSafe(numbered))
            .await
            .expect("numbered");
    }
}

async fn version(url: &str) -> i64 {
    let mut connection = PgConnection::connect(url).await.expect("postgres");
    sqlx::query_scalar("SELECT max(version) FROM crisp_sync._sqlx_migrations")
        .fetch_one(&mut connection)
        .await
        .expect("a version")
}

fn newest() -> i64 {
    POSTGRES_MIGRATIONS.last().expect("a step").version
}

async fn open(url: &str) -> Result<Ledger, LedgerError> {
    let location = Location::Server(url.to_owned().into());
    Ledger::open(LedgerSettings::of(location), at(0)).await
}

async fn every_row_of_every_schema_means_the_same_after_an_upgrade(url: String) {
    for step in POSTGRES_MIGRATIONS {
        older(&url, step.version).await;
        let ledger = open(&url).await.expect("opened");
        assert_holds_the_rows_of(ledger, in_a_file(step.version)).await;
        assert_eq!(version(&url).await, newest());
    }
}

async fn of_many_that_open_an_older_ledger_one_brings_it_up(url: String) {
    older(&url, 1).await;
    let all = join_all((0..5).map(|_| open(&url))).await;
    for ledger in all {
        let ledger = ledger.expect("opened");
        meaning::told(&ledger).await;
        ledger.close().await.expect("closed");
    }
    assert_eq!(version(&url).await, newest());
}

/// All steps are one transaction: somebody sits on a table that the last one changes, and the connection is cut there.
async fn whose_connection_is_cut_over_an_upgrade_leaves_the_schema_that_was_there(url: String) {
    older(&url, 1).await;
    let mut reader = PgConnection::connect(&url).await.expect("postgres");
    let sits = reader.execute("BEGIN; LOCK TABLE crisp_sync.persons IN ACCESS SHARE MODE");
    sits.await.expect("the lock");
    let opening = tokio::spawn({
        let url = url.clone();
        async move { open(&url).await }
    });
    let mut watch = PgConnection::connect(&url).await.expect("postgres");
    loop {
        let cut: Vec<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        )
        .fetch_all(&mut watch)
        .await
        .expect("a look");
        if !cut.is_empty() {
            break;
        }
        assert!(!opening.is_finished(), "nobody had to wait");
    }
    let error = opening.await.expect("no panic").expect_err("cut");
    assert!(error.to_string().contains("\nhint: "), "{error}");
    assert_eq!(version(&url).await, 1);
    reader.execute("ROLLBACK").await.expect("let go");
    let ledger = open(&url).await.expect("opened");
    assert_holds_the_rows_of(ledger, in_a_file(1)).await;
}

/// A process of the version before works on while another one adds columns.
async fn a_column_that_another_version_adds_stops_nobody(url: String) {
    older(&url, newest()).await;
    let ledger = open(&url).await.expect("opened");
    let before = everything(&ledger).await;
    let mut server = PgConnection::connect(&url).await.expect("postgres");
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'crisp_sync'",
    )
    .fetch_all(&mut server)
    .await
    .expect("tables");
    for table in &tables {
        let added = format!("ALTER TABLE crisp_sync.{table} ADD COLUMN of_the_next_version bigint");
        execute(&url, &added).await;
    }
    // Each connection has prepared its own.
    for _ in 0..8 {
        assert_eq!(everything(&ledger).await, before);
    }
    super::assert_work_goes_on(&ledger).await;
    ledger.close().await.expect("closed");
}

/// What every table says that is read as it is.
async fn everything(ledger: &Ledger) -> Vec<String> {
    let (here, ada) = (
        website(meaning::WEBSITE),
        UserKey::parse("42").expect("a key"),
    );
    let receipts = ledger.receipts().await.expect("a read");
    let owed = ledger
        .debts(&receipts[0].receipt, &here)
        .await
        .expect("a read");
    vec![
        format!("{:?}", meaning::told(ledger).await),
        format!("{:?}", ledger.sweeps().await.expect("a read")),
        format!("{:?}", ledger.conditions().await.expect("a read")),
        format!("{:?}", ledger.listening().await.expect("a read")),
        format!("{:?}", ledger.person(&here, &ada).await.expect("a read")),
        format!("{} receipts, {} debts of one", receipts.len(), owed.len()),
    ]
}
