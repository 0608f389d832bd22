//! `events list`: as much as was asked for, and whom it is about where somebody asks.

use std::collections::BTreeSet;

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::site::Site;

const ADA: &str = "ada@example.org";
const LIST: [&str; 2] = ["events", "list"];
const HEADINGS: &str = "event,state,reason,happened_at,due_at,sent_at,website,user.ref,ref";

/// More than a page of any kind.
const ROWS: usize = 2_345;

/// A site that has one row.
async fn one_row() -> Site {
    let site = Site::new().await;
    site.run(&["events", "arm"]).ended(0);
    let canceled = "UPDATE users SET canceled_at = datetime('now', '+1 second') WHERE email = 'ada@example.org'";
    site.change(canceled).await;
    site.run(&["reconcile", "--email", ADA]).ended(0);
    site
}

/// The same row so many times, under keys of their own. Some are as old as others.
async fn many_rows() -> Site {
    let site = one_row().await;
    let mut ledger = SqliteConnectOptions::new()
        .filename(site.path("crisp-sync.db"))
        .connect()
        .await
        .expect("the ledger");
    let statement = format!(
        "WITH RECURSIVE more (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM more WHERE n < {}) \
         INSERT INTO outbox SELECT website, user_key, key || n, event, subject, instant, 'sent', reference || n, due_at, \
           not_before, attempts, attempted_at, sent_at, absent_reads, first_absent_at, 'confirmed', email_mac, data, color, \
           created_at - n % 7, updated_at FROM outbox, more",
        ROWS - 1
    );
    let statement = sqlx::AssertSqlSafe(statement);
    ledger.execute(statement).await.expect("valid SQL");
    ledger.close().await.expect("closes");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_a_sheet_or_a_script_is_whole() {
    let site = many_rows().await;
    let sheet = |options: &[&str]| {
        let list = [&LIST[..], &["--csv"], options].concat();
        site.run(&list).ended(0).stdout
    };
    let whole = sheet(&[]);
    let lines: Vec<&str> = whole.lines().collect();
    assert_eq!(lines[0], HEADINGS);
    let different: BTreeSet<&&str> = lines[1..].iter().collect();
    assert_eq!((lines.len(), different.len()), (ROWS + 1, ROWS));
    let list = [&LIST[..], &["--json"]].concat();
    let rows = site.run(&list).ended(0).json();
    let rows = rows.as_array().expect("rows").clone();
    assert_eq!(rows.len(), ROWS);
    let references = rows.iter().map(|row| row["ref"].as_str().expect("a ref"));
    assert!(
        references.eq(lines[1..]
            .iter()
            .filter_map(|line| line.split(',').next_back())),
        "in one order"
    );
    // As many as somebody wants, and none of them twice.
    for limit in [7, 1_000, 1_001, ROWS] {
        let some = sheet(&["--limit", &limit.to_string()]);
        let some: Vec<&str> = some.lines().collect();
        assert!(some.len() == limit + 1 && lines.starts_with(&some));
    }
    assert_eq!(sheet(&["--state", "held"]), format!("{HEADINGS}\n"));
    let _serving = site.serve().await;
    assert_eq!(sheet(&[]).lines().count(), ROWS + 1, "beside a service");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_cut_says_so() {
    let site = many_rows().await;
    let last = |options: &[&str]| {
        let ran = site.run(&[&LIST[..], options].concat()).ended(0);
        let last = ran.stdout.lines().last().expect("a line");
        (ran.stdout.lines().count(), last.to_owned())
    };
    let (lines, said) = last(&[]);
    assert!(said.starts_with("50 of 2345: "), "{said}");
    assert!(said.contains("--limit") && said.contains("--csv"), "{said}");
    assert_eq!(lines, 52, "headings, rows, and that line");
    let (_, said) = last(&["--limit", "7", "--sent"]);
    assert!(said.starts_with("7 of "), "{said}");
    let (lines, said) = last(&["--limit", "2345"]);
    assert!(lines == ROWS + 1 && !said.contains(" of "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_it_is_about_is_shown_where_somebody_asks() {
    let site = one_row().await;
    let check = |site: &Site| {
        for form in ["--csv", "--json"] {
            let without = site.run(&[&LIST[..], &[form]].concat()).ended(0).stdout;
            assert!(!without.contains("user.key"), "{without}");
        }
        let shown = [&LIST[..], &["--show-user"]].concat();
        let csv = site.run(&[&shown[..], &["--csv"]].concat()).ended(0).stdout;
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[0], format!("{HEADINGS},user.key"));
        assert!(lines.len() == 2 && lines[1].ends_with(",1"), "{csv}");
        let json = site.run(&[&shown[..], &["--json"]].concat());
        assert_eq!(json.ended(0).json()[0]["user.key"], "1");
        let table = site.run(&shown).ended(0).stdout;
        assert!(
            table
                .lines()
                .next()
                .is_some_and(|line| line.ends_with("user.key"))
        );
        // What it shows chooses, too.
        let chosen = [&LIST[..], &["--user", "1", "--csv"]].concat();
        assert_eq!(site.run(&chosen).ended(0).stdout.lines().count(), 2);
    };
    check(&site);
    let _serving = site.serve().await;
    check(&site);
}
