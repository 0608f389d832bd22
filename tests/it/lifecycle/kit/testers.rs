//! What testers get, and the sheet that shows their values: nobody else is told or shown anything.

use crisp_sync::{
    lifecycle::OutboxState,
    server::command::{Answer, Operation},
};
use serde_json::json;

use super::{
    super::{ADA, assert_stands, happens, outbox, perform, posts, refresh, refresh_of, world},
    SIGNUP,
};
use crate::world::World;

async fn test_event(world: &World, to: &str, shown: Option<serde_json::Value>) -> Answer {
    let operation = Operation::EventsTest {
        event: SIGNUP.to_owned(),
        to: to.to_owned(),
        website: None,
        shown,
    };
    perform(world, operation).await
}

const NEW: &str = "new@acme.example";

fn with_testers(setup: &mut crate::world::Setup) {
    setup.replace(
        "sender = \"sole\"",
        "sender = \"shared\"\ngrace = \"0s\"\ntesters = [\"Ada@northwind.example\", \"new@acme.example\"]",
    );
}

#[tokio::test]
async fn a_test_goes_to_a_tester_and_counts_for_nothing() {
    let mut world = world(with_testers).await;
    happens(&mut world, "created_at").await;
    let marker = world.marker();
    let refused = test_event(&world, "bob@northwind.example", None).await;
    assert!(!refused.ok, "{refused:?}");
    assert!(refused.lines[0].contains("hint: list it"), "{refused:?}");
    let shown = test_event(&world, ADA, None).await;
    assert!(shown.ok, "{shown:?}");
    assert_eq!(shown.json["text"], SIGNUP);
    assert_eq!(shown.json["color"], "green");
    assert_eq!(shown.json["data"]["test"], json!(true));
    assert_eq!(shown.json["data"]["tenant_name"], "Northwind");
    assert!(world.calls_since(marker).is_empty(), "it is shown first");

    // What is shown is what is sent, and it has to be a test.
    let mut forged = shown.json.clone();
    forged["data"]["ref"] = json!("5eed");
    assert!(!test_event(&world, ADA, Some(forged)).await.ok);
    let sent = test_event(&world, ADA, Some(shown.json.clone())).await;
    assert!(sent.ok, "{sent:?}");
    assert_eq!(sent.json["sent"], shown.json);
    assert_eq!(world.timeline(ADA), [SIGNUP]);
    assert!(outbox(&world).await.is_empty());

    // The real one happened in the very second of the test. It goes out all the same, and no spacing holds it.
    refresh(&mut world).await;
    assert_stands(&world, SIGNUP, OutboxState::Sent, "confirmed").await;
    assert_eq!(world.timeline(ADA), [SIGNUP, SIGNUP]);
    world.finish().await;
}

#[tokio::test]
async fn a_test_makes_the_contact_first_where_that_is_allowed() {
    let world = world(with_testers).await;
    let shown = test_event(&world, NEW, None).await;
    assert!(
        shown.lines[2].contains("the app does not know the tester"),
        "{shown:?}"
    );
    let sent = test_event(&world, NEW, Some(shown.json)).await;
    assert_eq!(sent.json["contact_created"], json!(true), "{sent:?}");
    assert_eq!(world.timeline(NEW), [SIGNUP]);
    world.hooks_arrive().await;
    world.finish().await;

    for (text, with, hint) in [
        (
            "grace = \"0s\"",
            "grace = \"0s\"\ncreate_contacts = false",
            "Crisp has no contact",
        ),
        (
            "mode = \"live\"",
            "mode = \"observe\"",
            "the mode is `observe`",
        ),
    ] {
        let world = super::super::world(|setup| {
            with_testers(setup);
            setup.replace(text, with);
        })
        .await;
        let shown = test_event(&world, NEW, None).await;
        let sent = test_event(&world, NEW, Some(shown.json)).await;
        assert!(!sent.ok && sent.lines[0].contains(hint), "{sent:?}");
        assert_eq!(posts(&world), 0);
        world.finish().await;
    }
}

#[tokio::test]
async fn the_sheet_shows_a_testers_values_and_nobody_elses() {
    let mut world = world(with_testers).await;
    world.add_user("u2", "bob@northwind.example").await;
    world.change_user("u2", "tenant = 'Secret GmbH'").await;
    refresh_of(&mut world, "bob@northwind.example").await;
    let sheet = |tester: Option<&str>| Operation::EventsCheatsheet {
        tester: tester.map(str::to_owned),
    };
    let answer = perform(&world, sheet(None)).await;
    assert!(answer.ok, "{answer:?}");
    let signup = &answer.json["events"][0];
    assert_eq!(signup["event"], SIGNUP);
    assert_eq!(
        signup["data"][0]["placeholder"],
        "{{ event.data.tenant_name }}"
    );
    assert_eq!(signup["data"][0]["example"], "Northwind");
    assert_eq!(signup["data"][0]["example_from"], "tester");
    let page = answer.lines.join("\n");
    assert!(page.contains("\n## `user:signup`\n"), "{page}");
    assert!(
        page.contains("- only once `status == 'ended'` is true\n"),
        "{page}"
    );
    assert!(page.contains("launch event"), "{page}");
    let rows = answer.table.expect("a table").rows;
    assert!(rows.iter().all(|row| row.len() == 7), "{rows:?}");
    let other = perform(&world, sheet(Some("bob@northwind.example"))).await;
    assert!(
        !other.ok && other.lines[0].contains("no tester's"),
        "{other:?}"
    );

    // Without a tester whom the app knows: the kind of a value, and no value.
    world
        .change_user("u1", "email = 'gone@northwind.example'")
        .await;
    let answer = perform(&world, sheet(None)).await;
    let signup = &answer.json["events"][0]["data"][0];
    assert_eq!(signup["type"], "text");
    assert_eq!(signup["example_from"], "invented");
    assert!(!format!("{answer:?}").contains("Secret"), "{answer:?}");
    world.finish().await;
}

crate::world::also_on_postgres! {
    a_test_goes_to_a_tester_and_counts_for_nothing,
}
