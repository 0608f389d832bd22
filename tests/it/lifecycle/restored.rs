//! The ledger's file is put back as it was, in the same place, behind the service's back: nothing tells that it is a copy, but
//! that nobody was there for a while.

use std::{path::PathBuf, time::Duration};

use crisp_sync::{lifecycle::OutboxState, sandbox::Fault};

use super::{
    ADA, assert_stands, happens, minutes, outbox, posts, refresh, refresh_of, stands, world,
};
use crate::world::World;

const EVENT: &str = "user:signup";

/// Ada, and a copy of the ledger of the moment before she signed up.
async fn copied() -> (World, PathBuf) {
    let mut world = world(|setup| setup.needs_file = true).await;
    refresh(&mut world).await;
    let (ledger, copy) = (
        world.ledger_path(),
        world.ledger_path().with_extension("copy"),
    );
    world
        .restart(|_| {
            std::fs::copy(&ledger, &copy).expect("a copy");
        })
        .await;
    minutes(&mut world, 1).await;
    happens(&mut world, "created_at").await;
    (world, copy)
}

/// Eight minutes later the copy is the ledger.
async fn is_put_back(world: &mut World, copy: &PathBuf) {
    let (clock, ledger) = (world.clock.clone(), world.ledger_path());
    world
        .restart(|_| {
            clock.advance(Duration::from_mins(8));
            std::fs::copy(copy, &ledger).expect("restored");
        })
        .await;
    assert!(outbox(world).await.is_empty(), "it knows nothing of it");
}

#[tokio::test]
async fn what_was_sent_last_may_still_be_under_way() {
    let (mut world, copy) = copied().await;
    let late = Fault::applied_late("people_event.add", Duration::from_mins(12));
    world.sandbox.fault(late);
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    is_put_back(&mut world, &copy).await;
    // Crisp does not show it yet.
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Due, "may_be_under_way").await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sent);
    world.finish().await;
}

#[tokio::test]
async fn what_was_forgotten_is_not_told_at_a_new_address() {
    const MOVED: &str = "ada@moved.example";
    let (mut world, copy) = copied().await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.change_user("u1", &format!("email = '{MOVED}'")).await;
    is_put_back(&mut world, &copy).await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
    // What happens from then on is told there.
    happens(&mut world, "onboarded_at").await;
    refresh_of(&mut world, MOVED).await;
    assert_eq!(world.timeline(MOVED), ["user:onboarding:completed"]);
    world.finish().await;
}

/// The first run that knows the new address cannot look at the events: the next one knows all the same that it is new.
#[tokio::test]
async fn a_new_address_is_not_forgotten_while_events_cannot_be_looked_at() {
    const MOVED: &str = "ada@moved.example";
    let (mut world, copy) = copied().await;
    refresh(&mut world).await;
    world.change_user("u1", &format!("email = '{MOVED}'")).await;
    is_put_back(&mut world, &copy).await;
    world.sql("ALTER TABLE imports RENAME TO away").await;
    refresh_of(&mut world, MOVED).await;
    world.sql("ALTER TABLE away RENAME TO imports").await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
    world.finish().await;
}
