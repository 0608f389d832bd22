//! `erase`: beside a running service, without one, and after a restore.

use std::fs;

use serde_json::json;

use super::{
    process::{Serving, wait_for},
    site::{Site, set_email},
};

const ADA: &str = "ada@example.org";

/// Ada chatted, and was refreshed.
async fn refreshed() -> (Site, String) {
    let site = Site::new().await;
    let mut serving = site.serve().await;
    let session = site.chat(ADA);
    let body = set_email(&session, ADA);
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    site.wait_refreshed(&session).await;
    site.sandbox
        .wait_until("the contact is refreshed", |state| {
            let contact = state.contact(ADA);
            contact.is_some_and(|contact| contact.labels.data.get("plan") == Some(&json!("pro")))
        })
        .await
        .expect("the contact is refreshed");
    serving.signal("TERM");
    assert_eq!(serving.wait_end().await.code(), Some(0));
    (site, session)
}

/// A service that has done what was left to do: what is on its way would be owed a second look.
async fn quiet(site: &Site) -> Serving {
    let serving = site.serve().await;
    wait_for("nothing is at work", || {
        let status = site.run(&["status", "--json"]).ended(0).json();
        (status["due"] == 0 && status["leased"] == 0).then_some(())
    })
    .await;
    serving
}

fn is_cleared(site: &Site, session: &str) -> bool {
    site.sandbox.look(|state| {
        let conversation = state.conversation(session).expect("it is there");
        let contact = state.contact(ADA).expect("a contact");
        let holds = [&conversation.labels, &contact.labels].map(|labels| {
            labels.data.get("plan").is_some_and(|plan| plan != "")
                || labels.segments.iter().any(|one| one == "plan-pro")
        });
        holds == [false, false]
    })
}

fn holds_address(site: &Site) -> bool {
    ["crisp-sync.db", "crisp-sync.db-wal"].iter().any(|name| {
        let bytes = fs::read(site.path(name)).unwrap_or_default();
        bytes
            .windows(ADA.len())
            .any(|window| window == ADA.as_bytes())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_erased_without_a_service_and_beside_one() {
    for beside in [false, true] {
        let (site, session) = refreshed().await;
        assert!(holds_address(&site) && !is_cleared(&site, &session));
        let serving = if beside {
            Some(quiet(&site).await)
        } else {
            None
        };
        let ran = site.run(&["erase", "--email", ADA, "--json"]).ended(0);
        let receipt = ran.json();
        assert_eq!(receipt["done"], true, "{receipt:#}");
        assert!(is_cleared(&site, &session), "beside: {beside}");
        assert!(!holds_address(&site), "beside: {beside}");
        assert!(
            !ran.stdout.contains('@') && !ran.stderr.contains('@'),
            "{ran:?}"
        );
        let id = receipt["receipt"].as_str().expect("an id");
        let shown = site.run(&["erase", "--status", id]).ended(0);
        for words in [
            "nothing is owed",
            "out of reach:",
            "deleted here",
            "persons",
        ] {
            assert!(shown.stdout.contains(words), "{}", shown.stdout);
        }
        let listed = site.run(&["erase", "--list"]).ended(0);
        assert!(listed.stdout.contains(id), "{}", listed.stdout);
        let refused = site.run(&["reconcile", "--email", ADA]).ended(1);
        assert!(refused.stderr.contains("erased"), "{}", refused.stderr);
        site.run(&["erase", "--lift", "--email", ADA]).ended(0);
        site.run(&["reconcile", "--email", ADA]).ended(0);
        if let Some(serving) = serving {
            assert!(!serving.log().contains(ADA));
            assert_eq!(serving.events("erasure.recorded").len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_erased_again_from_the_kept_receipts() {
    let (site, session) = refreshed().await;
    site.run(&["ledger", "backup", "monday.db"]).ended(0);
    site.run(&["erase", "--email", ADA]).ended(0);
    let kept = site.run(&["erase", "--list", "--json"]).ended(0).stdout;
    fs::write(site.path("receipts.json"), kept).expect("written");
    for name in ["crisp-sync.db-wal", "crisp-sync.db-shm"] {
        drop(fs::remove_file(site.path(name)));
    }
    fs::copy(site.path("monday.db"), site.path("crisp-sync.db")).expect("put in its place");
    assert!(holds_address(&site));
    let ran = site
        .run(&["erase", "--replay", "receipts.json", "--json"])
        .ended(0);
    assert_eq!(ran.json(), json!({ "replayed": 1, "known": 0 }));
    assert!(!holds_address(&site));
    let mut serving = site.serve().await;
    let body = set_email(&session, ADA);
    assert_eq!(serving.post(&body).expect("an answer"), 200);
    serving.wait_event("conversation.refreshed").await;
    assert!(is_cleared(&site, &session));
    let again = site.run(&["erase", "--replay", "receipts.json"]).ended(0);
    assert!(
        again.stdout.contains("0 erased again, 1 known already"),
        "{}",
        again.stdout
    );
    let none = site.run(&["erase", "--replay", "crisp-sync.toml"]).ended(1);
    assert!(none.stderr.contains("no receipt"), "{}", none.stderr);
    let gone = site.run(&["erase", "--replay", "gone.json"]).ended(1);
    assert!(gone.stderr.contains("hint: it takes the file"), "{gone:?}");
}

/// Ada was erased, and then Bob, who had her address since. She is back, and the address is his erasure's.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_back_hears_that_an_address_stays_stopped_and_by_which_receipt() {
    for form in [&[][..], &["--json"]] {
        let site = Site::new().await;
        let hers = site.run(&["erase", "--email", ADA, "--json"]).ended(0);
        site.change("UPDATE users SET email = 'ada@elsewhere.example' WHERE id = 1")
            .await;
        let passed_on = format!("UPDATE users SET email = '{ADA}' WHERE id = 2");
        site.change(&passed_on).await;
        let his = site.run(&["erase", "--email", ADA, "--json"]).ended(0);
        let [hers, his] = [hers, his].map(|ran| ran.json()["receipt"].clone());
        let lift = |user| site.run(&[&["erase", "--lift", "--user", user], form].concat());
        let first = lift("1").ended(0);
        let refused = site.run(&["reconcile", "--email", ADA]).ended(1);
        assert!(refused.stderr.contains("erased"), "{}", refused.stderr);
        let second = lift("2").ended(0);
        site.run(&["reconcile", "--email", ADA]).ended(0);
        if form.is_empty() {
            let his = his.as_str().expect("an id");
            let said = format!(
                "an address of theirs stays stopped, by `{his}`, which names it too\nhint: it is looked up again once that is lifted as well"
            );
            assert!(first.stdout.contains(&said), "{}", first.stdout);
            assert!(!second.stdout.contains("stays"), "{}", second.stdout);
        } else {
            assert_eq!(
                first.json(),
                json!({ "lifted": [hers], "stopped_by": [his] })
            );
            assert_eq!(second.json(), json!({ "lifted": [his], "stopped_by": [] }));
        }
    }
}

#[tokio::test]
async fn what_makes_no_sense_is_a_usage_error() {
    let site = Site::new().await;
    for arguments in [
        &["erase"][..],
        &["erase", "--lift"],
        &["erase", "--email", ADA, "--user", "1"],
        &["erase", "--list", "--email", ADA],
        &["erase", "--status", "er_1", "--delete-contact"],
        &["erase", "--email", "nobody"],
    ] {
        site.run(arguments).ended(2);
    }
    site.run(&["erase", "--status", "er_none"]).ended(1);
    let unknown = site
        .run(&["erase", "--email", "nobody@example.org"])
        .ended(0);
    assert!(
        unknown.stdout.contains("nothing is owed"),
        "{}",
        unknown.stdout
    );
}
