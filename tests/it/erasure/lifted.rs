//! Somebody who was erased is back: they, and nobody else.

use std::time::Duration;

use crisp_sync::{
    ids::UserKey,
    ledger::Tombstoned,
    sandbox::OpenChat,
    server::{command::Operation, desk::Whom},
};

use super::{ADA, BEN, EVENT, assert_nothing_of_ours, chats, erase, onboards, perform, whom};
use crate::world::{World, also_on_postgres};

also_on_postgres! {
    somebody_who_was_erased_twice_is_back_altogether,
    somebody_who_is_back_is_told_only_of_what_happens_then,
    who_had_the_address_before_is_not_back,
    somebody_who_is_back_is_back_at_every_address,
}

/// Erased twice, the second time when the app knew no account of theirs any more: the address is the second erasure's, and
/// the account still the first one's.
#[tokio::test]
async fn somebody_who_was_erased_twice_is_back_altogether() {
    let (mut world, ada, _) = chats(|_| {}).await;
    let first = erase(&mut world, ADA).await.receipt;
    world.change_user("u1", "deleted_at = '2026-03-02'").await;
    let second = erase(&mut world, ADA).await.receipt;
    world.change_user("u1", "deleted_at = NULL").await;
    let lifted = perform(&world, Operation::EraseLift { whom: whom(ADA) }).await;
    assert!(lifted.ok, "{lifted:?}");
    let mut both = [first.as_str(), second.as_str()];
    both.sort_unstable();
    assert_eq!(lifted.json["lifted"], serde_json::json!(both));
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.data(&ada, "plan"), "pro");
    // Nobody else is.
    let ben = erase(&mut world, BEN).await.receipt;
    let lifted = perform(&world, Operation::EraseLift { whom: whom(BEN) }).await;
    assert_eq!(lifted.json["lifted"], serde_json::json!([ben]));
    world.finish().await;
}

#[tokio::test]
async fn somebody_who_is_back_is_told_only_of_what_happens_then() {
    let (mut world, ada, _) = chats(|_| {}).await;
    onboards(&mut world, "u1").await;
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.timeline(ADA), [EVENT]);
    erase(&mut world, ADA).await;
    world.clock.advance(Duration::from_hours(1));
    world.sandbox.message(&ada, "Hello?").expect("it is there");
    world.refresh().await;
    let nobody = perform(&world, Operation::EraseLift { whom: whom(BEN) }).await;
    assert!(!nobody.ok, "{nobody:?}");
    let lifted = perform(&world, Operation::EraseLift { whom: whom(ADA) }).await;
    assert!(lifted.ok, "{lifted:?}");
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.data(&ada, "plan"), "pro");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    // The outbox forgot that it was sent; the tombstone did not.
    assert_eq!(world.timeline(ADA), [EVENT]);
    world.clock.advance(Duration::from_hours(30));
    onboards(&mut world, "u1").await;
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.timeline(ADA), [EVENT, EVENT]);
    // And once more.
    let receipt = erase(&mut world, ADA).await;
    assert_eq!(receipt.owed, []);
    assert_nothing_of_ours(&world, &ada);
    world.finish().await;
}

/// Ada's address was passed on to Ben, and both were erased while they had it.
#[tokio::test]
async fn who_had_the_address_before_is_not_back() {
    let (mut world, ..) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    world
        .change_user("u1", "email = 'ada@elsewhere.example'")
        .await;
    world.change_user("u2", &format!("email = '{ADA}'")).await;
    let bens = erase(&mut world, ADA).await.receipt;
    // An address does not tell which of them it is.
    let asked = perform(&world, Operation::EraseLift { whom: whom(ADA) }).await;
    assert!(!asked.ok, "{asked:?}");
    let said = asked.lines.join("\n");
    assert!(said.contains("hint: ") && said.contains("--user"), "{said}");
    let whom = Whom {
        user_key: Some("u2".to_owned()),
        ..Whom::default()
    };
    let lifted = perform(&world, Operation::EraseLift { whom }).await;
    assert_eq!(lifted.json["lifted"], serde_json::json!([bens]));
    assert_eq!(tombstoned(&world, "u1").await, Tombstoned::Yes);
    assert!(matches!(
        tombstoned(&world, "u2").await,
        Tombstoned::Lifted { .. }
    ));
    let ben = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.data(&ben, "plan"), "pro");
    world.finish().await;
}

/// Also where a chat came from an address that the erasure did not know.
#[tokio::test]
async fn somebody_who_is_back_is_back_at_every_address() {
    let (mut world, ..) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    let other = "ada@elsewhere.example";
    world.change_user("u1", &format!("email = '{other}'")).await;
    let again = world.open(OpenChat::by(other).proven()).await;
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(world.data(&again, "plan"), "");
    let lifted = perform(&world, Operation::EraseLift { whom: whom(ADA) }).await;
    assert!(lifted.ok, "{lifted:?}");
    world.sandbox.operator_opens(&again).expect("it is there");
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.data(&again, "plan"), "pro");
    world.finish().await;
}

async fn tombstoned(world: &World, user: &str) -> Tombstoned {
    let key = UserKey::parse(user).expect("a key");
    let asked = world
        .service
        .ledger
        .tombstoned(&world.website, Some(&key), None);
    asked.await.expect("readable")
}
