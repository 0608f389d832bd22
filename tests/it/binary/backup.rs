//! `ledger backup`: beside a running service, and without one.

use std::{collections::BTreeSet, fs, path::Path};

use super::site::{Ran, Site, set_email};

fn sessions(listed: &Ran) -> BTreeSet<String> {
    let listed = listed.json();
    let rows = listed.as_array().expect("a list").iter();
    rows.filter_map(|row| row["session"].as_str().map(str::to_owned))
        .collect()
}

/// A new site with a copy in its ledger's place.
async fn restored(copy: &Path) -> Site {
    let site = Site::new().await;
    fs::copy(copy, site.path("crisp-sync.db")).expect("put in its place");
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_beside_a_running_service_holds_all_that_was_acknowledged() {
    let site = Site::new().await;
    let serving = site.serve().await;
    let mut before = BTreeSet::new();
    for _ in 0..20 {
        let session = site.chat("ada@example.org");
        let status = serving.post(&set_email(&session, "ada@example.org"));
        assert_eq!(status.expect("an answer"), 200);
        before.insert(session);
    }
    // The command's folder counts, not the service's; and webhooks go on.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let ran = std::thread::scope(|scope| {
        let floods = scope.spawn(|| {
            for _ in 0..20 {
                let session = site.chat("ada@example.org");
                let status = serving.post(&set_email(&session, "ada@example.org"));
                assert_eq!(status.expect("an answer"), 200);
            }
        });
        let config = site.path("crisp-sync.toml");
        let config = config.to_str().expect("a path");
        let mut command = site.command(&["ledger", "backup", "copy.db", "--json", "-c", config]);
        command
            .current_dir(elsewhere.path())
            .env("CRISP_SYNC_LEDGER", site.path("crisp-sync.db"));
        let ran = Ran::from(command.output().expect("it runs"));
        floods.join().expect("webhooks go on");
        ran
    });
    let ran = ran.ended(0);
    let copy = elsewhere.path().join("copy.db");
    let length = fs::metadata(&copy).expect("the copy").len();
    assert_eq!(ran.json()["bytes"], length);
    assert_eq!(
        fs::read_dir(elsewhere.path()).expect("a folder").count(),
        1,
        "no part is left"
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(&copy).expect("it").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    drop(serving);
    let again = restored(&copy).await;
    // A restored ledger is worked on, and knows that it may have missed something.
    let mut serving = again.serve().await;
    serving.wait_event("ledger.cautious").await;
    let listed = again
        .run(&["deliveries", "list", "--json", "--limit", "1000"])
        .ended(0);
    let held = sessions(&listed);
    assert!(held.is_superset(&before), "{held:?} of {before:?}");
}

#[tokio::test]
async fn a_backup_without_a_service_overwrites_nothing() {
    let site = Site::new().await;
    site.run(&["events", "arm"]).ended(0);
    let ran = site.run(&["ledger", "backup", "copy.db"]).ended(0);
    assert!(
        ran.stdout.contains("copied the ledger to `"),
        "{}",
        ran.stdout
    );
    let first = fs::read(site.path("copy.db")).expect("the copy");
    let again = restored(&site.path("copy.db")).await;
    let armed = again.run(&["events", "arm", "--json"]).ended(0);
    assert!(armed.stdout.contains("armed already"), "{}", armed.stdout);

    let ran = site.run(&["ledger", "backup", "copy.db"]).ended(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        said.contains("nothing of this name may be there yet"),
        "{said}"
    );
    // What it failed over stands before what to do, not behind it.
    assert!(
        said.trim_end()
            .ends_with("must be able to write in its folder"),
        "{said}"
    );
    assert_eq!(fs::read(site.path("copy.db")).expect("the copy"), first);
    let ran = site.run(&["ledger", "backup", "nowhere/copy.db"]).ended(1);
    let said = format!("{}{}", ran.stdout, ran.stderr);
    assert!(said.contains("hint: "), "{said}");
}
