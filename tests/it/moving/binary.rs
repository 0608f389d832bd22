//! The command itself: what it says, what it never shows, and a `kill -9` in the middle of the copy.

use std::process::Stdio;

use crisp_sync::sandbox::Fault;
use serde_json::json;
use sqlx::{Connection as _, PgConnection};

use super::{execute, open_server, shown};
use crate::{
    binary::{
        process::{PATIENCE, Serving},
        site::{Ran, Site, set_email},
    },
    engines::with_a_server,
};

with_a_server! {
    a_ledger_is_moved_and_the_service_goes_on_there,
    beside_a_running_service_nothing_is_moved,
    killed_in_the_middle_of_the_copy_it_goes_on,
}

const PASSWORD: &str = "hunter2-hunter2";

/// The same server, with a password that it does not ask for.
fn with_password(url: &str) -> String {
    url.replacen("postgres@", &format!("postgres:{PASSWORD}@"), 1)
}

fn hides_the_password(ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// A site whose service has worked one chat, and was killed while it was at the second.
async fn killed_at_work() -> (Site, [String; 2]) {
    let site = Site::new().await;
    let sessions = ["ada@example.org", "ada@example.org"].map(|email| site.chat(email));
    let mut serving = site.serve().await;
    let told = |serving: &Serving, session: &str| {
        let status = serving.post(&set_email(session, "ada@example.org"));
        assert_eq!(status.expect("an answer"), 200);
    };
    told(&serving, &sessions[0]);
    site.wait_refreshed(&sessions[0]).await;
    let marker = site.sandbox.call_marker();
    site.sandbox.fault(Fault {
        hold: true,
        ..Fault::default()
    });
    told(&serving, &sessions[1]);
    site.sandbox
        .wait_until("it is at work", |state| {
            !state.calls().since(marker).is_empty()
        })
        .await
        .expect("in time");
    serving.kill();
    site.sandbox.release();
    site.sandbox.clear_faults();
    (site, sessions)
}

fn listed(site: &Site) -> usize {
    let ran = site.run(&["deliveries", "list", "--json"]).ended(0);
    ran.json().as_array().expect("a list").len()
}

async fn a_ledger_is_moved_and_the_service_goes_on_there(url: String) {
    let (mut site, sessions) = killed_at_work().await;
    assert_eq!(listed(&site), 2);
    let secret = with_password(&url);
    std::fs::write(site.path("url"), format!("{secret}\n")).expect("written");

    let counted = site
        .run(&["ledger", "move", "--to-file", "url", "--dry-run", "--json"])
        .ended(0);
    hides_the_password(&counted);
    assert_eq!(counted.json()["moved"], json!(false));
    assert_eq!(counted.json()["tables"]["deliveries"], json!(2));
    assert_eq!(listed(&site), 2, "nothing is written");

    let moved = site.run(&["ledger", "move", "--to-file", "url"]).ended(0);
    hides_the_password(&moved);
    let said = format!("moved `crisp-sync.db` to `{}`\n", shown(&url));
    assert!(moved.stdout.starts_with(&said), "{}", moved.stdout);
    let row = |table: &str| {
        let found = moved
            .stdout
            .lines()
            .find(|line| line.trim().starts_with(table));
        let cells: Vec<_> = found.expect("a row").split_whitespace().collect();
        cells[1].to_owned()
    };
    assert_eq!([row("deliveries"), row("conversations")], ["2", "1"]);

    let refused = site.run(&["serve"]).ended(1);
    assert!(
        refused.stderr.contains("it was moved to"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("hint: name that database"),
        "{}",
        refused.stderr
    );
    // With the database in the configuration, the file has to be named; what is done is not done again.
    site.set("CRISP_SYNC_LEDGER", Some(&secret));
    let nameless = site.run(&["ledger", "move"]).ended(1);
    assert!(
        nameless.stderr.contains("`--from FILE`"),
        "{}",
        nameless.stderr
    );
    let again = site
        .run(&["ledger", "move", "--from", "crisp-sync.db", "--json"])
        .ended(0);
    hides_the_password(&again);
    assert_eq!(again.json()["moved"], json!(true));

    assert_eq!(listed(&site), 2);
    let marker = site.sandbox.call_marker();
    let mut serving = site.serve().await;
    hides_the_password(&Ran {
        code: None,
        stdout: serving.log(),
        stderr: String::new(),
    });
    // The lease of the dead process ended with the move.
    site.wait_refreshed(&sessions[1]).await;
    let status = serving.post(&set_email(&sessions[0], "ada@example.org"));
    assert_eq!(status.expect("an answer"), 200);
    serving.signal("TERM");
    assert_eq!(serving.wait_end().await.code(), Some(0));
    let calls = site.sandbox.look(|state| {
        let calls = state.calls().since(marker).iter();
        calls
            .filter(|call| {
                call.name == "metas.update" && call.session.as_ref() == Some(&sessions[0])
            })
            .count()
    });
    assert_eq!(calls, 0, "the mirror moved along");
}

async fn beside_a_running_service_nothing_is_moved(url: String) {
    let site = Site::new().await;
    let serving = site.serve().await;
    let to = with_password(&url);
    let refused = site.run(&["ledger", "move", "--to", &to]).ended(1);
    hides_the_password(&refused);
    assert!(
        refused.stderr.contains("a process has it"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("hint: stop the service first"),
        "{}",
        refused.stderr
    );
    assert_eq!(listed(&site), 0, "it serves");
    drop(serving);
    for (arguments, said) in [
        (&["ledger", "move"][..], "no database is named"),
        (
            &["ledger", "move", "--to", "other.db"],
            "is no URL of a PostgreSQL database",
        ),
        (
            &["ledger", "move", "--to-file", "gone"],
            "could not read `gone`",
        ),
        (
            &[
                "ledger",
                "move",
                "--to",
                "postgres://u:hunter2@127.0.0.1:1/x",
            ],
            "could not connect",
        ),
    ] {
        let refused = site.run(arguments).ended(1);
        hides_the_password(&refused);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
        assert!(!said.starts_with("no") || refused.stderr.contains("hint: "));
    }
    let canceled = site.run(&["ledger", "move", "--cancel"]).ended(0);
    assert!(
        canceled
            .stdout
            .contains("no move of `crisp-sync.db` has begun")
    );
}

async fn killed_in_the_middle_of_the_copy_it_goes_on(url: String) {
    let (mut site, sessions) = killed_at_work().await;
    // The tables are there, and somebody keeps one of them from being written.
    let ledger = open_server(&url).await.expect("a ledger");
    ledger.close().await.expect("closed");
    execute(&url, "TRUNCATE crisp_sync.meta").await;
    let mut sitter = PgConnection::connect(&url).await.expect("postgres");
    for statement in ["BEGIN", "LOCK TABLE crisp_sync.work IN SHARE MODE"] {
        sqlx::query(statement)
            .execute(&mut sitter)
            .await
            .expect("locked");
    }
    let mut moving = site
        .command(&["ledger", "move", "--to", &url])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    wait_blocked(&mut sitter).await;
    moving.kill().expect("killed");
    moving.wait().expect("gone");
    sqlx::query("ROLLBACK")
        .execute(&mut sitter)
        .await
        .expect("let go");
    drop(sitter);

    let refused = site.run(&["serve"]).ended(1);
    assert!(
        refused.stderr.contains("it is on its way to"),
        "{}",
        refused.stderr
    );
    assert!(
        refused.stderr.contains("hint: `crisp-sync ledger move`"),
        "{}",
        refused.stderr
    );
    site.run(&["ledger", "move", "--to", &url]).ended(0);
    site.set("CRISP_SYNC_LEDGER", Some(&url));
    assert_eq!(listed(&site), 2);
    let serving = site.serve().await;
    site.wait_refreshed(&sessions[1]).await;
    drop(serving);
}

/// Waits until somebody waits for what this connection holds.
async fn wait_blocked(holder: &mut PgConnection) {
    let began = std::time::Instant::now();
    loop {
        let blocked: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'crisp_sync.work'::regclass)",
        )
        .fetch_one(&mut *holder)
        .await
        .expect("an answer");
        if blocked {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "it does not get to the table");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
