//! What the sweep is for: events without a chat, contacts that stay fresh, and nothing for nobody.

use std::time::Duration;

use crisp_sync::{
    ledger::{Lane, WorkKind},
    lifecycle::OutboxState,
    worker::Step,
};

use super::{
    ADA, DAY, address, cancels, count, is_known, lane, next_look, outbox, people, sql_now, sweep,
    touched, unarmed, world,
};
use crate::world::{World, also_on_postgres};

also_on_postgres! {
    who_never_chats_gets_their_event_once,
    what_is_unchanged_costs_no_call,
    an_instant_that_lies_ahead_is_waited_for_and_followed,
    nobody_is_mailed_by_a_ledger_that_is_not_armed,
}

const CANCELED: &str = "user:subscription:canceled";
const CHURNED: &str = "user:subscription:churned";

#[tokio::test]
async fn who_never_chats_gets_their_event_once() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    sweep(&mut world).await;
    cancels(&mut world, "u1").await;
    next_look(&mut world).await;
    assert_eq!(world.timeline(ADA), [CANCELED]);
    assert_eq!(
        world.contact_data(ADA, "plan"),
        "pro",
        "the contact is refreshed before its event"
    );
    world.pass(2 * DAY).await;
    assert_eq!(world.timeline(ADA), [CANCELED], "once");
    assert!(
        world
            .deliveries()
            .await
            .iter()
            .all(|delivery| delivery.session.is_none())
    );
    world.finish().await;
}

#[tokio::test]
async fn what_is_unchanged_costs_no_call() {
    let mut world = world(|setup| setup.add("[context]\nas_of = true")).await;
    people(&mut world, 5).await;
    for number in 0..5 {
        world
            .sandbox
            .create_contact(&address(number), "One of five");
    }
    sweep(&mut world).await;
    assert_eq!(world.contact_data(&address(4), "plan"), "pro");
    let marker = world.marker();
    next_look(&mut world).await;
    assert_eq!(world.calls_since(marker), [""; 0]);
    let look = lane(&world, Lane::Changes).await;
    assert_eq!(
        (look.last.rows, look.last.known, look.last.enqueued),
        (5, 5, 0),
        "the overlap shows them once more, and they are known"
    );
    world.pass(2 * DAY).await;
    let look = lane(&world, Lane::Rescan).await;
    assert_eq!((look.last.rows, look.last.enqueued), (5, 5));
    assert_eq!(
        world.calls_since(marker),
        [""; 0],
        "a rescan skips nobody, and finds nothing to write"
    );
    touched(&mut world, "p002", 0).await;
    world.change_user("p002", "plan = 'starter'").await;
    next_look(&mut world).await;
    assert_eq!(world.contact_data(&address(2), "plan"), "starter");
    let calls = world.requests_since(marker);
    assert!(calls.len() <= 3, "one person's: {calls:#?}");
    world.finish().await;
}

#[tokio::test]
async fn without_a_contact_and_an_event_there_is_one_look_and_no_contact() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    touched(&mut world, "u1", 0).await;
    sweep(&mut world).await;
    let calls = world.calls_since(0);
    assert_eq!(calls.len(), 1, "{calls:?}");
    world.pass(5 * DAY).await;
    touched(&mut world, "u1", 1).await;
    next_look(&mut world).await;
    assert_eq!(world.calls_since(0).len(), 1, "it is remembered");
    cancels(&mut world, "u1").await;
    next_look(&mut world).await;
    assert_eq!(
        world.timeline(ADA),
        [CANCELED],
        "an event makes the contact"
    );
    assert_eq!(count(&world.calls_since(0), "profile.create"), 1);
    world.finish().await;
}

#[tokio::test]
async fn an_instant_that_lies_ahead_is_waited_for_and_followed() {
    let mut world = world(|_| {}).await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    let ends = sql_now(&world, 2 * DAY);
    world
        .change_user("u1", &format!("ends_at = '{ends}'"))
        .await;
    touched(&mut world, "u1", 0).await;
    sweep(&mut world).await;
    let rows = outbox(&world, "u1").await;
    assert_eq!(rows.len(), 1, "{rows:#?}");
    assert_eq!(rows[0].state, OutboxState::Scheduled);
    let row = world.work(WorkKind::Person, "u1").await.expect("a row");
    assert_eq!(row.run_at, rows[0].due_at, "its own row brings it back");
    // They stay three days longer, and nobody touches the row's `changed_at`.
    let later = sql_now(&world, 5 * DAY);
    world
        .change_user("u1", &format!("ends_at = '{later}'"))
        .await;
    world
        .sql("UPDATE users SET changed_at = datetime('now', '-9 days')")
        .await;
    world.pass(3 * DAY).await;
    assert_eq!(
        world.timeline(ADA),
        [""; 0],
        "looked at anew when its instant came"
    );
    world.pass(2 * DAY + Duration::from_hours(1)).await;
    assert_eq!(world.timeline(ADA), [CHURNED]);
    world.finish().await;
}

#[tokio::test]
async fn nobody_is_mailed_by_a_ledger_that_is_not_armed() {
    let mut world = unarmed(|_| {}).await;
    people(&mut world, 7).await;
    for number in 0..7 {
        cancels(&mut world, &format!("p{number:03}")).await;
    }
    world.sandbox.create_contact(&address(3), "Three");
    sweep(&mut world).await;
    world.pass(DAY).await;
    let look = lane(&world, Lane::Rescan).await;
    assert_eq!(look.last.enqueued, 7);
    assert_eq!(world.timeline(&address(3)), [""; 0]);
    assert_eq!(count(&world.calls_since(0), "profile.create"), 0);
    // What happened before somebody arms is nothing to list.
    for rule in world.service.rule_names() {
        let (website, now) = (&world.website, world.now());
        let ledger = &world.service.ledger;
        ledger.arm(website, &rule, now, now).await.expect("armed");
    }
    world.pass(DAY).await;
    for number in 0..7 {
        assert!(outbox(&world, &format!("p{number:03}")).await.is_empty());
    }
    assert_eq!(world.timeline(&address(3)), [""; 0]);
    world.finish().await;
}

/// A restart in another mode.
async fn restarts(world: &mut World, from: &str, to: &str) {
    let mode = |name: &str| format!("mode = \"{name}\"");
    world
        .restart(|setup| setup.replace(&mode(from), &mode(to)))
        .await;
}

/// Seven, of whom only a look at everybody tells.
async fn people_of_old(world: &mut World) {
    people(world, 7).await;
    world
        .sql("UPDATE users SET changed_at = datetime('now', '-100 days')")
        .await;
}

async fn all_are_known(world: World) {
    for number in 0..7 {
        assert!(is_known(&world, &format!("p{number:03}")).await, "{number}");
    }
    world.finish().await;
}

#[tokio::test]
async fn whoever_observes_reads_pages_and_asks_crisp_nothing() {
    let mut world = world(|setup| setup.replace("mode = \"live\"", "mode = \"observe\"")).await;
    world.add_user("u1", ADA).await;
    world.sandbox.create_contact(ADA, "Ada");
    cancels(&mut world, "u1").await;
    sweep(&mut world).await;
    let look = lane(&world, Lane::Changes).await;
    assert_eq!((look.last.rows, look.last.enqueued), (1, 0));
    assert_eq!(world.calls_since(0), [""; 0]);
    restarts(&mut world, "observe", "live").await;
    sweep(&mut world).await;
    next_look(&mut world).await;
    assert_eq!(
        world.timeline(ADA),
        [CANCELED],
        "what was only seen is not known"
    );
    world.finish().await;
}

#[tokio::test]
async fn whom_an_observer_saw_is_found_once_it_is_live() {
    let mut world = unarmed(|setup| {
        setup.replace("mode = \"live\"", "mode = \"observe\"");
        setup.replace("page = 3", "page = 3\nfirst = \"365d\"");
    })
    .await;
    people_of_old(&mut world).await;
    sweep(&mut world).await;
    assert!(lane(&world, Lane::Rescan).await.finished_at.is_some());
    assert!(!is_known(&world, "p003").await);
    restarts(&mut world, "observe", "live").await;
    world.pass(DAY).await;
    sweep(&mut world).await;
    all_are_known(world).await;
}

/// A restart in `observe`, in the middle of a look, and back.
#[tokio::test]
async fn whom_an_observer_would_have_passed_by_in_between_is_found() {
    let mut world = unarmed(|setup| setup.replace("page = 3", "page = 3\nfirst = \"365d\"")).await;
    people_of_old(&mut world).await;
    world.service.begin_sweeps().await.expect("enqueued");
    // Until the first page of the look at everybody is read.
    while !is_known(&world, "p000").await {
        assert_ne!(world.step().await, Step::Idle, "there is a first page");
    }
    assert!(lane(&world, Lane::Rescan).await.look.is_some());
    for (from, to) in [("live", "observe"), ("observe", "live")] {
        restarts(&mut world, from, to).await;
        world.pass(DAY).await;
        sweep(&mut world).await;
    }
    all_are_known(world).await;
}
