//! The ledger's server falls silent while the ledger is opened, or one is moved there: the wait ends, and says so. A server that
//! is busy is waited for.

use std::{future::Future, path::Path, time::Duration};

use crisp_sync::{
    clock::millis,
    ledger::{Ledger, LedgerError, LedgerSettings, Location, Move, Stage},
};
use futures_util::future::join_all;
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::engines::{
    Database,
    silence::{Trigger, Way},
};

/// How long the server may take here, and be silent.
const ANSWER: Duration = Duration::from_secs(2);

/// Nobody waits so long who does not wait for ever.
const IN_TIME: Duration = Duration::from_mins(1);

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    timeout(IN_TIME, work).await.expect("an end in time")
}

fn settings(location: Location) -> LedgerSettings {
    LedgerSettings {
        answer_timeout: ANSWER,
        ..LedgerSettings::of(location)
    }
}

async fn open(url: &str) -> Result<Ledger, LedgerError> {
    let location = Location::Server(url.to_owned().into());
    in_time(Ledger::open(settings(location), millis(0))).await
}

/// What was tried, on what, and what to do.
fn assert_told(error: &LedgerError, tried: &str, way: &Way) {
    let place = Location::Server(way.url.clone().into());
    let said = format!("could not {tried} `{place}`");
    let error = error.to_string();
    assert!(error.starts_with(&said), "{error}");
    assert!(error.contains("\nhint: "), "{error}");
}

/// At each of its steps.
#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_is_not_answered_ends() {
    // The server may be back at once, or another one have its address; or it stays away.
    let silences = [
        ("server_version_num", "connect to the ledger", true),
        ("pg_advisory_lock", "open the ledger", true),
        ("pg_tables", "open the ledger", true),
        ("FROM meta", "open the ledger", true),
        ("pg_advisory_unlock", "open the ledger", true),
        ("pg_advisory_lock", "open the ledger", false),
        ("FROM meta", "open the ledger", false),
    ];
    join_all(silences.map(|(text, tried, comes_back)| async move {
        let Some(database) = Database::create().await else {
            return;
        };
        let way = Way::to(&database.url).await;
        if comes_back {
            way.falls_silent_at(Trigger::Text(text));
        } else {
            way.goes_away_at(Trigger::Text(text));
        }
        let error = open(&way.url).await.expect_err("no answer");
        assert_told(&error, tried, &way);
        way.comes_back();
        let ledger = open(&way.url).await.expect("the next one opens it");
        ledger.close().await.expect("closed");
        database.drop().await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opening_that_waits_for_its_turn_goes_on_for_longer() {
    let Some(database) = Database::create().await else {
        return;
    };
    let mut another = PgConnection::connect(&database.url)
        .await
        .expect("postgres");
    let turn = sqlx::query("SELECT pg_advisory_lock($1)").bind(0x63_72_69_73_70_i64);
    turn.execute(&mut another).await.expect("its turn");
    let way = Way::to(&database.url).await;
    let opening = Box::pin(open(&way.url));
    let looked_twice = Box::pin(async {
        way.carries(3).await;
        another.close().await.expect("closed");
    });
    let (opened, ()) = in_time(async { tokio::join!(opening, looked_twice) }).await;
    let ledger = opened.expect("its turn comes");
    ledger.close().await.expect("closed");
    database.drop().await;
}

async fn begin(from: &Path, to: &str) -> Result<Move, LedgerError> {
    let settings = settings(Location::File(from.to_owned()));
    in_time(Move::open(&settings, from, &to.to_owned().into())).await
}

async fn carry(from: &Path, to: &str) -> Result<(), LedgerError> {
    let mut moving = begin(from, to).await?;
    while moving.stage() != Stage::Done {
        in_time(moving.step(millis(0))).await?;
    }
    moving.close().await
}

/// At each of its steps, and the next one goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_is_not_answered_ends_and_goes_on_later() {
    let silences = [
        (Trigger::Text("pg_advisory_lock"), true),
        (Trigger::Text("CREATE SCHEMA"), true),
        (Trigger::Text("COPY meta"), true),
        (Trigger::Text("COPY meta"), false),
        (Trigger::Text("count(*) FROM meta"), true),
        (Trigger::Text("ANALYZE"), true),
        // The first one is of the schema.
        (Trigger::Commit(2), true),
        (Trigger::Commit(2), false),
        (Trigger::Text("DELETE FROM meta"), true),
    ];
    join_all(silences.map(|(trigger, comes_back)| async move {
        let Some(database) = Database::create().await else {
            return;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.db");
        let ledger = Ledger::open(LedgerSettings::at(&path), millis(0)).await;
        ledger.expect("a ledger").close().await.expect("closed");
        let way = Way::to(&database.url).await;
        if comes_back {
            way.falls_silent_at(trigger);
        } else {
            way.goes_away_at(trigger);
        }
        let error = carry(&path, &way.url).await.expect_err("no answer");
        assert_told(&error, "move the ledger to", &way);
        way.comes_back();
        carry(&path, &way.url).await.expect("it goes on");
        open(&way.url).await.expect("it serves");
        database.drop().await;
    }))
    .await;
}
