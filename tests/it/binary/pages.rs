//! What is printed: the template, help, wrong usage, health, log lines.

use std::{fs, path::Path};

use serde_json::json;

use super::site::{Ran, Site, set_email};

/// Every command, in the order of the help.
const COMMANDS: [&[&str]; 26] = [
    &[],
    &["serve"],
    &["demo"],
    &["sandbox"],
    &["init"],
    &["check"],
    &["status"],
    &["plan"],
    &["reconcile"],
    &["events"],
    &["events", "arm"],
    &["events", "list"],
    &["events", "release"],
    &["events", "drop"],
    &["events", "backfill"],
    &["events", "test"],
    &["events", "cheatsheet"],
    &["deliveries"],
    &["deliveries", "list"],
    &["deliveries", "show"],
    &["deliveries", "retry"],
    &["erase"],
    &["ledger"],
    &["ledger", "backup"],
    &["ledger", "move"],
    &["health"],
];

fn help(site: &Site, command: &[&str]) -> Ran {
    let mut arguments = command.to_vec();
    arguments.push("--help");
    // Help is wrapped to the terminal; here there is none, and it must not depend on where the test runs.
    Ran::from(
        site.command(&arguments)
            .env("COLUMNS", "100")
            .output()
            .expect("the binary runs"),
    )
    .ended(0)
}

#[tokio::test]
async fn the_page_of_commands_is_fresh() {
    let site = Site::new().await;
    let mut page = String::from(
        "# The command line\n\n\
         <!-- Made from `--help` by `UPDATE_DOCS=1 cargo test --test it binary::pages`; do not edit. -->\n\n\
         What a command found goes to standard output, logs and errors to standard error. `--json` is for scripts. A command\n\
         exits with 0 when it did what it was asked, with 1 when it failed or found something that is not well, with 2 when it\n\
         was typed wrongly. Beside a running `serve`, a command that needs the ledger asks it through `<ledger>.sock`.\n",
    );
    for command in COMMANDS {
        let text = help(&site, command).stdout;
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let name = [&["crisp-sync"], command].concat().join(" ");
        let level = if command.len() > 1 { "###" } else { "##" };
        let text = lines.join("\n");
        let text = text.trim_end();
        page.extend(["\n", level, " `", &name, "`\n\n```text\n", text, "\n```\n"]);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    if std::env::vars_os().any(|(name, _)| name == "UPDATE_DOCS") {
        fs::write(&path, &page).expect("a page");
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/cli.md is out of date: run `UPDATE_DOCS=1 cargo test --test it binary::pages`"
    );
}

#[tokio::test]
async fn no_command_is_missing_on_the_page() {
    let site = Site::new().await;
    for command in COMMANDS {
        let text = help(&site, command).stdout;
        let listed = text.split_once("Commands:\n").map_or("", |(_, rest)| rest);
        let listed = listed.split_once("\n\n").map_or(listed, |(list, _)| list);
        // What a command does may take more than one line; only the first begins with its name.
        let names = listed
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().next());
        for name in names {
            let wanted = [command, &[name]].concat();
            assert!(
                name == "help" || COMMANDS.contains(&wanted.as_slice()),
                "{wanted:?}"
            );
        }
    }
}

#[tokio::test]
async fn wrong_usage_is_told_apart_from_failure() {
    let site = Site::new().await;
    let wrong: [&[&str]; 9] = [
        &[],
        &["nonsense"],
        &["serve", "--nonsense"],
        &["plan"],
        &["reconcile"],
        &["reconcile", "--email", "a@example.org", "--session", "x"],
        &["reconcile", "--email", "a@example.org", "--website", "x"],
        &["deliveries", "show", "one"],
        &["deliveries", "retry", "1", "--dead"],
    ];
    for arguments in wrong {
        let ran = site.run(arguments).ended(2);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
    site.run(&["check", "--config", "/nowhere.toml"]).ended(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_template_needs_nothing_but_secrets_and_a_database() {
    let site = Site::new().await;
    let template = site.run(&["init"]).ended(0).stdout;
    site.write_config(&template);
    let checked = site.run(&["check", "--json"]).ended(1).json();
    let findings = checked["findings"].as_array().expect("a list");
    let about = |what: &str| {
        findings
            .iter()
            .filter(|finding| {
                finding["what"]
                    .as_str()
                    .is_some_and(|said| said.starts_with(what))
            })
            .map(|finding| finding["ok"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(about("configuration"), [json!(true)]);
    assert_eq!(about("token"), [json!(true)]);
    // The app of this test has other tables than the template's.
    assert!(about("app database").contains(&json!(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_running_service() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    let port = serving.public.port().to_string();
    let ran = site.run(&["health", "--port", &port]).ended(0);
    assert_eq!(
        ran.stdout,
        format!("{}/readyz answered 200\n", serving.public)
    );
    // As the service itself is told where to listen.
    let told = Ran::from(
        site.command(&["health"])
            .env("CRISP_SYNC_LISTEN", format!("0.0.0.0:{port}"))
            .output()
            .expect("the binary runs"),
    );
    told.ended(0);
    serving.kill();
    let ran = site.run(&["health", "--port", &port]).ended(1);
    assert!(ran.stderr.contains("hint: does the service run"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_is_logged_with_whom_and_why() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    let session = site.chat("ada@example.org");
    let body = set_email(&session, "ada@example.org");
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    let conversation = serving.wait_event("conversation.refreshed").await;
    assert_eq!(conversation["session.id"], json!(session));
    assert_eq!(conversation["trust"], "proven");
    let reason = conversation["reason"].as_str().expect("a reason");
    assert!(reason.contains("channel chat, trust proven"), "{reason}");
    let person = serving.wait_event("person.refreshed").await;
    assert_eq!(person["user.ref"], conversation["user.ref"]);
    assert!(person["user.ref"].is_string());
    assert!(!serving.log().contains("ada@"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_logged_with_its_next_one() {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    site.sandbox
        .fault(crisp_sync::sandbox::Fault::status("conversation.get", 503));
    let session = site.chat("ada@example.org");
    let body = set_email(&session, "ada@example.org");
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    let retry = serving.wait_event("work.retry").await;
    assert!(
        retry["retry_in_ms"]
            .as_u64()
            .is_some_and(|wait| wait <= 2_000),
        "{retry}"
    );
    assert!(retry["error"].is_string());
    site.wait_refreshed(&session).await;
}
