//! What an opening costs. Crisp's quota is a few thousand calls a day, so every call is accounted for.

use std::time::Duration;

use crisp_sync::sandbox::OpenChat;
use serde_json::Map;

use crate::world::{Setup, World};

const ADA: &str = "ada@northwind.example";

/// `canceled_at` is the only event.
const EVENT: &str = r#"
[lifecycle]
sender = "SENDER"
grace = "0s"

[[lifecycle.event]]
name = "user:subscription:canceled"
at = "canceled_at"
"#;

/// Ada's conversation and contact are in order, and the mirror is warm.
async fn in_order(change: impl FnOnce(&mut Setup)) -> (World, String) {
    let mut world = World::with(change).await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    for rule in world.service.rule_names() {
        let ledger = &world.service.ledger;
        ledger
            .arm(&world.website, &rule, world.now(), world.now())
            .await
            .expect("armed");
    }
    world.pass(Duration::from_mins(20)).await;
    (world, session)
}

/// What an agent's look at the conversation costs, call by call.
async fn cost(world: &mut World, session: &str) -> Vec<&'static str> {
    let marker = world.marker();
    world.sandbox.operator_opens(session).expect("there");
    world.refresh().await;
    world.pass(Duration::from_mins(20)).await;
    world.calls_since(marker)
}

#[tokio::test]
async fn an_unchanged_opening_costs_nothing_with_a_warm_mirror() {
    let (mut world, session) = in_order(|_| {}).await;
    for _ in 0..3 {
        assert_eq!(cost(&mut world, &session).await, [""; 0]);
    }
    world.finish().await;
}

#[tokio::test]
async fn an_unchanged_opening_costs_one_read_without_one() {
    let (mut world, session) = in_order(|_| {}).await;
    let marker = world.marker();
    // "Look again": a hook about the proof, which only a read can confirm.
    world
        .sandbox
        .emit("session:update_verify", Some(&session), None, Map::new());
    world.refresh().await;
    assert_eq!(world.calls_since(marker), ["conversation.get"]);
    assert_eq!(cost(&mut world, &session).await, [""; 0], "warm again");
    world.finish().await;
}

#[tokio::test]
async fn a_change_of_the_conversation_alone_costs_two() {
    let (mut world, session) = in_order(|setup| {
        setup.replace(
            "tenant = \"{{ tenant }}\"\nadmin",
            "tenant = { value = \"{{ tenant }}\", target = \"session\" }\nadmin",
        );
    })
    .await;
    world.change_user("u1", "tenant = 'Westwind'").await;
    assert_eq!(
        cost(&mut world, &session).await,
        ["conversation.get", "metas.update"]
    );
    world.finish().await;
}

#[tokio::test]
async fn people_data_cost_one_more() {
    let (mut world, session) = in_order(|_| {}).await;
    world.change_user("u1", "tenant = 'Westwind'").await;
    assert_eq!(
        cost(&mut world, &session).await,
        ["conversation.get", "metas.update", "people_data.update"]
    );
    world.finish().await;
}

#[tokio::test]
async fn contact_segments_cost_two_more() {
    let (mut world, session) = in_order(|_| {}).await;
    world
        .change_user("u1", "onboarded_at = '2026-03-01 10:00:00'")
        .await;
    assert_eq!(
        cost(&mut world, &session).await,
        [
            "conversation.get",
            "metas.update",
            "profile.get",
            "profile.update"
        ],
        "the data did not change"
    );
    world.change_user("u1", "plan = 'starter'").await;
    assert_eq!(
        cost(&mut world, &session).await,
        [
            "conversation.get",
            "metas.update",
            "people_data.update",
            "profile.get",
            "profile.update"
        ]
    );
    world.finish().await;
}

async fn cost_of_an_event(sender: &str, change: impl FnOnce(&mut Setup)) -> Vec<&'static str> {
    let (mut world, session) = in_order(|setup| {
        setup.add(&EVENT.replace("SENDER", sender));
        change(setup);
    })
    .await;
    world
        .change_user("u1", "canceled_at = '2026-03-02 09:10:00'")
        .await;
    let cost = cost(&mut world, &session).await;
    assert_eq!(world.timeline(ADA), ["user:subscription:canceled"]);
    world.finish().await;
    cost
}

#[tokio::test]
async fn an_event_costs_a_look_at_the_timeline_and_itself() {
    assert_eq!(
        cost_of_an_event("shared", |_| {}).await,
        ["people_events.list", "people_event.add"]
    );
}

#[tokio::test]
async fn an_event_costs_itself_alone_where_nobody_else_sends() {
    assert_eq!(cost_of_an_event("sole", |_| {}).await, ["people_event.add"]);
}

/// Where Crisp makes no contact, an event does. What it costs beside that is to bring the contact up to date first,
/// because a campaign reads it.
#[tokio::test]
async fn an_event_for_somebody_without_a_contact_creates_it() {
    let calls = cost_of_an_event("sole", |setup| setup.behaviour.creates_contacts = false).await;
    let count = |name: &str| calls.iter().filter(|call| **call == name).count();
    assert_eq!(count("profile.create"), 1, "{calls:?}");
    assert_eq!(count("people_event.add"), 1, "{calls:?}");
    assert!(calls.len() <= 5, "{calls:?}");
}

/// A burst of messages is one refresh, and an hour of chatting is one look-up a minute at most.
#[tokio::test]
async fn messages_within_a_minute_share_a_refresh() {
    let (mut world, session) = in_order(|_| {}).await;
    let refreshes = |world: &World| {
        world.metric("crisp_sync_work_total{kind=\"conversation\",outcome=\"unchanged\"}")
    };
    let before = refreshes(&world);
    for _ in 0..10 {
        world
            .sandbox
            .message(&session, "and another thing")
            .expect("there");
        world.pass(Duration::from_secs(2)).await;
    }
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(
        refreshes(&world) - before,
        2,
        "at once, and when it is over"
    );
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

crate::world::also_on_postgres! {
    an_unchanged_opening_costs_nothing_with_a_warm_mirror,
    an_unchanged_opening_costs_one_read_without_one,
    a_change_of_the_conversation_alone_costs_two,
    people_data_cost_one_more,
    contact_segments_cost_two_more,
    an_event_costs_a_look_at_the_timeline_and_itself,
    an_event_costs_itself_alone_where_nobody_else_sends,
    an_event_for_somebody_without_a_contact_creates_it,
    messages_within_a_minute_share_a_refresh,
}
