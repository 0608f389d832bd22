//! The story: the same questions and the same answers on every engine.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use crisp_sync::{
    ids::{Email, UserKey},
    record::{Record, User, Value},
    telemetry::Metrics,
    users::{
        Freshness::{self, Cached, Fresh},
        Lookup, MoreSettings, QueryName, Severity, UserDirectory, UsersError, UsersSettings,
    },
};
use jiff::{Timestamp, civil::date, tz::TimeZone};
use serde_json::json;

use super::fixture::{App, Engine, with_app};

const ADA: &str = "6f1c2a0e-9d1b-4c58-8a53-0d6d1a4f7b11";
/// Every column, for `lower(email) = :email` and its trailing comment, which must harm nobody.
const BY_EMAIL: &str =
    "SELECT u.* FROM users u WHERE lower(u.email) = :email ORDER BY u.id DESC; -- newest first";
/// Counts to 10^9 by multiplication: slow on every engine, and interruptible.
const SLOW: &str = "WITH d AS (SELECT 0 AS n UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
    UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)
    SELECT count(*) AS uid, :email AS email FROM d a, d b, d c, d e, d f, d g, d h, d i, d j WHERE a.n + b.n < 100";

macro_rules! on_every_engine {
    ($($test:ident: $story:ident;)*) => {
        mod sqlite { $(#[tokio::test] async fn $test() { super::with_app(super::Engine::Sqlite, super::$story).await; })* }
        mod postgres { $(#[tokio::test] async fn $test() { super::with_app(super::Engine::Postgres, super::$story).await; })* }
        mod mysql { $(#[tokio::test] async fn $test() { super::with_app(super::Engine::MySql, super::$story).await; })* }
    };
}

on_every_engine! {
    people_are_found_by_their_very_address: people_are_found;
    values_have_the_types_of_their_columns: values_are_typed;
    accounts_come_in_the_order_of_the_query: accounts;
    a_key_outlives_its_address: by_key;
    further_lookups_are_bound_to_the_first_row: further_lookups;
    event_rows_begin_at_an_instant: events;
    nothing_is_written: read_only;
    a_slow_query_is_stopped: timeouts;
    a_full_pool_is_busy_and_no_server_is_unavailable: pressure;
    answers_are_kept_and_asked_anew: caching;
    a_changed_table_is_noticed: changes;
    inspection_lists_every_fault: inspection;
}

fn settings(app: &App) -> UsersSettings {
    UsersSettings {
        key: "uid".to_owned(),
        timezone: TimeZone::get("Europe/Berlin").expect("a zone"),
        ..UsersSettings::new(app.url(), BY_EMAIL)
    }
}

fn connect(settings: UsersSettings) -> UserDirectory {
    UserDirectory::connect(settings, Metrics::default()).expect("settings that work")
}

fn email(text: &str) -> Email {
    Email::parse(text).expect("an address")
}

fn key(text: &str) -> UserKey {
    UserKey::parse(text).expect("a key")
}

fn instant(text: &str) -> Timestamp {
    text.parse().expect("an instant")
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

async fn find(directory: &UserDirectory, address: &str, freshness: Freshness) -> Option<User> {
    match directory.by_email(&email(address), freshness).await {
        Ok(Lookup::Found(user)) => Some(User::clone(&user)),
        Ok(Lookup::NotFound) => None,
        Err(error) => panic!("{error}: {:?}", error.hint()),
    }
}

async fn people_are_found(app: App) {
    let directory = connect(settings(&app));
    let ada = find(&directory, "ADA@example.ORG", Cached)
        .await
        .expect("Ada");
    assert_eq!(ada.key, key(ADA));
    assert_eq!(ada.email, email("ada@example.org"));
    assert!(
        find(&directory, "nobody@example.org", Cached)
            .await
            .is_none()
    );

    // A comparison that folds accents gives a row, and the row is not believed.
    let fuzzy = match app.engine {
        Engine::Sqlite => "replace(email, 'á', 'a') = :email",
        Engine::Postgres | Engine::MySql => "email = :email",
    };
    let directory = connect(UsersSettings {
        query: format!("SELECT uid, email FROM users WHERE {fuzzy}"),
        ..settings(&app)
    });
    assert!(find(&directory, "admin@example.org", Fresh).await.is_none());
    if app.engine != Engine::Sqlite {
        assert!(find(&directory, "ádmin@example.org", Fresh).await.is_some());
        assert!(find(&directory, "ada@example.org", Fresh).await.is_some());
    }
    let drift = directory.now().await.expect("a clock").duration_since(
        #[expect(
            clippy::disallowed_methods,
            reason = "compared with the clock of the machine"
        )]
        Timestamp::now(),
    );
    assert!(drift.abs().as_secs() < 3_600, "{drift}");
}

async fn values_are_typed(app: App) {
    let directory = connect(settings(&app));
    let ada = find(&directory, "ada@example.org", Fresh)
        .await
        .expect("Ada");
    let decimal = |digits: &str| Value::Decimal(digits.to_owned());
    let expected: Record = [
        ("id", Value::Int(9_007_199_254_740_993)),
        ("uid", text(ADA)),
        ("email", text("Ada@Example.org")),
        ("name", text("Ada ☕")),
        ("active", Value::Bool(true)),
        ("logins", Value::Int(7)),
        (
            "price",
            match app.engine {
                // SQLite stores no scale.
                Engine::Sqlite => decimal("49.5"),
                Engine::Postgres | Engine::MySql => decimal("49.50"),
            },
        ),
        (
            "balance",
            match app.engine {
                Engine::Sqlite => text("123456789012345678.123456789"),
                Engine::Postgres | Engine::MySql => decimal("123456789012345678.123456789"),
            },
        ),
        ("plan", text("pro")),
        (
            "settings",
            match (app.engine, ada.record.value("settings")) {
                // MariaDB's JSON is a text with a check; MySQL's is JSON.
                (Engine::MySql, Some(Value::Text(_))) => text("{\"beta\":true}"),
                _ => Value::Json(json!({"beta": true})),
            },
        ),
        ("born", Value::Date(date(1815, 12, 10))),
        (
            "created_at",
            Value::Instant(instant("2026-07-01T08:00:00Z")),
        ),
        (
            "trial_ends_at",
            Value::Instant(instant("2026-07-15T12:30:00.25Z")),
        ),
        ("gone", Value::Null),
    ]
    .into_iter()
    .collect();
    assert_eq!(ada.record, expected);
    assert_eq!(ada.accounts, [expected]);
}

async fn accounts(app: App) {
    let directory = connect(settings(&app));
    let two = find(&directory, "two@example.org", Fresh)
        .await
        .expect("two");
    let names: Vec<_> = two
        .accounts
        .iter()
        .map(|row| row.value("name").cloned())
        .collect();
    assert_eq!(names, [Some(text("newer")), Some(text("older"))]);
    assert_eq!(two.record, two.accounts[0]);

    // More accounts than anyone has are not read to the end, and the connection is good for the next question.
    for batch in 0..6 {
        let rows: Vec<_> = (0..10)
            .map(|row| {
                let id = 100 + batch * 10 + row;
                format!("({id}, '00000000-0000-4000-8000-{id:012}', 'many@example.org')")
            })
            .collect();
        let sql = format!(
            "INSERT INTO users (id, uid, email) VALUES {}",
            rows.join(", ")
        );
        app.execute(&[&sql]).await;
    }
    let directory = connect(UsersSettings {
        pool_size: NonZeroU32::MIN,
        ..settings(&app)
    });
    let many = find(&directory, "many@example.org", Fresh)
        .await
        .expect("many");
    assert_eq!(many.accounts.len(), 50);
    assert!(find(&directory, "ada@example.org", Fresh).await.is_some());
}

async fn by_key(app: App) {
    let without = connect(settings(&app));
    let ada = email("ada@example.org");
    let found = without
        .by_key(&key(ADA), Some(&ada), Fresh)
        .await
        .expect("an answer");
    assert!(matches!(found, Lookup::Found(user) if user.email == ada));
    let other = key("00000000-0000-4000-8000-000000000001");
    let found = without
        .by_key(&other, Some(&ada), Fresh)
        .await
        .expect("an answer");
    assert!(
        matches!(found, Lookup::NotFound),
        "the address is somebody else's"
    );
    let error = without
        .by_key(&other, None, Fresh)
        .await
        .expect_err("no address");
    assert!(matches!(error, UsersError::Config { .. }) && error.hint().is_some());

    let with = connect(UsersSettings {
        query_by_key: Some("SELECT uid, email FROM users WHERE uid = :key".to_owned()),
        ..settings(&app)
    });
    // The second account on its address.
    let found = with.by_key(&other, None, Fresh).await.expect("an answer");
    assert!(matches!(found, Lookup::Found(user)
        if user.key == other && user.record.value("name") == Some(&text("older")) && user.accounts.len() == 2));

    // A fresh answer replaces what the cache holds of the address, and a new address is followed.
    assert!(find(&with, "new@example.org", Cached).await.is_none());
    app.execute(&["UPDATE users SET email = 'new@example.org' WHERE id = 9007199254740993"])
        .await;
    let found = with
        .by_key(&key(ADA), Some(&ada), Fresh)
        .await
        .expect("an answer");
    assert!(matches!(found, Lookup::Found(user) if user.email == email("new@example.org")));
    assert!(find(&with, "new@example.org", Cached).await.is_some());
    let unknown = key("00000000-0000-4000-8000-00000000ffff");
    let found = with
        .by_key(&unknown, Some(&ada), Fresh)
        .await
        .expect("an answer");
    assert!(matches!(found, Lookup::NotFound));
}

async fn further_lookups(app: App) {
    let more = |url, query: &str| MoreSettings {
        url,
        query: query.to_owned(),
    };
    let directory = connect(UsersSettings {
        more: BTreeMap::from([
            (
                "paid".to_owned(),
                more(
                    None,
                    "SELECT reference FROM payments WHERE user_id = :id ORDER BY paid_at DESC",
                ),
            ),
            (
                "born".to_owned(),
                more(
                    None,
                    "SELECT name FROM users WHERE born = :born AND active = :active AND price = :price",
                ),
            ),
            (
                "billing".to_owned(),
                more(
                    Some(app.billing().await),
                    "SELECT amount, issued_at FROM invoices WHERE user_uid = :key",
                ),
            ),
            (
                "none".to_owned(),
                more(
                    None,
                    "SELECT reference FROM payments WHERE reference = :gone",
                ),
            ),
        ]),
        ..settings(&app)
    });
    let ada = find(&directory, "ada@example.org", Fresh)
        .await
        .expect("Ada");
    assert_eq!(
        ada.more["paid"],
        Record::from_iter([("reference", text("third"))])
    );
    assert_eq!(
        ada.more["born"],
        Record::from_iter([("name", text("Ada ☕"))])
    );
    assert_eq!(
        ada.more["billing"],
        Record::from_iter([
            ("amount", text("19.90")),
            ("issued_at", Value::Instant(instant("2026-06-30T22:00:00Z"))),
        ])
    );
    assert!(ada.more["none"].is_empty());
    assert!(
        find(&directory, "nobody@example.org", Fresh)
            .await
            .is_none()
    );
}

async fn events(app: App) {
    let directory = connect(UsersSettings {
        timezone: TimeZone::UTC,
        events: BTreeMap::from([(
            "user:paid".to_owned(),
            "SELECT reference, paid_at FROM payments WHERE user_id = :id AND paid_at >= :since ORDER BY paid_at".to_owned(),
        )]),
        ..settings(&app)
    });
    let ada = find(&directory, "ada@example.org", Fresh)
        .await
        .expect("Ada");
    let rows = directory
        .event_rows(&ada, instant("2026-06-01T00:00:00Z"))
        .await
        .expect("rows");
    let references: Vec<_> = rows["user:paid"]
        .iter()
        .map(|row| row.value("reference").cloned())
        .collect();
    assert_eq!(references, [Some(text("second")), Some(text("third"))]);
    assert_eq!(
        rows["user:paid"][0].value("paid_at"),
        Some(&Value::Instant(instant("2026-06-01T00:00:00Z")))
    );
}

async fn read_only(app: App) {
    let before = app.count().await;
    let functions: &[&str] = match app.engine {
        Engine::Sqlite => &[],
        Engine::Postgres => {
            &["CREATE FUNCTION spoil() RETURNS int LANGUAGE sql AS 'DELETE FROM users RETURNING 1'"]
        }
        Engine::MySql => &[
            "CREATE FUNCTION spoil() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM users; RETURN 1; END",
        ],
    };
    app.execute(functions).await;
    let mut queries = vec![
        "DELETE FROM users WHERE email <> :email",
        "INSERT INTO users (id, uid, email) VALUES (77, 'x', :email)",
    ];
    if app.engine != Engine::Sqlite {
        queries.push("SELECT spoil() AS uid, :email AS email");
    }
    for pooler in [false, true] {
        for query in &queries {
            let directory = connect(UsersSettings {
                query: (*query).to_owned(),
                pooler,
                ..settings(&app)
            });
            let error = directory
                .by_email(&email("ada@example.org"), Fresh)
                .await
                .expect_err(query);
            assert!(
                matches!(error, UsersError::Query { .. }),
                "{query}: {error:?}"
            );
            assert!(!error.is_transient());
            if query.contains("spoil") {
                assert!(
                    error.hint().is_some_and(|hint| hint.contains("only reads")),
                    "{error:?}"
                );
            }
        }
    }
    assert_eq!(app.count().await, before);
}

async fn timeouts(app: App) {
    for pooler in [false, true] {
        let directory = connect(UsersSettings {
            query: SLOW.to_owned(),
            query_by_key: Some("SELECT uid, email FROM users WHERE uid = :key".to_owned()),
            statement_timeout: Duration::from_millis(150),
            pool_size: NonZeroU32::MIN,
            pooler,
            ..settings(&app)
        });
        let started = std::time::Instant::now();
        let error = directory
            .by_email(&email("ada@example.org"), Fresh)
            .await
            .expect_err("too slow");
        assert!(matches!(error, UsersError::Timeout { .. }), "{error:?}");
        assert!(error.is_transient());
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "{:?}",
            started.elapsed()
        );
        // The only connection serves on.
        directory.now().await.expect("a clock");
    }
}

async fn pressure(app: App) {
    // The slow query is asked first and holds the only connection until its deadline.
    let directory = connect(UsersSettings {
        query: SLOW.to_owned(),
        statement_timeout: Duration::from_millis(2_500),
        acquire_timeout: Duration::from_secs(1),
        pool_size: NonZeroU32::MIN,
        ..settings(&app)
    });
    let busy = email("ada@example.org");
    let (slow, waiting) = tokio::join!(directory.by_email(&busy, Fresh), directory.now());
    let (slow, waiting) = (slow.expect_err("slow"), waiting.expect_err("busy"));
    assert!(matches!(slow, UsersError::Timeout { .. }), "{slow:?}");
    assert!(matches!(waiting, UsersError::Busy { .. }), "{waiting:?}");
    assert!(slow.is_transient() && waiting.is_transient());

    let nowhere = match app.engine {
        Engine::Sqlite => "sqlite:///nowhere/at/all.db",
        Engine::Postgres => "postgres://app:hush@127.0.0.1:1/app",
        Engine::MySql => "mysql://app:hush@127.0.0.1:1/app",
    };
    let directory = connect(UsersSettings {
        url: nowhere.into(),
        acquire_timeout: Duration::from_millis(200),
        ..settings(&app)
    });
    let error = directory
        .by_email(&busy, Cached)
        .await
        .expect_err("no server");
    assert!(matches!(error, UsersError::Unavailable { .. }), "{error:?}");
    assert!(error.is_transient() && error.hint().is_some());
    assert!(!format!("{error:?} {error}").contains("hush"));
}

async fn caching(app: App) {
    let metrics = Metrics::default();
    let directory = UserDirectory::connect(settings(&app), metrics.clone()).expect("settings");
    let address = email("ada@example.org");
    // A caller who goes away at once does not take the question along.
    let mut gone = Box::pin(directory.by_email(&address, Cached));
    std::future::poll_fn(|context| std::task::Poll::Ready(gone.as_mut().poll(context).is_ready()))
        .await;
    drop(gone);
    let (one, two) = tokio::join!(
        directory.by_email(&address, Cached),
        directory.by_email(&address, Cached)
    );
    assert!(one.is_ok() && two.is_ok());
    app.execute(&["UPDATE users SET name = 'Countess' WHERE id = 9007199254740993"])
        .await;
    let kept = find(&directory, "ada@example.org", Cached)
        .await
        .expect("Ada");
    assert_eq!(kept.record.value("name"), Some(&text("Ada ☕")));
    let fresh = find(&directory, "ada@example.org", Fresh)
        .await
        .expect("Ada");
    assert_eq!(fresh.record.value("name"), Some(&text("Countess")));
    let kept = find(&directory, "ada@example.org", Cached)
        .await
        .expect("Ada");
    assert_eq!(kept.record.value("name"), Some(&text("Countess")));
    let series = metrics.render();
    assert!(
        series.contains("lookups_total{outcome=\"found\"} 2"),
        "{series}"
    );
}

async fn changes(app: App) {
    let directory = connect(settings(&app));
    assert!(find(&directory, "ada@example.org", Fresh).await.is_some());
    app.execute(&["ALTER TABLE users ADD COLUMN seen_at timestamp NULL"])
        .await;
    let ada = find(&directory, "ada@example.org", Fresh)
        .await
        .expect("Ada");
    assert_eq!(ada.record.value("seen_at"), Some(&Value::Null));
}

async fn inspection(app: App) {
    let events = |query: &str| BTreeMap::from([("paid".to_owned(), query.to_owned())]);
    let good = connect(UsersSettings {
        query_by_key: Some("SELECT uid, email FROM users WHERE uid = :key".to_owned()),
        events: events("SELECT paid_at FROM payments WHERE user_id = :id AND paid_at >= :since"),
        ..settings(&app)
    });
    let survey = good.survey().await;
    assert!(
        survey
            .faults
            .iter()
            .all(|fault| fault.severity == Severity::Advice),
        "{:?}",
        survey.faults
    );
    assert_eq!(survey.columns[&QueryName::ByEmail].len(), 14);
    // The servers of these tests are asked as their superuser.
    assert_eq!(
        survey.faults.len(),
        usize::from(app.engine != Engine::Sqlite)
    );

    let bad = connect(UsersSettings {
        query: "SELECT u.id, p.user_id AS id, u.uid AS \"UID\", u.name FROM users u JOIN payments p ON p.user_id = u.id WHERE u.email = :email"
            .replace('"', if app.engine == Engine::MySql { "`" } else { "\"" }),
        query_by_key: Some("SELECT uid, emial FROM users WHERE uid = :key".to_owned()),
        events: events("SELECT paid_at FROM payments WHERE user_id = :user_id"),
        ..settings(&app)
    });
    let faults: Vec<_> = bad
        .inspect()
        .await
        .into_iter()
        .filter(|fault| fault.severity == Severity::Error)
        .map(|fault| (fault.path.join("."), fault.message, fault.hint))
        .collect();
    let expected = [
        ("users.query", "column `id` occurs more than once", "AS"),
        ("users.query", "there is no column `uid`", "calls it `UID`"),
        ("users.query", "there is no column `email`", "address"),
        ("users.query_by_key", "emial", ""),
        (
            "lifecycle.event.paid.query",
            "no parameter `:user_id`",
            "columns of `users.query`",
        ),
    ];
    assert_eq!(faults.len(), expected.len(), "{faults:?}");
    for ((path, message, hint), (at, said, hinted)) in faults.iter().zip(expected) {
        assert_eq!(path, at);
        assert!(message.contains(said), "{message}");
        assert!(
            hint.as_deref().unwrap_or_default().contains(hinted),
            "{hint:?}"
        );
    }
}

/// Types that only one engine has, in a query without a table.
async fn one_row(app: &App, columns: &[&str]) -> Record {
    let directory = connect(UsersSettings {
        query: format!("SELECT 1 AS uid, :email AS email, {}", columns.join(", ")),
        ..settings(app)
    });
    let user = find(&directory, "ada@example.org", Fresh).await;
    user.expect("Ada").record
}

fn expect_values(row: &Record, values: &[(&str, Value)]) {
    for (column, value) in values {
        assert_eq!(row.value(column), Some(value), "{column}");
    }
}

#[tokio::test]
async fn types_that_only_postgresql_has() {
    with_app(Engine::Postgres, |app| async move {
        let row = one_row(
            &app,
            &[
                "'{1,2}'::int[] AS list",
                "'{\"a\": 1.50}'::json AS document",
                "'null'::jsonb AS json_null",
                "'infinity'::timestamptz AS forever",
                "'NaN'::numeric AS nan",
                "1e20::float8 AS far",
                "1.25::float4 AS near",
                "'1 day 02:00'::interval AS span",
                "1234.5::numeric::money AS money",
                "'10.0.0.1'::inet AS address",
                "'[1,3)'::int4range AS range",
                "'\\x00ff'::bytea AS bytes",
                "(1, 'a') AS pair",
                "TIME '10:00' AS clock",
                "count(*) FILTER (WHERE true) AS \"a \"\"quoted\"\" name\"",
            ],
        )
        .await;
        expect_values(
            &row,
            &[
                ("list", Value::Json(json!([1, 2]))),
                ("json_null", Value::Null),
                ("forever", Value::Instant(Timestamp::MAX)),
                ("nan", text("NaN")),
                ("far", Value::Decimal("1e+20".to_owned())),
                ("near", Value::Decimal("1.25".to_owned())),
                ("span", text("1 day 02:00:00")),
                ("money", text("$1,234.50")),
                ("address", text("10.0.0.1")),
                ("range", text("[1,3)")),
                ("bytes", text("\\x00ff")),
                ("pair", Value::Json(json!({"f1": 1, "f2": "a"}))),
                ("clock", text("10:00:00")),
                ("a \"quoted\" name", Value::Int(1)),
            ],
        );
        assert!(matches!(row.value("document"), Some(Value::Json(_))));

        // The server would repeat a person's data in its message.
        let directory = connect(UsersSettings {
            query: "SELECT uid, email, name::int AS n FROM users WHERE lower(email) = :email"
                .to_owned(),
            ..settings(&app)
        });
        let error = directory
            .by_email(&email("ada@example.org"), Fresh)
            .await
            .expect_err("no number");
        assert!(
            error.to_string().contains("invalid input syntax"),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("Ada"), "{error:?}");
    })
    .await;
}

#[tokio::test]
async fn types_that_only_mariadb_and_mysql_have() {
    with_app(Engine::MySql, |app| async move {
        app.execute(&[
            "CREATE TABLE odd (flag tinyint(1), level tinyint(1), bits bit(1), mask bit(12), born year, span time,
               huge bigint unsigned, tags set('a','b'), hash binary(2), ratio float, far double, day date)",
            "SET sql_mode = ''; INSERT INTO odd VALUES
               (0, 3, b'1', b'100000000001', 1999, '-30:15:00', 18446744073709551615, 'a,b', x'00ff', 1.25, 1e20, '0000-00-00')",
        ])
        .await;
        let row = one_row(&app, &["odd.* FROM odd"]).await;
        expect_values(
            &row,
            &[
                ("flag", Value::Bool(false)),
                ("level", Value::Int(3)),
                ("bits", Value::Bool(true)),
                ("mask", Value::Int(2049)),
                ("born", Value::Int(1999)),
                ("span", text("-30:15:00")),
                ("huge", Value::Decimal("18446744073709551615".to_owned())),
                ("tags", text("a,b")),
                ("hash", text("00ff")),
                ("ratio", Value::Decimal("1.25".to_owned())),
                ("far", Value::Decimal("100000000000000000000".to_owned())),
                ("day", Value::Null),
            ],
        );
        // The operator's `||` keeps the meaning it has on their server.
        let row = one_row(&app, &["(1 || 0) AS either"]).await;
        assert_eq!(row.value("either"), Some(&Value::Int(1)));
    })
    .await;
}

/// Behind a pooler no statement has a name, and every transaction is guarded anew.
#[tokio::test]
async fn a_pooler_sees_no_named_statement() {
    with_app(Engine::Postgres, |app| async move {
        for pooler in [true, false] {
            let directory = connect(UsersSettings {
                query: "SELECT u.*, (SELECT count(*) FROM pg_prepared_statements) AS named, \
                        current_setting('transaction_read_only') AS guarded, \
                        current_setting('statement_timeout') AS patience \
                        FROM users u WHERE lower(email) = :email"
                    .to_owned(),
                events: BTreeMap::from([(
                    "paid".to_owned(),
                    "SELECT * FROM payments WHERE user_id = :id AND paid_at > :since".to_owned(),
                )]),
                pool_size: NonZeroU32::MIN,
                pooler,
                ..settings(&app)
            });
            for round in 0..2 {
                let ada = find(&directory, "ada@example.org", Fresh)
                    .await
                    .expect("Ada");
                directory
                    .event_rows(&ada, Timestamp::UNIX_EPOCH)
                    .await
                    .expect("rows");
                directory.now().await.expect("a clock");
                let named = ada.record.value("named");
                assert_eq!(
                    named == Some(&Value::Int(0)),
                    pooler,
                    "round {round}: {named:?}"
                );
                assert_eq!(ada.record.value("guarded"), Some(&text("on")));
                assert_eq!(ada.record.value("patience"), Some(&text("5s")));
            }
            assert!(
                directory
                    .inspect()
                    .await
                    .iter()
                    .all(|fault| fault.severity == Severity::Advice)
            );
        }
    })
    .await;
}
