//! The app tells Crisp long before we look, or know, or would tell it ourselves: it is not told twice.

use crisp_sync::{
    lifecycle::OutboxState,
    server::command::{Chosen, Operation},
};

use super::{
    ADA, app_pushes, assert_stands, happens, minutes, outbox, perform, posts, refresh, sql_now,
    stands, world,
};
use crate::world::World;

const SIGNUP: &str = "user:signup";
const STARTED: &str = "user:subscription:started";

/// A world where the app tells Crisp, too: of a change of plan, which no column dates, and of a signup, for which our rule
/// waits.
async fn shared(delay: &str) -> World {
    world(|setup| {
        setup.replace("sender = \"sole\"", "sender = \"shared\"\ngrace = \"0s\"");
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
        setup.replace(
            "at = \"created_at\"",
            &format!("at = \"created_at\"\ndelay = \"{delay}\""),
        );
    })
    .await
}

async fn assert_the_app_told(world: &World, event: &str) {
    let told = (OutboxState::AlreadyInCrisp, "found_in_timeline");
    assert_stands(world, event, told.0, told.1).await;
    assert_eq!(posts(world), 0);
}

#[tokio::test]
async fn before_a_replica_shows_the_change() {
    let mut world = shared("1h").await;
    minutes(&mut world, 60).await;
    refresh(&mut world).await;
    minutes(&mut world, 65).await;
    app_pushes(&world, STARTED);
    minutes(&mut world, 15).await;
    // The replica has the former plan for seven more minutes.
    refresh(&mut world).await;
    minutes(&mut world, 7).await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    minutes(&mut world, 10).await;
    assert_the_app_told(&world, STARTED).await;
    assert_eq!(world.timeline(ADA), [STARTED]);
    world.finish().await;
}

#[tokio::test]
async fn days_before_anybody_looks() {
    let mut world = shared("1h").await;
    refresh(&mut world).await;
    minutes(&mut world, 24 * 60).await;
    world.change_user("u1", "plan = 'team'").await;
    app_pushes(&world, STARTED);
    // Longer than `max_age`.
    minutes(&mut world, 4 * 24 * 60).await;
    refresh(&mut world).await;
    assert_stands(&world, STARTED, OutboxState::Held, "changed_unseen").await;
    let held = Chosen {
        event: Some(STARTED.to_owned()),
        limit: 1,
        confirmed: true,
        ..Chosen::default()
    };
    let answer = perform(&world, Operation::EventsRelease(held)).await;
    assert_eq!(answer.json["released"], 1, "{answer:?}");
    world.settle().await;
    assert_the_app_told(&world, STARTED).await;
    world.finish().await;
}

#[tokio::test]
async fn at_once_where_our_rule_waits() {
    let mut world = shared("1h").await;
    happens(&mut world, "created_at").await;
    app_pushes(&world, SIGNUP);
    refresh(&mut world).await;
    minutes(&mut world, 70).await;
    assert_the_app_told(&world, SIGNUP).await;
    world.finish().await;
}

#[tokio::test]
async fn in_the_midst_of_our_wait() {
    let mut world = shared("1h").await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 30).await;
    app_pushes(&world, SIGNUP);
    minutes(&mut world, 40).await;
    assert_the_app_told(&world, SIGNUP).await;
    world.finish().await;
}

#[tokio::test]
async fn on_a_page_that_ten_days_have_pushed_back() {
    let mut world = shared("10d").await;
    happens(&mut world, "created_at").await;
    app_pushes(&world, SIGNUP);
    refresh(&mut world).await;
    for _ in 0..25 {
        minutes(&mut world, 9 * 60).await;
        app_pushes(&world, "page:viewed");
    }
    minutes(&mut world, 24 * 60).await;
    assert_the_app_told(&world, SIGNUP).await;
    world.finish().await;
}

/// Ada gives no consent, and the app, which needs none, tells Crisp long after its grace.
#[tokio::test]
async fn while_ours_waits_behind_a_guard() {
    for (shut, open, state) in [
        (
            "marketing_opt_in = 0",
            "marketing_opt_in = 1",
            OutboxState::NoConsent,
        ),
        (
            "tenant = 'Acme'",
            "tenant = 'Northwind'",
            OutboxState::Excluded,
        ),
    ] {
        let mut world = world(|setup| {
            setup.replace("sender = \"sole\"", "sender = \"shared\"");
            setup.replace("ends_with(email, '@acme.example')", "tenant == 'Acme'");
        })
        .await;
        world.change_user("u1", shut).await;
        happens(&mut world, "created_at").await;
        minutes(&mut world, 15).await;
        refresh(&mut world).await;
        assert_eq!(stands(&world, SIGNUP).await.0, state);
        minutes(&mut world, 24 * 60).await;
        app_pushes(&world, SIGNUP);
        minutes(&mut world, 60).await;
        world.change_user("u1", open).await;
        refresh(&mut world).await;
        minutes(&mut world, 15).await;
        assert_the_app_told(&world, SIGNUP).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn while_the_rules_when_is_false() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    let canceled = "user:subscription:canceled";
    happens(&mut world, "canceled_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 5 * 60).await;
    app_pushes(&world, canceled);
    minutes(&mut world, 5 * 60).await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh(&mut world).await;
    assert_the_app_told(&world, canceled).await;
    world.finish().await;
}

/// What is told while two wait is one of them, and nobody knows which; what is told as it happens is what happened.
#[tokio::test]
async fn while_two_of_ours_wait() {
    let import = "user:import:completed";
    // (when the second is imported, and when the app tells of one, in minutes after the first)
    for (second, told) in [(1, 90), (90, 91)] {
        let mut world =
            world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
        world.change_user("u1", "marketing_opt_in = 0").await;
        imported(&mut world, 1).await;
        minutes(&mut world, second).await;
        imported(&mut world, 2).await;
        minutes(&mut world, told - second).await;
        app_pushes(&world, import);
        minutes(&mut world, 30).await;
        refresh(&mut world).await;
        minutes(&mut world, 30).await;
        world.change_user("u1", "marketing_opt_in = 1").await;
        refresh(&mut world).await;
        minutes(&mut world, 60).await;
        let rows = outbox(&world).await;
        let stand: Vec<_> = (rows.iter())
            .map(|row| (row.state, row.reason.as_str()))
            .collect();
        let found = (OutboxState::AlreadyInCrisp, "found_in_timeline");
        let expected = if told - second > 10 {
            [found, (OutboxState::Unsure, "one_of_several")]
        } else {
            [(OutboxState::Sent, "confirmed"), found]
        };
        assert_eq!(stand, expected, "{second} {told}");
        world.finish().await;
    }
}

async fn imported(world: &mut World, id: u32) {
    let now = sql_now(world);
    world
        .sql(&format!(
            "INSERT INTO imports VALUES ({id}, 'u1', '{id}.csv', '{now}')"
        ))
        .await;
}

#[tokio::test]
async fn or_not_at_all_and_then_we_do() {
    let mut world = shared("1h").await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 70).await;
    assert_stands(&world, SIGNUP, OutboxState::Sent, "confirmed").await;
    assert_eq!(world.timeline(ADA), [SIGNUP]);
    world.finish().await;
}

crate::world::also_on_postgres! {
    before_a_replica_shows_the_change,
    at_once_where_our_rule_waits,
    while_ours_waits_behind_a_guard,
    while_two_of_ours_wait,
}
