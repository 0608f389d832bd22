//! What Crisp does not take now is owed, said, and paid later.

use std::time::Duration;

use crisp_sync::{alerts::CALM, sandbox::Fault, server::command::Operation};

use super::{ADA, assert_forgotten, chats, perform, receipt_of, whom};
use crate::{
    telemetry::lines,
    world::{World, also_on_postgres},
};

also_on_postgres! {
    what_is_owed_for_a_day_asks_for_a_person,
    what_crisp_does_not_take_is_owed_until_it_does,
    a_restart_takes_up_what_is_owed,
}

#[tokio::test]
async fn what_crisp_does_not_take_is_owed_until_it_does() {
    let (mut world, ada, _) = chats(|_| {}).await;
    for route in ["conversation.get", "profile.get"] {
        world.sandbox.fault(Fault::status(route, 503).times(0));
    }
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok, "the person is erased here: {answer:?}");
    let id = answer.json["receipt"].as_str().expect("an id").to_owned();
    let receipt = receipt_of(&world, &id).await;
    let owed: Vec<&str> = receipt.owed.iter().map(|owed| owed.what.as_str()).collect();
    assert!(
        owed.contains(&"contact") && owed.contains(&"conversation"),
        "{owed:?}"
    );
    assert_eq!(world.data(&ada, "plan"), "pro", "nothing could be cleared");
    let shown = perform(
        &world,
        Operation::EraseStatus {
            receipt: id.clone(),
        },
    )
    .await;
    assert_eq!(shown.json["done"], false);
    assert!(
        shown.lines.iter().any(|line| line.contains("still owed")),
        "{shown:?}"
    );
    world.pass(Duration::from_mins(30)).await;
    assert!(
        !receipt_of(&world, &id).await.owed.is_empty(),
        "it is down for half an hour"
    );
    world.sandbox.clear_faults();
    world.pass(Duration::from_hours(2)).await;
    assert_eq!(receipt_of(&world, &id).await.owed, []);
    assert_forgotten(&world, &ada).await;
    let shown = perform(&world, Operation::EraseStatus { receipt: id }).await;
    assert_eq!(shown.json["done"], true);
    world.finish().await;
}

/// A website that refuses us for a while holds up what is owed there, and nothing is buried.
#[tokio::test]
async fn a_pause_is_waited_for() {
    let (mut world, ada, _) = chats(|_| {}).await;
    for route in ["conversation.get", "profile.get"] {
        world.sandbox.fault(Fault::status(route, 423));
    }
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok, "{answer:?}");
    world.pass(Duration::from_hours(2)).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// In a mode that writes nothing, clearing waits for the one that does.
#[tokio::test]
async fn a_restart_takes_up_what_is_owed() {
    let (mut world, ada, _) = chats(|_| {}).await;
    world
        .restart(|setup| setup.replace("mode = \"live\"", "mode = \"observe\""))
        .await;
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok, "{answer:?}");
    let id = answer.json["receipt"].as_str().expect("an id").to_owned();
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    let owed = receipt_of(&world, &id).await.owed;
    assert!(owed.len() >= 2, "{owed:?}");
    assert_eq!(world.data(&ada, "plan"), "pro");
    world
        .restart(|setup| setup.replace("mode = \"observe\"", "mode = \"live\""))
        .await;
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(receipt_of(&world, &id).await.owed, []);
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// An agent deleted what was to be cleared.
#[tokio::test]
async fn what_is_gone_in_crisp_is_not_owed() {
    let (mut world, ada, _) = chats(|_| {}).await;
    world.sandbox.set_webhook(None);
    world
        .sandbox
        .remove_conversation(&ada)
        .expect("it is there");
    world.sandbox.remove_contact(ADA).expect("a contact");
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    let id = answer.json["receipt"].as_str().expect("an id").to_owned();
    world.settle().await;
    world.pass(Duration::from_mins(3)).await;
    assert_eq!(receipt_of(&world, &id).await.owed, []);
    world.finish().await;
}

/// Somebody answers for it by law, and nothing else would remind them.
#[tokio::test]
async fn what_is_owed_for_a_day_asks_for_a_person() {
    let (mut world, _, _) = chats(|_| {}).await;
    world
        .restart(|setup| setup.replace("mode = \"live\"", "mode = \"observe\""))
        .await;
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok, "{answer:?}");
    let asked_for = async |world: &World| {
        world.service.watch.look().await;
        let rows = world.service.ledger.conditions().await.expect("readable");
        let rows = rows.into_iter().filter(|row| row.kind == "erasure_owed");
        rows.map(|row| row.detail).next()
    };
    let metrics = async |world: &World| {
        let request = World::http().get(world.ops_url("/metrics")).send();
        let answer = request.await.expect("an answer");
        answer.text().await.expect("a body")
    };
    assert!(
        metrics(&world)
            .await
            .contains("crisp_sync_erasures_owed 1\n")
    );
    world.clock.advance(Duration::from_hours(23));
    assert_eq!(asked_for(&world).await, None);
    world.clock.advance(Duration::from_hours(2));
    let detail = asked_for(&world).await.expect("more than a day");
    assert!(detail.contains("and 1 of them not yet"), "{detail}");
    world
        .restart(|setup| setup.replace("mode = \"observe\"", "mode = \"live\""))
        .await;
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert!(
        metrics(&world)
            .await
            .contains("crisp_sync_erasures_owed 0\n")
    );
    world.clock.advance(CALM);
    assert_eq!(asked_for(&world).await, None);
    world.finish().await;
}

#[tokio::test]
async fn a_lift_stands_in_the_log() {
    let (world, _, _) = chats(|_| {}).await;
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    let id = answer.json["receipt"].as_str().expect("an id").to_owned();
    let lifted = perform(&world, Operation::EraseLift { whom: whom(ADA) }).await;
    assert!(lifted.ok, "{lifted:?}");
    let told = lines();
    let mut told = told.iter().filter(|line| line["event"] == "erasure.lifted");
    assert!(told.any(|line| line["erasure.receipt"] == id.as_str()));
    world.abandon();
}
