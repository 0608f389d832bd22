//! What changed while nobody listened: found, refreshed, and never at the cost of what matters more. And a website that
//! should be heard of, and is not.

use std::time::Duration;

use crisp_sync::{
    ledger::{Listening, Trigger, WorkKind, WorkRow},
    sandbox::{Author, DEFAULT_WEBSITE, Fault, LabelEdit, OpenChat, WebhookSettings},
    server::command::Operation,
    worker::Step,
};
use futures_util::future::join;
use serde_json::{Map, json};

use crate::{
    telemetry::lines,
    world::{SECOND_WEBSITE, SIGNING_SECRET, World, also_on_postgres},
};

also_on_postgres! {
    what_changed_while_nobody_listened_is_found_and_refreshed,
    a_start_after_minutes_lists_also_if_a_command_ran_meanwhile,
    a_look_that_is_killed_goes_on_with_its_next_page,
    a_long_absence_is_made_up_for_within_the_window,
    a_website_that_falls_silent_is_noticed_and_heard_again,
}

const ADA: &str = "ada@northwind.example";
const BEN: &str = "ben@northwind.example";
const CLEO: &str = "cleo@northwind.example";

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// Ada and Ben have accounts, and a look says that nothing was missed.
async fn listening() -> World {
    let mut world = World::start().await;
    world.add_user("u1", ADA).await;
    world.add_user("u2", BEN).await;
    look(&mut world).await;
    world
}

/// What a start does beside listening.
async fn look(world: &mut World) {
    world.service.look_for_gaps().await.expect("enqueued");
    world.settle().await;
}

/// From now on nobody hears what Crisp says.
async fn nobody_listens(world: &World) {
    world.hooks_arrive().await;
    world.sandbox.set_webhook(None);
}

/// The service is back after `away`, as after a deployment that went wrong.
async fn come_back(world: &mut World, away: Duration) {
    world.clock.advance(away);
    world.restart(|_| {}).await;
}

/// Hours in which the service runs and beats.
async fn run_for(world: &mut World, time: Duration) {
    const BEAT: Duration = Duration::from_mins(4);
    let until = world.now() + time;
    while world.now() < until {
        world.pass(BEAT).await;
        world.service.worker.beat().await;
    }
    world.settle().await;
}

/// The same, as often as the service really beats.
async fn beats_for(world: &mut World, time: Duration) {
    const BEAT: Duration = Duration::from_secs(30);
    let until = world.now() + time;
    while world.now() < until {
        world.pass(BEAT).await;
        world.service.worker.beat().await;
    }
}

fn hear_again(world: &World) {
    let webhook = WebhookSettings::signed(world.webhook_url(), SIGNING_SECRET);
    world.sandbox.set_webhook(Some(webhook));
}

fn lists(calls: &[&'static str]) -> usize {
    let listed = calls.iter().filter(|name| **name == "conversations.list");
    listed.count()
}

async fn heard(world: &World) -> Listening {
    let listening = world.service.ledger.listening().await.expect("readable");
    let [one] = listening.try_into().expect("one website");
    one
}

async fn gap_row(world: &World) -> WorkRow {
    let row = world.work(WorkKind::Gap, "conversations").await;
    row.expect("the row of the gap finder")
}

async fn conversation_row(world: &World, session: &str) -> WorkRow {
    let row = world.work(WorkKind::Conversation, session).await;
    row.expect("the conversation's row")
}

#[tokio::test]
async fn what_changed_while_nobody_listened_is_found_and_refreshed() {
    let mut world = listening().await;
    let quiet = world.open(OpenChat::by(BEN).proven()).await;
    let known = world.open(OpenChat::by(ADA).proven()).await;
    world.clock.advance(20 * MINUTE);
    world.settle().await;
    nobody_listens(&world).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.change_user("u2", "plan = 'starter'").await;
    world.clock.advance(HOUR);
    world
        .sandbox
        .message(&known, "still there?")
        .expect("there");
    world.add_user("u3", CLEO).await;
    let unknown = world.sandbox.open_chat(OpenChat::by(CLEO).proven());
    // A visitor who says nothing of themselves costs nothing.
    let nobody = world.sandbox.open_chat(OpenChat::default());
    come_back(&mut world, HOUR).await;
    let marker = world.marker();
    look(&mut world).await;
    assert_eq!(world.data(&known, "plan"), "starter");
    assert_eq!(world.data(&unknown, "plan"), "pro");
    assert_eq!(world.contact_data(CLEO, "plan"), "pro");
    let contact = world.work(WorkKind::Person, "u3").await.expect("a row");
    assert_eq!(
        (contact.trigger, contact.priority),
        (Trigger::Gap, 3),
        "where nobody waits for the conversation, nobody waits for the contact"
    );
    assert_eq!(
        world.data(&quiet, "plan"),
        "pro",
        "nothing happened in it, and nobody looks at it"
    );
    assert_eq!(
        world.work(WorkKind::Conversation, &nobody).await,
        None,
        "there is no address to look up"
    );
    let calls = world.requests_since(marker);
    let about_quiet = calls
        .iter()
        .filter(|call| call.session.as_deref() == Some(&quiet));
    assert_eq!(about_quiet.count(), 0, "{calls:#?}");
    assert_eq!(lists(&world.calls_since(marker)), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_list_that_shows_what_the_ledger_knows_saves_the_reads() {
    let mut world = listening().await;
    let same = world.open(OpenChat::by(ADA).proven()).await;
    let edited = world.open(OpenChat::by(BEN).proven()).await;
    world.clock.advance(20 * MINUTE);
    world.settle().await;
    nobody_listens(&world).await;
    world.clock.advance(20 * MINUTE);
    world.sandbox.message(&same, "hello?").expect("there");
    let edit = LabelEdit {
        data: Map::from_iter([("plan".to_owned(), json!("gold"))]),
        ..LabelEdit::default()
    };
    let visitor = Author::Visitor;
    world
        .sandbox
        .edit_session(&edited, visitor, edit)
        .expect("there");
    come_back(&mut world, HOUR).await;
    let marker = world.marker();
    look(&mut world).await;
    assert_eq!(world.data(&edited, "plan"), "pro", "ours again");
    let calls = world.requests_since(marker);
    let about = |session: &str| -> Vec<_> {
        let calls = calls
            .iter()
            .filter(|call| call.session.as_deref() == Some(session));
        calls.map(|call| call.name).collect()
    };
    assert_eq!(about(&same), [""; 0], "a message changes nothing of ours");
    assert_eq!(about(&edited), ["conversation.get", "metas.update"]);
    world.finish().await;
}

/// A hook is lost, and a later one makes a refresh that the mirror answers. From then on only the list knows better.
async fn is_found_by_the_list(lost: impl FnOnce(&World, &str)) -> (World, String) {
    let mut world = listening().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(20 * MINUTE).await;
    nobody_listens(&world).await;
    lost(&world, &session);
    hear_again(&world);
    world.clock.advance(2 * MINUTE);
    let marker = world.marker();
    world.sandbox.message(&session, "hello?").expect("there");
    world.refresh().await;
    assert_eq!(world.calls_since(marker), [""; 0], "by the mirror");
    run_for(&mut world, HOUR).await;
    let calls = world.calls_since(marker);
    let reads = calls.iter().filter(|name| **name == "conversation.get");
    assert!((1..=2).contains(&reads.count()), "{calls:?}");
    let marker = world.marker();
    run_for(&mut world, 3 * HOUR).await;
    let calls = world.calls_since(marker);
    assert_eq!(calls, ["conversations.list"; 3], "found once");
    (world, session)
}

#[tokio::test]
async fn another_person_under_a_later_message_is_found_by_the_list() {
    let (world, session) = is_found_by_the_list(|world, session| {
        let sandbox = &world.sandbox;
        let taken = sandbox.change_identity(session, Some(BEN), false);
        taken.expect("there");
    })
    .await;
    assert_eq!(world.data(&session, "plan"), "", "it was Ada's");
    world.finish().await;
}

#[tokio::test]
async fn a_forged_value_under_a_later_message_is_found_by_the_list() {
    let (world, session) = is_found_by_the_list(|world, session| {
        let edit = LabelEdit {
            data: Map::from_iter([("plan".to_owned(), json!("gold"))]),
            ..LabelEdit::default()
        };
        let sandbox = &world.sandbox;
        let forged = sandbox.edit_session(session, Author::Visitor, edit);
        forged.expect("there");
    })
    .await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

/// A deployment takes seconds. What is said meanwhile Crisp says again, and what it does not is found within the hour.
#[tokio::test]
async fn a_start_after_a_short_stop_lists_nothing() {
    let mut world = listening().await;
    world.open(OpenChat::by(ADA).proven()).await;
    beats_for(&mut world, 5 * MINUTE).await;
    let due = gap_row(&world).await.run_at;
    let marker = world.marker();
    for _ in 0..3 {
        come_back(&mut world, MINUTE).await;
        look(&mut world).await;
    }
    assert_eq!(world.calls_since(marker), [""; 0]);
    assert_eq!(
        gap_row(&world).await.run_at,
        due,
        "the next look stays where it was"
    );
    // What nobody heard in those seconds.
    nobody_listens(&world).await;
    let missed = world.sandbox.open_chat(OpenChat::by(BEN).proven());
    come_back(&mut world, MINUTE).await;
    look(&mut world).await;
    run_for(&mut world, HOUR).await;
    assert_eq!(world.data(&missed, "plan"), "pro");
    world.finish().await;
}

/// A command in between is no service: what was said before it was heard by nobody.
#[tokio::test]
async fn a_start_after_minutes_lists_also_if_a_command_ran_meanwhile() {
    let mut world = listening().await;
    beats_for(&mut world, 5 * MINUTE).await;
    nobody_listens(&world).await;
    world.clock.advance(2 * MINUTE);
    let session = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    // It opens the ledger, and is gone; the service comes a moment later.
    come_back(&mut world, 2 * MINUTE).await;
    come_back(&mut world, Duration::from_secs(20)).await;
    look(&mut world).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

/// Nor do commands that come more often than the service beats make a service.
/// A deployment starts all replicas anew, and each of them looks whether something was missed.
#[tokio::test]
async fn however_many_replicas_start_a_website_is_listed_once() {
    let Some(mut world) = World::on_a_server().await else {
        return;
    };
    world.add_user("u1", ADA).await;
    look(&mut world).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    nobody_listens(&world).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.clock.advance(HOUR);
    world.sandbox.message(&session, "hello?").expect("there");
    let (second, mut its_server) = world.replica(|_| {}).await;
    world.clock.advance(MINUTE);
    hear_again(&world);
    let marker = world.marker();
    for service in [&world.service, &second] {
        service.look_for_gaps().await.expect("enqueued");
    }
    for _ in 0..10 {
        let both = join(world.service.worker.step(), second.worker.step()).await;
        both.0.expect("the ledger works");
        both.1.expect("the ledger works");
    }
    assert_eq!(lists(&world.calls_since(marker)), 1);
    assert_eq!(world.data(&session, "plan"), "starter");
    its_server.drain().await;
    its_server.close().await;
    second.ledger.close().await.expect("the ledger closes");
    world.finish().await;
}

#[tokio::test]
async fn commands_while_nobody_listens_hide_no_silence() {
    let mut world = listening().await;
    beats_for(&mut world, 5 * MINUTE).await;
    let last_beat = world.now() - Duration::from_secs(30);
    nobody_listens(&world).await;
    let session = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    for _ in 0..12 {
        world.clock.advance(MINUTE);
        assert!(world.command(Operation::Status).await.ok);
    }
    // A command is as careful as the service will be.
    let gap = world.service.ledger.last_gap().await.expect("readable");
    let gap = gap.expect("nobody listened for twelve minutes");
    assert!(gap.from <= last_beat + MINUTE, "{gap:?}");
    assert_eq!(gap.to, world.now());
    come_back(&mut world, Duration::from_secs(20)).await;
    look(&mut world).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    let gap = world.service.ledger.last_gap().await.expect("readable");
    assert_eq!(gap.expect("a gap").to, world.now());
    world.finish().await;
}

/// A website that was added, and one of which a look was broken off, are looked at whatever the ledger knows of others.
#[tokio::test]
async fn a_start_lists_a_website_that_was_never_looked_at() {
    let mut world = World::with(|setup| setup.second_website = true).await;
    look(&mut world).await;
    let marker = world.marker();
    world
        .restart(|setup| {
            let both = format!("{DEFAULT_WEBSITE},{SECOND_WEBSITE}");
            setup.set("CRISP_WEBSITES", both);
        })
        .await;
    look(&mut world).await;
    let listed = world.requests_since(marker);
    let listed: Vec<_> = listed.iter().map(|call| call.website.as_deref()).collect();
    assert_eq!(listed, [Some(SECOND_WEBSITE)]);
    world.finish().await;
}

/// A process that was stopped, or a machine that slept.
#[tokio::test]
async fn a_service_that_slept_looks_when_it_wakes() {
    let mut world = listening().await;
    world.service.worker.beat().await;
    nobody_listens(&world).await;
    world.clock.advance(10 * MINUTE);
    let session = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.clock.advance(10 * MINUTE);
    world.settle().await;
    assert_eq!(world.data(&session, "plan"), "", "nobody knows yet");
    world.service.worker.beat().await;
    world.settle().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn each_hour_costs_one_list() {
    let mut world = listening().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    let first = gap_row(&world).await.run_at;
    assert_eq!(first.duration_since(world.now()).as_mins(), 59);
    let marker = world.marker();
    run_for(&mut world, 6 * HOUR).await;
    assert_eq!(
        world.calls_since(marker),
        ["conversations.list"; 6],
        "and nothing else, where no hook was missed"
    );
    assert_eq!(
        world.metric("crisp_sync_work_total{kind=\"conversation\",outcome=\"unchanged\"}"),
        0,
        "what we wrote ourselves is not looked at again"
    );
    // A hook that is lost while everything else goes on.
    nobody_listens(&world).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.operator_opens(&session).expect("there");
    world.sandbox.message(&session, "hello?").expect("there");
    hear_again(&world);
    run_for(&mut world, HOUR + 4 * MINUTE).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    world.finish().await;
}

/// The look costs at most one call in twenty of the day's quota.
#[tokio::test]
async fn a_small_quota_is_listed_less_often() {
    let mut world = World::with(|setup| setup.add("[crisp]\ndaily_quota = 240")).await;
    let marker = world.marker();
    look(&mut world).await;
    run_for(&mut world, 4 * HOUR).await;
    assert_eq!(world.calls_since(marker), ["conversations.list"; 3]);
    world.finish().await;
}

/// Opens as many chats as fill `pages` pages of Crisp's list and a bit.
async fn crowd(world: &mut World, pages: usize) -> Vec<String> {
    let mut sessions = Vec::new();
    for number in 0..pages * 50 + 5 {
        let email = format!("m{number:03}@northwind.example");
        world.add_user(&format!("m{number:03}"), &email).await;
        world.clock.advance(Duration::from_secs(1));
        sessions.push(world.sandbox.open_chat(OpenChat::by(&email).proven()));
    }
    sessions
}

#[tokio::test]
async fn a_look_that_is_killed_goes_on_with_its_next_page() {
    let mut world = listening().await;
    nobody_listens(&world).await;
    world.clock.advance(MINUTE);
    let sessions = crowd(&mut world, 2).await;
    come_back(&mut world, HOUR).await;
    let marker = world.marker();
    world.service.look_for_gaps().await.expect("enqueued");
    assert_eq!(world.step().await, Step::Worked(1));
    assert_eq!(heard(&world).await.scan.expect("under way").page, 2);
    // Somebody opens a chat between two pages, and does not wait for the others.
    let urgent = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.hooks_arrive().await;
    world.clock.advance(Duration::from_secs(1));
    world.step().await;
    assert_eq!(world.data(&urgent, "plan"), "pro");
    // Killed with the second page in hand: claimed, asked for, and not settled.
    let lease = Duration::from_mins(2);
    let ledger = world.service.ledger.clone();
    let mut claims = ledger.claim(200, lease, world.now()).await.expect("claims");
    assert!(claims.iter().any(|claim| claim.kind == WorkKind::Gap));
    claims.clear();
    world.restart(|_| {}).await;
    // On a server its lease has to run out.
    world.pass(2 * lease).await;
    assert_eq!(
        lists(&world.calls_since(marker)),
        3,
        "the first page is not listed again"
    );
    for session in &sessions {
        assert_eq!(world.data(session, "plan"), "pro");
    }
    let after = heard(&world).await;
    assert_eq!(after.scan, None);
    assert!(after.checked_to.is_some());
    world.finish().await;
}

#[tokio::test]
async fn a_fresh_ledger_leaves_the_past_alone() {
    let mut world = World::start().await;
    world.add_user("u1", ADA).await;
    nobody_listens(&world).await;
    let sessions = crowd(&mut world, 2).await;
    world.clock.advance(MINUTE);
    let marker = world.marker();
    look(&mut world).await;
    assert_eq!(world.calls_since(marker), ["conversations.list"]);
    for session in &sessions {
        assert_eq!(world.work(WorkKind::Conversation, session).await, None);
    }
    world.finish().await;
}

#[tokio::test]
async fn a_long_absence_is_made_up_for_within_the_window() {
    let mut world = listening().await;
    nobody_listens(&world).await;
    world.clock.advance(HOUR);
    let old = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.clock.advance(48 * HOUR);
    let recent = world.sandbox.open_chat(OpenChat::by(BEN).proven());
    come_back(&mut world, 12 * HOUR).await;
    look(&mut world).await;
    assert_eq!(world.data(&recent, "plan"), "pro");
    assert_eq!(world.data(&old, "plan"), "", "a day is the default");
    world.finish().await;
}

/// What is found is background work, and stays so: it leaves the reserve to whoever chats now.
#[tokio::test]
async fn a_look_leaves_the_reserve_to_open_chats() {
    let mut world =
        World::with(|setup| setup.add("[crisp]\ndaily_quota = 100\nreserve = 40")).await;
    world.add_user("u1", ADA).await;
    world.add_user("u2", BEN).await;
    look(&mut world).await;
    nobody_listens(&world).await;
    world.clock.advance(MINUTE);
    let missed = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    let also_missed = world.sandbox.open_chat(OpenChat::by(BEN).proven());
    come_back(&mut world, HOUR).await;
    // Room for the list, and for nothing behind it.
    let used = [("conversation.get", 58)];
    let ledger = world.service.ledger.clone();
    ledger
        .count_calls(&used, world.now())
        .await
        .expect("counted");
    let marker = world.marker();
    look(&mut world).await;
    assert_eq!(world.calls_since(marker), ["conversations.list"]);
    run_for(&mut world, 3 * HOUR).await;
    assert_eq!(
        world.calls_since(marker),
        ["conversations.list"],
        "neither what was found nor the next list is important enough today"
    );
    let row = conversation_row(&world, &also_missed).await;
    assert_eq!((row.trigger, row.priority), (Trigger::Gap, 3));
    // Whoever chats is served, also in a conversation that waits.
    world.sandbox.operator_opens(&missed).expect("there");
    world.refresh().await;
    assert_eq!(world.data(&missed, "plan"), "pro");
    assert_eq!(world.data(&also_missed, "plan"), "");
    // The next day has calls for everybody.
    run_for(&mut world, 12 * HOUR).await;
    assert_eq!(world.data(&also_missed, "plan"), "pro");
    world.finish().await;
}

/// The row of a website stands for ever: it is never buried, whatever Crisp answers.
#[tokio::test]
async fn a_list_that_is_refused_is_asked_for_again() {
    for fault in [
        Fault::status("conversations.list", 500),
        Fault::status("conversations.list", 429),
        Fault::status("conversations.list", 400),
        Fault::status("conversations.list", 403),
        Fault {
            reason: Some("conversation_not_found".to_owned()),
            ..Fault::status("conversations.list", 404)
        },
    ] {
        let mut world = listening().await;
        nobody_listens(&world).await;
        world.clock.advance(MINUTE);
        let session = world.sandbox.open_chat(OpenChat::by(ADA).proven());
        come_back(&mut world, MINUTE).await;
        let refused = format!("{fault:?}");
        world.sandbox.fault(fault);
        look(&mut world).await;
        assert_eq!(world.data(&session, "plan"), "", "{refused}");
        run_for(&mut world, 2 * HOUR).await;
        assert_eq!(world.data(&session, "plan"), "pro", "{refused}");
        world.finish().await;
    }
}

/// Hooks stop, as when the plugin's webhook was removed, and conversations go on.
#[tokio::test]
async fn a_website_that_falls_silent_is_noticed_and_heard_again() {
    let mut world = listening().await;
    world.open(OpenChat::by(ADA).proven()).await;
    run_for(&mut world, HOUR).await;
    let last = heard(&world).await.heard_at.expect("heard");
    nobody_listens(&world).await;
    // Somebody chats in the second hour, and is found by the list; then nobody does.
    run_for(&mut world, HOUR).await;
    let session = world.sandbox.open_chat(OpenChat::by(BEN).proven());
    run_for(&mut world, 2 * HOUR).await;
    assert_eq!(world.data(&session, "plan"), "pro", "nothing is lost");
    assert_eq!(heard(&world).await.silent_since, None, "too early to tell");
    run_for(&mut world, 3 * HOUR).await;
    assert_eq!(heard(&world).await.silent_since, Some(last));
    world.service.watch.look().await;
    let told = |world: &World, name: &str| {
        let website = world.website.to_string();
        let said = lines().into_iter().rev().find(|line| {
            line["event"] == name
                && line["website.id"] == website
                && line["since"] == last.to_string()
        });
        said.is_some()
    };
    assert!(told(&world, "crisp.silent"));
    // The next webhook ends it, whatever it is about.
    hear_again(&world);
    world.sandbox.message(&session, "hello?").expect("there");
    world.refresh().await;
    assert_eq!(heard(&world).await.silent_since, None);
    world.service.worker.beat().await;
    assert!(told(&world, "crisp.heard"));
    world.restart(|_| {}).await;
    assert_eq!(heard(&world).await.silent_since, None, "written down");
    world.finish().await;
}

#[tokio::test]
async fn a_quiet_website_is_not_silent() {
    let mut world = listening().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    run_for(&mut world, 5 * MINUTE).await;
    // Nobody is told of our own writes here, and of an agent's answer either.
    nobody_listens(&world).await;
    world.sandbox.message(&session, "an answer").expect("there");
    run_for(&mut world, 2 * HOUR).await;
    world.change_user("u1", "plan = 'starter'").await;
    let command = Operation::ReconcileEmail {
        email: ADA.to_owned(),
    };
    assert!(world.service.perform(command).await.ok);
    assert_eq!(world.data(&session, "plan"), "starter");
    run_for(&mut world, 8 * HOUR).await;
    assert_eq!(heard(&world).await.silent_since, None);
    world.finish().await;
}

/// The last chat of the day is answered a while later, and nobody writes until morning. Few plugins are told of answers.
#[tokio::test]
async fn an_answer_in_the_evening_is_no_silence() {
    let mut world = listening().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    run_for(&mut world, 15 * MINUTE).await;
    nobody_listens(&world).await;
    world
        .sandbox
        .agent_answers(&session, "done")
        .expect("there");
    world
        .sandbox
        .set_state(&session, "resolved")
        .expect("there");
    run_for(&mut world, 14 * HOUR).await;
    assert_eq!(heard(&world).await.silent_since, None);
    world.finish().await;
}

/// Somebody who has chatted before writes, and no webhook says so.
#[tokio::test]
async fn a_visitor_who_writes_unheard_shows_a_silence() {
    let mut world = listening().await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world
        .sandbox
        .agent_answers(&session, "done")
        .expect("there");
    run_for(&mut world, 15 * MINUTE).await;
    let last = heard(&world).await.heard_at;
    nobody_listens(&world).await;
    run_for(&mut world, HOUR).await;
    world.sandbox.message(&session, "and now?").expect("there");
    run_for(&mut world, 8 * HOUR).await;
    assert_eq!(heard(&world).await.silent_since, last);
    world.finish().await;
}

/// Where nobody listened, nobody can have been heard.
#[tokio::test]
async fn an_absence_of_ours_is_not_crisps_silence() {
    let mut world = listening().await;
    world.open(OpenChat::by(ADA).proven()).await;
    world.service.worker.beat().await;
    nobody_listens(&world).await;
    world.clock.advance(HOUR);
    world.sandbox.open_chat(OpenChat::by(BEN).proven());
    come_back(&mut world, 9 * HOUR).await;
    // Not even the echo of what is written now.
    nobody_listens(&world).await;
    look(&mut world).await;
    assert_eq!(heard(&world).await.silent_since, None);
    world.finish().await;
}
