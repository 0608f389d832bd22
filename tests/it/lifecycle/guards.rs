//! Who gets nothing, and what something later makes untrue.

use std::time::Duration;

use crisp_sync::{
    ledger::OutboxFilter,
    lifecycle::OutboxState,
    sandbox::{Fault, State},
    server::command::{Chosen, Operation},
};

use super::{
    ADA, assert_stands, happens, minutes, outbox, outbox_of, posts, refresh, refresh_of, sql_now,
    stands, world,
};

#[tokio::test]
async fn nobody_is_told_without_their_consent_and_then_they_are() {
    let mut world = world(|_| {}).await;
    world.change_user("u1", "marketing_opt_in = 0").await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, "user:signup", OutboxState::NoConsent, "require").await;
    world.change_user("u1", "marketing_opt_in = 1").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    world.finish().await;
}

#[tokio::test]
async fn the_excluded_get_nothing_and_no_contact() {
    let mut world = world(|_| {}).await;
    let own = "eve@acme.example";
    world.add_user("u2", own).await;
    let now = sql_now(&world);
    world
        .change_user("u2", &format!("created_at = '{now}'"))
        .await;
    refresh_of(&mut world, own).await;
    let rows = outbox_of(&world, "u2").await;
    assert_eq!(rows[0].state, OutboxState::Excluded);
    assert!(world.sandbox.look(|state| state.contact(own).is_none()));
    world.finish().await;
}

#[tokio::test]
async fn who_came_back_is_not_told_goodbye() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    happens(&mut world, "canceled_at").await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh(&mut world).await;
    minutes(&mut world, 3).await;
    // They subscribe again within the grace, and nobody tells us.
    happens(&mut world, "subscribed_at").await;
    minutes(&mut world, 30).await;
    assert_eq!(
        stands(&world, "user:subscription:canceled").await.0,
        OutboxState::Superseded
    );
    assert_eq!(world.timeline(ADA), ["user:subscription:started"]);
    world.finish().await;
}

#[tokio::test]
async fn who_took_it_back_between_decision_and_post_is_left_alone() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    minutes(&mut world, 1).await;
    happens(&mut world, "canceled_at").await;
    world.change_user("u1", "status = 'canceled'").await;
    // Both are decided; while the first is on its way, the second becomes untrue.
    world.sandbox.fault(Fault {
        route: Some("people_event.add".to_owned()),
        hold: true,
        ..Fault::default()
    });
    let worker = world.service.worker.clone();
    enqueue(&world).await;
    let working = tokio::spawn(async move { worker.step().await });
    world
        .sandbox
        .wait_until("the first event arrives", |state: &State| {
            state.contact(ADA).is_some_and(|ada| ada.events.len() == 1)
        })
        .await
        .expect("in time");
    world
        .change_user("u1", "status = 'active', canceled_at = NULL")
        .await;
    world.sandbox.release();
    working.await.expect("no panic").expect("the ledger works");
    world.settle().await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    // One look that does not show it proves little. The second one does.
    let canceled = "user:subscription:canceled";
    assert_stands(&world, canceled, OutboxState::Due, "not_seen").await;
    minutes(&mut world, 11).await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    let superseded = OutboxState::Superseded;
    assert_stands(&world, canceled, superseded, "no_longer_true").await;
    world.finish().await;
}

async fn enqueue(world: &crate::world::World) {
    super::crashes::enqueue(world).await;
}

#[tokio::test]
async fn two_accounts_on_one_address_are_told_once_a_day() {
    let mut world = world(|_| {}).await;
    world.add_user("u2", ADA).await;
    let now = sql_now(&world);
    world
        .sql(&format!("UPDATE users SET onboarded_at = '{now}'"))
        .await;
    // Both at the same time: each reads what was sent before either sends.
    super::crashes::enqueue_user(&world, "u1").await;
    super::crashes::enqueue_user(&world, "u2").await;
    world.settle().await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);
    let mut states: Vec<_> = outbox(&world)
        .await
        .into_iter()
        .chain(outbox_of(&world, "u2").await)
        .map(|row| (row.state, row.reason))
        .collect();
    states.sort();
    assert_eq!(states[0].0, OutboxState::Sent);
    assert_eq!(states[1], (OutboxState::Held, "min_gap".to_owned()));
    world.finish().await;
}

#[tokio::test]
async fn ids_are_told_apart_whatever_the_time_between_them() {
    let mut world = world(|_| {}).await;
    for id in 1..=3 {
        let now = sql_now(&world);
        world
            .sql(&format!(
                "INSERT INTO imports VALUES ({id}, 'u1', '{id}.csv', '{now}')"
            ))
            .await;
        refresh(&mut world).await;
        minutes(&mut world, 1).await;
    }
    assert_eq!(posts(&world), 3);
    world.finish().await;
}

#[tokio::test]
async fn beyond_the_brake_a_person_lets_them_go() {
    let mut world = world(|_| {}).await;
    let now = sql_now(&world);
    for number in 0..22 {
        let id = format!("m{number:02}");
        world
            .add_user(&id, &format!("{id}@northwind.example"))
            .await;
        world
            .change_user(&id, &format!("onboarded_at = '{now}'"))
            .await;
    }
    for number in 0..22 {
        refresh_of(&mut world, &format!("m{number:02}@northwind.example")).await;
    }
    assert_eq!(posts(&world), 20);
    let held = OutboxFilter {
        state: Some(OutboxState::Held),
        ..OutboxFilter::default()
    };
    let ledger = world.service.ledger.clone();
    assert_eq!(ledger.outbox_list(&held).await.expect("a list").len(), 2);
    // Within the hour a release stays under the cap.
    let now = world.now();
    assert_eq!(ledger.release(&held, now).await.expect("released"), 2);
    world.settle().await;
    assert_eq!(posts(&world), 20);
    // After it the brake stays on until somebody lets go, and holds nobody back whom they let go.
    world.pass(Duration::from_mins(61)).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_stands(
        &world,
        "user:onboarding:completed",
        OutboxState::Held,
        "brake",
    )
    .await;
    let chosen = |limit| Chosen {
        event: Some("user:onboarding:completed".to_owned()),
        state: Some("held".to_owned()),
        limit,
        confirmed: true,
        ..Chosen::default()
    };
    let perform = async |operation| world.service.perform(operation).await;
    let dropped = perform(Operation::EventsDrop(chosen(1))).await;
    assert_eq!(dropped.json, serde_json::json!({ "dropped": 1 }));
    let released = perform(Operation::EventsRelease(chosen(50))).await;
    assert_eq!(released.json, serde_json::json!({ "released": 2 }));
    let unknown = Chosen {
        state: Some("gone".to_owned()),
        ..chosen(1)
    };
    assert!(!perform(Operation::EventsRelease(unknown)).await.ok);
    world.settle().await;
    assert_eq!(posts(&world), 22);
    world.finish().await;
}

crate::world::also_on_postgres! {
    nobody_is_told_without_their_consent_and_then_they_are,
    the_excluded_get_nothing_and_no_contact,
    who_came_back_is_not_told_goodbye,
    who_took_it_back_between_decision_and_post_is_left_alone,
    two_accounts_on_one_address_are_told_once_a_day,
    ids_are_told_apart_whatever_the_time_between_them,
    beyond_the_brake_a_person_lets_them_go,
}
