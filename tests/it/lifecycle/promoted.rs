//! A standby is promoted while an event waits: what was committed last on the other server may be gone, and with it that the
//! event was told.

use crisp_sync::lifecycle::OutboxState;

use super::{ADA, assert_stands, happens, minutes, posts, refresh, stands, world};
use crate::{
    engines::{execute, servers::OwnServer},
    world::World,
};

const EVENT: &str = "user:signup";

/// Ada's event is due in ten minutes. The ledger is on a server that can be broken, and its last heartbeat is now.
async fn waiting(url: &str) -> World {
    let mut world = world(|setup| {
        setup.set("CRISP_SYNC_LEDGER", url);
        setup.replace(
            "at = \"created_at\"",
            "at = \"created_at\"\ndelay = \"10m\"",
        );
    })
    .await;
    refresh(&mut world).await;
    minutes(&mut world, 3).await;
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, EVENT, OutboxState::Scheduled, "not_due").await;
    world.service.worker.beat().await;
    world
}

async fn promote(server: &mut OwnServer, url: &str) {
    server.stop();
    server.becomes_a_standby();
    server.start_again();
    execute(url, "SELECT pg_promote()").await;
}

/// No heartbeat comes between the promotion and the event: whoever is about to send it notices.
#[tokio::test]
async fn an_event_that_falls_due_is_told_once_its_timeline_proves_that_it_was_not() {
    let Some(mut server) = OwnServer::start(&[]) else {
        return;
    };
    let url = server.url("postgres", "postgres");
    let mut world = waiting(&url).await;
    promote(&mut server, &url).await;
    minutes(&mut world, 20).await;
    assert_eq!(posts(&world), 0, "a request may still be under way");
    assert_stands(&world, EVENT, OutboxState::Due, "may_be_under_way").await;
    minutes(&mut world, 10).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    assert_eq!(stands(&world, EVENT).await.0, OutboxState::Sent);
    world.finish().await;
}

/// It was told, and the commits that say so did not reach the standby.
#[tokio::test]
async fn an_event_that_was_told_before_is_found() {
    let Some(mut server) = OwnServer::start(&[]) else {
        return;
    };
    let url = server.url("postgres", "postgres");
    let mut world = waiting(&url).await;
    minutes(&mut world, 10).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    execute(
        &url,
        "UPDATE crisp_sync.outbox SET state = 'due', reason = 'due', attempts = 0, attempted_at = NULL, sent_at = NULL; \
         DELETE FROM crisp_sync.high_water",
    )
    .await;
    promote(&mut server, &url).await;
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(posts(&world), 1);
    assert_stands(&world, EVENT, OutboxState::Sent, "found_in_timeline").await;
    world.finish().await;
}
