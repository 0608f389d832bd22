//! What marketers and operators type: looks at everybody, sheets, tests, decisions; beside a running service and alone.

use std::fs;

use crisp_sync::sandbox::DEFAULT_WEBSITE;
use serde_json::{Value as Json, json};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, sqlite::SqliteConnectOptions};

use super::site::{CONFIG, Site};

const EVENT: &str = "user:subscription:canceled";
const ADA: &str = "ada@example.org";

/// A site with testers, where the ledger knows Ada and Bob, and nobody serves.
async fn site() -> Site {
    let config = CONFIG
        .replace(
            "[lifecycle]",
            "[lifecycle]\ntesters = [\"bob@example.org\"]",
        )
        .replace(
            "color = \"orange\"",
            "color = \"orange\"\ndata = { plan = \"{{ plan }}\" }",
        );
    let site = Site::with(&config).await;
    for email in [ADA, "bob@example.org"] {
        site.run(&["reconcile", "--email", email]).ended(0);
    }
    site
}

async fn sql(site: &Site, statement: &'static str) {
    let mut database = SqliteConnectOptions::new()
        .filename(site.path("app.db"))
        .connect()
        .await
        .expect("the app's database");
    database.execute(statement).await.expect("valid SQL");
    database.close().await.expect("closes");
}

/// How many events Crisp has of somebody.
fn timeline(site: &Site, email: &str) -> usize {
    let found = |state: &crisp_sync::sandbox::State| {
        state
            .contact(email)
            .map_or(0, |contact| contact.events.len())
    };
    site.sandbox.look(found)
}

const CANCELED: &str =
    "UPDATE users SET canceled_at = datetime('now', '-1 hour') WHERE email = 'ada@example.org'";

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_looked_at_beside_a_service_as_alone() {
    let site = site().await;
    sql(&site, CANCELED).await;
    let questions: [&[&str]; 6] = [
        &["plan", "--all", "--json"],
        &[
            "plan",
            "--all",
            "--email",
            ADA,
            "--email",
            "nobody@example.org",
            "--json",
        ],
        &["events", "arm", "--dry-run", "--json"],
        &[
            "events",
            "arm",
            "--dry-run",
            "--event",
            "user:nothing",
            "--json",
        ],
        &["events", "cheatsheet", "--json"],
        &["events", "list", "--skipped", "--csv"],
    ];
    let alone: Vec<_> = questions.map(|question| site.run(question)).into();
    let planned = alone[0].json();
    assert_eq!(planned["people"], json!(2));
    let count = &planned["counts"][0];
    assert_eq!(
        (&count["event"], &count["state"]),
        (&json!(EVENT), &json!("not_armed"))
    );
    assert_eq!(alone[1].json()["people"], json!(3));
    assert_eq!(alone[1].json()["unknown"], json!(1));
    assert_eq!(alone[2].json()["counts"][0]["state"], "baseline");
    assert_eq!(alone[3].code, Some(1), "{:?}", alone[3]);
    assert_eq!(
        alone[4].json()["events"][0]["data"][0]["example"],
        "free",
        "the tester's plan"
    );
    assert_eq!(
        alone[5].stdout,
        "event,state,reason,happened_at,due_at,sent_at,website,user.ref,ref\n"
    );
    assert!(
        alone[2].stderr.is_empty() && !alone[0].stdout.contains('@'),
        "{alone:?}"
    );
    let _serving = site.serve().await;
    for (question, alone) in questions.iter().zip(&alone) {
        let beside = site.run(question);
        assert_eq!(beside.code, alone.code, "{question:?}");
        assert_eq!(beside.stdout, alone.stdout, "{question:?}");
        let in_words = &question[..question.len() - 1];
        assert_eq!(site.run(in_words).code, alone.code, "{in_words:?}");
    }
    let status = site.run(&["status"]).ended(0).stdout;
    assert!(status.starts_with("mode live\n"), "{status}");
    assert_eq!(
        site.run(&["status", "--json"]).ended(0).json()["mode"],
        "live"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_at_everybody_goes_on_where_it_was_broken_off() {
    let site = site().await;
    sql(&site, CANCELED).await;
    site.run(&["events", "arm"]).ended(0);
    let file = site.path("plan.jsonl");
    let command = ["plan", "--all", "--out", "plan.jsonl", "--json"];
    let first = site.run(&command).ended(0);
    let whole = fs::read_to_string(&file).expect("the file");
    let lines: Vec<Json> = whole
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2, "{whole}");
    assert_eq!(lines[0]["sites"][0]["events"][0]["state"], "baseline");
    assert!(!whole.contains('@'), "{whole}");
    // It was killed in the middle of the second line.
    fs::write(&file, &whole[..whole.len() - 30]).expect("torn");
    let again = site.run(&command).ended(0);
    assert!(
        again.stderr.contains("1 people are in the file already"),
        "{again:?}"
    );
    assert_eq!(again.stdout, first.stdout);
    assert_eq!(fs::read_to_string(&file).expect("the file"), whole);
    // It was complete: the counts are told once more.
    let complete = site.run(&command).ended(0);
    assert_eq!(complete.stdout, first.stdout);
    // Another definition would mix two plans in one file.
    let config = fs::read_to_string(site.path("crisp-sync.toml")).expect("the configuration");
    site.write_config(&config.replace("\"orange\"", "\"red\""));
    fs::write(&file, &whole[..whole.len() - 30]).expect("torn");
    let mixed = site.run(&command).ended(1);
    assert!(mixed.stderr.contains("hint: begin anew"), "{mixed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tester_gets_what_was_shown_and_nobody_else_anything() {
    let site = site().await;
    let test = |to| ["events", "test", "--event", EVENT, "--to", to];
    let refused = site.run(&test(ADA)).ended(1);
    assert!(
        refused
            .stderr
            .contains("hint: list it in the configuration"),
        "{refused:?}"
    );
    let shown = [&test("bob@example.org")[..], &["--dry-run", "--json"]].concat();
    let shown = site.run(&shown).ended(0).json();
    assert_eq!(shown["data"]["plan"], "free");
    assert!(timeline(&site, "bob@example.org") == 0);
    let _serving = site.serve().await;
    for sent in 1..=2 {
        let ran = site.run(&test("bob@example.org")).ended(0);
        let (before, after) = ran.stdout.split_once("Crisp took it").expect("it was sent");
        assert!(before.contains("\"test\": true"), "{before}");
        assert!(after.contains("counts for nothing"), "{after}");
        assert_eq!(timeline(&site, "bob@example.org"), sent);
    }
    let listed = site.run(&["events", "list", "--json"]).ended(0);
    assert_eq!(listed.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_beside_a_service_is_sent_by_it() {
    let site = site().await;
    sql(&site, CANCELED).await;
    site.run(&["events", "arm"]).ended(0);
    let _serving = site.serve().await;
    let backfill = ["events", "backfill", "--event", EVENT, "--since", "2h"];
    let told = site.run(&backfill).ended(0);
    assert!(told.stdout.contains("nothing was moved"), "{told:?}");
    let counted = [&backfill[..], &["--json"]].concat();
    let counted = site.run(&counted).ended(0).json();
    assert_eq!(counted["moved"], json!(false));
    assert_eq!(counted["found"]["counts"][0]["state"], "due");
    let done = [&backfill[..], &["--yes"]].concat();
    let done = site.run(&done).ended(0);
    assert!(done.stdout.contains("1 people put to work"), "{done:?}");
    site.sandbox
        .wait_until("the event arrives", |state| {
            state
                .contacts()
                .iter()
                .any(|contact| !contact.events.is_empty())
        })
        .await
        .expect("it was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sheet_of_events_is_whole_and_holds_no_formula() {
    const FORMULA: &str = "=HYPERLINK(\"https://evil.example\"), canceled";
    let site = Site::with(&format!(
        "{CONFIG}\n[[lifecycle.event]]\nname = '{FORMULA}'\nat = \"canceled_at\"\ncolor = \"red\"\n"
    ))
    .await;
    sql(&site, CANCELED).await;
    site.run(&["events", "arm"]).ended(0);
    for event in [EVENT, FORMULA] {
        let backfill = [
            "events", "backfill", "--event", event, "--since", "2h", "--yes",
        ];
        site.run(&backfill).ended(0);
    }
    site.run(&["reconcile", "--email", ADA]).ended(0);
    let told = site
        .sandbox
        .look(|state| state.contact(ADA).expect("it was made").events.clone());
    assert_eq!(told.len(), 2);
    let list = ["events", "list", "--json"];
    let rows = site.run(&list).ended(0).json();
    let mut sheet =
        "event,state,reason,happened_at,due_at,sent_at,website,user.ref,ref\n".to_owned();
    for row in rows.as_array().expect("rows") {
        let of = |name: &str| row[name].as_str().expect("a cell");
        let (event, written) = if of("event") == EVENT {
            (EVENT, EVENT)
        } else {
            let escaped = "\"'=HYPERLINK(\"\"https://evil.example\"\"), canceled\"";
            (FORMULA, escaped)
        };
        let entry = told.iter().find(|entry| entry.text == event);
        let data = &entry.expect("it was told").data;
        let (at, reference) = (&data["occurred_at"], &data["ref"]);
        let (at, reference) = (at.as_str(), reference.as_str());
        let (at, reference) = (at.expect("an instant"), reference.expect("a reference"));
        let at = at.replace('T', " ");
        let cells = [
            written,
            "sent",
            "confirmed",
            &at,
            &at,
            of("sent_at"),
            DEFAULT_WEBSITE,
            of("user.ref"),
            reference,
        ];
        sheet += &cells.join(",");
        sheet.push('\n');
    }
    for options in [&[][..], &["--sent", "--since", "1h"]] {
        let list = [&["events", "list", "--csv"][..], options].concat();
        assert_eq!(site.run(&list).ended(0).stdout, sheet, "{list:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_typed_wrongly_is_told_apart() {
    let site = Site::new().await;
    let wrong: [&[&str]; 12] = [
        &["plan", "--email", ADA, "--email", "bob@example.org"],
        &["plan", "--email", ADA, "--out", "file"],
        &["events", "arm", "--email", ADA],
        &["events", "list", "--sent", "--held"],
        &["events", "list", "--csv", "--json"],
        &["events", "list", "--since", "yesterday"],
        &["events", "list", "--user", "1", "--email", ADA],
        &["events", "release"],
        &["events", "release", "--all", "--event", EVENT],
        &["events", "drop", "--all", "--yes", "--dry-run"],
        &["events", "backfill", "--event", EVENT],
        &["events", "cheatsheet", "--md", "--csv"],
    ];
    for arguments in wrong {
        let ran = site.run(arguments).ended(2);
        assert_eq!(ran.stdout, "", "{arguments:?}");
    }
    // Nothing to decide about is nothing wrong.
    let ran = site.run(&["events", "release", "--all"]).ended(0);
    assert!(ran.stdout.starts_with("0 released"), "{ran:?}");
}
