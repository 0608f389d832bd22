//! The ledger moves from its file to a server in the middle of everything: nobody is told anything twice, and nothing is
//! forgotten.

use crisp_sync::{
    lifecycle::OutboxState,
    sandbox::{Fault, OpenChat},
};

use super::{ADA, assert_stands, happens, minutes, outbox, posts, refresh, stands, world};
use crate::engines::servers::Server;

#[tokio::test]
async fn a_move_to_a_server_tells_nothing_twice_and_forgets_nothing() {
    if Server::Postgres.url().is_none() {
        return;
    }
    let mut world = world(|setup| setup.needs_file = true).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    let context = world.data(&session, "plan");
    // One is told, one is decided on and waits for its day, and one is refused for now.
    happens(&mut world, "created_at").await;
    refresh(&mut world).await;
    assert_stands(&world, "user:signup", OutboxState::Sent, "confirmed").await;
    minutes(&mut world, 1).await;
    let later = world.now() + std::time::Duration::from_hours(26);
    let later = later.strftime("%Y-%m-%d %H:%M:%S");
    world
        .change_user("u1", &format!("subscribed_at = '{later}'"))
        .await;
    happens(&mut world, "onboarded_at").await;
    world
        .sandbox
        .fault(Fault::status("people_event.add", 429).retry_after("600"));
    refresh(&mut world).await;
    assert_eq!(
        stands(&world, "user:onboarding:completed").await.0,
        OutboxState::Due
    );
    let other = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.hooks_arrive().await;
    let before = (
        outbox(&world).await,
        world.service.ledger.pauses().await.expect("a read"),
        world
            .service
            .ledger
            .armings(&world.website)
            .await
            .expect("a read"),
        world.mirror(&session).await,
        posts(&world),
    );
    assert_eq!((before.0.len(), before.1.len()), (3, 1));

    world.move_to_a_server().await;
    let after = (
        outbox(&world).await,
        world.service.ledger.pauses().await.expect("a read"),
        world
            .service
            .ledger
            .armings(&world.website)
            .await
            .expect("a read"),
        world.mirror(&session).await,
        posts(&world),
    );
    assert_eq!(after, before);
    // What was pending is done, in its time.
    minutes(&mut world, 30).await;
    assert_eq!(world.data(&other, "plan"), context);
    assert_eq!(
        world.timeline(ADA),
        ["user:signup", "user:onboarding:completed"]
    );
    minutes(&mut world, 27 * 60).await;
    assert_eq!(
        world.timeline(ADA),
        [
            "user:signup",
            "user:onboarding:completed",
            "user:subscription:started"
        ]
    );
    // The same occurrences have the same names as before.
    let names = |rows: &[crisp_sync::ledger::OutboxRow]| -> Vec<_> {
        let names = rows
            .iter()
            .map(|row| (row.key.clone(), row.reference.clone()));
        names.collect()
    };
    assert_eq!(names(&outbox(&world).await), names(&before.0));
    refresh(&mut world).await;
    minutes(&mut world, 60).await;
    assert_eq!(world.timeline(ADA).len(), 3);
    world.finish().await;
}
