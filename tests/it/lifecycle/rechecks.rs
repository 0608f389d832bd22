//! What is still true when it leaves: who came back, who is gone already, which plan it is in the end, and what a rule asks
//! for itself.

use std::time::Duration;

use crisp_sync::{lifecycle::OutboxState, sandbox::OpenChat};

use super::{ADA, assert_stands, happens, minutes, outbox, posts, refresh, sql_now, stands, world};
use crate::world::World;

const CANCELED: &str = "user:subscription:canceled";
const CHURNED: &str = "user:subscription:churned";

/// The app sends too, so that there is a grace in which things may change; a change of plan is a start.
async fn shared() -> World {
    let mut world = world(|setup| {
        setup.replace("sender = \"sole\"", "sender = \"shared\"");
        setup.replace("at = \"subscribed_at\"", "on_change = \"plan\"");
    })
    .await;
    refresh(&mut world).await;
    world
}

fn plans(world: &World) -> Vec<String> {
    let events = world.contact(ADA).events.into_iter();
    let plans = events.map(|event| event.data["plan"].as_str().expect("a plan").to_owned());
    plans.collect()
}

/// Days that the service was there for.
async fn days(world: &mut World, days: u64) {
    for _ in 0..days {
        minutes(world, 24 * 60).await;
    }
    world.service.worker.beat().await;
    world.settle().await;
}

#[tokio::test]
async fn a_cancellation_never_follows_the_end() {
    // Both at one moment, both found at once, and the end found first: in each case the end alone is told.
    for (canceled_first, minutes_between) in [(true, 0), (true, 5), (false, 0), (false, 5)] {
        let mut world = shared().await;
        let canceled_at = sql_now(&world);
        minutes(&mut world, minutes_between).await;
        let ends_at = sql_now(&world);
        let canceled = format!("canceled_at = '{canceled_at}'");
        let ended = format!("ends_at = '{ends_at}', status = 'ended'");
        let (first, second) = if canceled_first {
            (canceled, ended)
        } else {
            (ended, canceled)
        };
        world.change_user("u1", &first).await;
        refresh(&mut world).await;
        world.change_user("u1", &second).await;
        refresh(&mut world).await;
        minutes(&mut world, 30).await;
        let case = format!("canceled first: {canceled_first}, {minutes_between} minutes");
        assert_eq!(world.timeline(ADA), [CHURNED], "{case}");
        world.finish().await;
    }
}

#[tokio::test]
async fn once_the_end_was_told_no_cancellation_of_before_is() {
    let mut world = shared().await;
    let before = sql_now(&world);
    minutes(&mut world, 3).await;
    happens(&mut world, "ends_at").await;
    world.change_user("u1", "status = 'ended'").await;
    refresh(&mut world).await;
    minutes(&mut world, 15).await;
    assert_eq!(world.timeline(ADA), [CHURNED]);
    // The app's own job comes late with the column.
    world
        .change_user("u1", &format!("canceled_at = '{before}'"))
        .await;
    refresh(&mut world).await;
    minutes(&mut world, 30).await;
    assert_eq!(world.timeline(ADA), [CHURNED]);
    assert_stands(&world, CANCELED, OutboxState::Superseded, "later_event").await;
    world.finish().await;
}

#[tokio::test]
async fn who_came_back_before_it_was_told_did_not_cancel() {
    for back in ["canceled_at = NULL, status = 'active'", "plan = 'team'"] {
        let mut world = shared().await;
        happens(&mut world, "canceled_at").await;
        world.change_user("u1", "status = 'canceled'").await;
        refresh(&mut world).await;
        minutes(&mut world, 5).await;
        world.change_user("u1", back).await;
        // Nobody tells us: the last look before it leaves has to find out.
        minutes(&mut world, 30).await;
        assert!(
            !world.timeline(ADA).contains(&CANCELED.to_owned()),
            "{back}"
        );
        assert_eq!(stands(&world, CANCELED).await.0, OutboxState::Superseded);
        world.finish().await;
    }
}

#[tokio::test]
async fn two_changes_within_the_debounce_are_one_start_with_the_last_plan() {
    // Looked at in between or not, with the app as second sender or without it.
    for (looks, sole) in [(true, false), (false, false), (false, true)] {
        let mut world = shared().await;
        if sole {
            world
                .restart(|setup| setup.replace("sender = \"shared\"", "sender = \"sole\""))
                .await;
        }
        world.change_user("u1", "plan = 'team'").await;
        if looks {
            refresh(&mut world).await;
        }
        // Nobody has looked at the chat yet when the second change comes.
        world.sandbox.open_chat(OpenChat::by(ADA));
        world.change_user("u1", "plan = 'enterprise'").await;
        world.refresh().await;
        minutes(&mut world, 30).await;
        assert_eq!(
            plans(&world),
            ["enterprise"],
            "looks: {looks}, sole: {sole}"
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn pro_team_pro_are_three_starts() {
    let mut world = shared().await;
    for plan in ["team", "pro", "team"] {
        days(&mut world, 2).await;
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        refresh(&mut world).await;
        minutes(&mut world, 15).await;
    }
    assert_eq!(plans(&world), ["team", "pro", "team"]);
    let references = world.contact(ADA).events.into_iter();
    let mut references: Vec<_> = references.map(|event| event.data["ref"].clone()).collect();
    references.dedup();
    assert_eq!(references.len(), 3);
    world.finish().await;
}

#[tokio::test]
async fn there_and_back_within_the_debounce_is_nothing() {
    let mut world = shared().await;
    for plan in ["team", "pro"] {
        world.change_user("u1", &format!("plan = '{plan}'")).await;
    }
    refresh(&mut world).await;
    minutes(&mut world, 30).await;
    assert!(outbox(&world).await.is_empty());
    assert_eq!(posts(&world), 0);
    world.finish().await;
}

const WIN_BACK: &str = "[[lifecycle.event]]\nname = \"user:win-back\"\nat = \"canceled_at\"\ndelay = \"10d\"\n\
                        exclude = \"status == 'active'\"\n";

/// Canceled now, with a win-back ten days later.
async fn left() -> World {
    let mut world = world(|setup| setup.add(WIN_BACK)).await;
    happens(&mut world, "canceled_at").await;
    world.change_user("u1", "status = 'canceled'").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), [CANCELED]);
    assert_stands(&world, "user:win-back", OutboxState::Scheduled, "not_due").await;
    world
}

#[tokio::test]
async fn a_win_back_comes_ten_days_later_by_itself() {
    let mut world = left().await;
    days(&mut world, 9).await;
    world.restart(|_| {}).await;
    assert_eq!(world.timeline(ADA), [CANCELED]);
    days(&mut world, 1).await;
    minutes(&mut world, 1).await;
    assert_eq!(world.timeline(ADA), [CANCELED, "user:win-back"]);
    let event = world.contact(ADA).events.pop().expect("the win-back");
    assert_eq!(event.data["occurred_at"], "2026-03-02T09:00:00Z");
    days(&mut world, 20).await;
    refresh(&mut world).await;
    assert_eq!(posts(&world), 2);
    world.finish().await;
}

#[tokio::test]
async fn who_came_back_within_ten_days_is_not_won_back() {
    for (back, state, reason) in [
        // The app takes the instant back, or leaves it and says so elsewhere.
        (
            "canceled_at = NULL, status = 'active'",
            OutboxState::Superseded,
            "no_longer_true",
        ),
        ("status = 'active'", OutboxState::Excluded, "rule_exclude"),
    ] {
        let mut world = left().await;
        days(&mut world, 7).await;
        world.change_user("u1", back).await;
        days(&mut world, 4).await;
        assert_eq!(world.timeline(ADA), [CANCELED], "{back}");
        assert_stands(&world, "user:win-back", state, reason).await;
        world.finish().await;
    }
}

#[tokio::test]
async fn a_rule_asks_for_a_consent_of_its_own() {
    let mut world = world(|setup| {
        setup.replace(
            "at = \"onboarded_at\"\n",
            "at = \"onboarded_at\"\nrequire = \"tenant\"\n",
        );
    })
    .await;
    world.change_user("u1", "tenant = NULL").await;
    happens(&mut world, "created_at").await;
    happens(&mut world, "onboarded_at").await;
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    let event = "user:onboarding:completed";
    assert_stands(&world, event, OutboxState::NoConsent, "rule_require").await;
    world.change_user("u1", "tenant = 'Northwind'").await;
    world.clock.advance(Duration::from_hours(1));
    refresh(&mut world).await;
    assert_eq!(world.timeline(ADA), ["user:signup", event]);
    assert_eq!(posts(&world), 2);
    world.finish().await;
}

#[tokio::test]
async fn nobody_is_told_before_the_moment_that_the_operator_named() {
    let mut world = world(|setup| {
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\nafter = \"trial_ends_at\"",
        );
    })
    .await;
    let until = (world.now() + Duration::from_hours(5))
        .strftime("%F %T")
        .to_string();
    world
        .change_user("u1", &format!("trial_ends_at = '{until}'"))
        .await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, "user:signup", OutboxState::Scheduled, "after").await;
    minutes(&mut world, 4 * 60 + 59).await;
    assert_eq!(posts(&world), 0);
    minutes(&mut world, 2).await;
    assert_eq!(world.timeline(ADA), ["user:signup"]);
    world.finish().await;
}

/// The cancellation waits for consent while the end is planned, put off, or taken back; then its moment passes.
#[tokio::test]
async fn an_end_that_was_taken_back_leaves_the_cancellation_to_be_told() {
    for taken_back in ["NULL", "datetime(ends_at, '+2 days')"] {
        let mut world = world(|_| {}).await;
        let ends_at = world.now() + Duration::from_mins(30);
        let ends_at = ends_at.strftime("%Y-%m-%d %H:%M:%S");
        world
            .change_user(
                "u1",
                &format!("status = 'ended', ends_at = '{ends_at}', marketing_opt_in = 0"),
            )
            .await;
        happens(&mut world, "canceled_at").await;
        refresh(&mut world).await;
        assert_stands(&world, CHURNED, OutboxState::Scheduled, "not_due").await;
        assert_stands(&world, CANCELED, OutboxState::NoConsent, "require").await;
        minutes(&mut world, 10).await;
        world
            .change_user("u1", &format!("ends_at = {taken_back}"))
            .await;
        minutes(&mut world, 25).await;
        world.change_user("u1", "marketing_opt_in = 1").await;
        refresh(&mut world).await;
        assert_eq!(world.timeline(ADA), [CANCELED], "{taken_back}");
        world.finish().await;
    }
}

crate::world::also_on_postgres! {
    an_end_that_was_taken_back_leaves_the_cancellation_to_be_told,
    a_cancellation_never_follows_the_end,
    once_the_end_was_told_no_cancellation_of_before_is,
    who_came_back_before_it_was_told_did_not_cancel,
    two_changes_within_the_debounce_are_one_start_with_the_last_plan,
    pro_team_pro_are_three_starts,
    there_and_back_within_the_debounce_is_nothing,
    a_win_back_comes_ten_days_later_by_itself,
    who_came_back_within_ten_days_is_not_won_back,
    a_rule_asks_for_a_consent_of_its_own,
    nobody_is_told_before_the_moment_that_the_operator_named,
}
