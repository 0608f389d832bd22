//! What is owed stays owed until it is told, too old, or untrue: nothing is lost on the way, and nothing waits for ever.

use std::time::Duration;

use crisp_sync::{
    lifecycle::OutboxState,
    sandbox::{Fault, State},
    server::command::{Chosen, Operation},
};

use super::{
    ADA, assert_stands, crashes::enqueue, happens, minutes, outbox, outbox_of, perform, posts,
    refresh, refresh_of, sql_now, stands, world,
};
use crate::world::{Setup, World};

const SIGNUP: &str = "user:signup";
const STARTED: &str = "user:subscription:started";
const CANCELED: &str = "user:subscription:canceled";
const READY: &str = "user:onboarding:completed";

/// An event gets another name; the file says which one it had, or not any more.
fn renamed(setup: &mut Setup, says_so: bool) {
    let (old, new) = (
        format!("name = \"{READY}\"\n"),
        "name = \"user:ready\"\n".to_owned(),
    );
    let former = format!("renamed_from = \"{READY}\"\n");
    if says_so {
        setup.replace(&old, &format!("{new}{former}"));
    } else {
        setup.replace(&former, "");
    }
}

#[tokio::test]
async fn arming_a_rule_under_its_new_name_forgets_nothing_it_owes() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(stands(&world, READY).await.0, OutboxState::Scheduled);
    world.restart(|setup| renamed(setup, true)).await;
    let answer = perform(&world, Operation::EventsArm { event: None }).await;
    assert!(answer.ok, "{answer:?}");
    let armed = answer.table.expect("a table").rows;
    assert!(
        armed.iter().all(|row| row[3] == "armed already"),
        "{armed:?}"
    );
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(ADA), ["user:ready"]);
    // Nor is it needed for ever that the file says so: whoever armed the new name has armed it.
    world.restart(|setup| renamed(setup, false)).await;
    world.clock.advance(Duration::from_hours(25));
    world.service.worker.beat().await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(ADA), ["user:ready", "user:ready"]);
    world.finish().await;
}

#[tokio::test]
async fn what_is_released_by_its_new_name_may_bear_the_former_one() {
    let mut world = world(|_| {}).await;
    world.sandbox.fault(Fault::status("people_event.add", 400));
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_stands(&world, READY, OutboxState::Held, "refused_by_crisp").await;
    world.restart(|setup| renamed(setup, true)).await;
    let chosen = Chosen {
        event: Some("user:ready".to_owned()),
        limit: 10,
        ..Chosen::default()
    };
    let answer = perform(&world, Operation::EventsRelease(chosen)).await;
    assert_eq!(answer.json, serde_json::json!({ "released": 1 }));
    world.settle().await;
    assert_eq!(world.timeline(ADA), ["user:ready"]);
    world.finish().await;
}

/// Two people who get nothing for now, one of whom Crisp knows.
async fn kept_back(change: impl FnOnce(&mut Setup)) -> World {
    let mut world = world(|setup| {
        setup.add("[context]\nas_of = true");
        setup.replace(
            "exclude = \"ends_with(email, '@acme.example')\"",
            "exclude = \"plan == 'staff'\"",
        );
        change(setup);
    })
    .await;
    world.add_user("u2", BOB).await;
    for user in ["u1", "u2"] {
        let now = sql_now(&world);
        world
            .change_user(user, &format!("created_at = '{now}'"))
            .await;
    }
    world
}

const BOB: &str = "bob@northwind.example";

#[tokio::test]
async fn who_consents_later_is_told_without_a_chat_and_waiting_costs_no_call() {
    for (shut, open, state, reason) in [
        (
            "marketing_opt_in = 0",
            "marketing_opt_in = 1",
            OutboxState::NoConsent,
            "require",
        ),
        (
            "plan = 'staff'",
            "plan = 'pro'",
            OutboxState::Excluded,
            "exclude",
        ),
    ] {
        let mut world = kept_back(|_| {}).await;
        for (user, email) in [("u1", ADA), ("u2", BOB)] {
            world.change_user(user, shut).await;
            refresh_of(&mut world, email).await;
            let row = outbox_of(&world, user).await.remove(0);
            assert_eq!((row.state, row.reason.as_str()), (state, reason));
        }
        let marker = world.marker();
        // More than half a day: the contact's own age is no reason to write it, because nobody looks.
        world.pass(Duration::from_hours(30)).await;
        assert_eq!(world.calls_since(marker), [""; 0], "{reason}");
        for user in ["u1", "u2"] {
            world.change_user(user, open).await;
        }
        minutes(&mut world, 61).await;
        assert_eq!(world.timeline(ADA), [SIGNUP], "{reason}");
        assert_eq!(world.timeline(BOB), [SIGNUP], "{reason}");
        world.finish().await;
    }
}

/// Ada's events in each state that waits for somebody: no consent, excluded, held, parked, and one whose day is to come.
async fn all_that_waits() -> World {
    let mut world = world(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\ncreate_contacts = false",
        );
        setup.replace(
            "at = \"onboarded_at\"\n",
            "at = \"onboarded_at\"\nrequire = \"tenant == 'nobody'\"\n",
        );
        setup.replace(
            "at = \"subscribed_at\"\n",
            "at = \"subscribed_at\"\nexclude = \"tenant\"\n",
        );
        setup.add("[[lifecycle.event]]\nname = \"user:tried\"\nat = \"trial_ends_at\"\n");
    })
    .await;
    world.sandbox.fault(Fault::status("people_event.add", 400));
    for column in ["created_at", "onboarded_at", "subscribed_at"] {
        happens(&mut world, column).await;
    }
    let tomorrow = (world.now() + Duration::from_hours(24)).strftime("%Y-%m-%d %H:%M:%S");
    let tomorrow = format!("trial_ends_at = '{tomorrow}'");
    world.change_user("u1", &tomorrow).await;
    world.add_user("u2", BOB).await;
    let now = sql_now(&world);
    world
        .change_user("u2", &format!("created_at = '{now}'"))
        .await;
    refresh(&mut world).await;
    refresh_of(&mut world, BOB).await;
    let mut states = states(&world).await;
    states.sort();
    assert_eq!(
        states,
        [
            OutboxState::Scheduled,
            OutboxState::NoConsent,
            OutboxState::Excluded,
            OutboxState::Held,
            OutboxState::Parked,
        ]
    );
    world
}

/// How Ada's and Bob's stand.
async fn states(world: &World) -> Vec<OutboxState> {
    let mut rows = outbox(world).await;
    rows.extend(outbox_of(world, "u2").await);
    rows.into_iter().map(|row| row.state).collect()
}

#[tokio::test]
async fn what_nobody_decides_about_expires_by_itself() {
    for is_known in [true, false] {
        let mut world = all_that_waits().await;
        if !is_known {
            // Whoever is gone is asked for twice, and then no more; what a person was asked about waits its time.
            world
                .sql("UPDATE users SET deleted_at = '2026-03-02 09:00:00'")
                .await;
        }
        for _ in 0..4 {
            world.pass(Duration::from_hours(24)).await;
            world.service.worker.beat().await;
        }
        world.settle().await;
        let states = states(&world).await;
        let waits = |state: &OutboxState| state.is_undecided();
        assert!(!states.iter().any(waits), "known: {is_known}, {states:?}");
        let expired = |state: &&OutboxState| **state == OutboxState::Expired;
        assert!(states.iter().filter(expired).count() >= 3, "{states:?}");
        assert_eq!(posts(&world), if is_known { 2 } else { 1 });
        world.finish().await;
    }
}

#[tokio::test]
async fn what_a_removed_rule_owes_is_set_aside_wherever_it_waits() {
    for all in [false, true] {
        let mut world = all_that_waits().await;
        world
            .restart(|setup| {
                if all {
                    let from = setup.definition.find("[lifecycle]").expect("the table");
                    setup.definition.truncate(from);
                    return;
                }
                for event in [SIGNUP, STARTED, READY, "user:tried"] {
                    let name = format!("name = \"{event}\"");
                    setup.replace(&name, &name.replace("user:", "user:other:"));
                }
            })
            .await;
        refresh(&mut world).await;
        refresh_of(&mut world, BOB).await;
        let mut rows = outbox(&world).await;
        rows.extend(outbox_of(&world, "u2").await);
        assert_eq!(rows.len(), 5);
        for row in rows {
            let stands = (row.state, row.reason.as_str());
            let expected = (OutboxState::Superseded, "rule_removed");
            assert_eq!(stands, expected, "{} all: {all}", row.event);
        }
        world.finish().await;
    }
}

#[tokio::test]
async fn what_was_owed_before_the_service_observed_goes_once_it_is_live_again() {
    let mut world = world(|setup| setup.replace("sender = \"sole\"", "sender = \"shared\"")).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_eq!(stands(&world, SIGNUP).await.0, OutboxState::Scheduled);
    let observe = ["mode = \"live\"", "mode = \"observe\""];
    world
        .restart(|setup| setup.replace(observe[0], observe[1]))
        .await;
    minutes(&mut world, 90).await;
    assert_eq!(posts(&world), 0);
    world
        .restart(|setup| setup.replace(observe[1], observe[0]))
        .await;
    minutes(&mut world, 90).await;
    assert_eq!(world.timeline(ADA), [SIGNUP]);
    world.finish().await;
}

/// One event is on its way out, the next is decided and its turn comes right after; meanwhile the app's row changes.
async fn while_one_leaves(change: &str) -> World {
    let mut world = world(|_| {}).await;
    happens(&mut world, "created_at").await;
    minutes(&mut world, 1).await;
    let canceled = "status = 'canceled', canceled_at = '2026-03-02 09:00:30'";
    world.change_user("u1", canceled).await;
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
    world.change_user("u1", change).await;
    world.sandbox.release();
    working.await.expect("no panic").expect("the ledger works");
    world.settle().await;
    world
}

#[tokio::test]
async fn one_read_from_a_replica_that_lags_loses_no_event() {
    for (lags, shows, reason) in [
        (
            "status = 'active', canceled_at = NULL",
            "status = 'canceled', canceled_at = '2026-03-02 09:00:30'",
            "not_seen",
        ),
        (
            "deleted_at = '2026-03-02 09:00:00'",
            "deleted_at = NULL",
            "user_missing",
        ),
    ] {
        let mut world = while_one_leaves(lags).await;
        assert_stands(&world, CANCELED, OutboxState::Due, reason).await;
        assert_eq!(world.timeline(ADA), [SIGNUP], "{lags}");
        world.change_user("u1", shows).await;
        minutes(&mut world, 11).await;
        assert_eq!(world.timeline(ADA), [SIGNUP, CANCELED], "{lags}");
        world.finish().await;
    }
}

#[tokio::test]
async fn what_two_reads_do_not_show_is_not_told() {
    for (change, reason) in [
        ("status = 'active', canceled_at = NULL", "no_longer_true"),
        ("deleted_at = '2026-03-02 09:00:00'", "user_gone"),
    ] {
        let mut world = while_one_leaves(change).await;
        // Whoever asks meanwhile is no second look.
        refresh(&mut world).await;
        minutes(&mut world, 5).await;
        assert_eq!(stands(&world, CANCELED).await.0, OutboxState::Due);
        minutes(&mut world, 16).await;
        assert_stands(&world, CANCELED, OutboxState::Superseded, reason).await;
        assert_eq!(world.timeline(ADA), [SIGNUP], "{change}");
        world.finish().await;
    }
}

/// Whom a later event shows to have come back is told of that one at once: no replica runs ahead.
#[tokio::test]
async fn who_came_back_is_told_so_without_a_second_look() {
    let back = "status = 'active', canceled_at = NULL, subscribed_at = '2026-03-02 09:01:00'";
    let world = while_one_leaves(back).await;
    assert_stands(&world, CANCELED, OutboxState::Superseded, "later_event").await;
    assert_eq!(world.timeline(ADA), [SIGNUP, STARTED]);
    world.finish().await;
}

#[tokio::test]
async fn a_release_outlasts_the_hour_in_which_its_condition_is_false() {
    let mut world =
        world(|setup| setup.add("[lifecycle.brake]\nper_hour = 1\nshare = \"0%\"\n")).await;
    let now = sql_now(&world);
    for user in ["u1", "u2", "u3"] {
        let email = format!("{user}@northwind.example");
        if user != "u1" {
            world.add_user(user, &email).await;
        }
        let canceled = format!("status = 'canceled', canceled_at = '{now}'");
        world.change_user(user, &canceled).await;
        let email = if user == "u1" { ADA } else { &email };
        refresh_of(&mut world, email).await;
    }
    let [row] = <[_; 1]>::try_from(outbox_of(&world, "u2").await).expect("one");
    assert_eq!(
        (row.state, row.reason.as_str()),
        (OutboxState::Held, "brake")
    );
    // The hour of the brake goes by. It is latched, because somebody else's waits too; and the condition is false just then.
    minutes(&mut world, 61).await;
    world.change_user("u2", "status = 'active'").await;
    let chosen = Chosen {
        reference: Some(row.reference.as_str().to_owned()),
        limit: 1,
        ..Chosen::default()
    };
    let answer = perform(&world, Operation::EventsRelease(chosen)).await;
    assert_eq!(answer.json, serde_json::json!({ "released": 1 }));
    world.settle().await;
    let row = outbox_of(&world, "u2").await.remove(0);
    let stands = (row.state, row.reason.as_str());
    assert_eq!(stands, (OutboxState::Scheduled, "released"));
    world.change_user("u2", "status = 'canceled'").await;
    minutes(&mut world, 61).await;
    let row = outbox_of(&world, "u2").await.remove(0);
    assert_eq!(row.state, OutboxState::Sent, "{}", row.reason);
    world.finish().await;
}

crate::world::also_on_postgres! {
    arming_a_rule_under_its_new_name_forgets_nothing_it_owes,
    what_is_released_by_its_new_name_may_bear_the_former_one,
    who_consents_later_is_told_without_a_chat_and_waiting_costs_no_call,
    what_nobody_decides_about_expires_by_itself,
    what_a_removed_rule_owes_is_set_aside_wherever_it_waits,
    what_was_owed_before_the_service_observed_goes_once_it_is_live_again,
    one_read_from_a_replica_that_lags_loses_no_event,
    what_two_reads_do_not_show_is_not_told,
    who_came_back_is_told_so_without_a_second_look,
    a_release_outlasts_the_hour_in_which_its_condition_is_false,
}
