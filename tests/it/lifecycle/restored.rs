//! The ledger's file is put back as it was, in the same place, behind the service's back: nothing tells that it is a copy, but
//! that nobody was there for a while.

use std::{path::PathBuf, time::Duration};

use crisp_sync::{
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    sandbox::Fault,
    server::command::{Chosen, Operation},
};

use super::{
    ADA, arm, assert_stands, happens, minutes, outbox, perform, posts, refresh, refresh_of, stands,
    unarmed, world,
};
use crate::world::World;

const EVENT: &str = "user:signup";
/// Ada's address after she moved.
const MOVED: &str = "ada@moved.example";

/// Ada, and a copy of the ledger of the moment before she signed up.
async fn copied() -> (World, PathBuf) {
    let mut world = world(|setup| setup.needs_file = true).await;
    refresh(&mut world).await;
    let copy = copy(&mut world).await;
    // The contact is older than the event by more than clocks lie apart.
    minutes(&mut world, 3).await;
    happens(&mut world, "created_at").await;
    (world, copy)
}

/// A copy of the ledger of this moment.
async fn copy(world: &mut World) -> PathBuf {
    let (ledger, copy) = (
        world.ledger_path(),
        world.ledger_path().with_extension("copy"),
    );
    world
        .restart(|_| {
            std::fs::copy(&ledger, &copy).expect("a copy");
        })
        .await;
    copy
}

/// Eight minutes later the copy is the ledger, which knows nothing of the event.
async fn is_put_back(world: &mut World, copy: &PathBuf) {
    put_back(world, copy).await;
    assert!(outbox(world).await.is_empty(), "it knows nothing of it");
}

/// Eight minutes later the copy is the ledger.
async fn put_back(world: &mut World, copy: &PathBuf) {
    let (clock, ledger) = (world.clock.clone(), world.ledger_path());
    world
        .restart(|_| {
            clock.advance(Duration::from_mins(8));
            std::fs::copy(copy, &ledger).expect("restored");
        })
        .await;
}

/// A person lets everything go that is not unsure.
async fn release(world: &mut World) {
    let chosen = Chosen {
        event: Some(EVENT.to_owned()),
        limit: 100,
        confirmed: true,
        ..Chosen::default()
    };
    let answer = perform(world, Operation::EventsRelease(chosen)).await;
    assert!(answer.ok, "{answer:?}");
    world.settle().await;
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

/// The copy knows of it, and that it was not to go.
#[tokio::test]
async fn what_a_guard_let_go_after_the_copy_is_not_told_at_a_new_address() {
    for (state, reason, stopped, open) in [
        (
            OutboxState::NoConsent,
            "require",
            "marketing_opt_in = 0",
            "marketing_opt_in = 1",
        ),
        (
            OutboxState::Excluded,
            "exclude",
            "tenant = 'Acme'",
            "tenant = 'Northwind'",
        ),
    ] {
        let mut world = world(|setup| {
            setup.needs_file = true;
            setup.replace("ends_with(email, '@acme.example')", "tenant == 'Acme'");
        })
        .await;
        world.change_user("u1", stopped).await;
        happens(&mut world, "created_at").await;
        refresh(&mut world).await;
        assert_stands(&world, EVENT, state, reason).await;
        let copy = copy(&mut world).await;
        minutes(&mut world, 1).await;
        world.change_user("u1", open).await;
        refresh(&mut world).await;
        assert_eq!(world.timeline(ADA), [EVENT]);
        let moved = format!("{stopped}, email = '{MOVED}'");
        world.change_user("u1", &moved).await;
        put_back(&mut world, &copy).await;
        refresh_of(&mut world, MOVED).await;
        world.change_user("u1", open).await;
        refresh_of(&mut world, MOVED).await;
        minutes(&mut world, 60).await;
        assert_eq!(posts(&world), 1, "{state}");
        assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn what_a_person_released_after_the_copy_is_not_told_at_a_new_address() {
    let mut world = world(|setup| setup.needs_file = true).await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::status("people_event.add", 400));
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Held, "refused_by_crisp").await;
    let copy = copy(&mut world).await;
    minutes(&mut world, 1).await;
    release(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    let told = posts(&world);
    world.change_user("u1", &format!("email = '{MOVED}'")).await;
    put_back(&mut world, &copy).await;
    refresh_of(&mut world, MOVED).await;
    // They remember that they did, and do it again.
    release(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), told);
    assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
    world.finish().await;
}

#[tokio::test]
async fn what_waited_for_a_contact_in_the_copy_is_not_told_at_a_new_address() {
    let mut world = unarmed(|setup| {
        setup.needs_file = true;
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\ncreate_contacts = false",
        );
    })
    .await;
    arm(&world).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Parked, "no_contact").await;
    let copy = copy(&mut world).await;
    minutes(&mut world, 1).await;
    world.sandbox.create_contact(ADA, "Ada");
    world.settle().await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.change_user("u1", &format!("email = '{MOVED}'")).await;
    world.sandbox.create_contact(MOVED, "Ada");
    put_back(&mut world, &copy).await;
    refresh_of(&mut world, MOVED).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
    world.finish().await;
}

/// Ada's contact goes, with its timeline, and somebody makes another.
fn contact_is_replaced(world: &World) {
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.sandbox.create_contact(ADA, "Ada");
}

#[tokio::test]
async fn the_timeline_of_another_contact_proves_nothing() {
    let (mut world, copy) = copied().await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    minutes(&mut world, 1).await;
    contact_is_replaced(&world);
    world.hooks_arrive().await;
    is_put_back(&mut world, &copy).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
    // What happens from then on is told there.
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);
    world.finish().await;
}

/// Crisp says when a contact was made, and our clock, or the app's, when the event happened. The copy knows nobody.
#[tokio::test]
async fn a_contact_that_seems_older_by_the_difference_of_two_clocks_proves_nothing() {
    const BEHIND: Duration = Duration::from_secs(90);
    let mut world = unarmed(|setup| setup.needs_file = true).await;
    arm(&world).await;
    let copy = copy(&mut world).await;
    minutes(&mut world, 1).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    minutes(&mut world, 1).await;
    world.clock.set_back(BEHIND);
    contact_is_replaced(&world);
    world.clock.advance(BEHIND);
    world.hooks_arrive().await;
    is_put_back(&mut world, &copy).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
    world.finish().await;
}

/// The copy knows of no contact: it was made for the event that it has forgotten.
#[tokio::test]
async fn the_timeline_of_a_contact_that_came_later_proves_nothing() {
    for made_anew in [true, false] {
        let mut world = unarmed(|setup| setup.needs_file = true).await;
        arm(&world).await;
        refresh(&mut world).await;
        let copy = copy(&mut world).await;
        minutes(&mut world, 1).await;
        happens(&mut world, "created_at").await;
        refresh(&mut world).await;
        assert_eq!(world.timeline(ADA), [EVENT]);
        minutes(&mut world, 1).await;
        world.sandbox.remove_contact(ADA).expect("a contact");
        if made_anew {
            world.sandbox.create_contact(ADA, "Ada");
        }
        world.hooks_arrive().await;
        is_put_back(&mut world, &copy).await;
        refresh(&mut world).await;
        minutes(&mut world, 60).await;
        assert_eq!(posts(&world), 1, "made anew: {made_anew}");
        assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
        world.finish().await;
    }
}

/// A person who knows better lets it go: what cannot be proven keeps it back no more, and it goes once.
#[tokio::test]
async fn what_another_contact_cannot_prove_is_let_go_by_a_person() {
    let (mut world, copy) = copied().await;
    world.clock.advance(Duration::from_mins(1));
    contact_is_replaced(&world);
    world.hooks_arrive().await;
    is_put_back(&mut world, &copy).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
    assert_eq!(posts(&world), 0);
    let filter = OutboxFilter {
        state: Some(OutboxState::Unsure),
        ..OutboxFilter::default()
    };
    let released = world.service.ledger.release(&filter, world.now());
    assert_eq!(released.await.expect("released"), 1);
    world.settle().await;
    minutes(&mut world, 60).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// The contact is the one that was there before, so what its timeline lacks was not told.
#[tokio::test]
async fn the_timeline_of_the_same_contact_proves_that_it_was_not_told() {
    let (mut world, copy) = copied().await;
    is_put_back(&mut world, &copy).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.finish().await;
}

/// The service is away once more, for a little longer than a heartbeat may be late.
async fn is_away_again(world: &mut World) {
    world.service.worker.beat().await;
    let clock = world.clock.clone();
    world
        .restart(|_| clock.advance(Duration::from_mins(6)))
        .await;
}

/// Before anybody looks at Ada, nobody is there once more: what the copy forgot is forgotten all the same.
#[tokio::test]
async fn a_second_silence_does_not_end_what_was_forgotten_before_it() {
    let (mut world, copy) = copied().await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    minutes(&mut world, 1).await;
    contact_is_replaced(&world);
    world.hooks_arrive().await;
    is_put_back(&mut world, &copy).await;
    is_away_again(&mut world).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
    // What happens from then on is told there.
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);
    world.finish().await;
}

/// A change has no moment of its own: of whoever was not looked at since the first silence it may have been told in it.
#[tokio::test]
async fn a_second_silence_does_not_date_a_change() {
    let mut world = world(|setup| {
        setup.needs_file = true;
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await;
    refresh(&mut world).await;
    let copy = copy(&mut world).await;
    minutes(&mut world, 10).await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    let event = "user:subscription:started";
    assert_eq!(world.timeline(ADA), [event]);
    minutes(&mut world, 1).await;
    contact_is_replaced(&world);
    world.hooks_arrive().await;
    is_put_back(&mut world, &copy).await;
    is_away_again(&mut world).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, event, OutboxState::Unsure, "contact_newer").await;
    world.finish().await;
}

/// No copy, but as far as the ledger knows it may be one.
#[tokio::test]
async fn two_silences_are_two() {
    let mut world = world(|_| {}).await;
    minutes(&mut world, 1).await;
    happens(&mut world, "created_at").await;
    world.clock.advance(Duration::from_mins(1));
    contact_is_replaced(&world);
    world.hooks_arrive().await;
    let clock = world.clock.clone();
    world
        .restart(|_| clock.advance(Duration::from_mins(6)))
        .await;
    is_away_again(&mut world).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 0);
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_newer").await;
    world.finish().await;
}

crate::world::also_on_postgres! {
    two_silences_are_two,
}
