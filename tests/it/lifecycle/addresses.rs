//! A person gets another address while something happens: what was told at the old one is not told at the new one.

use std::time::Duration;

use crisp_sync::lifecycle::OutboxState;

use super::{
    ADA, app_pushes, assert_stands, happens, minutes, outbox, posts, refresh, refresh_of, world,
};
use crate::world::World;

const SIGNUP: &str = "user:signup";
const CANCELED: &str = "user:subscription:canceled";
/// Ada's address after she moved.
const MOVED: &str = "ada@moved.example";
/// And after she moved once more.
const AGAIN: &str = "ada@again.example";

/// The app tells Crisp, too; Ada's contact is known.
async fn shared() -> World {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    refresh(&mut world).await;
    minutes(&mut world, 1).await;
    world
}

async fn moves(world: &mut World, to: &str) {
    world.change_user("u1", &format!("email = '{to}'")).await;
}

async fn assert_told_at_the_old_one(world: &World, event: &str) {
    let told = (OutboxState::AlreadyInCrisp, "found_in_timeline");
    assert_stands(world, event, told.0, told.1).await;
    assert_eq!(posts(world), 0);
}

#[tokio::test]
async fn the_app_told_it_before_they_moved() {
    let mut world = shared().await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    app_pushes(&world, SIGNUP);
    minutes(&mut world, 5).await;
    moves(&mut world, MOVED).await;
    minutes(&mut world, 30).await;
    assert_told_at_the_old_one(&world, SIGNUP).await;
    world.finish().await;
}

/// The run that notices the move makes no row: the rule's `when` is not true yet.
#[tokio::test]
async fn the_app_told_it_before_we_had_a_row() {
    let mut world = shared().await;
    happens(&mut world, "canceled_at").await;
    app_pushes(&world, CANCELED);
    moves(&mut world, MOVED).await;
    refresh_of(&mut world, MOVED).await;
    assert!(outbox(&world).await.is_empty());
    minutes(&mut world, 5).await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 30).await;
    assert_told_at_the_old_one(&world, CANCELED).await;
    world.finish().await;
}

#[tokio::test]
async fn the_app_told_it_two_addresses_ago() {
    let mut world = shared().await;
    happens(&mut world, "canceled_at").await;
    app_pushes(&world, CANCELED);
    for address in [MOVED, AGAIN] {
        world.sandbox.create_contact(address, "Ada");
        moves(&mut world, address).await;
        refresh_of(&mut world, address).await;
        minutes(&mut world, 1).await;
    }
    world.change_user("u1", "status = 'canceled'").await;
    refresh_of(&mut world, AGAIN).await;
    minutes(&mut world, 30).await;
    assert_told_at_the_old_one(&world, CANCELED).await;
    world.finish().await;
}

/// Crisp's list of the old contact is gone with it, so nobody can tell.
#[tokio::test]
async fn the_old_contact_is_gone() {
    let mut world = shared().await;
    happens(&mut world, "created_at").await;
    app_pushes(&world, SIGNUP);
    moves(&mut world, MOVED).await;
    refresh_of(&mut world, MOVED).await;
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.settle().await;
    minutes(&mut world, 30).await;
    assert_eq!(posts(&world), 0);
    assert_stands(&world, SIGNUP, OutboxState::Unsure, "address_changed").await;
    // What happens from then on is told at the new one.
    happens(&mut world, "onboarded_at").await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(MOVED), ["user:onboarding:completed"]);
    world.finish().await;
}

/// Crisp is asked for it once in a run, however many events may have been told there.
#[tokio::test]
async fn a_contact_that_is_gone_is_asked_for_once() {
    let mut world = shared().await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "onboarded_at").await;
    moves(&mut world, MOVED).await;
    refresh_of(&mut world, MOVED).await;
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.settle().await;
    let marker = world.marker();
    minutes(&mut world, 30).await;
    for event in [SIGNUP, "user:onboarding:completed"] {
        assert_stands(&world, event, OutboxState::Unsure, "address_changed").await;
    }
    let calls = world.calls_since(marker);
    let lists = calls.iter().filter(|name| **name == "people_events.list");
    assert_eq!(
        lists.count(),
        2,
        "hers, and the one that is gone: {calls:?}"
    );
    world.finish().await;
}

/// Somebody else has the old address by then, and what the app tells there is theirs.
#[tokio::test]
async fn what_is_told_at_the_old_one_later_is_somebody_elses() {
    let mut world = shared().await;
    happens(&mut world, "canceled_at").await;
    moves(&mut world, MOVED).await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 5).await;
    app_pushes(&world, CANCELED);
    world.change_user("u1", "status = 'canceled'").await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(MOVED), [CANCELED]);
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// Nobody told it: it is told at the new one.
#[tokio::test]
async fn or_nobody_told_it_and_then_we_do() {
    let mut world = shared().await;
    happens(&mut world, "canceled_at").await;
    moves(&mut world, MOVED).await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 5).await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(MOVED), [CANCELED]);
    world.finish().await;
}

/// We told it, the ledger is put back to before that, and the run that notices the move makes no row.
#[tokio::test]
async fn we_told_it_and_the_ledger_has_forgotten() {
    let mut world = world(|setup| setup.needs_file = true).await;
    refresh(&mut world).await;
    let ledger = world.ledger_path();
    let copy = ledger.with_extension("copy");
    world
        .restart(|_| {
            std::fs::copy(&ledger, &copy).expect("a copy");
        })
        .await;
    minutes(&mut world, 1).await;
    happens(&mut world, "canceled_at").await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [CANCELED]);
    moves(&mut world, MOVED).await;
    world.change_user("u1", "status = 'active'").await;
    let clock = world.clock.clone();
    world
        .restart(|_| {
            clock.advance(Duration::from_mins(8));
            std::fs::copy(&copy, &ledger).expect("restored");
        })
        .await;
    refresh_of(&mut world, MOVED).await;
    assert!(outbox(&world).await.is_empty());
    world.change_user("u1", "status = 'canceled'").await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, CANCELED, OutboxState::Unsure, "address_changed").await;
    world.finish().await;
}

crate::world::also_on_postgres! {
    the_app_told_it_before_they_moved,
    the_app_told_it_before_we_had_a_row,
}
