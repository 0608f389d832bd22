//! The app tells Crisp, too, of changes that no column dates: which of its entries is of which change.

use crisp_sync::lifecycle::OutboxState;

use super::{ADA, app_pushes, assert_stands, minutes, posts, refresh, world};
use crate::world::World;

const STARTED: &str = "user:subscription:started";

/// A world where the app tells Crisp, too, and a change of plan is an event that no column dates.
async fn shared_changes() -> World {
    world(|setup| {
        setup.replace("sender = \"sole\"", "sender = \"shared\"\ngrace = \"0s\"");
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await
}

/// Half an hour after a look the plan changes, which the app does not tell.
async fn a_change_is_sent(world: &mut World) {
    minutes(world, 60).await;
    refresh(world).await;
    minutes(world, 30).await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(world).await;
    assert_stands(world, STARTED, OutboxState::Sent, "confirmed").await;
}

#[tokio::test]
async fn what_the_app_told_of_an_earlier_change_is_not_taken_for_the_next() {
    let mut world = shared_changes().await;
    // They were on this plan before anybody looked: no news to us, and the app has told it.
    app_pushes(&world, STARTED);
    a_change_is_sent(&mut world).await;
    assert_eq!(world.timeline(ADA), [STARTED, STARTED]);

    // Of the next one the app tells itself, and nobody writes for a day.
    minutes(&mut world, 30).await;
    refresh(&mut world).await;
    minutes(&mut world, 30).await;
    world.change_user("u1", "plan = 'pro'").await;
    app_pushes(&world, STARTED);
    minutes(&mut world, 26 * 60).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    assert_eq!(world.timeline(ADA), [STARTED, STARTED, STARTED]);
    world.finish().await;
}

#[tokio::test]
async fn a_busy_timeline_need_not_reach_back_further_than_the_last_look() {
    let mut world = shared_changes().await;
    for _ in 0..25 {
        app_pushes(&world, "page:viewed");
    }
    a_change_is_sent(&mut world).await;
    world.finish().await;
}
