//! The machine's clock is set: forward, as after a suspended laptop, or back, as by a time server after a wrong start.

use std::time::Duration;

use crisp_sync::{
    ledger::WorkKind,
    sandbox::{Fault, OpenChat},
};

use super::{ADA, ada_chats, agent_looks, assert_shows};
use crate::world::{Setup, World};

const HOUR: Duration = Duration::from_hours(1);

/// The service beats every half a minute. By that, processes that share a ledger know that the clock of all went back.
async fn last_beat(world: &World) {
    world.service.worker.beat().await;
}

/// Nobody listened for a day, as far as anybody can tell: lifecycle events are careful, chats are served as ever.
#[tokio::test]
async fn a_day_forward_makes_careful_and_loses_nothing() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.service.worker.beat().await;
    world.sandbox.fault(Fault::status("conversation.get", 429));
    world.change_user("u1", "plan = 'starter'").await;
    agent_looks(&mut world, &session).await;
    world.clock.advance(24 * HOUR);
    world.service.worker.beat().await;
    let gap = world.service.ledger.last_gap().await.expect("readable");
    assert_eq!(gap.expect("it was noticed").to, world.now());
    world.settle().await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// What was planned by the clock that was ahead does not wait for that hour to come again.
#[tokio::test]
async fn an_hour_back_delays_no_chat() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.pass(HOUR).await;
    world.sandbox.message(&session, "hello?").expect("there");
    world.hooks_arrive().await;
    world.clock.set_back(HOUR);
    world.change_user("u1", "plan = 'starter'").await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(2)).await;
    assert_shows(&world, &session, "starter");
    let other = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&other, "plan"), "starter");
    world.finish().await;
}

/// A pause that ends in a quarter of an hour ends in a quarter of an hour.
#[tokio::test]
async fn an_hour_back_prolongs_no_pause() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.pass(HOUR).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault::status("conversation.get", 429));
    agent_looks(&mut world, &session).await;
    last_beat(&world).await;
    world.clock.set_back(HOUR);
    world.service.worker.beat().await;
    world.pass(Duration::from_mins(16)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// Nor does an outage last longer than it does.
#[tokio::test]
async fn an_hour_back_prolongs_no_outage() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.pass(HOUR).await;
    world.change_user("u1", "plan = 'starter'").await;
    world
        .sandbox
        .fault(Fault::status("conversation.get", 503).times(0));
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(10)).await;
    assert!(world.metric("crisp_sync_breaker{name=\"crisp\"}") > 0);
    last_beat(&world).await;
    world.clock.set_back(HOUR);
    world.sandbox.clear_faults();
    world.pass(Duration::from_mins(6)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// While the database is away and the clock goes back: the next look is not an hour off.
#[tokio::test]
async fn an_hour_back_prolongs_no_wait_for_the_database() {
    let (mut world, session) = ada_chats(Setup::impatient).await;
    world.pass(HOUR).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.database_goes_down().await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(30)).await;
    last_beat(&world).await;
    world.clock.set_back(HOUR);
    world.service.worker.beat().await;
    world.database_comes_back().await;
    world.pass(Duration::from_mins(12)).await;
    assert_shows(&world, &session, "starter");
    let row = world.work(WorkKind::Conversation, &session).await;
    assert!(row.is_none_or(|row| !row.is_pending()));
    world.finish().await;
}
