//! The sweep's query on every engine: ties and fractions of a second, and what `check` says of a query that loses people.

use std::{collections::BTreeSet, time::Duration};

use crisp_sync::{
    telemetry::Metrics,
    users::{QueryName, Survey, SweepPage, UserDirectory, UsersError, UsersSettings},
};
use jiff::Timestamp;

use super::fixture::{App, Engine, with_app};

/// Rows that share a second, and mostly an instant.
const PEOPLE: usize = 60;

const GOOD: &str = "SELECT id AS uid, email, at FROM changed WHERE at >= :since AND at < :until \
    AND (at > :since OR id > :after OR :after IS NULL) ORDER BY at, id LIMIT :limit";

/// The same, shorter: nothing is greater than `NULL`, so the first page leaves out who changed at `:since` itself.
const SHORT: &str = "SELECT id AS uid, email, at FROM changed WHERE (at, id) > (:since, :after) AND at < :until \
    ORDER BY at, id LIMIT :limit";

async fn changed(app: &App) {
    let at = match app.engine {
        Engine::Sqlite => "TEXT",
        Engine::Postgres => "timestamptz",
        Engine::MySql => "timestamp(6) NULL",
    };
    let table = format!("CREATE TABLE changed (id bigint PRIMARY KEY, email varchar(80), at {at})");
    let rows: Vec<String> = (1..=PEOPLE)
        .map(|id| {
            let fraction = 250_120 * (id % 3);
            format!("({id}, 'p{id}@example.org', '2026-07-01 10:00:00.{fraction:06}')")
        })
        .collect();
    let rows = format!("INSERT INTO changed VALUES {}", rows.join(", "));
    app.execute(&[&table, &rows]).await;
}

fn settings(app: &App, query: &str) -> UsersSettings {
    UsersSettings {
        key: "uid".to_owned(),
        sweep: Some(query.to_owned()),
        query_by_key: Some("SELECT uid, email FROM users WHERE uid = :key".to_owned()),
        ..UsersSettings::new(
            app.url(),
            "SELECT uid, email FROM users WHERE lower(email) = :email",
        )
    }
}

fn connect(settings: UsersSettings) -> UserDirectory {
    UserDirectory::connect(settings, Metrics::default()).expect("settings that work")
}

fn first(limit: u32) -> SweepPage {
    SweepPage {
        since: Timestamp::UNIX_EPOCH,
        until: "2026-08-01T00:00:00Z".parse().expect("an instant"),
        after: None,
        limit,
    }
}

/// Pages that end within an instant, and at its edge.
async fn everybody_once(app: App) {
    changed(&app).await;
    for (query, limit) in [GOOD, SHORT]
        .into_iter()
        .flat_map(|query| [1, 7, 20, 60].map(|limit| (query, limit)))
    {
        let directory = connect(settings(&app, query));
        let (mut page, mut seen) = (first(limit), Vec::new());
        loop {
            let read = directory.sweep(page.clone()).await.expect("a page");
            seen.extend(
                read.rows
                    .iter()
                    .map(|row| (row.at, row.key.as_str().to_owned())),
            );
            if read.is_last {
                break;
            }
            page.after = read.rows.last().map(|row| row.mark.clone());
        }
        assert_eq!(seen.len(), PEOPLE, "pages of {limit}");
        let keys: BTreeSet<_> = seen.iter().map(|(_, key)| key).collect();
        assert_eq!(keys.len(), PEOPLE);
        assert!(seen.is_sorted_by_key(|(at, _)| *at));
    }
}

async fn tried(app: &App, query: &str, timeout: Duration) -> Vec<(String, String, String)> {
    let directory = connect(UsersSettings {
        statement_timeout: timeout,
        ..settings(app, query)
    });
    let mut survey: Survey = directory.survey().await;
    survey
        .faults
        .retain(|fault| fault.path == QueryName::Sweep.path());
    let day = Duration::from_hours(24);
    directory.try_sweep(&mut survey, day).await;
    let faults = survey.faults.into_iter();
    faults
        .map(|fault| {
            (
                fault.path.join("."),
                fault.message,
                fault.hint.unwrap_or_default(),
            )
        })
        .collect()
}

async fn what_check_says(app: App) {
    changed(&app).await;
    let second = Duration::from_secs(5);
    assert_eq!(tried(&app, GOOD, second).await, []);
    assert_eq!(tried(&app, SHORT, second).await, []);
    let broken = [
        (
            "ORDER BY at, id",
            "ORDER BY at, id DESC",
            "next key",
            "ORDER BY at, <key>",
        ),
        (
            "ORDER BY at, id",
            "ORDER BY at DESC, id",
            "order of `at`",
            "ORDER BY at",
        ),
        (
            "id > :after OR",
            "id > :after OR 1 = 1 OR",
            "next key",
            "(:since, :after)",
        ),
        (
            "WHERE at >= :since",
            "WHERE (at >= :since OR 1 = 1)",
            "before `:since`",
            ":since",
        ),
        (
            "email, at FROM",
            "email, 5 AS at FROM",
            "`at` is a number",
            " AS at",
        ),
        ("email, at FROM", "email FROM", "no column `at`", "GREATEST"),
        ("id AS uid", "id", "no column `uid`", "the key"),
        ("FROM changed", "FROM unchanged", "unchanged", ""),
    ];
    for (text, with, message, hint) in broken {
        let query = GOOD.replacen(text, with, 1);
        let faults = tried(&app, &query, second).await;
        let [(path, said, hinted)] = faults.as_slice() else {
            panic!("{with}: {faults:?}")
        };
        assert_eq!(path, "lifecycle.query");
        assert!(said.contains(message), "{with}: {said}");
        assert!(hinted.contains(hint), "{with}: {hinted}");
    }
    let slow = "SELECT a.id AS uid, max(a.at) AS at FROM changed a, changed b, changed c, changed d, changed e \
        WHERE a.at >= :since AND a.at < :until AND (a.id > :after OR :after IS NULL) AND b.id + c.id + d.id + e.id < 3 \
        GROUP BY a.id ORDER BY 2, 1 LIMIT :limit";
    let faults = tried(&app, slow, Duration::from_millis(300)).await;
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].1.contains("took longer than 300 ms"),
        "{faults:?}"
    );
    assert!(faults[0].2.contains("index"), "{faults:?}");
}

/// What a query loses without a word is a fault while it runs, too: a page that leads nowhere would be read for ever.
async fn a_page_that_leads_nowhere(app: App) {
    changed(&app).await;
    let directory = connect(settings(
        &app,
        &GOOD.replacen("id > :after OR", "id > :after OR 1 = 1 OR", 1),
    ));
    let mut page = first(7);
    let mut told = None;
    for _ in 0..PEOPLE {
        match directory.sweep(page.clone()).await {
            Ok(read) => page.after = read.rows.last().map(|row| row.mark.clone()),
            Err(error) => {
                told = Some(error);
                break;
            }
        }
    }
    let Some(UsersError::Query { query, message, .. }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(query, QueryName::Sweep);
    assert!(
        message.contains("ends where the one before ended"),
        "{message}"
    );
}

macro_rules! on_every_engine {
    ($($story:ident)*) => {
        mod sqlite { $(#[tokio::test] async fn $story() { super::with_app(super::Engine::Sqlite, super::$story).await; })* }
        mod postgres { $(#[tokio::test] async fn $story() { super::with_app(super::Engine::Postgres, super::$story).await; })* }
        mod mysql { $(#[tokio::test] async fn $story() { super::with_app(super::Engine::MySql, super::$story).await; })* }
    };
}

on_every_engine! { everybody_once what_check_says a_page_that_leads_nowhere }
