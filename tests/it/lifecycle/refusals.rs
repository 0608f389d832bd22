//! A clear no: nothing is lost, nothing is doubled.

use crisp_sync::{lifecycle::OutboxState, sandbox::Fault};

use super::{ADA, assert_stands, happens, minutes, posts, refresh, sql_now, world};

const ADD: &str = "people_event.add";

#[tokio::test]
async fn a_pause_keeps_the_event_due() {
    for status in [401, 402, 403, 420, 423, 429] {
        for sender in ["sole", "shared"] {
            let mut world = world(|setup| {
                setup.replace(
                    "sender = \"sole\"",
                    &format!("sender = \"{sender}\"\ngrace = \"0s\""),
                );
            })
            .await;
            happens(&mut world, "created_at").await;
            world.sandbox.fault(Fault::status(ADD, status));
            refresh(&mut world).await;
            assert_stands(&world, "user:signup", OutboxState::Due, "refused_for_now").await;
            assert_eq!(
                world.service.ledger.pauses().await.expect("readable").len(),
                1,
                "{status}"
            );
            refresh(&mut world).await;
            minutes(&mut world, 20).await;
            assert_eq!(world.timeline(ADA), ["user:signup"], "{status} {sender}");
            refresh(&mut world).await;
            minutes(&mut world, 20).await;
            assert_eq!(posts(&world), 2, "{status} {sender}");
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn what_crisp_does_not_take_is_held_and_the_others_go_on() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    minutes(&mut world, 1).await;
    happens(&mut world, "onboarded_at").await;
    world.sandbox.fault(Fault::status(ADD, 400));
    refresh(&mut world).await;
    assert_stands(&world, "user:signup", OutboxState::Held, "refused_by_crisp").await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);
    refresh(&mut world).await;
    assert_eq!(posts(&world), 2);
    world.finish().await;
}

#[tokio::test]
async fn a_rule_that_fails_holds_up_no_other() {
    let mut world = world(|setup| {
        setup.replace(
            "at = \"created_at\"\ncolor",
            "at = \"created_at\"\nwhen = \"tenant.missing.thing\"\ncolor",
        );
    })
    .await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);
    world.finish().await;
}

/// The ledger remembers the last value. A change that was remembered without its event would be lost.
#[tokio::test]
async fn a_change_that_nobody_could_decide_on_is_told_later() {
    let mut world = world(|setup| {
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
        setup.replace(
            "require = \"marketing_opt_in\"",
            "require = \"status == 'active' or tenant.missing.thing\"",
        );
    })
    .await;
    refresh(&mut world).await;
    minutes(&mut world, 5).await;
    world
        .change_user("u1", "plan = 'team', status = 'odd'")
        .await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0);
    world.change_user("u1", "status = 'active'").await;
    minutes(&mut world, 10).await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:subscription:started"]);
    world.finish().await;
}

/// What Crisp refused is not there. When the app corrects the moment to an earlier one, that is told.
#[tokio::test]
async fn what_was_refused_makes_nothing_older_than_sent() {
    const CANCELED: &str = "user:subscription:canceled";
    let mut world = world(|_| {}).await;
    minutes(&mut world, 5).await;
    let earlier = sql_now(&world);
    minutes(&mut world, 5).await;
    world.change_user("u1", "status = 'canceled'").await;
    happens(&mut world, "canceled_at").await;
    world.sandbox.fault(Fault::status(ADD, 429));
    refresh(&mut world).await;
    assert_stands(&world, CANCELED, OutboxState::Due, "refused_for_now").await;
    world
        .change_user("u1", &format!("canceled_at = '{earlier}'"))
        .await;
    refresh(&mut world).await;
    minutes(&mut world, 20).await;
    assert_eq!(world.timeline(ADA), [CANCELED]);
    // Told now, it is the mark, and nothing older follows.
    let past = "canceled_at = datetime(canceled_at, '-1 minute')";
    world.change_user("u1", past).await;
    refresh(&mut world).await;
    minutes(&mut world, 20).await;
    assert_eq!(posts(&world), 2);
    world.finish().await;
}

crate::world::also_on_postgres! {
    what_was_refused_makes_nothing_older_than_sent,
    a_pause_keeps_the_event_due,
    what_crisp_does_not_take_is_held_and_the_others_go_on,
    a_rule_that_fails_holds_up_no_other,
}
