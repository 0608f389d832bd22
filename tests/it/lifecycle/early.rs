//! The app tells Crisp long before we look, or know, or would tell it ourselves: it is not told twice.

use crisp_sync::lifecycle::OutboxState;

use super::{ADA, app_pushes, assert_stands, happens, minutes, posts, refresh, world};
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
}
