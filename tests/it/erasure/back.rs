//! Ways by which somebody who was erased could come back, each of them closed; and the one that is opened on purpose.

use std::time::Duration;

use crisp_sync::{
    ids::{Email, SessionId, UserKey},
    ledger::{
        Begun, Enqueue, OutboxRow, Outcome, PersonMirror, Receipt, SendLimits, Settled, Settlement,
        Trace, Trigger, Urgency, WorkKind, Write, erasure::Code,
    },
    lifecycle::OutboxState,
    sandbox::OpenChat,
    server::{
        command::Operation,
        survey::{Question, SurveyPage, SurveyRequest},
    },
};

use super::{
    ADA, EVENT, assert_forgotten, assert_unknown, chats, erase, lookups, onboards, perform, theirs,
    whom,
};
use crate::world::{World, also_on_postgres};

also_on_postgres! {
    not_by_a_new_chat,
    not_by_another_address_of_theirs,
    not_at_the_cost_of_who_had_the_address_before,
    not_by_a_look_at_everybody,
    not_by_the_cache,
    not_by_whoever_asks_for_their_row,
    not_by_an_event_that_was_parked,
    not_by_a_late_webhook,
    not_by_a_refresh_that_began_before,
    not_by_a_person_row_that_began_before,
    not_by_an_event_that_is_about_to_leave,
    not_by_a_ledger_from_before,
}

#[tokio::test]
async fn not_by_a_new_chat() {
    let (mut world, ada, _) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    let before = lookups(&world);
    let again = world.open(OpenChat::by(ADA).proven()).await;
    world
        .sandbox
        .message(&ada, "Are you there?")
        .expect("it is there");
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(lookups(&world), before, "nobody is looked up");
    assert_eq!(world.data(&again, "plan"), "");
    assert_eq!(world.segments(&again), Vec::<String>::new());
    assert_unknown(&world, &again).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// What a visitor forges, or an agent types, under our names goes.
#[tokio::test]
async fn not_by_what_somebody_writes_under_our_names() {
    let (mut world, ada, _) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    let mut forged = theirs();
    forged.data.insert("plan".to_owned(), "pro".into());
    forged.segments.push("plan-pro".to_owned());
    let visitor = crisp_sync::sandbox::Author::Visitor;
    world
        .sandbox
        .edit_session(&ada, visitor, forged)
        .expect("it is there");
    world.pass(Duration::from_mins(2)).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

#[tokio::test]
async fn not_by_another_address_of_theirs() {
    let (mut world, ..) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    let other = "ada@elsewhere.example";
    world.change_user("u1", &format!("email = '{other}'")).await;
    let marker = world.marker();
    let again = world.open(OpenChat::by(other).proven()).await;
    world.pass(Duration::from_mins(10)).await;
    assert_eq!(world.data(&again, "plan"), "");
    assert_eq!(world.segments(&again), Vec::<String>::new());
    assert_unknown(&world, &again).await;
    let calls = world.calls_since(marker);
    assert!(
        calls.len() <= 4,
        "it is looked at once, not for ever: {calls:?}"
    );
    world.finish().await;
}

/// What went to an address says who had it then. Whoever has it now is erased, and the other is not told once more.
#[tokio::test]
async fn not_at_the_cost_of_who_had_the_address_before() {
    let (cara, moved) = ("cara@northwind.example", "cara@elsewhere.example");
    let (mut world, ..) = chats(|_| {}).await;
    world.add_user("u3", cara).await;
    onboards(&mut world, "u3").await;
    let look = async |world: &mut World, email: &str| {
        let email = email.to_owned();
        let answer = perform(world, Operation::ReconcileEmail { email }).await;
        assert!(answer.ok, "{answer:?}");
        world.pass(Duration::from_hours(1)).await;
    };
    look(&mut world, cara).await;
    assert_eq!(world.timeline(cara), [EVENT]);
    world.change_user("u3", &format!("email = '{moved}'")).await;
    look(&mut world, moved).await;
    world.add_user("u4", cara).await;
    look(&mut world, cara).await;
    erase(&mut world, cara).await;
    look(&mut world, moved).await;
    let key = UserKey::parse("u3").expect("a key");
    let rows = world.service.ledger.outbox(&world.website, &key).await;
    let rows = rows.expect("readable");
    let sent: Vec<_> = rows.iter().map(|row| (row.state, &row.email_mac)).collect();
    assert_eq!(sent, [(OutboxState::Sent, &None)]);
    world.finish().await;
}

#[tokio::test]
async fn not_by_a_look_at_everybody() {
    let (mut world, ada, _) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    let request = SurveyRequest {
        question: Question::Refresh,
        emails: vec![ADA.to_owned()],
        after: None,
        limit: 1,
    };
    let answer = perform(&world, Operation::Survey(request)).await;
    let page: SurveyPage = serde_json::from_value(answer.json).expect("a page");
    assert_eq!(page.people[0].user, None);
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

#[tokio::test]
async fn not_by_the_cache() {
    let (mut world, ada, _) =
        chats(|setup| setup.replace("found = \"0s\"", "found = \"1h\"")).await;
    erase(&mut world, ADA).await;
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.refresh().await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// A sweep, a command, a gap, a conversation: all of them enqueue rows, and none of hers is taken.
#[tokio::test]
async fn not_by_whoever_asks_for_their_row() {
    let (mut world, ada, _) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    onboards(&mut world, "u1").await;
    let now = world.now();
    let row = |key: &str, trigger| Enqueue {
        kind: WorkKind::Person,
        website: world.website.clone(),
        key: key.to_owned(),
        trigger,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    };
    let rows = [
        Trigger::FollowUp,
        Trigger::Command,
        Trigger::Gap,
        Trigger::Conversation,
    ];
    let rows = rows
        .iter()
        .flat_map(|trigger| [row("u1", *trigger), row("u2", *trigger)]);
    let enqueued = world.service.ledger.enqueue(rows.collect(), now);
    enqueued.await.expect("enqueued");
    assert_eq!(world.work(WorkKind::Person, "u1").await, None);
    assert!(
        world
            .work(WorkKind::Person, "u2")
            .await
            .expect("Ben's")
            .is_pending()
    );
    world.settle().await;
    let email = ADA.to_owned();
    let answer = perform(
        &world,
        Operation::ReconcileEmail {
            email: email.clone(),
        },
    )
    .await;
    assert!(
        !answer.ok && answer.lines[0].contains("erased"),
        "{answer:?}"
    );
    let answer = perform(&world, Operation::Plan { email }).await;
    assert_eq!(answer.json[0]["calls"], serde_json::json!([]), "{answer:?}");
    let told = answer.lines.join("\n");
    assert!(
        told.contains("erased") && !told.contains("does not know"),
        "nobody asked the app: {told}"
    );
    assert_eq!(world.timeline(ADA), Vec::<String>::new());
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// An account that nobody knew of, on her address.
#[tokio::test]
async fn not_by_another_account_on_the_address() {
    let (mut world, ada, _) = chats(|_| {}).await;
    erase(&mut world, ADA).await;
    world.add_user("u9", ADA).await;
    onboards(&mut world, "u9").await;
    let now = world.now();
    let row = Enqueue {
        kind: WorkKind::Person,
        website: world.website.clone(),
        key: "u9".to_owned(),
        trigger: Trigger::FollowUp,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    };
    world
        .service
        .ledger
        .enqueue(vec![row], now)
        .await
        .expect("enqueued");
    world.settle().await;
    assert_eq!(world.timeline(ADA), Vec::<String>::new());
    assert_eq!(
        world.work(WorkKind::Person, "u9").await,
        None,
        "its row goes, too"
    );
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

#[tokio::test]
async fn not_by_an_event_that_was_parked() {
    let mut world = World::with(|setup| {
        setup.add(super::RULE);
        setup.replace(
            "sender = \"sole\"",
            "sender = \"sole\"\ncreate_contacts = false",
        );
    })
    .await;
    world.add_user("u1", ADA).await;
    let (ledger, now) = (&world.service.ledger, world.now());
    ledger
        .arm(&world.website, EVENT, now, now)
        .await
        .expect("armed");
    onboards(&mut world, "u1").await;
    let email = ADA.to_owned();
    perform(&world, Operation::ReconcileEmail { email }).await;
    world.settle().await;
    let key = UserKey::parse("u1").expect("a key");
    let parked = world.service.ledger.outbox(&world.website, &key).await;
    assert_eq!(parked.expect("readable").len(), 1);
    erase(&mut world, ADA).await;
    // Her contact appears, and a person releases what is parked.
    world.sandbox.create_contact(ADA, "Ada");
    world.settle().await;
    let chosen = crisp_sync::server::command::Chosen {
        event: Some(EVENT.to_owned()),
        limit: 50,
        confirmed: true,
        ..Default::default()
    };
    perform(&world, Operation::EventsRelease(chosen)).await;
    world.pass(Duration::from_mins(30)).await;
    assert_eq!(world.timeline(ADA), Vec::<String>::new());
    assert_eq!(world.contact_data(ADA, "plan"), "");
    world.finish().await;
}

#[tokio::test]
async fn not_by_a_late_webhook() {
    let (mut world, ada, _) = chats(|_| {}).await;
    world.sandbox.hold_hooks(true);
    world
        .sandbox
        .message(&ada, "One more thing")
        .expect("it is there");
    world.sandbox.operator_opens(&ada).expect("it is there");
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok, "{answer:?}");
    world.sandbox.hold_hooks(false);
    world.settle().await;
    // And everything that was ever told, once more.
    for number in 1..=6 {
        world.sandbox.redeliver(number).expect("a webhook");
    }
    world.pass(Duration::from_mins(5)).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// A refresh read Crisp and looked her up; then she was erased; then it settles, and what it wrote to Crisp has landed.
#[tokio::test]
async fn not_by_a_refresh_that_began_before() {
    let (mut world, ada, _) = chats(|_| {}).await;
    world.sandbox.operator_opens(&ada).expect("it is there");
    world.hooks_arrive().await;
    let ledger = world.service.ledger.clone();
    let session = SessionId::parse(&ada).expect("a session");
    let mirror = ledger.conversation(&world.website, &session).await;
    let mirror = mirror.expect("readable").expect("a mirror");
    let now = world.now();
    let claims = ledger
        .claim(10, Duration::from_mins(2), now)
        .await
        .expect("claimed");
    let [claim] = claims.as_slice() else {
        panic!("the conversation alone is due: {claims:?}")
    };
    let erasing = crisp_sync::ledger::Erasing {
        receipt: "er_early".to_owned(),
        website: None,
        served: vec![world.website.clone()],
        emails: [Email::parse(ADA).expect("an address")].into(),
        users: [UserKey::parse("u1").expect("a key")].into(),
        delete_contact: false,
    };
    ledger.erase(&erasing, now).await.expect("erased");
    let settlement = Settlement {
        writes: vec![
            Write::Conversation(mirror),
            Write::Enqueue(Enqueue {
                kind: WorkKind::Person,
                website: world.website.clone(),
                key: "u1".to_owned(),
                trigger: Trigger::Conversation,
                run_at: now,
                urgency: Urgency::Timer,
                debounce: Duration::ZERO,
            }),
        ],
        trace: Some(Trace {
            outcome: "patched".to_owned(),
            detail: serde_json::json!({ "changes": [{ "name": "tenant", "after": "Northwind" }] }),
        }),
        ..Settlement::of(Outcome::Done)
    };
    let settled = ledger
        .settle(claim, settlement, now)
        .await
        .expect("settled");
    assert_eq!(settled, Settled::Written);
    assert_unknown(&world, &ada).await;
    let owed = ledger
        .receipt("er_early")
        .await
        .expect("readable")
        .expect("it")
        .owed;
    let of_this = owed
        .iter()
        .any(|owed| owed.session_id.as_deref() == Some(ada.as_str()));
    assert!(of_this, "a run from before pays nothing: {owed:?}");
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert_forgotten(&world, &ada).await;
    let receipt = ledger.receipt("er_early").await.expect("readable");
    assert_eq!(receipt.expect("it").owed, []);
    world.finish().await;
}

/// A person's run is cut off, whatever it is about to write; what it sent to the contact is cleared once it has landed.
#[tokio::test]
async fn not_by_a_person_row_that_began_before() {
    let (mut world, ada, _) = chats(|_| {}).await;
    let ledger = world.service.ledger.clone();
    let now = world.now();
    let row = Enqueue {
        kind: WorkKind::Person,
        website: world.website.clone(),
        key: "u1".to_owned(),
        trigger: Trigger::Command,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    };
    ledger.enqueue(vec![row], now).await.expect("enqueued");
    let claims = ledger
        .claim(10, Duration::from_mins(2), now)
        .await
        .expect("claimed");
    let [claim] = claims.as_slice() else {
        panic!("her row alone is due: {claims:?}")
    };
    let answer = perform(&world, Operation::Erase { whom: whom(ADA) }).await;
    assert!(answer.ok);
    let key = UserKey::parse("u1").expect("a key");
    let mirror = PersonMirror::unknown(world.website.clone(), key);
    let wrote = ledger
        .checkpoint(claim, vec![Write::Person(mirror)], now)
        .await;
    assert_eq!(wrote.expect("an answer"), Settled::LeaseLost);
    // The request that was on its way lands after ours.
    let mut landed = theirs();
    landed.data.insert("plan".to_owned(), "pro".into());
    let service = crisp_sync::sandbox::Author::Service;
    world
        .sandbox
        .edit_contact(ADA, service, landed)
        .expect("a contact");
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert_forgotten(&world, &ada).await;
    let receipt = answer.json["receipt"].as_str().expect("an id");
    assert_eq!(super::receipt_of(&world, receipt).await.owed, []);
    world.finish().await;
}

/// Her events are about to leave, for an account that nobody could know of when she was erased by her address.
#[tokio::test]
async fn not_by_an_event_that_is_about_to_leave() {
    let (mut world, ada, _) = chats(|_| {}).await;
    let ledger = world.service.ledger.clone();
    let now = world.now();
    let email = Email::parse(ADA).expect("an address");
    let key = UserKey::parse("u9").expect("a key");
    let row = Enqueue {
        kind: WorkKind::Person,
        website: world.website.clone(),
        key: "u9".to_owned(),
        trigger: Trigger::Command,
        run_at: now,
        urgency: Urgency::Timer,
        debounce: Duration::ZERO,
    };
    ledger.enqueue(vec![row], now).await.expect("enqueued");
    let claims = ledger
        .claim(10, Duration::from_mins(2), now)
        .await
        .expect("claimed");
    let [claim] = claims.as_slice() else {
        panic!("the row alone is due: {claims:?}")
    };
    let occurrence = OutboxRow {
        website: world.website.clone(),
        user_key: key.clone(),
        key: "1".to_owned(),
        event: EVENT.to_owned(),
        subject: String::new(),
        instant: Some(now),
        state: OutboxState::Due,
        reference: ledger.pseudonyms().occurrence(&world.website, &key, &["1"]),
        due_at: now,
        not_before: None,
        attempts: 0,
        attempted_at: None,
        sent_at: None,
        absent_reads: 0,
        first_absent_at: None,
        reason: "due".to_owned(),
        email_mac: Some(ledger.pseudonyms().email(&email)),
        data: serde_json::json!({}),
        color: "green".to_owned(),
        created_at: now,
        updated_at: now,
    };
    let written = ledger
        .checkpoint(claim, vec![Write::Outbox(occurrence.clone())], now)
        .await;
    assert_eq!(written.expect("an answer"), Settled::Written);
    assert!(
        perform(&world, Operation::Erase { whom: whom(ADA) })
            .await
            .ok
    );
    let sending = OutboxRow {
        state: OutboxState::Sending,
        attempts: 1,
        attempted_at: Some(now),
        ..occurrence
    };
    let begun = ledger
        .begin_send(claim, &sending, &SendLimits::default(), now)
        .await;
    assert_eq!(begun.expect("an answer"), Begun::LeaseLost);
    // Nor does what it knows of the person stay.
    let person = PersonMirror {
        email_mac: Some(ledger.pseudonyms().email(&email)),
        ..PersonMirror::unknown(world.website.clone(), key.clone())
    };
    let settlement = Settlement {
        writes: vec![Write::Person(person)],
        ..Settlement::of(Outcome::Done)
    };
    let settled = ledger.settle(claim, settlement, now).await;
    assert_eq!(settled.expect("an answer"), Settled::Written);
    assert_eq!(
        ledger.person(&world.website, &key).await.expect("readable"),
        None
    );
    assert_eq!(
        ledger.outbox(&world.website, &key).await.expect("readable"),
        []
    );
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert_forgotten(&world, &ada).await;
    world.finish().await;
}

/// As after the restore of a backup: her rows are there, and the tombstone is not. The receipt was kept.
#[tokio::test]
async fn not_by_a_ledger_from_before() {
    let (mut world, ada, ben) = chats(|_| {}).await;
    let ledger = world.service.ledger.clone();
    let codes = ledger.pseudonyms();
    let code = |kind: &str, mac: &str| Code {
        kind: kind.to_owned(),
        mac: mac.to_owned(),
    };
    let email = Email::parse(ADA).expect("an address");
    let key = UserKey::parse("u1").expect("a key");
    let receipt = Receipt {
        receipt: "er_kept".to_owned(),
        ledger: codes.fingerprint(),
        website_id: None,
        erased_at: world.now(),
        lifted_at: None,
        tombstones: vec![
            code("email", codes.email(&email).as_str()),
            code("user", codes.erased_user(&key).as_str()),
        ],
        deleted: [("persons".to_owned(), 1)].into(),
        delete_contact: false,
        owed: Vec::new(),
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("receipts.json");
    // As `erase --json` prints them, one after another, and in a list.
    let one = serde_json::to_string_pretty(&receipt).expect("JSON");
    std::fs::write(&file, format!("{one}\n[{one}]\n")).expect("written");
    let from = file.clone();
    let answer = perform(&world, Operation::EraseReplay { from }).await;
    assert!(answer.ok, "{answer:?}");
    assert_eq!(
        answer.json,
        serde_json::json!({ "replayed": 1, "known": 1 })
    );
    assert_unknown(&world, &ada).await;
    world.settle().await;
    world.pass(Duration::from_mins(5)).await;
    assert_forgotten(&world, &ada).await;
    assert_eq!(world.data(&ben, "plan"), "pro");
    assert!(
        ledger
            .person(&world.website, &UserKey::parse("u2").expect("a key"))
            .await
            .expect("readable")
            .is_some()
    );

    let again = perform(&world, Operation::EraseReplay { from: file.clone() }).await;
    assert_eq!(again.json, serde_json::json!({ "replayed": 0, "known": 2 }));
    assert_eq!(super::receipt_of(&world, "er_kept").await.owed, []);
    // Codes of another ledger stop nobody here, and whoever replays them has to know.
    let foreign = Receipt {
        receipt: "er_foreign".to_owned(),
        ledger: "0011223344556677".to_owned(),
        ..receipt
    };
    std::fs::write(&file, serde_json::to_string(&foreign).expect("JSON")).expect("written");
    let refused = perform(&world, Operation::EraseReplay { from: file }).await;
    assert!(
        !refused.ok && refused.lines[0].contains("another ledger"),
        "{refused:?}"
    );
    world.finish().await;
}
