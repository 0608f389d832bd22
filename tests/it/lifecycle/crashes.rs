//! The process dies at every point between a decision and its answer.

use std::time::Duration;

use crisp_sync::{
    ledger::{Enqueue, SendLimits, Trigger, Urgency, WorkKind},
    lifecycle::OutboxState,
    sandbox::{Fault, State},
};

use super::{ADA, happens, minutes, outbox, posts, refresh, stands, world};
use crate::world::World;

const EVENT: &str = "user:signup";

pub(super) async fn enqueue(world: &World) {
    enqueue_user(world, "u1").await;
}

pub(super) async fn enqueue_user(world: &World, user: &str) {
    let now = world.now();
    let person = Enqueue {
        kind: WorkKind::Person,
        website: world.website.clone(),
        key: user.to_owned(),
        trigger: Trigger::Command,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    };
    world
        .service
        .ledger
        .enqueue(vec![person], now)
        .await
        .expect("enqueued");
}

/// Holds the answer of a route, or its effect, too, and ends the process while it waits for it.
async fn dies_during(world: &mut World, route: &str, applied: bool) {
    let marker = world.marker();
    world.sandbox.fault(if applied {
        Fault {
            route: Some(route.to_owned()),
            hold: true,
            ..Fault::default()
        }
    } else {
        // It never took effect; the answer is held by a second fault that nobody sees.
        Fault {
            route: Some(route.to_owned()),
            hold: true,
            status: Some(500),
            ..Fault::default()
        }
    });
    enqueue(world).await;
    let worker = world.service.worker.clone();
    let working = tokio::spawn(async move { worker.step().await });
    world
        .sandbox
        .wait_until("the request arrives", |state: &State| {
            state.calls().count(route, marker) > 0
        })
        .await
        .expect("in time");
    working.abort();
    drop(working.await);
    world.sandbox.release();
    world.sandbox.clear_faults();
    world.restart(|_| {}).await;
}

#[tokio::test]
async fn before_and_after_every_request_at_most_once_and_in_the_end_once() {
    for (route, applied, sender) in [
        ("people_data.update", true, "sole"),
        ("profile.get", true, "sole"),
        ("people_events.list", true, "shared"),
        ("people_event.add", true, "sole"),
        ("people_event.add", false, "sole"),
        ("people_event.add", true, "shared"),
        ("people_event.add", false, "shared"),
    ] {
        let mut world = world(|setup| {
            setup.replace(
                "sender = \"sole\"",
                &format!("sender = \"{sender}\"\ngrace = \"0s\"\nafter_ambiguous = \"resend\""),
            );
        })
        .await;
        happens(&mut world, "created_at").await;
        dies_during(&mut world, route, applied).await;
        let what = format!("{route}, applied: {applied}, {sender}");
        assert!(world.timeline(ADA).len() <= 1, "{what}");
        // Nobody asks: the lease of the dead process is over, and the row is taken again.
        minutes(&mut world, 90).await;
        assert_eq!(world.timeline(ADA), [EVENT], "{what}");
        assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sent, "{what}");
        refresh(&mut world).await;
        minutes(&mut world, 90).await;
        assert_eq!(world.timeline(ADA), [EVENT], "{what}");
        world.finish().await;
    }
}

#[tokio::test]
async fn between_the_commit_and_the_request() {
    let mut world = world(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\nafter_ambiguous = \"resend\"",
        );
    })
    .await;
    happens(&mut world, "created_at").await;
    // The row is due, and its process dies right after `sending` is committed.
    world
        .sandbox
        .fault(Fault::status("people_event.add", 429).retry_after("60"));
    refresh(&mut world).await;
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Due);
    let now = world.now();
    enqueue(&world).await;
    let ledger = world.service.ledger.clone();
    let claim = ledger
        .claim_key(
            WorkKind::Person,
            &world.website,
            "u1",
            Duration::from_mins(2),
            now,
        )
        .await
        .expect("an answer")
        .expect("a claim");
    let row = outbox(&world).await.remove(0);
    let begun = ledger
        .begin_send(&claim, &row, &SendLimits::default(), now)
        .await;
    assert_eq!(begun.expect("an answer"), crisp_sync::ledger::Begun::Yes);
    drop(ledger);
    world.restart(|_| {}).await;
    minutes(&mut world, 90).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(posts(&world), 2, "the one that was refused, and the one");
    world.finish().await;
}

#[tokio::test]
async fn a_run_that_outlived_its_lease_sends_nothing() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    let marker = world.marker();
    world.sandbox.fault(Fault {
        route: Some("people_data.update".to_owned()),
        hold: true,
        ..Fault::default()
    });
    enqueue(&world).await;
    let worker = world.service.worker.clone();
    let working = tokio::spawn(async move { worker.step().await });
    world
        .sandbox
        .wait_until("the contact is written", |state: &State| {
            state.calls().count("people_data.update", marker) > 0
        })
        .await
        .expect("in time");
    // The machine was suspended: for its timers no time passed, for the lease it did.
    world.clock.advance(Duration::from_mins(3));
    world.sandbox.release();
    working.await.expect("no panic").expect("the ledger works");
    assert_eq!(posts(&world), 0);
    world.settle().await;
    minutes(&mut world, 10).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.finish().await;
}

#[tokio::test]
async fn a_restored_ledger_tells_nothing_again() {
    let mut world = world(|setup| {
        setup.needs_file = true;
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await;
    world.service.worker.beat().await;
    refresh(&mut world).await;
    let (ledger, copy) = (
        world.ledger_path(),
        world.ledger_path().with_extension("copy"),
    );
    world.service.ledger.backup(&copy).await.expect("a copy");
    happens(&mut world, "created_at").await;
    world.change_user("u1", "plan = 'team'").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 2);
    minutes(&mut world, 30).await;
    // The disk is lost, and the copy of half an hour ago takes its place.
    world
        .restart(|_| {
            for suffix in ["-wal", "-shm"] {
                let mut beside = ledger.clone().into_os_string();
                beside.push(suffix);
                drop(std::fs::remove_file(beside));
            }
            std::fs::copy(&copy, &ledger).expect("restored");
        })
        .await;
    world.service.worker.beat().await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 2);
    // Nothing leaves a copy by itself; a person says that it is the one that counts now.
    assert_eq!(outbox(&world).await[0].state, OutboxState::Due);
    world.service.ledger.settle_in().await.expect("here");
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 2);
    for row in outbox(&world).await {
        assert_eq!(row.state, OutboxState::Sent, "{row:?}");
    }
    assert_eq!(outbox(&world).await.len(), 2, "both are known again");
    world.finish().await;
}

crate::world::also_on_postgres! {
    before_and_after_every_request_at_most_once_and_in_the_end_once,
    between_the_commit_and_the_request,
    a_run_that_outlived_its_lease_sends_nothing,
}
