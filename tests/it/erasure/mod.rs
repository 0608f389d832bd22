//! A person is forgotten: everywhere at once, with a receipt, and by no way back.

mod api;
mod back;
mod gone;
mod lifted;
mod owed;

use crisp_sync::{
    ids::{Email, UserKey},
    ledger::{Receipt, WorkKind},
    sandbox::{Author, LabelEdit, OpenChat},
    server::{
        command::{Answer, Operation},
        desk::Whom,
    },
};
use serde_json::{Value as Json, json};

use crate::world::{Setup, World};

const ADA: &str = "ada@northwind.example";
const BEN: &str = "ben@southwind.example";

/// An event of Ada's that goes out by itself.
const RULE: &str = r#"
[lifecycle]
sender = "sole"
grace = "0s"

[[lifecycle.event]]
name = "user:onboarding:completed"
at = "onboarded_at"
color = "green"
"#;
const EVENT: &str = "user:onboarding:completed";

/// Ada and Ben have accounts, contacts and refreshed conversations, on which an agent wrote, too. The sessions are Ada's
/// and Ben's.
async fn chats(change: impl FnOnce(&mut Setup)) -> (World, String, String) {
    let mut world = World::with(|setup| {
        setup.add(RULE);
        change(setup);
    })
    .await;
    world.add_user("u1", ADA).await;
    world.add_user("u2", BEN).await;
    for rule in world.service.rule_names() {
        let (ledger, now) = (&world.service.ledger, world.now());
        let armed = ledger.arm(&world.website, &rule, now, now);
        armed.await.expect("armed");
    }
    let ada = world.open(OpenChat::by(ADA).proven()).await;
    let ben = world.open(OpenChat::by(BEN).proven()).await;
    for (session, email) in [(&ada, ADA), (&ben, BEN)] {
        world
            .sandbox
            .edit_session(session, Author::Agent, theirs())
            .expect("a conversation");
        world
            .sandbox
            .edit_contact(email, Author::Agent, theirs())
            .expect("a contact");
    }
    world.settle().await;
    (world, ada, ben)
}

/// What an agent wrote.
fn theirs() -> LabelEdit {
    let Json::Object(data) = json!({ "shoe_size": "43" }) else {
        unreachable!("it is an object")
    };
    LabelEdit {
        data,
        segments: vec!["vip".to_owned()],
        ..LabelEdit::default()
    }
}

fn whom(email: &str) -> Whom {
    Whom {
        email: Some(email.to_owned()),
        ..Whom::default()
    }
}

async fn perform(world: &World, operation: Operation) -> Answer {
    world.service.perform(operation).await
}

/// Erases by address; what is owed is left to the worker, which is stepped by the story.
async fn erase(world: &mut World, email: &str) -> Receipt {
    let answer = perform(world, Operation::Erase { whom: whom(email) }).await;
    assert!(answer.ok, "{answer:?}");
    assert!(!answer.json.to_string().contains('@'), "{answer:?}");
    world.settle().await;
    // On a server what another process may be about to commit is looked for a minute later.
    world.pass(std::time::Duration::from_mins(3)).await;
    let receipt = answer.json["receipt"].as_str().expect("an id").to_owned();
    receipt_of(world, &receipt).await
}

async fn receipt_of(world: &World, receipt: &str) -> Receipt {
    let found = world.service.ledger.receipt(receipt).await;
    found.expect("readable").expect("a receipt")
}

/// A signal that the app had something to do for Ada: her look-ups so far, whatever they found.
fn lookups(world: &World) -> u64 {
    ["found", "not_found", "cached"]
        .map(|outcome| format!("crisp_sync_lookups_total{{outcome=\"{outcome}\"}}"))
        .iter()
        .map(|series| world.metric(series))
        .sum()
}

/// Neither the ledger nor Crisp shows anything of ours about Ada, and what agents wrote is there.
async fn assert_forgotten(world: &World, session: &str) {
    assert_nothing_of_ours(world, session);
    let conversation = world.conversation(session).labels;
    assert_eq!(conversation.data["shoe_size"], "43");
    let contact = world.contact(ADA).labels;
    assert_eq!(contact.data["shoe_size"], "43");
    assert_eq!(contact.segments, ["vip"]);
    assert_unknown(world, session).await;
}

fn assert_nothing_of_ours(world: &World, session: &str) {
    for key in ["plan", "tenant", "context_as_of", "context_state"] {
        assert_eq!(world.data(session, key), "", "{key} on the conversation");
    }
    assert_eq!(world.segments(session), ["vip"]);
    for key in ["plan", "tenant", "admin", "context_as_of"] {
        assert_eq!(world.contact_data(ADA, key), "", "{key} on the contact");
    }
}

/// The ledger holds no row of hers.
async fn assert_unknown(world: &World, session: &str) {
    let ledger = &world.service.ledger;
    let key = UserKey::parse("u1").expect("a key");
    let email = Email::parse(ADA).expect("an address");
    let website = &world.website;
    assert_eq!(ledger.person(website, &key).await.expect("readable"), None);
    assert_eq!(ledger.outbox(website, &key).await.expect("readable"), []);
    assert!(
        ledger
            .high_water(website, &key)
            .await
            .expect("readable")
            .is_empty()
    );
    assert_eq!(world.work(WorkKind::Person, "u1").await, None);
    let traces = ledger.traces(WorkKind::Person, website, "u1").await;
    assert_eq!(traces.expect("readable"), []);
    let of_email = ledger.conversations_of(website, &email).await;
    assert_eq!(of_email.expect("readable"), []);
    if let Some(mirror) = world.mirror(session).await {
        assert_eq!(
            (mirror.email, mirror.user_key, mirror.people),
            (None, None, None)
        );
        let shows = mirror
            .session_layer
            .data
            .values()
            .any(|value| value.to_json() != "");
        assert!(!shows && mirror.session_layer.segments.is_empty());
    }
    let of_session = ledger
        .traces(WorkKind::Conversation, website, session)
        .await;
    for trace in of_session.expect("readable") {
        let text = trace.trace.detail.to_string();
        for value in ["Northwind", "plan-pro", "\"pro\""] {
            assert!(!text.contains(value), "{text}");
        }
    }
}

/// The app notes that Ada is through, now.
async fn onboards(world: &mut World, user: &str) {
    let now = world.now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    world
        .change_user(user, &format!("onboarded_at = '{now}'"))
        .await;
}
