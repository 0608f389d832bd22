//! Nobody says how many entries a page of a timeline has: the end of one is only what proves to be it.

use crisp_sync::{
    lifecycle::OutboxState,
    sandbox::{Author, Fault, Reset, TimelineEvent},
};
use serde_json::Map;

use super::{
    ADA, app_pushes, assert_stands, happens, minutes, posts, refresh, refresh_of, sql_now, world,
};
use crate::world::World;

const BOB: &str = "bob@northwind.example";
const EVENT: &str = "user:signup";

/// The app tells Crisp, too.
async fn shared(page_size: usize) -> World {
    let world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    world
        .sandbox
        .behave(|behaviour| behaviour.page_size = page_size);
    world
}

/// The contact is busy.
fn is_busy(world: &World, contact: &str, entries: usize) {
    for _ in 0..entries {
        let event = TimelineEvent {
            text: "page:viewed".to_owned(),
            data: Map::new(),
            color: None,
            timestamp: world.now().as_millisecond(),
            author: Author::Visitor,
        };
        world.sandbox.add_event(contact, event).expect("a contact");
    }
}

/// How many pages were read since.
fn pages_since(world: &World, marker: u64) -> usize {
    let calls = world.calls_since(marker);
    let lists = calls.iter().filter(|name| **name == "people_events.list");
    lists.count()
}

#[tokio::test]
async fn what_the_app_told_is_found_on_whatever_page_it_stands() {
    // The last of the first page, the first of the second, the last of the second, and far back.
    for (page_size, newer) in [(3, 2), (3, 3), (3, 5), (3, 6), (10, 9), (10, 10), (10, 95)] {
        let mut world = shared(page_size).await;
        happens(&mut world, "created_at").await;
        app_pushes(&world, EVENT);
        is_busy(&world, ADA, newer);
        refresh(&mut world).await;
        minutes(&mut world, 11).await;
        assert_eq!(posts(&world), 0, "{newer} newer, {page_size} a page");
        let state = OutboxState::AlreadyInCrisp;
        assert_stands(&world, EVENT, state, "found_in_timeline").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn what_we_told_is_found_on_whatever_page_it_stands() {
    for newer in [2, 3, 4] {
        let mut world = world(|setup| {
            setup.replace(
                "sender = \"sole\"",
                "sender = \"sole\"\nafter_ambiguous = \"resend\"",
            );
        })
        .await;
        world.sandbox.behave(|behaviour| behaviour.page_size = 3);
        happens(&mut world, "created_at").await;
        world
            .sandbox
            .fault(Fault::reset("people_event.add", Reset::After));
        refresh(&mut world).await;
        is_busy(&world, ADA, newer);
        minutes(&mut world, 60).await;
        assert_eq!(posts(&world), 1, "{newer} newer");
        assert_stands(&world, EVENT, OutboxState::Sent, "found_in_timeline").await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_single_full_page_ends_with_an_empty_one() {
    let mut world = shared(3).await;
    happens(&mut world, "created_at").await;
    is_busy(&world, ADA, 3);
    refresh(&mut world).await;
    let marker = world.marker();
    minutes(&mut world, 11).await;
    assert_stands(&world, EVENT, OutboxState::Sent, "confirmed").await;
    assert_eq!(pages_since(&world, marker), 2, "a full one, and none");
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_page_that_is_shorter_than_another_is_the_last() {
    let mut world = shared(20).await;
    happens(&mut world, "created_at").await;
    is_busy(&world, ADA, 3);
    refresh(&mut world).await;
    let marker = world.marker();
    minutes(&mut world, 11).await;
    assert_stands(&world, EVENT, OutboxState::Sent, "confirmed").await;
    assert_eq!(pages_since(&world, marker), 2, "three may be a full one");

    // Bob has fewer.
    world.add_user("u2", BOB).await;
    world.sandbox.create_contact(BOB, "Bob");
    world.hooks_arrive().await;
    let now = sql_now(&world);
    world
        .change_user("u2", &format!("created_at = '{now}'"))
        .await;
    is_busy(&world, BOB, 2);
    refresh_of(&mut world, BOB).await;
    let marker = world.marker();
    minutes(&mut world, 11).await;
    assert_eq!(world.timeline(BOB).last().expect("told"), EVENT);
    assert_eq!(pages_since(&world, marker), 1, "two are fewer than three");
    world.finish().await;
}

/// What is found needs no proof that it is not there.
#[tokio::test]
async fn nothing_is_read_past_what_is_found() {
    let mut world = shared(20).await;
    happens(&mut world, "created_at").await;
    app_pushes(&world, EVENT);
    is_busy(&world, ADA, 3);
    refresh(&mut world).await;
    let marker = world.marker();
    minutes(&mut world, 11).await;
    let state = OutboxState::AlreadyInCrisp;
    assert_stands(&world, EVENT, state, "found_in_timeline").await;
    assert_eq!(world.calls_since(marker), ["people_events.list"]);
    world.finish().await;
}
