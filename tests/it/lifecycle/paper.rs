//! Observing and planning: the same decisions, and nothing that would suppress a later event.

use crisp_sync::{ids::UserKey, lifecycle::OutboxState, server::command::Operation};

use super::{ADA, assert_stands, happens, minutes, outbox, perform, posts, refresh, world};
use crate::world::World;

async fn plan(world: &World) -> serde_json::Value {
    let email = ADA.to_owned();
    let answer = perform(world, Operation::Plan { email }).await;
    assert!(answer.ok, "{answer:?}");
    answer.json
}

#[tokio::test]
async fn observing_sends_nothing_and_remembers_nothing() {
    let mut world = world(|setup| {
        setup.replace("mode = \"live\"", "mode = \"observe\"");
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0);
    assert!(outbox(&world).await.is_empty());
    let ledger = world.service.ledger.clone();
    let key = UserKey::parse("u1").expect("a key");
    let person = ledger.person(&world.website, &key).await;
    assert!(person.expect("readable").is_none());
    let marks = ledger.high_water(&world.website, &key).await;
    assert!(marks.expect("readable").is_empty());
    drop(ledger);
    world
        .restart(|setup| setup.replace("mode = \"observe\"", "mode = \"live\""))
        .await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    world.finish().await;
}

#[tokio::test]
async fn a_plan_shows_what_would_be_sent_and_sends_nothing() {
    let mut world = world(|setup| {
        setup.replace("sender = \"sole\"", "sender = \"shared\"\ngrace = \"0s\"");
    })
    .await;
    happens(&mut world, "created_at").await;
    world
        .change_user("u1", "onboarded_at = '2026-03-02 11:00:00'")
        .await;
    let marker = world.marker();
    let planned = plan(&world).await;
    assert!(world.calls_since(marker).is_empty(), "no call");
    let events = &planned[0]["events"];
    assert_eq!(events[0]["name"], "user:signup");
    assert_eq!(events[0]["state"], "due");
    assert_eq!(events[1]["name"], "user:onboarding:completed");
    assert_eq!(events[1]["state"], "scheduled");
    let calls = planned[0]["calls"].as_array().expect("calls");
    let posts_planned: Vec<_> = calls
        .iter()
        .filter(|call| call["method"] == "POST")
        .collect();
    assert_eq!(posts_planned.len(), 1, "{calls:#?}");
    assert_eq!(posts_planned[0]["body"]["text"], "user:signup");
    assert!(
        calls.iter().any(|call| {
            call["method"] == "GET"
                && call["path"]
                    .as_str()
                    .is_some_and(|path| path.contains("/events/"))
        }),
        "the timeline would be read: {calls:#?}"
    );
    assert!(outbox(&world).await.is_empty());
    // The plan was true.
    refresh(&mut world).await;
    minutes(&mut world, 1).await;
    assert_stands(&world, "user:signup", OutboxState::Sent, "confirmed").await;
    assert!(
        plan(&world).await[0]["calls"]
            .as_array()
            .expect("calls")
            .iter()
            .all(|call| call["method"] != "POST")
    );
    world.finish().await;
}

crate::world::also_on_postgres! {
    observing_sends_nothing_and_remembers_nothing,
    a_plan_shows_what_would_be_sent_and_sends_nothing,
}
