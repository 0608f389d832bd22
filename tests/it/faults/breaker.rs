//! What people see of a breaker, and what agents see while one is open.

use std::time::Duration;

use crisp_sync::sandbox::{Fault, OpenChat};
use serde_json::Value as Json;

use super::{ADA, ada_chats, agent_looks, assert_shows};
use crate::{
    telemetry::lines,
    world::{Setup, World},
};

async fn status(world: &World, name: &str) -> Json {
    let answer = World::http().get(world.ops_url("/status")).send();
    let text = answer.await.expect("an answer").text();
    let status: Json = serde_json::from_str(&text.await.expect("a body")).expect("JSON");
    let breakers = status["breakers"].as_array().expect("a list").clone();
    let mut breakers = breakers.into_iter();
    let found = breakers.find(|breaker| breaker["name"] == name);
    found.unwrap_or_else(|| panic!("no breaker `{name}` in {status:#}"))
}

async fn ready(world: &World) -> u16 {
    let answer = World::http().get(world.public_url("/readyz")).send();
    answer.await.expect("an answer").status().as_u16()
}

/// Log lines about this fault; nobody else's error names that column.
fn told(event: &str) -> Vec<Json> {
    let lines = lines().into_iter();
    lines
        .filter(|line| line["event"] == event && line["error"].to_string().contains("wreck"))
        .collect()
}

#[tokio::test]
async fn a_breaker_is_seen_in_the_status_the_metrics_and_the_log() {
    const NAME: &str = "users.query";
    const GAUGE: &str = "crisp_sync_breaker{name=\"users.query\"}";
    let mut world = World::with(|setup| {
        setup.replace("marketing_opt_in\n", "marketing_opt_in, wreck\n");
    })
    .await;
    world.sql("ALTER TABLE users ADD COLUMN wreck TEXT").await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(status(&world, NAME).await["state"], "closed");
    assert_eq!(world.metric(GAUGE), 0);

    world.change_user("u1", "plan = 'starter'").await;
    world
        .sql("ALTER TABLE users RENAME COLUMN wreck TO wrack")
        .await;
    agent_looks(&mut world, &session).await;
    let broken_at = world.now();
    world.pass(Duration::from_mins(20)).await;
    let standing = status(&world, NAME).await;
    assert!(
        standing["state"] == "open" || standing["state"] == "half_open",
        "{standing:#}"
    );
    let since: jiff::Timestamp = standing["since"]
        .as_str()
        .expect("when")
        .parse()
        .expect("RFC 3339");
    assert!(since >= broken_at && since <= world.now(), "{standing:#}");
    assert!(standing["probe_at"].is_string(), "{standing:#}");
    assert!(
        standing["failures_in_a_row"].as_u64() >= Some(5),
        "{standing:#}"
    );
    assert!(
        standing["error"].to_string().contains("wreck"),
        "{standing:#}"
    );
    assert!(world.metric(GAUGE) > 0);
    assert_eq!(status(&world, "crisp").await["state"], "closed");
    assert_eq!(
        ready(&world).await,
        200,
        "deliveries are accepted all the same"
    );
    let opened = told("breaker.opened");
    assert_eq!(opened.len(), 1, "{opened:#?}");
    assert_eq!(opened[0]["breaker"], NAME);
    assert!(opened[0]["until"].is_string() && opened[0]["failures"].as_u64() >= Some(5));
    assert!(!told("breaker.probed").is_empty());

    world
        .sql("ALTER TABLE users RENAME COLUMN wrack TO wreck")
        .await;
    world.pass(Duration::from_mins(12)).await;
    assert_shows(&world, &session, "starter");
    let standing = status(&world, NAME).await;
    assert_eq!(standing["state"], "closed");
    assert!(standing.get("error").is_none() && standing.get("since").is_none());
    assert_eq!(world.metric(GAUGE), 0);
    world.finish().await;
}

/// However many wait: one call, and then as many as there are.
#[tokio::test]
async fn one_probe_goes_for_all() {
    let (mut world, first) = ada_chats(|_| {}).await;
    let mut sessions = vec![first];
    for _ in 1..20 {
        sessions.push(world.open(OpenChat::by(ADA).proven()).await);
    }
    world.pass(Duration::from_mins(2)).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault {
        status: Some(503),
        times: Some(0),
        ..Fault::default()
    });
    for session in &sessions {
        world.sandbox.operator_opens(session).expect("there");
    }
    let marker = world.marker();
    world.settle().await;
    // Those that were taken at the same moment were on their way when it opened.
    let opened = world.calls_since(marker).len();
    assert!((5..=8).contains(&opened), "{opened}");
    assert!(world.metric("crisp_sync_breaker{name=\"crisp\"}") > 0);
    for (probes, seconds) in [(1, 5), (1, 10), (1, 20), (1, 40)] {
        let marker = world.marker();
        world.pass(Duration::from_secs(seconds)).await;
        assert_eq!(world.calls_since(marker).len(), probes, "{seconds} s");
    }
    world.sandbox.clear_faults();
    world.pass(Duration::from_mins(2)).await;
    for session in &sessions {
        assert_shows(&world, session, "starter");
    }
    world.finish().await;
}

/// Who did not prove their address sees nothing of ours. Agents see it in the contact, also that it is old.
#[tokio::test]
async fn for_the_unproven_the_contact_says_that_it_is_old_and_later_that_it_is_not() {
    let mut world = World::with(Setup::impatient).await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_mins(2)).await;
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.change_user("u1", "plan = 'starter'").await;
    world.database_goes_down().await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(3)).await;
    assert_eq!(world.contact_data(ADA, "context_state"), "stale");
    assert_eq!(
        world.contact_data(ADA, "plan"),
        "pro",
        "what was known stays"
    );
    assert_eq!(
        world.data(&session, "context_state"),
        "",
        "that is for agents"
    );
    let marker = world.marker();
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(world.calls_since(marker), [""; 0], "it is said once");
    world.database_comes_back().await;
    world.pass(Duration::from_mins(12)).await;
    assert_eq!(world.contact_data(ADA, "plan"), "starter");
    assert_eq!(world.contact_data(ADA, "context_state"), "");
    world.finish().await;
}
