//! Contact first, then the event.

use crisp_sync::{
    ledger::ContactState,
    lifecycle::OutboxState,
    sandbox::{Fault, OpenChat},
};

use super::{
    ADA, arm, assert_stands, happens, minutes, posts, refresh, refresh_of, unarmed, world,
};
use crate::world::World;

const EVENT: &str = "user:signup";

async fn nobody(create: bool) -> World {
    let world = unarmed(|setup| {
        if !create {
            setup.replace(
                "sender = \"sole\"",
                "sender = \"sole\"\ncreate_contacts = false",
            );
        }
    })
    .await;
    arm(&world).await;
    world
}

fn is_there(world: &World) -> bool {
    world.sandbox.look(|state| state.contact(ADA).is_some())
}

#[tokio::test]
async fn a_contact_is_created_for_an_event_and_not_before() {
    let mut world = nobody(true).await;
    refresh(&mut world).await;
    assert!(!is_there(&world), "nothing is due");
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn whoever_was_faster_made_the_contact() {
    let mut world = nobody(true).await;
    happens(&mut world, "created_at").await;
    world
        .sandbox
        .fault(Fault::status("profile.create", 409).but_applied());
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn a_parked_event_goes_when_the_contact_appears() {
    for by_conversation in [false, true] {
        let mut world = nobody(false).await;
        happens(&mut world, "created_at").await;
        refresh(&mut world).await;
        assert_stands(&world, EVENT, OutboxState::Parked, "no_contact").await;
        assert!(!is_there(&world));
        if by_conversation {
            // `people:bind:session` comes with the opening.
            world.open(OpenChat::by(ADA)).await;
            while world.run_due().await {}
        } else {
            world.sandbox.create_contact(ADA, "Ada");
            world.settle().await;
        }
        assert_eq!(world.timeline(ADA), [EVENT], "by chat: {by_conversation}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_parked_event_expires_by_itself_and_says_why() {
    let mut world = nobody(false).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Parked, "no_contact").await;
    // Nobody asks for Ada any more.
    minutes(&mut world, 3 * 24 * 60).await;
    assert_stands(&world, EVENT, OutboxState::Parked, "no_contact").await;
    minutes(&mut world, 1).await;
    assert_stands(&world, EVENT, OutboxState::Expired, "parked_too_long").await;
    world.sandbox.create_contact(ADA, "Ada");
    world.settle().await;
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

/// Ada's contact was removed, and then she signed up.
async fn removed() -> World {
    let mut world = world(|_| {}).await;
    refresh(&mut world).await;
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.settle().await;
    happens(&mut world, "created_at").await;
    world
}

/// Somebody makes Ada's contact anew, and no webhook says so.
fn comes_back_unheard(world: &World) {
    let webhook = world.sandbox.set_webhook(None);
    world.sandbox.create_contact(ADA, "Ada again");
    world.sandbox.set_webhook(webhook);
}

#[tokio::test]
async fn a_removed_contact_is_never_made_again() {
    let mut world = removed().await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    world.restart(|_| {}).await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Parked, "contact_removed").await;
    assert!(!is_there(&world));
    assert_eq!(posts(&world), 0);
    // Its creation, told once more, changes nothing.
    world.sandbox.redeliver(1).expect("a webhook");
    world.settle().await;
    refresh(&mut world).await;
    assert!(!is_there(&world));
    world.finish().await;
}

#[tokio::test]
async fn a_contact_that_came_back_unheard_is_found() {
    let mut world = removed().await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Parked, "contact_removed").await;
    comes_back_unheard(&world);
    // Whoever was answered a short while ago does not ask again.
    world.open(OpenChat::by(ADA)).await;
    while world.run_due().await {}
    assert_stands(&world, EVENT, OutboxState::Parked, "contact_removed").await;
    minutes(&mut world, 61).await;
    world.open(OpenChat::by(ADA).proven()).await;
    while world.run_due().await {}
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn a_contact_that_came_back_and_is_gone_again_is_not_made_by_us() {
    let mut world = removed().await;
    comes_back_unheard(&world);
    // Crisp still tells of it, and has it no more.
    world.sandbox.fault(Fault {
        route: Some("people_data.update".to_owned()),
        status: Some(404),
        reason: Some("people_not_found".to_owned()),
        ..Fault::default()
    });
    world.open(OpenChat::by(ADA)).await;
    while world.run_due().await {}
    assert_stands(&world, EVENT, OutboxState::Parked, "contact_removed").await;
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_contact_that_is_gone_waits_for_the_word_that_it_was_removed() {
    for told in [true, false] {
        let mut world = world(|_| {}).await;
        refresh(&mut world).await;
        if told {
            world.sandbox.hold_hooks(true);
        } else {
            world.sandbox.set_webhook(None);
        }
        world.sandbox.remove_contact(ADA).expect("a contact");
        happens(&mut world, "created_at").await;
        let email = ADA.to_owned();
        let ask = crisp_sync::server::command::Operation::ReconcileEmail { email };
        world.service.perform(ask).await;
        assert_stands(&world, EVENT, OutboxState::Due, "contact_gone").await;
        assert!(!is_there(&world));
        if told {
            world.sandbox.hold_hooks(false);
            minutes(&mut world, 60).await;
            assert_stands(&world, EVENT, OutboxState::Parked, "contact_removed").await;
            assert!(!is_there(&world));
        } else {
            // The webhook never comes.
            minutes(&mut world, 10).await;
            assert_eq!(world.timeline(ADA), [EVENT]);
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn an_event_follows_its_person_to_a_new_address() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    let new = "ada@elsewhere.example";
    world.change_user("u1", &format!("email = '{new}'")).await;
    minutes(&mut world, 15).await;
    assert!(world.timeline(ADA).is_empty());
    assert_eq!(world.timeline(new), [EVENT]);
    refresh_of(&mut world, new).await;
    world.change_user("u1", &format!("email = '{ADA}'")).await;
    refresh(&mut world).await;
    minutes(&mut world, 15).await;
    assert!(world.timeline(ADA).is_empty(), "told once is told");
    let key = crisp_sync::ids::UserKey::parse("u1").expect("a key");
    let person = world.service.ledger.person(&world.website, &key).await;
    let person = person.expect("readable").expect("a person");
    assert_eq!(person.contact, ContactState::Exists);
    world.finish().await;
}

crate::world::also_on_postgres! {
    a_contact_is_created_for_an_event_and_not_before,
    whoever_was_faster_made_the_contact,
    a_parked_event_goes_when_the_contact_appears,
    a_parked_event_expires_by_itself_and_says_why,
    a_removed_contact_is_never_made_again,
    a_contact_that_came_back_unheard_is_found,
    a_contact_that_is_gone_waits_for_the_word_that_it_was_removed,
    an_event_follows_its_person_to_a_new_address,
}
