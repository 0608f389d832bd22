//! Answers that tell nothing: never twice on the timeline, and sent once where it can be proven.

use std::time::Duration;

use crisp_sync::{
    crisp::client::{Meter, PersonRef},
    ids::Email,
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    sandbox::{Author, Fault, FaultBody, Reset, TimelineEvent},
};
use serde_json::Map;

use super::{ADA, assert_stands, happens, minutes, outbox, posts, refresh, stands, world};
use crate::world::World;

const EVENT: &str = "user:signup";
const ADD: &str = "people_event.add";

async fn resending() -> World {
    world(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\nafter_ambiguous = \"resend\"",
        );
    })
    .await
}

/// Whatever was applied is found; whatever was not is sent again, once.
#[tokio::test]
async fn a_request_without_an_answer_is_settled_by_the_timeline() {
    for (what, fault, applied) in [
        ("cut before", Fault::reset(ADD, Reset::Before), false),
        ("cut after", Fault::reset(ADD, Reset::After), true),
        ("502", Fault::status(ADD, 502), false),
        (
            "502, but applied",
            Fault::status(ADD, 502).but_applied(),
            true,
        ),
        (
            "a page of a load balancer",
            Fault::status(ADD, 504).body(FaultBody::Html).but_applied(),
            true,
        ),
        (
            "ten minutes late",
            Fault::applied_late(ADD, Duration::from_mins(10)),
            true,
        ),
        (
            "404 of something else",
            Fault::status(ADD, 404).body(FaultBody::Html).but_applied(),
            true,
        ),
    ] {
        let mut world = resending().await;
        happens(&mut world, "created_at").await;
        world.sandbox.fault(fault);
        refresh(&mut world).await;
        assert_stands(&world, EVENT, OutboxState::Sending, "no_answer").await;
        refresh(&mut world).await;
        minutes(&mut world, 14).await;
        refresh(&mut world).await;
        assert_eq!(posts(&world), 1, "{what}: not before it is quiet");
        minutes(&mut world, 10).await;
        refresh(&mut world).await;
        assert_eq!(world.timeline(ADA), [EVENT], "{what}");
        assert_eq!(posts(&world), if applied { 1 } else { 2 }, "{what}");
        assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sent, "{what}");
        minutes(&mut world, 120).await;
        refresh(&mut world).await;
        assert_eq!(world.timeline(ADA), [EVENT], "{what}");
        world.finish().await;
    }
}

#[tokio::test]
async fn what_was_proven_absent_is_held_unless_told_otherwise() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::Before));
    refresh(&mut world).await;
    let marker = world.marker();
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Held, "proven_absent").await;
    let reads = world.calls_since(marker);
    let lists = reads.iter().filter(|name| **name == "people_events.list");
    assert_eq!(lists.count(), 2, "absent twice: {reads:?}");
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn nothing_goes_past_an_event_that_may_be_on_its_way() {
    let mut world = resending().await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::Before));
    refresh(&mut world).await;
    minutes(&mut world, 1).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    // Whoever asks meanwhile does not make it go past, and does not spin.
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(ADA), [EVENT, "user:onboarding:completed"]);
    world.finish().await;
}

#[tokio::test]
async fn a_list_that_was_cut_proves_nothing() {
    let mut world = resending().await;
    world
        .sandbox
        .behave(|behaviour| behaviour.list_cap = Some(20));
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::After));
    refresh(&mut world).await;
    // The contact is busy: our entry is pushed out of the list.
    minutes(&mut world, 5).await;
    for _ in 0..25 {
        super::app_pushes(&world, "page:viewed");
    }
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Unsure, "timeline_too_short").await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_cached_list_proves_no_absence() {
    let mut world = resending().await;
    world
        .sandbox
        .behave(|behaviour| behaviour.cached_lists = true);
    somebody_reads_the_list(&world).await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::After));
    refresh(&mut world).await;
    minutes(&mut world, 120).await;
    assert_eq!(posts(&world), 1);
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sending);
    world.sandbox.flush_cache();
    minutes(&mut world, 10).await;
    assert_stands(&world, EVENT, OutboxState::Sent, "found_in_timeline").await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.finish().await;
}

/// Crisp's cache has the list as it is now.
async fn somebody_reads_the_list(world: &World) {
    let ada = Email::parse(ADA).expect("an address");
    world
        .service
        .crisp
        .people_events(&Meter::default(), &world.website, &PersonRef::Email(ada), 1)
        .await
        .expect("a list");
}

#[tokio::test]
async fn what_was_tried_is_looked_for_past_the_cache() {
    let mut world = resending().await;
    world
        .sandbox
        .behave(|behaviour| behaviour.cached_lists = true);
    somebody_reads_the_list(&world).await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::status(ADD, 429));
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Due, "timeline_cached").await;
    assert_eq!(posts(&world), 1);
    world.sandbox.flush_cache();
    minutes(&mut world, 10).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.finish().await;
}

/// The app tells Crisp, too, and Crisp's list comes from a cache.
async fn shared_behind_a_cache() -> World {
    let world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    world
        .sandbox
        .behave(|behaviour| behaviour.cached_lists = true);
    somebody_reads_the_list(&world).await;
    world
}

/// Nobody is told on suspicion, and somebody is told of that.
#[tokio::test]
async fn what_expires_behind_a_cache_is_said() {
    let mut world = shared_behind_a_cache().await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    let unproven = "crisp_sync_people_events_unproven_total";
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Due, "timeline_cached").await;
    assert_eq!(world.metric(unproven), 0);
    for _ in 0..73 {
        minutes(&mut world, 60).await;
    }
    assert_stands(&world, EVENT, OutboxState::Expired, "cached_too_long").await;
    assert_eq!(world.metric(unproven), 1);
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

/// A list that a cache answers is as old as our own last read of it. What the app has told since stands in none.
#[tokio::test]
async fn what_the_app_told_a_moment_ago_is_looked_for_past_the_cache() {
    let mut world = shared_behind_a_cache().await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 9).await;
    super::app_pushes(&world, EVENT);
    minutes(&mut world, 2).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0, "told once, by the app");
    // The first of the two, in the order of their keys.
    let first = "user:onboarding:completed";
    assert_stands(&world, first, OutboxState::Due, "timeline_cached").await;
    let marker = world.marker();
    minutes(&mut world, 30).await;
    let calls = world.calls_since(marker);
    let reads = calls.iter().filter(|name| **name == "people_events.list");
    assert!(reads.count() <= 7, "now and then: {calls:?}");
    world.sandbox.flush_cache();
    minutes(&mut world, 15).await;
    assert_stands(
        &world,
        EVENT,
        OutboxState::AlreadyInCrisp,
        "found_in_timeline",
    )
    .await;
    // What the app did not tell is sent, once.
    assert_eq!(world.timeline(ADA), [EVENT, first]);
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// A cache may show what is there, too: then nobody has to wait for it.
#[tokio::test]
async fn what_a_cache_shows_is_there() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    world
        .sandbox
        .behave(|behaviour| behaviour.cached_lists = true);
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 5).await;
    super::app_pushes(&world, EVENT);
    somebody_reads_the_list(&world).await;
    minutes(&mut world, 6).await;
    assert_stands(
        &world,
        EVENT,
        OutboxState::AlreadyInCrisp,
        "found_in_timeline",
    )
    .await;
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

#[tokio::test]
async fn an_attempt_is_not_judged_by_the_timeline_of_another_address() {
    let mut world = resending().await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::After));
    refresh(&mut world).await;
    let new = "ada@elsewhere.example";
    world.change_user("u1", &format!("email = '{new}'")).await;
    world.sandbox.create_contact(new, "Ada");
    minutes(&mut world, 60).await;
    super::refresh_of(&mut world, new).await;
    minutes(&mut world, 60).await;
    assert_stands(&world, EVENT, OutboxState::Unsure, "address_changed").await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn an_attempt_on_a_contact_that_was_made_anew_is_not_repeated() {
    let mut world = resending().await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::After));
    refresh(&mut world).await;
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.sandbox.create_contact(ADA, "Ada again");
    world.settle().await;
    minutes(&mut world, 120).await;
    refresh(&mut world).await;
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Unsure);
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// Crisp took it and its answer was lost; then another contact took the place of Ada's, and no webhook came through.
async fn replaced_unheard(after: &str) -> World {
    let mut world = world(|setup| {
        let after = format!("sender = \"sole\"\nafter_ambiguous = \"{after}\"");
        setup.replace("sender = \"sole\"", &after);
    })
    .await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::After));
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.sandbox.set_webhook(None);
    world.clock.advance(Duration::from_secs(1));
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.sandbox.create_contact(ADA, "Ada again");
    world
}

#[tokio::test]
async fn what_another_contact_lacks_is_not_absent() {
    for after in ["resend", "hold"] {
        let mut world = replaced_unheard(after).await;
        minutes(&mut world, 120).await;
        refresh(&mut world).await;
        assert_stands(&world, EVENT, OutboxState::Unsure, "contact_replaced").await;
        assert_eq!(posts(&world), 1, "{after}");
        world.finish().await;
    }
}

/// Whoever looks at the profile sees it, and says so at once.
#[tokio::test]
async fn another_contact_that_is_noticed_ends_the_wait_for_an_answer() {
    let mut world = replaced_unheard("resend").await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Unsure, "contact_replaced").await;
    minutes(&mut world, 120).await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

/// They answer for it that it was not told: it may be told yet.
#[tokio::test]
async fn what_a_person_lets_go_waits_for_a_request_that_may_be_under_way() {
    let mut world = resending().await;
    happens(&mut world, "created_at").await;
    world
        .sandbox
        .fault(Fault::applied_late(ADD, Duration::from_mins(12)));
    refresh(&mut world).await;
    minutes(&mut world, 1).await;
    world.sandbox.remove_contact(ADA).expect("a contact");
    world.sandbox.create_contact(ADA, "Ada again");
    world.settle().await;
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Unsure);
    let unsure = OutboxFilter {
        state: Some(OutboxState::Unsure),
        ..OutboxFilter::default()
    };
    let released = world.service.ledger.release(&unsure, world.now()).await;
    assert_eq!(released.expect("released"), 1);
    refresh(&mut world).await;
    minutes(&mut world, 13).await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Due, "released_unsure").await;
    assert_eq!(posts(&world), 1, "not before it is quiet");
    minutes(&mut world, 60).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sent);
    world.finish().await;
}

#[tokio::test]
async fn a_foreign_entry_counts_for_an_attempt_too() {
    let mut world = resending().await;
    happens(&mut world, "created_at").await;
    world.sandbox.fault(Fault::reset(ADD, Reset::Before));
    refresh(&mut world).await;
    let event = TimelineEvent {
        text: EVENT.to_owned(),
        data: Map::new(),
        color: None,
        timestamp: world.now().as_millisecond(),
        author: Author::Agent,
    };
    world.sandbox.add_event(ADA, event).expect("a contact");
    minutes(&mut world, 60).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(outbox(&world).await[0].state, OutboxState::AlreadyInCrisp);
    world.finish().await;
}

crate::world::also_on_postgres! {
    a_request_without_an_answer_is_settled_by_the_timeline,
    what_was_proven_absent_is_held_unless_told_otherwise,
    nothing_goes_past_an_event_that_may_be_on_its_way,
    a_list_that_was_cut_proves_nothing,
    a_cached_list_proves_no_absence,
    what_was_tried_is_looked_for_past_the_cache,
    what_the_app_told_a_moment_ago_is_looked_for_past_the_cache,
    what_a_cache_shows_is_there,
    an_attempt_is_not_judged_by_the_timeline_of_another_address,
    an_attempt_on_a_contact_that_was_made_anew_is_not_repeated,
    what_another_contact_lacks_is_not_absent,
    another_contact_that_is_noticed_ends_the_wait_for_an_answer,
    what_a_person_lets_go_waits_for_a_request_that_may_be_under_way,
    a_foreign_entry_counts_for_an_attempt_too,
}
