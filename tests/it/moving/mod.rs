//! `ledger move`: a ledger is carried from its file to PostgreSQL, whole, and never are two of them alive.
//!
//! The rows are those of `fixtures/ledger/`, which fill every column and every state; `fixtures/ledger/told.json` is what a
//! ledger says of them, wherever it is.

mod binary;
mod refused;

use std::{collections::BTreeMap, path::Path};

use crisp_sync::{
    ids::Email,
    ledger::{
        Acceptance, Delivery, DeliveryFilter, Ledger, LedgerError, LedgerSettings, Location, Move,
        Stage,
    },
};
use serde_json::Value as Json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, query_scalar};
use tempfile::TempDir;

use crate::{
    engines::{execute, with_a_server},
    ledger::delivery,
    upgrades::{
        assert_work_goes_on,
        fixture::{Contents, connect, contents, newest, older},
        meaning::{self, at, website},
        told_by_the_fixtures,
    },
};

/// Everything that the fixtures hold, in a file that is called `ledger.db`.
async fn full() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    older(&folder.path().join("ledger.db"), newest()).await;
    folder
}

async fn begin(from: &Path, to: &str) -> Result<Move, LedgerError> {
    Move::open(&LedgerSettings::at(from), from, &to.to_owned().into()).await
}

/// Makes up to so many of the four writes, and is gone as if it had been killed.
async fn killed_after(writes: usize, from: &Path, to: &str) {
    let mut moving = begin(from, to).await.expect("both are free");
    for _ in 0..writes {
        moving.step(at(0)).await.expect("a step");
    }
}

/// Moves it, or goes on with a move.
async fn finish(from: &Path, to: &str) {
    let mut moving = begin(from, to).await.expect("both are free");
    while moving.stage() != Stage::Done {
        moving.step(at(0)).await.expect("a step");
    }
    moving.close().await.expect("closed");
}

async fn open_file(path: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open(LedgerSettings::at(path), at(0)).await
}

async fn open_server(url: &str) -> Result<Ledger, LedgerError> {
    let location = Location::Server(url.to_owned().into());
    Ledger::open(LedgerSettings::of(location), at(0)).await
}

/// What the error says first.
fn said<T>(result: Result<T, LedgerError>) -> String {
    let error = result.err().expect("refused").to_string();
    assert!(error.contains("\nhint: "), "{error}");
    error.lines().next().expect("a line").to_owned()
}

/// Everything in the server's ledger, as [`contents`] tells it of a file.
async fn contents_of_server(url: &str, like: &Contents) -> Contents {
    let mut connection = PgConnection::connect(url).await.expect("postgres");
    let mut found = Contents::new();
    for table in like.keys().filter(|table| !table.starts_with('_')) {
        let columns: Vec<String> = query_scalar(
            "SELECT column_name::text FROM information_schema.columns \
             WHERE table_schema = 'crisp_sync' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position",
        )
        .bind(table)
        .fetch_all(&mut connection)
        .await
        .expect("columns");
        let statement = format!(
            "SELECT json_build_array({})::text FROM crisp_sync.{table}",
            columns.join(", ")
        );
        let rows: Vec<String> = query_scalar(AssertSqlSafe(statement))
            .fetch_all(&mut connection)
            .await
            .expect("rows");
        found.insert(table.clone(), rows);
    }
    found
}

/// The same rows, whatever their order and the spaces between their cells.
fn rows(contents: &Contents) -> BTreeMap<&str, Vec<String>> {
    let plain = |row: &String| {
        let row: Json = serde_json::from_str(row).expect("JSON");
        row.to_string()
    };
    contents
        .iter()
        .filter(|(table, _)| !["_sqlx_migrations", "meta"].contains(&table.as_str()))
        .map(|(table, rows)| {
            let mut rows: Vec<String> = rows.iter().map(plain).collect();
            rows.sort();
            (table.as_str(), rows)
        })
        .collect()
}

/// It says of the rows what it said in its file, and work goes on.
async fn assert_lives_on(url: &str) {
    let ledger = open_server(url).await.expect("it is served");
    let told: BTreeMap<String, Vec<Json>> = meaning::told(&ledger)
        .await
        .into_iter()
        .map(|(table, rows)| (table.to_owned(), rows))
        .collect();
    assert_eq!(told, told_by_the_fixtures());
    meaning::assert_watch_goes_on(&ledger).await;
    meaning::assert_sweeps_go_on(&ledger).await;
    // The numbers go on: what is gone is not given out again.
    let acceptance = Acceptance {
        delivery: Delivery {
            website: website(meaning::WEBSITE),
            ..delivery("message:send")
        },
        effects: Vec::new(),
    };
    ledger.accept(acceptance, at(0)).await.expect("accepted");
    let filter = DeliveryFilter {
        limit: 1,
        ..DeliveryFilter::default()
    };
    let newest = ledger.deliveries(&filter).await.expect("a read");
    assert_eq!(newest[0].id.0, 13, "three were pruned in the file");
    assert_work_goes_on(&ledger).await;
    ledger.close().await.expect("closed");
}

with_a_server! {
    every_row_arrives_and_means_the_same,
    whatever_a_text_holds_arrives,
    whoever_is_killed_leaves_one_ledger_at_the_most_and_goes_on,
    a_ledger_of_every_schema_is_moved,
    only_a_copy_is_cautious,
}

/// The last three deliveries were pruned: what came after them has a later number.
async fn prune_three(path: &Path) {
    let mut file = connect(path).await;
    sqlx::query("UPDATE sqlite_sequence SET seq = 12 WHERE name = 'deliveries'")
        .execute(&mut file)
        .await
        .expect("written");
    file.close().await.expect("closed");
}

async fn every_row_arrives_and_means_the_same(url: String) {
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    prune_three(&path).await;
    finish(&path, &url).await;
    let left = contents(&path).await;
    let arrived = contents_of_server(&url, &left).await;
    assert_eq!(rows(&arrived), rows(&left));
    assert!(rows(&left).values().all(|rows| !rows.is_empty()));
    let [in_file, on_server] = [&left, &arrived].map(|contents| {
        let facts: BTreeMap<String, String> = contents["meta"]
            .iter()
            .map(|row| serde_json::from_str::<(String, String)>(row).expect("a fact"))
            .collect();
        facts
    });
    for fact in ["id", "secret", "heartbeat"] {
        assert_eq!(in_file.get(fact), on_server.get(fact), "{fact}");
    }
    assert!(!on_server.contains_key("leaving") && !on_server.contains_key("arriving"));
    assert_lives_on(&url).await;
    assert!(said(open_file(&path).await).ends_with(&format!("it was moved to `{}`", shown(&url))));
}

/// The URL as people see it.
fn shown(url: &str) -> String {
    Location::Server(url.to_owned().into()).to_string()
}

async fn whatever_a_text_holds_arrives(url: String) {
    const TEXTS: [&str; 6] = [
        "\\N",
        "a\tb",
        "line\nnext\r\n",
        "\\",
        "\u{1f600} \u{e9}",
        "",
    ];
    let folder = full().await;
    let path = folder.path().join("ledger.db");
    let mut file = connect(&path).await;
    // Several pieces of them, and a row that is longer than a piece.
    for (number, text) in (0_i64..).zip(TEXTS.into_iter().cycle().take(6_000)) {
        sqlx::query("INSERT INTO traces (kind, website, key, at, trigger, attempt, outcome, detail) VALUES ('person', 'w', 'k', ?1, 't', 1, 'o', ?2)")
            .bind(number)
            .bind(if number == 77 { "x".repeat(1_000_000) } else { format!("{text}{text} and {text}") })
            .execute(&mut file)
            .await
            .expect("written");
    }
    file.close().await.expect("closed");
    finish(&path, &url).await;
    let left = contents(&path).await;
    let arrived = contents_of_server(&url, &left).await;
    assert!(rows(&arrived) == rows(&left), "traces differ");
}

async fn whoever_is_killed_leaves_one_ledger_at_the_most_and_goes_on(url: String) {
    for writes in 0..=4 {
        execute(&url, "DROP SCHEMA IF EXISTS crisp_sync CASCADE").await;
        let folder = full().await;
        let path = folder.path().join("ledger.db");
        prune_three(&path).await;
        killed_after(writes, &path, &url).await;
        let file = open_file(&path).await;
        match writes {
            0 => file.expect("the ledger").close().await.expect("closed"),
            1 | 2 => assert!(said(file).contains("it is on its way to")),
            _ => assert!(said(file).contains("it was moved to")),
        }
        match writes {
            // Whoever opens it makes a ledger of it, which is then in the way.
            0 | 1 => {}
            2 | 3 => assert!(said(open_server(&url).await).contains("it is still arriving")),
            _ => {
                let server = open_server(&url).await.expect("the ledger");
                server.close().await.expect("closed");
            }
        }
        // Killed once more at the same place, and then not.
        killed_after(0, &path, &url).await;
        finish(&path, &url).await;
        finish(&path, &url).await;
        assert!(said(open_file(&path).await).contains("it was moved to"));
        assert_lives_on(&url).await;
    }
}

async fn a_ledger_of_every_schema_is_moved(url: String) {
    for schema in 1..newest() {
        execute(&url, "DROP SCHEMA IF EXISTS crisp_sync CASCADE").await;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        older(&path, schema).await;
        finish(&path, &url).await;
        let ledger = open_server(&url).await.expect("it is served");
        let told = meaning::told(&ledger).await;
        for (table, rows) in told_by_the_fixtures() {
            assert_eq!(told[table.as_str()], rows, "schema {schema}: {table}");
        }
        ledger.close().await.expect("closed");
    }
}

async fn only_a_copy_is_cautious(url: String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.db");
    let ledger = open_file(&path).await.expect("a new ledger");
    let ada = Email::parse("ada@example.org").expect("an address");
    let pseudonym = ledger.pseudonyms().email(&ada);
    ledger.heartbeat(at(0)).await.expect("a beat");
    ledger.close().await.expect("closed");
    finish(&path, &url).await;
    let ledger = open_server(&url).await.expect("it is served");
    assert_eq!(ledger.pseudonyms().email(&ada), pseudonym);
    assert_eq!(ledger.cautious_until().await.expect("a read"), None);
    // After a night on the way nobody listened, and that is what makes careful.
    let gap = ledger.heartbeat(at(8 * 3_600_000)).await.expect("a beat");
    assert_eq!(gap.map(|gap| gap.from), Some(at(0)));
    ledger.close().await.expect("closed");

    execute(&url, "DROP SCHEMA crisp_sync CASCADE").await;
    let copied = full().await;
    finish(&copied.path().join("ledger.db"), &url).await;
    let ledger = open_server(&url).await.expect("it is served");
    let gap = ledger.last_gap().await.expect("a read").expect("a gap");
    assert_eq!((gap.from, gap.to), (at(-20_000), at(0)));
    ledger.close().await.expect("closed");
}
