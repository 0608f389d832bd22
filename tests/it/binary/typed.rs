//! Values that are none, and names that nothing has.

use serde_json::json;

use super::site::{CONFIG, Site};

const EVENT: &str = "user:subscription:canceled";
const ADA: &str = "ada@example.org";

#[tokio::test]
async fn a_value_of_the_wrong_form_is_wrong_usage() {
    let site = Site::new().await;
    let release = ["events", "release"];
    let list = ["events", "list"];
    // What could be somebody's address, or a secret, is not repeated.
    let wrong: [(&[&str], &[&str]); 25] = [
        (&["plan"], &["--email", "typed"]),
        (&["plan", "--all"], &["--email", "typed@"]),
        (&["reconcile"], &["--email", "typed@a@b"]),
        (&["reconcile"], &["--session", "typed"]),
        (
            &["reconcile", "--session", "session_a"],
            &["--website", "typed id"],
        ),
        (&["erase"], &["--email", "typed"]),
        (&["erase"], &["--user", ""]),
        (&["erase", "--user", "1"], &["--website", "typed/id"]),
        (&["events", "arm", "--dry-run"], &["--email", "typed"]),
        (
            &["events", "backfill", "--event", EVENT, "--since", "1d"],
            &["--email", "typed"],
        ),
        (&["events", "test", "--event", EVENT], &["--to", "typed"]),
        (&["events", "cheatsheet"], &["--tester", "typed"]),
        (&list, &["--email", "typed"]),
        (&list, &["--user", ""]),
        (&list, &["--website", "typed id"]),
        (&list, &["--state", "foo"]),
        (&list, &["--limit", "0"]),
        (&release, &["--state", "foo"]),
        (&release, &["--limit", "0", "--all"]),
        (&["events", "drop"], &["--website", "typed id", "--all"]),
        (&["deliveries", "list"], &["--session", "typed"]),
        (&["deliveries", "list"], &["--limit", "0"]),
        (&["sandbox"], &["--token", "typed"]),
        (&["sandbox"], &["--website", "typed id"]),
        (&["sandbox"], &["--webhook", "typed"]),
    ];
    for (command, value) in wrong {
        let arguments = [command, value].concat();
        let ran = site.run(&arguments).ended(2);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(ran.stderr.contains(value[0]), "{arguments:?}: {ran:?}");
        assert!(!ran.stderr.contains("typed"), "{arguments:?}: {ran:?}");
    }
    for limit in ["0", "-1", "some"] {
        let ran = site.run(&["events", "list", &format!("--limit={limit}")]);
        let said = ran.ended(2).stderr;
        assert!(said.contains(": it takes a number from 1 on\n"), "{said}");
    }
}

/// A site that told Crisp of Ada's cancellation.
async fn told() -> Site {
    let site = Site::new().await;
    site.run(&["events", "arm"]).ended(0);
    let canceled = "UPDATE users SET canceled_at = datetime('now', '+1 second') WHERE email = 'ada@example.org'";
    site.change(canceled).await;
    site.run(&["reconcile", "--email", ADA]).ended(0);
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_nothing_has_is_not_taken_for_nothing_to_do() {
    let site = Site::new().await;
    let held = "hint: `crisp-sync events list --held` shows what waits";
    let unknown: [(&[&str], &str, &str); 8] = [
        (&["release", "--event", "user:typo"], "`user:typo`", held),
        (&["drop", "--event", "user:typo"], "`user:typo`", held),
        (
            &["drop", "--event", "user:typo", "--dry-run"],
            "`user:typo`",
            held,
        ),
        (&["release", "--ref", "xyz"], "`xyz`", held),
        (&["drop", "--ref", "xyz", "--yes"], "`xyz`", held),
        (&["list", "--event", "user:typo"], EVENT, held),
        (
            &["list", "--website", "nope"],
            "`nope`",
            "hint: `crisp.websites`",
        ),
        (
            &["release", "--all", "--website", "nope"],
            "`nope`",
            "hint: `crisp.websites`",
        ),
    ];
    for (arguments, named, hint) in unknown {
        let arguments = [&["events"], arguments].concat();
        let ran = site.run(&arguments).ended(1);
        assert_eq!(ran.stdout, "", "{arguments:?}");
        assert!(
            ran.stderr.contains(named) && ran.stderr.contains(hint),
            "{ran:?}"
        );
        let scripted = site.run(&[&arguments[..], &["--json"]].concat()).ended(1);
        assert!(scripted.json()["error"].is_string(), "{scripted:?}");
    }
    // A filter that is right and finds nothing is nothing wrong, and says of what there was none.
    let right: [&[&str]; 4] = [
        &["--all"],
        &["--event", EVENT],
        &["--name", EVENT],
        &["--state", "held", "--since", "1h"],
    ];
    for filter in right {
        let released = [&["events", "release"], filter].concat();
        let ran = site.run(&released).ended(0);
        assert_eq!(
            ran.stdout,
            "0 released: nothing that matches is held or parked\n"
        );
        let dropped = [&["events", "drop"], filter, &["--json"]].concat();
        assert_eq!(site.run(&dropped).ended(0).json(), json!({ "dropped": 0 }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_outbox_is_known_and_says_where_it_stands() {
    let site = told().await;
    let listed = site.run(&["events", "list", "--json"]).ended(0).json();
    let row = &listed[0];
    let reference = row["ref"].as_str().expect("a ref");
    let state = row["state"].as_str().expect("a state");
    assert_eq!(row["event"], EVENT);
    let ran = site
        .run(&["events", "release", "--ref", reference])
        .ended(0);
    let stands = format!("0 released: it is `{state}` (");
    assert!(ran.stdout.starts_with(&stands), "{ran:?}");
    for word in ["--event", "--name"] {
        let by_name = site
            .run(&["events", "list", word, EVENT, "--json"])
            .ended(0);
        assert_eq!(by_name.json(), listed, "{word}");
    }
    // Its rule is gone, its row is not.
    site.write_config(&CONFIG.replace(EVENT, "user:left"));
    site.run(&["events", "release", "--event", EVENT]).ended(0);
    site.run(&["events", "release", "--event", "user:left"])
        .ended(0);
}

#[tokio::test]
async fn a_sheet_for_nobody_does_not_speak_of_sending() {
    let site = Site::new().await;
    let sheet = ["events", "cheatsheet", "--tester", "x@y.z"];
    let ran = site.run(&sheet).ended(1);
    assert!(ran.stderr.contains("its values are not shown"), "{ran:?}");
    assert!(ran.stderr.contains("hint: list it"), "{ran:?}");
    let test = ["events", "test", "--event", EVENT, "--to", "x@y.z"];
    let ran = site.run(&test).ended(1);
    assert!(ran.stderr.contains("it gets nothing"), "{ran:?}");
}

#[tokio::test]
async fn a_definition_that_makes_no_sense_says_what_would() {
    let site = Site::new().await;
    for (changed, said, hint) in [
        (
            "color = \"orange\"\nmax_age = \"0s\"",
            "expires unsent",
            "hint: ",
        ),
        (
            "on_change = \"plan\"",
            "`at` and `on_change`",
            "hint: leave one out",
        ),
        ("max_age = 3d", "not TOML", "stand in quotes"),
        (
            "max_age = \"soon\"",
            "`soon` is not a length of time\n",
            "hint: ",
        ),
    ] {
        site.write_config(&CONFIG.replace("color = \"orange\"", changed));
        let ran = site.run(&["check"]).ended(1);
        assert!(
            ran.stderr.contains(said) && ran.stderr.contains(hint),
            "{changed}: {ran:?}"
        );
    }
}
