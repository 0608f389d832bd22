//! The day's quota: counted in the ledger, kept for what matters most, corrected by what Crisp says, and told before it ends.

use std::time::Duration;

use crisp_sync::{
    ledger::{Trigger, WorkKind},
    sandbox::{Fault, OpenChat},
    server::command::Operation,
};
use serde_json::{Value as Json, json};

use crate::world::World;

const ADA: &str = "ada@northwind.example";
const BEN: &str = "ben@northwind.example";

const HOUR: Duration = Duration::from_hours(1);

/// A world with so many calls a day, in which Ada has an account.
async fn world(daily: u32) -> World {
    let mut world =
        World::with(|setup| setup.add(&format!("[crisp]\ndaily_quota = {daily}\n"))).await;
    world.add_user("u1", ADA).await;
    world
}

async fn ask(world: &World, path: &str) -> String {
    let request = World::http().get(world.ops_url(path));
    let answer = request.send().await.expect("an answer");
    answer.text().await.expect("a body")
}

/// What `/status` says of the quota.
async fn outlook(world: &World) -> Json {
    let status: Json = serde_json::from_str(&ask(world, "/status").await).expect("JSON");
    status["quota"].clone()
}

async fn calls(world: &World) -> u64 {
    outlook(world).await["calls"].as_u64().expect("a count")
}

/// As if calls had been made today, so that `total` count.
async fn spend(world: &World, total: u64) {
    let missing = u32::try_from(total - calls(world).await).expect("a count");
    let made = [("read_conversation", missing)];
    let ledger = &world.service.ledger;
    ledger
        .count_calls(&made, world.now())
        .await
        .expect("counted");
    assert_eq!(calls(world).await, total);
}

#[tokio::test]
async fn the_forecast_is_told_and_survives_a_restart() {
    let mut world = world(5_000).await;
    spend(&world, 2_700).await;
    let expected = json!({
        "day": "2026-03-02",
        "limit": 5_000,
        "calls": 2_700,
        "unproven": 0,
        "forecast": { "calls": 7_200, "exhausted_at": "2026-03-02T16:40:00Z" },
    });
    assert_eq!(outlook(&world).await, expected);
    world.restart(|_| {}).await;
    assert_eq!(outlook(&world).await, expected);
    let metrics = ask(&world, "/metrics").await;
    for series in [
        "crisp_sync_quota_calls 2700\n",
        "crisp_sync_quota_limit 5000\n",
        "crisp_sync_quota_forecast_calls 7200\n",
        // 2026-03-02T16:40:00Z
        "crisp_sync_quota_exhausted_at_seconds 1772469600\n",
    ] {
        assert!(metrics.contains(series), "`{series}` is not in\n{metrics}");
    }
    world.clock.advance(15 * HOUR);
    let next = outlook(&world).await;
    assert_eq!(next["day"], "2026-03-03");
    assert_eq!(
        next["forecast"],
        json!({ "calls": 0, "exhausted_at": null })
    );
    assert!(
        ask(&world, "/metrics")
            .await
            .contains("crisp_sync_quota_exhausted_at_seconds 0\n")
    );
    world.finish().await;
}

#[tokio::test]
async fn what_matters_least_stops_first() {
    let mut world = world(100).await;
    world.add_user("u2", BEN).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.clock.advance(20 * Duration::from_mins(1));
    world.settle().await;
    // Lists and sweeps leave the reserve.
    spend(&world, 60).await;
    let marker = world.marker();
    world.service.look_for_gaps().await.expect("enqueued");
    world.settle().await;
    assert_eq!(world.calls_since(marker), [""; 0]);
    // The contact, and with it events, waits while conversations are refreshed.
    spend(&world, 81).await;
    world.change_user("u1", "plan = 'starter'").await;
    world
        .sandbox
        .message(&session, "a question")
        .expect("there");
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "starter");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    // The last calls are an operator's.
    spend(&world, 97).await;
    let other = world.open(OpenChat::by(BEN).proven()).await;
    assert_eq!(world.data(&other, "plan"), "");
    let row = world.work(WorkKind::Conversation, &other).await;
    let row = row.expect("it waits");
    assert_eq!((row.priority, row.attempts), (1, 0), "nothing was tried");
    assert_ne!(row.trigger, Trigger::FollowUp, "it is what it was");
    world.sandbox.operator_opens(&other).expect("there");
    world.refresh().await;
    assert_eq!(world.data(&other, "plan"), "pro");
    // Nothing is lost.
    world.pass(16 * HOUR).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    assert_eq!(world.contact_data(BEN, "plan"), "pro");
    world.finish().await;
}

/// Anybody can type addresses into a chat; they share a part of the day.
#[tokio::test]
async fn strangers_cannot_spend_the_day() {
    let mut world =
        World::with(|setup| setup.add("[crisp]\ndaily_quota = 100\nunproven_share = 10\n")).await;
    let mut sessions = Vec::new();
    for number in 0..8 {
        let email = format!("m{number}@northwind.example");
        world.add_user(&format!("m{number}"), &email).await;
        sessions.push(world.open(OpenChat::by(&email)).await);
    }
    let unproven = outlook(&world).await["unproven"].as_u64().expect("a count");
    assert!((9..=10).contains(&unproven), "{unproven}");
    let last = sessions.last().expect("a session");
    assert_eq!(world.segments(last), [""; 0], "it waits");
    world.sandbox.operator_opens(last).expect("there");
    world.refresh().await;
    assert!(!world.segments(last).is_empty());
    // Ten calls a day are three strangers with their contacts.
    for _ in 0..10 {
        world.pass(12 * HOUR).await;
    }
    for session in &sessions {
        assert!(!world.segments(session).is_empty(), "one of the next days");
    }
    world.finish().await;
}

/// Crisp names no count. When it refuses for hours, somebody else has used the token; when a probe comes through, its day
/// began anew.
#[tokio::test]
async fn the_estimate_follows_what_crisp_says() {
    let mut world = world(5_000).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    let ours = calls(&world).await;
    let refuse = async |world: &mut World, fault: Fault, plan: &str| {
        world.sandbox.fault(fault);
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        world.sandbox.operator_opens(&session).expect("there");
        world.refresh().await;
    };
    // A moment's haste says nothing.
    let haste = Fault::status("conversation.get", 429).retry_after("20");
    refuse(&mut world, haste, "starter").await;
    assert_eq!(calls(&world).await, ours + 1);
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    let before = calls(&world).await;
    assert!(before < 20);
    let spent = Fault::status("conversation.get", 423).retry_after("7200");
    refuse(&mut world, spent, "team").await;
    let at_the_end = outlook(&world).await;
    assert_eq!(at_the_end["calls"], 5_001, "the refused call itself, too");
    assert_eq!(
        at_the_end["forecast"]["exhausted_at"],
        world.now().to_string()
    );
    world.restart(|_| {}).await;
    assert_eq!(outlook(&world).await, at_the_end, "remembered");
    world.pass(3 * HOUR).await;
    assert_eq!(world.data(&session, "plan"), "team");
    let after = calls(&world).await;
    assert!(after < 10, "the day began anew: {after}");
    world.restart(|_| {}).await;
    assert_eq!(calls(&world).await, after);
    world.finish().await;
}

#[tokio::test]
async fn the_day_begins_when_crisps_does() {
    let world = World::with(|setup| {
        setup.add("[crisp]\ndaily_quota = 5_000\nquota_resets_at = \"08:30\"\n");
    })
    .await;
    spend(&world, 100).await;
    world.clock.advance(23 * HOUR);
    let before = outlook(&world).await;
    assert_eq!(
        (&before["day"], &before["calls"]),
        (&json!("2026-03-02"), &json!(100))
    );
    world.clock.advance(HOUR / 2);
    let after = outlook(&world).await;
    assert_eq!(
        (&after["day"], &after["calls"]),
        (&json!("2026-03-03"), &json!(0))
    );
    world.finish().await;
}

#[tokio::test]
async fn a_commands_calls_count_like_all_others() {
    let mut world = world(5_000).await;
    world.open(OpenChat::by(ADA).proven()).await;
    world.change_user("u1", "plan = 'starter'").await;
    let before = calls(&world).await;
    let marker = world.marker();
    let command = Operation::ReconcileEmail {
        email: ADA.to_owned(),
    };
    assert!(world.service.perform(command).await.ok);
    world.settle().await;
    let made = world.calls_since(marker).len();
    assert!(made > 1);
    assert_eq!(
        calls(&world).await,
        before + u64::try_from(made).expect("few")
    );
    world.finish().await;
}

crate::world::also_on_postgres! {
    the_forecast_is_told_and_survives_a_restart,
    what_matters_least_stops_first,
    the_estimate_follows_what_crisp_says,
}
