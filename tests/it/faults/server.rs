//! The bad days of the server that a ledger is kept on. Each story has a server, or a database, of its own to break.

use std::time::Duration;

use crisp_sync::sandbox::HookState;
use sqlx::{Connection as _, Executor as _, PgConnection};

use super::{
    ada_chats, assert_shows, operators_see_that_the_ledger_can_be_read,
    operators_see_that_the_ledger_cannot_be_read,
};
use crate::{
    engines::{Database, execute, servers::OwnServer},
    world::World,
};

/// Ada's chat, with the ledger there, and a plan that has changed since.
async fn world(url: &str) -> (World, String) {
    let (mut world, session) = ada_chats(|setup| setup.set("CRISP_SYNC_LEDGER", url)).await;
    world.change_user("u1", "plan = 'starter'").await;
    (world, session)
}

/// A delivery is refused, so that Crisp sends it again, and the worker says what is wrong.
async fn nothing_is_taken(world: &World, session: &str) {
    world.sandbox.operator_opens(session).expect("there");
    world.hooks_arrive().await;
    let last = world
        .sandbox
        .look(|state| state.hooks().last().map(|hook| hook.state));
    assert_eq!(last, Some(HookState::Failed), "Crisp is to send it again");
    let error = world.service.worker.step().await;
    error.expect_err("there is no ledger");
}

/// By itself, without a restart of ours.
async fn all_is_well(mut world: World, session: &str) {
    assert!(world.sandbox.retry_hooks() > 0);
    world.refresh().await;
    world.pass(Duration::from_mins(2)).await;
    assert_shows(&world, session, "starter");
    world.finish().await;
}

#[tokio::test]
async fn a_server_that_restarts_is_waited_for() {
    let Some(mut server) = OwnServer::start(&[]) else {
        return;
    };
    let (world, session) = world(&server.url("postgres", "postgres")).await;
    server.stop();
    nothing_is_taken(&world, &session).await;
    server.start_again();
    all_is_well(world, &session).await;
}

/// When it matters most what the process counts.
#[tokio::test]
async fn operators_are_answered_while_the_server_is_gone() {
    let Some(mut server) = OwnServer::start(&[]) else {
        return;
    };
    let (world, session) = world(&server.url("postgres", "postgres")).await;
    operators_see_that_the_ledger_can_be_read(&world).await;
    server.stop();
    nothing_is_taken(&world, &session).await;
    for _ in 0..8 {
        drop(world.service.worker.step().await);
        world.clock.advance(Duration::from_secs(15));
    }
    let metrics = operators_see_that_the_ledger_cannot_be_read(&world).await;
    for counted in [
        "crisp_sync_webhooks_total{outcome=\"unavailable\",hook=\"plugin\"} 1\n",
        "crisp_sync_breaker{name=\"ledger\"} ",
    ] {
        assert!(metrics.contains(counted), "`{counted}`: {metrics}");
    }
    assert!(
        !metrics.contains("crisp_sync_breaker{name=\"ledger\"} 0"),
        "{metrics}"
    );
    server.start_again();
    operators_see_that_the_ledger_can_be_read(&world).await;
    all_is_well(world, &session).await;
}

/// As hosts do when a disk fills up. What was connected meanwhile must not stay read-only when it is over.
#[tokio::test]
async fn a_database_that_becomes_read_only_is_waited_for() {
    let Some(database) = Database::create().await else {
        return;
    };
    let (world, session) = world(&database.url).await;
    database
        .alter("SET default_transaction_read_only = on")
        .await;
    nothing_is_taken(&world, &session).await;
    let error = world.service.worker.step().await;
    let error = error.expect_err("there is no ledger").to_string();
    assert!(
        error.contains("read-only") && error.contains("\nhint: "),
        "{error}"
    );
    database
        .alter_quietly("RESET default_transaction_read_only")
        .await;
    all_is_well(world, &session).await;
    database.drop().await;
}

/// The old server comes back as the standby of another, and is promoted again.
#[tokio::test]
async fn a_standby_takes_nothing_until_it_is_promoted() {
    let Some(mut server) = OwnServer::start(&[]) else {
        return;
    };
    let url = server.url("postgres", "postgres");
    let (world, session) = world(&url).await;
    world.service.worker.beat().await;
    server.stop();
    server.becomes_a_standby();
    server.start_again();
    nothing_is_taken(&world, &session).await;
    execute(&url, "SELECT pg_promote()").await;
    world.service.worker.beat().await;
    let cautious = world.service.ledger.cautious_until().await;
    assert_eq!(
        cautious.expect("a read"),
        Some(world.now()),
        "what was committed last may be gone"
    );
    all_is_well(world, &session).await;
}

#[tokio::test]
async fn a_server_without_a_free_connection_is_waited_for() {
    let Some(server) = OwnServer::start(&["max_connections=8"]) else {
        return;
    };
    let url = server.url("postgres", "postgres");
    let (world, session) = world(&url).await;
    let others = tokio::time::timeout(Duration::from_mins(1), others_take_all(8, &url));
    let others = others.await.expect("a full server");
    nothing_is_taken(&world, &session).await;
    for other in others {
        other.close().await.expect("closed");
    }
    all_is_well(world, &session).await;
}

/// Cuts our connections and takes their places. A connection that was cut keeps its place for as long as its process takes
/// to end, and we connect again meanwhile: the server is full of others only when they hold every place.
async fn others_take_all(places: usize, url: &str) -> Vec<PgConnection> {
    let mut others = vec![PgConnection::connect(url).await.expect("there is room")];
    while others.len() < places {
        others[0]
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'crisp-sync'",
            )
            .await
            .expect("cut");
        while let Ok(other) = PgConnection::connect(url).await {
            others.push(other);
        }
    }
    others
}

#[tokio::test]
async fn work_that_is_due_waits_for_a_server_that_lets_nobody_in() {
    let Some(database) = Database::create().await else {
        return;
    };
    let (mut world, session) = world(&database.url).await;
    world.sandbox.operator_opens(&session).expect("there");
    world.hooks_arrive().await;
    database.alter("ALLOW_CONNECTIONS false").await;
    for _ in 0..8 {
        drop(world.service.worker.step().await);
        world.clock.advance(Duration::from_secs(15));
    }
    let gauge = "crisp_sync_breaker{name=\"ledger\"}";
    assert!(world.metric(gauge) > 0, "one probe at a time");
    database.alter_quietly("ALLOW_CONNECTIONS true").await;
    world.pass(Duration::from_mins(3)).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(world.metric(gauge), 0);
    world.finish().await;
    database.drop().await;
}
