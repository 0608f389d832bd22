//! Who is believed, and what an unproven visitor learns: nothing.

use std::time::Duration;

use crisp_sync::sandbox::{Author, LabelEdit, OpenChat, State};
use serde_json::{Map, json};

use crate::world::World;

const ADA: &str = "ada@northwind.example";
const ZOE: &str = "zoe@eastwind.example";

/// A world with a policy, in which verified conversations are usual: there the mark means something.
async fn world_with(identity: &str) -> World {
    let mut world = World::with(|setup| {
        setup.impatient();
        setup.add(&format!("[identity]\n{identity}"));
        setup.behaviour.session_data_flows_into_contacts = true;
    })
    .await;
    world.add_user("u1", ADA).await;
    world.add_user("u9", ZOE).await;
    world.open(OpenChat::by(ZOE).proven()).await;
    world
}

fn chat(proven: bool, channel: &str) -> OpenChat {
    OpenChat {
        verified: proven,
        channel: Some(channel.to_owned()),
        ..OpenChat::by(ADA)
    }
}

/// Session data, session segments, contact, mark: which of them are written.
fn written(world: &World, session: &str) -> [bool; 4] {
    let segments = world.segments(session);
    let has = |name: &str| segments.iter().any(|segment| segment == name);
    [
        world.data(session, "plan") == "pro",
        has("plan-pro"),
        world.contact_data(ADA, "plan") == "pro",
        has("unverified"),
    ]
}

#[tokio::test]
async fn every_policy_gives_what_its_table_says() {
    const CONTACT_FIRST: &str = r#"policy = "contact_first""#;
    const VERIFIED_ONLY: &str = r#"policy = "verified_only""#;
    const ALL: &str = r#"policy = "all""#;
    const TRUSTING: &str = r#"channels = { email = "trust_sender" }"#;
    // policy, channel, proven → session data, session segments, contact, mark
    let table = [
        ("", "chat", false, [false, true, true, true]),
        (CONTACT_FIRST, "chat", true, [true, true, true, false]),
        (CONTACT_FIRST, "chat", false, [false, true, true, true]),
        (CONTACT_FIRST, "email", true, [false, false, true, false]),
        (CONTACT_FIRST, "email", false, [false, false, true, false]),
        (VERIFIED_ONLY, "chat", true, [true, true, true, false]),
        (VERIFIED_ONLY, "chat", false, [false, false, false, true]),
        (VERIFIED_ONLY, "email", false, [false, false, false, false]),
        (ALL, "chat", true, [true, true, true, false]),
        (ALL, "chat", false, [true, true, true, true]),
        (ALL, "email", false, [false, false, true, false]),
        (TRUSTING, "email", false, [true, true, true, false]),
        (TRUSTING, "chat", false, [false, true, true, true]),
    ];
    for (identity, channel, proven, expected) in table {
        let mut world = world_with(identity).await;
        let session = world.open(chat(proven, channel)).await;
        world.pass(Duration::from_secs(10)).await;
        assert_eq!(
            written(&world, &session),
            expected,
            "[identity] {identity}, by {channel}, proven: {proven}"
        );
        world.finish().await;
    }
}

/// A proof of another address is no proof, and neither is one from before the address changed.
#[tokio::test]
async fn a_verification_of_another_address_proves_nothing() {
    let mut world = world_with("").await;
    let session = world.open(OpenChat::by(ZOE).proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.sandbox.verify(&session, "email", ZOE).expect("there");
    world
        .sandbox
        .change_identity(&session, Some(ADA), false)
        .expect("there");
    world.sandbox.verify(&session, "email", ZOE).expect("there");
    world.refresh().await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(written(&world, &session), [false, true, true, true]);
    world.sandbox.verify(&session, "email", ADA).expect("there");
    world.refresh().await;
    assert_eq!(written(&world, &session), [true, true, true, false]);
    world.sandbox.verify(&session, "phone", ADA).expect("there");
    world.refresh().await;
    assert_eq!(written(&world, &session), [false, true, true, true]);
    world.finish().await;
}

#[tokio::test]
async fn a_proof_that_is_withdrawn_takes_the_data_with_it() {
    let mut world = world_with("").await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(written(&world, &session), [true, true, true, false]);
    world
        .sandbox
        .change_identity(&session, Some(ADA), false)
        .expect("there");
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(written(&world, &session), [false, true, true, true]);
    assert_eq!(world.data(&session, "tenant"), "");
    world.finish().await;
}

/// The same without the app's database: what may stay is decided by the proof, not by the outage.
#[tokio::test]
async fn a_withdrawn_proof_takes_everything_with_it_during_an_outage_too() {
    for (policy, segments) in [("contact_first", true), ("verified_only", false)] {
        let mut world = world_with(&format!("policy = \"{policy}\"")).await;
        let session = world.open(OpenChat::by(ADA).proven()).await;
        world.pass(Duration::from_secs(10)).await;
        world.database_goes_down().await;
        world
            .sandbox
            .change_identity(&session, Some(ADA), false)
            .expect("there");
        world.refresh().await;
        let [data, segment, _, mark] = written(&world, &session);
        assert_eq!([data, segment, mark], [false, segments, true], "{policy}");
        world.database_comes_back().await;
        world.pass(Duration::from_hours(1)).await;
        let [data, segment, _, mark] = written(&world, &session);
        assert_eq!([data, segment, mark], [false, segments, true], "{policy}");
        world.finish().await;
    }
}

/// And the other way round: a mark goes as soon as the address is proven, outage or not.
#[tokio::test]
async fn a_proof_takes_the_mark_away_during_an_outage_too() {
    let mut world = world_with("").await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_secs(10)).await;
    assert_eq!(written(&world, &session), [false, true, true, true]);
    world.database_goes_down().await;
    world.sandbox.verify(&session, "email", ADA).expect("there");
    world.refresh().await;
    assert_eq!(written(&world, &session), [false, true, true, false]);
    world.database_comes_back().await;
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(written(&world, &session), [true, true, true, false]);
    world.finish().await;
}

#[tokio::test]
async fn the_mark_waits_until_the_address_is_five_seconds_old() {
    let mut world = world_with("").await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_secs(3)).await;
    assert!(!written(&world, &session)[3], "the site may be signing");
    world.pass(Duration::from_secs(3)).await;
    assert!(written(&world, &session)[3]);
    world.finish().await;
}

#[tokio::test]
async fn who_is_verified_within_five_seconds_is_never_marked() {
    let mut world = world_with("").await;
    let before = world.sandbox.look(State::hook_marker);
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_secs(2)).await;
    world.sandbox.verify(&session, "email", ADA).expect("there");
    world.refresh().await;
    world.pass(Duration::from_mins(1)).await;
    assert_eq!(written(&world, &session), [true, true, true, false]);
    let marked = world.sandbox.look(|state| {
        state
            .hooks()
            .iter()
            .filter(|hook| hook.number > before)
            .any(|hook| hook.body.contains("unverified"))
    });
    assert!(!marked);
    world.finish().await;
}

/// Where nobody is ever verified, everybody would be marked, and the mark would say nothing.
#[tokio::test]
async fn the_mark_is_for_sites_that_verify() {
    let mut world = World::start().await;
    world.add_user("u1", ADA).await;
    world.add_user("u9", ZOE).await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_mins(1)).await;
    assert!(!written(&world, &session)[3], "nobody was verified yet");
    world.open(OpenChat::by(ZOE).proven()).await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_mins(1)).await;
    assert!(written(&world, &session)[3]);
    world.clock.advance(Duration::from_hours(31 * 24));
    world.settle().await;
    let session = world.open(OpenChat::by(ADA)).await;
    world.pass(Duration::from_mins(1)).await;
    assert!(!written(&world, &session)[3], "that was a month ago");
    world.finish().await;
}

/// Somebody types Ada's address, sets our keys by script, and hopes to read or to leave something.
#[tokio::test]
async fn an_impostor_learns_nothing_and_leaves_nothing() {
    let mut world = world_with("").await;
    world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    let impostor = OpenChat {
        data: Map::from_iter([("plan".to_owned(), json!("enterprise"))]),
        segments: vec!["plan-enterprise".to_owned()],
        ..OpenChat::by(ADA)
    };
    let session = world.sandbox.open_chat(impostor);
    assert_eq!(
        world.contact_data(ADA, "plan"),
        "enterprise",
        "session data may flow into contacts"
    );
    world.refresh().await;
    world.pass(Duration::from_mins(1)).await;
    let seen = world.conversation(&session).labels.data;
    let told: Vec<_> = seen.values().filter(|value| *value != "").collect();
    assert!(told.is_empty(), "the visitor reads {told:?}");
    assert_eq!(
        world.segments(&session),
        ["plan-pro", "status-active", "unverified"],
        "agents see who it would be"
    );
    assert_eq!(world.contact_data(ADA, "plan"), "pro", "asserted again");
    // Trying again and again does not help.
    for _ in 0..3 {
        let data = Map::from_iter([("plan".to_owned(), json!("enterprise"))]);
        let forged = LabelEdit {
            data,
            ..LabelEdit::default()
        };
        world
            .sandbox
            .edit_session(&session, Author::Visitor, forged)
            .expect("there");
        world.pass(Duration::from_mins(15)).await;
        assert_eq!(world.data(&session, "plan"), "");
        assert_eq!(world.contact_data(ADA, "plan"), "pro");
    }
    world.finish().await;
}

crate::world::also_on_postgres! {
    every_policy_gives_what_its_table_says,
    a_verification_of_another_address_proves_nothing,
    a_proof_that_is_withdrawn_takes_the_data_with_it,
    a_withdrawn_proof_takes_everything_with_it_during_an_outage_too,
    a_proof_takes_the_mark_away_during_an_outage_too,
    the_mark_waits_until_the_address_is_five_seconds_old,
    who_is_verified_within_five_seconds_is_never_marked,
    the_mark_is_for_sites_that_verify,
    an_impostor_learns_nothing_and_leaves_nothing,
}
