//! What happened is told, in order and once.

use crisp_sync::{lifecycle::OutboxState, sandbox::OpenChat, worker::Step};

use super::{
    ADA, app_pushes, arm, assert_stands, happens, minutes, outbox, perform, posts, refresh,
    sql_now, unarmed, world,
};
use crisp_sync::server::command::Operation;

#[tokio::test]
async fn the_six_events_in_order_with_colour_and_data() {
    let mut world = world(|_| {}).await;
    for column in ["created_at", "onboarded_at", "subscribed_at"] {
        minutes(&mut world, 1).await;
        happens(&mut world, column).await;
    }
    minutes(&mut world, 1).await;
    let now = sql_now(&world);
    world
        .sql(&format!(
            "INSERT INTO imports VALUES (1, 'u1', 'a.csv', '{now}'), (2, 'u1', 'b.csv', '{now}')"
        ))
        .await;
    let marker = world.marker();
    refresh(&mut world).await;
    let calls = world.calls_since(marker);
    let first_event = calls.iter().position(|name| *name == "people_event.add");
    let contact = calls.iter().position(|name| *name == "people_data.update");
    assert!(contact < first_event, "the contact first: {calls:?}");

    minutes(&mut world, 60).await;
    happens(&mut world, "canceled_at").await;
    world
        .change_user("u1", "status = 'canceled', ends_at = '2026-03-02 12:00:00'")
        .await;
    refresh(&mut world).await;
    // The end comes, and the app says so; nobody has to ask.
    minutes(&mut world, 110).await;
    world.change_user("u1", "status = 'ended'").await;
    minutes(&mut world, 60).await;
    let events = world.contact(ADA).events;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            (
                event.text.as_str(),
                event.color.as_deref().expect("a colour"),
                event.data["occurred_at"].as_str().expect("an instant"),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("user:signup", "green", "2026-03-02T09:01:00Z"),
            ("user:onboarding:completed", "green", "2026-03-02T09:02:00Z"),
            ("user:subscription:started", "green", "2026-03-02T09:03:00Z"),
            ("user:import:completed", "green", "2026-03-02T09:04:00Z"),
            ("user:import:completed", "green", "2026-03-02T09:04:00Z"),
            (
                "user:subscription:canceled",
                "orange",
                "2026-03-02T10:04:00Z"
            ),
            ("user:subscription:churned", "red", "2026-03-02T12:00:00Z"),
        ]
    );
    assert_eq!(events[0].data["tenant_name"], "Northwind");
    assert_eq!(events[2].data["plan"], "pro");
    assert_eq!(events[3].data["file"], "a.csv");
    assert_eq!(events[4].data["file"], "b.csv");
    let mut references: Vec<_> = events.iter().map(|event| &event.data["ref"]).collect();
    references.dedup();
    assert_eq!(references.len(), 7, "every one has a `ref` of its own");
    world.finish().await;
}

#[tokio::test]
async fn nothing_twice_however_often_somebody_looks() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "subscribed_at").await;
    happens(&mut world, "created_at").await;
    for round in 0..4 {
        refresh(&mut world).await;
        let session = world.open(OpenChat::by(ADA).proven()).await;
        while world.run_due().await {}
        world
            .sandbox
            .message(&session, "and again")
            .expect("a conversation");
        world.settle().await;
        let hooks: Vec<u64> = world
            .sandbox
            .look(|state| (1..=state.hooks().len() as u64).collect());
        for hook in hooks {
            world.sandbox.redeliver(hook).expect("a webhook");
        }
        world.settle().await;
        minutes(&mut world, 61).await;
        world.restart(|_| {}).await;
        refresh(&mut world).await;
        assert_eq!(posts(&world), 2, "round {round}");
    }
    assert_eq!(world.timeline(ADA).len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn nothing_before_a_person_armed_it_and_nothing_from_before() {
    let mut world = unarmed(|_| {}).await;
    world.sandbox.create_contact(ADA, "Ada");
    world.hooks_arrive().await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "subscribed_at").await;
    refresh(&mut world).await;
    assert!(outbox(&world).await.is_empty());
    minutes(&mut world, 1).await;
    arm(&world).await;
    refresh(&mut world).await;
    assert!(outbox(&world).await.is_empty(), "baseline is not listed");
    minutes(&mut world, 1).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:onboarding:completed"]);

    // A rule that is new is not armed by the others.
    world
        .restart(|setup| {
            setup.add("[[lifecycle.event]]\nname = \"user:trial:ended\"\nat = \"trial_ends_at\"\n");
        })
        .await;
    minutes(&mut world, 1).await;
    happens(&mut world, "trial_ends_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    assert_eq!(outbox(&world).await.len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_rule_keeps_its_history_under_a_new_name() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    world
        .restart(|setup| {
            setup.replace(
                "name = \"user:signup\"",
                "name = \"user:registered\"\nrenamed_from = \"user:signup\"",
            );
        })
        .await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 1);
    world.finish().await;
}

#[tokio::test]
async fn arming_again_keeps_the_first_watermark() {
    let world = unarmed(|_| {}).await;
    for _ in 0..2 {
        let event = None;
        let answer = perform(&world, Operation::EventsArm { event }).await;
        assert!(answer.ok, "{answer:?}");
    }
    let armings = world.service.ledger.armings(&world.website).await;
    let before = armings.expect("readable");
    assert_eq!(before.len(), 6);
    let answer = perform(&world, Operation::EventsArm { event: None }).await;
    assert!(answer.ok);
    let armings = world.service.ledger.armings(&world.website).await;
    assert_eq!(armings.expect("readable"), before);
    world.finish().await;
}

#[tokio::test]
async fn what_is_too_old_is_never_told() {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    minutes(&mut world, 3 * 24 * 60 + 1).await;
    refresh(&mut world).await;
    assert_stands(&world, "user:signup", OutboxState::Expired, "max_age").await;
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

#[tokio::test]
async fn a_future_instant_waits_until_it_comes() {
    let mut world = world(|_| {}).await;
    world
        .change_user("u1", "onboarded_at = '2026-03-02 11:00:00'")
        .await;
    refresh(&mut world).await;
    let event = "user:onboarding:completed";
    assert_stands(&world, event, OutboxState::Scheduled, "not_due").await;
    minutes(&mut world, 119).await;
    assert_eq!(posts(&world), 0);
    minutes(&mut world, 2).await;
    assert_eq!(world.timeline(ADA), [event]);
    world.finish().await;
}

#[tokio::test]
async fn a_change_is_told_once_per_change() {
    let mut world = world(|setup| {
        setup.replace(
            "at = \"subscribed_at\"",
            "on_change = \"plan\"\nmin_gap = \"0s\"",
        );
    })
    .await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0, "the first sight is no change");
    for (plan, told) in [("team", 1), ("team", 1), ("pro", 2), ("team", 3)] {
        minutes(&mut world, 5).await;
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        refresh(&mut world).await;
        refresh(&mut world).await;
        assert_eq!(posts(&world), told, "{plan}");
    }
    world.restart(|_| {}).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 3);
    let plans: Vec<_> = world
        .contact(ADA)
        .events
        .iter()
        .map(|event| event.data["plan"].clone())
        .collect();
    assert_eq!(plans, ["team", "pro", "team"]);
    world.finish().await;
}

#[tokio::test]
async fn the_app_has_its_time_to_tell_and_is_not_repeated() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 0, "in its grace");
    minutes(&mut world, 5).await;
    app_pushes(&world, "user:signup");
    minutes(&mut world, 6).await;
    assert_eq!(
        world.timeline(ADA),
        ["user:signup", "user:onboarding:completed"]
    );
    assert_stands(
        &world,
        "user:signup",
        OutboxState::AlreadyInCrisp,
        "found_in_timeline",
    )
    .await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA).len(), 2);
    world.finish().await;
}

#[tokio::test]
async fn one_of_two_imports_that_the_app_told_is_not_both() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    let now = sql_now(&world);
    world
        .sql(&format!(
            "INSERT INTO imports VALUES (1, 'u1', 'a.csv', '{now}'), (2, 'u1', 'b.csv', '{now}')"
        ))
        .await;
    app_pushes(&world, "user:import:completed");
    refresh(&mut world).await;
    minutes(&mut world, 11).await;
    assert_eq!(world.timeline(ADA).len(), 2);
    let mut states: Vec<_> = outbox(&world)
        .await
        .into_iter()
        .map(|row| row.state)
        .collect();
    states.sort_unstable();
    assert_eq!(states, [OutboxState::Sent, OutboxState::AlreadyInCrisp]);
    world.finish().await;
}

#[tokio::test]
async fn without_a_query_by_key_the_last_conversation_finds_them() {
    let mut world = world(|setup| {
        setup.replace(
            "query_by_key = \"SELECT id, email FROM users WHERE id = :key AND deleted_at IS NULL\"",
            "",
        );
    })
    .await;
    happens(&mut world, "created_at").await;
    world.open(OpenChat::by(ADA).proven()).await;
    while world.run_due().await {}
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    assert_eq!(world.step().await, Step::Idle);
    world.finish().await;
}

crate::world::also_on_postgres! {
    the_six_events_in_order_with_colour_and_data,
    nothing_twice_however_often_somebody_looks,
    nothing_before_a_person_armed_it_and_nothing_from_before,
    a_rule_keeps_its_history_under_a_new_name,
    arming_again_keeps_the_first_watermark,
    what_is_too_old_is_never_told,
    a_future_instant_waits_until_it_comes,
    a_change_is_told_once_per_change,
    the_app_has_its_time_to_tell_and_is_not_repeated,
    one_of_two_imports_that_the_app_told_is_not_both,
    without_a_query_by_key_the_last_conversation_finds_them,
}
