//! One visitor against the day's quota.

use std::time::Duration;

use crisp_sync::sandbox::OpenChat;

use crate::{telemetry::lines, world::World};

const QUOTA: usize = 400;
/// What conversations without a proven address share of it.
const STRANGERS: usize = QUOTA / 5;
/// What several rows in hand at the same time may cost beyond it.
const IN_HAND: usize = 16;

async fn with_quota() -> World {
    let mut world = World::with(|setup| {
        setup.add(&format!("[crisp]\ndaily_quota = {QUOTA}"));
    })
    .await;
    world.add_user("u1", "ada@northwind.example").await;
    world
}

/// The rest of the day is there for those who are somebody, and for those whom an operator looks at.
async fn others_are_served(world: &mut World, strange: &str) {
    let session = world
        .open(OpenChat::by("ada@northwind.example").proven())
        .await;
    assert_eq!(world.data(&session, "plan"), "pro", "a proven address");
    world.sandbox.operator_opens(strange).expect("it is there");
    // What somebody waits for runs at once five times in ten minutes, and the visitor may have used these up.
    world.hooks_arrive().await;
    world.pass(Duration::from_mins(10)).await;
    let outcomes: Vec<_> = lines()
        .into_iter()
        .filter(|line| line["session.id"] == strange && line["trigger"] == "set_opened")
        .map(|line| line["outcome"].clone())
        .collect();
    assert!(
        !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome != "over_quota"),
        "an operator looks at it: {outcomes:?}"
    );
}

/// A visitor types 2,500 addresses, ten a minute.
#[tokio::test]
async fn a_visitor_who_types_2500_addresses_cannot_spend_the_day() {
    let mut world = with_quota().await;
    let marker = world.marker();
    let session = world.open(OpenChat::by("a0@elsewhere.example")).await;
    for number in 1..2_500 {
        let email = format!("a{number}@elsewhere.example");
        world
            .sandbox
            .change_identity(&session, Some(&email), false)
            .expect("it is there");
        if number % 10 == 0 {
            world.hooks_arrive().await;
            world.pass(Duration::from_mins(1)).await;
        }
    }
    world.settle().await;
    let calls = world.calls_since(marker).len();
    assert!(calls <= STRANGERS + 3, "{calls} calls for one stranger");
    assert!(calls >= 10, "{calls} calls: the stranger was looked at");
    others_are_served(&mut world, &session).await;
    drain(world).await;
}

/// The same visitor, in a new private window each time, with addresses that belong to users of the app: their contacts are
/// looked at because a stranger asked, and at a stranger's cost.
#[tokio::test]
async fn a_visitor_who_types_2500_addresses_of_users_cannot_spend_the_day() {
    const USERS: usize = 2_500;
    let mut world = with_quota().await;
    for number in 0..USERS {
        let (id, email) = (format!("v{number}"), format!("v{number}@northwind.example"));
        world.add_user(&id, &email).await;
    }
    let marker = world.marker();
    let mut last = String::new();
    for number in 0..USERS {
        let email = format!("v{number}@northwind.example");
        last = world.sandbox.open_chat(OpenChat::by(&email));
        if number % 10 == 9 {
            world.hooks_arrive().await;
            world.pass(Duration::from_secs(90)).await;
        }
    }
    world.settle().await;
    let calls = world.calls_since(marker);
    assert!(
        calls.len() <= STRANGERS + IN_HAND,
        "{} calls for one stranger",
        calls.len()
    );
    for looked_at in ["metas.update", "people_data.update"] {
        let looks = calls.iter().filter(|name| **name == looked_at).count();
        assert!(looks >= 5, "{looks} times {looked_at}: they were looked at");
    }
    // Whoever else asks for one of them lifts what the stranger asked for.
    let email = format!("v{}@northwind.example", USERS - 1);
    assert_eq!(world.contact_data(&email, "plan"), "");
    world.open(OpenChat::by(&email).proven()).await;
    assert_eq!(world.contact_data(&email, "plan"), "pro");
    others_are_served(&mut world, &last).await;
    world.abandon();
}

/// Nothing is left for strangers. Whoever proves to be somebody is served, though the work was planned for a stranger.
#[tokio::test]
async fn a_verification_lifts_the_share_of_strangers() {
    let mut world = World::with(|setup| setup.add("[crisp]\ndaily_quota = 9")).await;
    world.add_user("u1", "ada@northwind.example").await;
    let email = "ada@northwind.example";
    let session = world.sandbox.open_chat(OpenChat::by(email));
    world.hooks_arrive().await;
    world
        .sandbox
        .change_identity(&session, Some(email), true)
        .expect("it is there");
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    let marker = world.marker();
    world.open(OpenChat::by("b@elsewhere.example")).await;
    assert_eq!(world.calls_since(marker), [""; 0], "a stranger waits");
    drain(world).await;
}

/// What was put off is done when the quota's day is over.
async fn drain(mut world: World) {
    for _ in 0..12 {
        world.pass(Duration::from_hours(12)).await;
    }
    world.finish().await;
}
