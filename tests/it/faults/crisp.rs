//! Crisp's bad days.

use std::time::Duration;

use crisp_sync::{
    ids::UserKey,
    ledger::WorkKind,
    sandbox::{Fault, FaultBody, OpenChat, Reset},
};

use super::{
    ADA, Heals, Meanwhile, Story, ada_chats, agent_looks, assert_shows, hours, operators_see,
};
use crate::{
    telemetry,
    world::{World, also_on_postgres},
};

also_on_postgres! {
    a_403_of_the_events_holds_up_contacts_alone,
    a_403_of_the_contacts_holds_up_contacts_alone,
}

const READ: &str = "conversation.get";
const WRITE: &str = "metas.update";
const CONTACT: &str = "people_data.update";

/// After a refusal that names no time, one probe every quarter of an hour.
const BETWEEN_PROBES: Duration = Duration::from_mins(15);

/// The token, or its quota: two probes in 40 minutes.
async fn refuses_the_token(status: u16, reason: &'static str) {
    Story {
        fault: Fault::status(READ, status),
        lasts: Duration::from_mins(40),
        meanwhile: Meanwhile::PausesToken(reason),
        calls: 3,
        heals: Heals::Within(BETWEEN_PROBES),
    }
    .told()
    .await;
}

async fn names_a_time(status: u16) {
    Story {
        fault: Fault::status(READ, status).retry_after("40"),
        lasts: Duration::from_secs(100),
        meanwhile: Meanwhile::PausesToken("throttled"),
        calls: 3,
        heals: Heals::Within(Duration::from_secs(40)),
    }
    .told()
    .await;
}

async fn refuses_the_website(status: u16, reason: &'static str, heals: Heals) {
    Story {
        fault: Fault::status(READ, status),
        lasts: Duration::from_mins(40),
        meanwhile: Meanwhile::PausesWebsite(reason),
        calls: 3,
        heals,
    }
    .told()
    .await;
}

/// What passes: it is tried again at growing intervals, at the most once a minute, and done within a minute of its end.
async fn is_away(fault: Fault) {
    Story {
        fault,
        lasts: Duration::from_mins(20),
        meanwhile: Meanwhile::IsTriedAgain,
        calls: 60,
        heals: Heals::Within(Duration::from_mins(6)),
    }
    .told()
    .await;
}

#[tokio::test]
async fn a_420_is_probed_every_quarter_of_an_hour() {
    refuses_the_token(420, "throttled").await;
}

#[tokio::test]
async fn a_420_with_a_time_waits_that_long() {
    names_a_time(420).await;
}

#[tokio::test]
async fn a_423_is_probed_every_quarter_of_an_hour() {
    refuses_the_token(423, "throttled").await;
}

#[tokio::test]
async fn a_423_with_a_time_waits_that_long() {
    names_a_time(423).await;
}

#[tokio::test]
async fn a_429_is_probed_every_quarter_of_an_hour() {
    refuses_the_token(429, "throttled").await;
}

#[tokio::test]
async fn a_429_with_a_time_waits_that_long() {
    names_a_time(429).await;
}

#[tokio::test]
async fn a_401_is_probed_every_quarter_of_an_hour() {
    refuses_the_token(401, "unauthorized").await;
}

#[tokio::test]
async fn a_402_pauses_the_website_until_its_plan_allows_it() {
    refuses_the_website(402, "plan_required", Heals::Within(BETWEEN_PROBES)).await;
}

#[tokio::test]
async fn a_403_pauses_the_website_until_the_scope_is_granted() {
    refuses_the_website(403, "forbidden", Heals::Within(BETWEEN_PROBES)).await;
}

/// Crisp refuses what is done for contacts, or one kind of it. For two hours an agent looks at a chat every five minutes.
async fn refuses_contacts(route: &str, status: u16, reason: &str) {
    let (mut world, session) = ada_chats(|setup| {
        setup.add(
            "[lifecycle]\nsender = \"sole\"\ngrace = \"0s\"\n\n\
             [[lifecycle.event]]\nname = \"user:subscription:canceled\"\nat = \"canceled_at\"\n",
        );
    })
    .await;
    let (ledger, now) = (world.service.ledger.clone(), world.now());
    ledger
        .arm(&world.website, "user:subscription:canceled", now, now)
        .await
        .expect("armed");
    world.clock.advance(Duration::from_mins(1));
    let at = world.now().strftime("%F %T");
    world
        .change_user("u1", &format!("canceled_at = '{at}'"))
        .await;
    world.sandbox.fault(Fault::status(route, status).times(0));
    let marker = world.marker();
    let logged_before = telemetry::marker();
    for plan in ["team", "starter", "pro"].iter().cycle().take(23) {
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        agent_looks(&mut world, &session).await;
        assert_eq!(world.data(&session, "plan"), *plan, "the chat is fresh");
        world.pass(Duration::from_mins(5)).await;
    }
    let user = UserKey::parse("u1").expect("a key");
    let user = ledger.pseudonyms().user(&user);
    let logged = telemetry::lines_since(logged_before);
    let pauses = ledger.pauses().await.expect("readable");
    let [pause] = pauses.as_slice() else {
        panic!("one pause: {pauses:?}");
    };
    assert_eq!(
        (pause.scope.as_str(), pause.reason.as_str()),
        ("people", reason)
    );
    operators_see(&world, "/status").await;
    let metrics = operators_see(&world, "/metrics").await;
    assert!(
        metrics.contains("crisp_sync_paused{scope=\"people\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("crisp_sync_paused{scope=\"website\"} 0\n"),
        "{metrics}"
    );
    world.service.watch.look().await;
    let told = ledger.conditions().await.expect("readable");
    let subject = format!("contacts of {}", world.website);
    assert!(told.iter().any(|row| row.subject == subject), "{told:?}");
    let is_told = |event: &str, key: &str, value: &str| {
        let mut theirs = logged
            .iter()
            .filter(|line| line["user.ref"] == user.as_str());
        theirs.any(|line| line["event"] == event && line[key] == value)
    };
    assert!(is_told("work.retry", "work.kind", "person"));
    assert!(!is_told("person.refreshed", "outcome", "pause_people"));
    let tried = world.calls_since(marker);
    let tried = tried.iter().filter(|call| **call == route).count();
    assert!((5..=10).contains(&tried), "{tried} probes in two hours");
    world.sandbox.clear_faults();
    world.pass(BETWEEN_PROBES).await;
    assert_shows(&world, &session, "starter");
    assert_eq!(world.timeline(ADA), ["user:subscription:canceled"]);
    assert_eq!(ledger.pauses().await.expect("readable"), []);
    world.finish().await;
}

#[tokio::test]
async fn a_403_of_the_events_holds_up_contacts_alone() {
    refuses_contacts("people_event.add", 403, "forbidden").await;
}

#[tokio::test]
async fn a_403_of_the_contacts_holds_up_contacts_alone() {
    refuses_contacts(CONTACT, 403, "forbidden").await;
}

#[tokio::test]
async fn a_402_of_the_events_holds_up_contacts_alone() {
    refuses_contacts("people_event.add", 402, "plan_required").await;
}

#[tokio::test]
async fn an_uninstalled_plugin_pauses_its_website_until_a_probe_comes_through() {
    refuses_the_website(404, "not_subscribed", Heals::Within(BETWEEN_PROBES)).await;
}

#[tokio::test]
async fn a_plugin_installed_again_goes_on_at_once() {
    refuses_the_website(404, "not_subscribed", Heals::WithTheSubscription).await;
}

#[tokio::test]
async fn a_404_that_is_not_crisps_is_tried_again() {
    is_away(Fault::status(READ, 404).body(FaultBody::Html)).await;
}

#[tokio::test]
async fn a_500_is_tried_again() {
    is_away(Fault::status(READ, 500)).await;
}

#[tokio::test]
async fn a_502_with_a_page_for_people_is_tried_again() {
    is_away(Fault::status(READ, 502).body(FaultBody::Html)).await;
}

#[tokio::test]
async fn a_503_of_the_writes_alone_is_tried_again() {
    is_away(Fault::status(WRITE, 503).body(FaultBody::Html)).await;
}

#[tokio::test]
async fn a_503_of_the_contacts_alone_is_tried_again() {
    is_away(Fault::status(CONTACT, 503).body(FaultBody::Empty)).await;
}

#[tokio::test]
async fn a_200_without_a_body_is_tried_again() {
    is_away(Fault::status(READ, 200).body(FaultBody::Empty)).await;
}

#[tokio::test]
async fn a_200_with_a_page_for_people_is_tried_again() {
    is_away(Fault::status(READ, 200).body(FaultBody::Html)).await;
}

#[tokio::test]
async fn half_an_answer_is_tried_again() {
    is_away(Fault::status(READ, 200).body(FaultBody::Half)).await;
}

#[tokio::test]
async fn half_an_answer_to_a_write_is_found_out_by_a_read() {
    is_applied(
        Fault::status(WRITE, 200)
            .body(FaultBody::Half)
            .but_applied(),
    )
    .await;
}

#[tokio::test]
async fn a_reset_before_the_request_is_tried_again() {
    is_away(Fault::reset(WRITE, Reset::Before)).await;
}

#[tokio::test]
async fn a_reset_after_the_request_is_found_out_by_a_read() {
    is_applied(Fault::reset(WRITE, Reset::After)).await;
}

/// Sixty seconds are ten in the usual configuration and a quarter of one here: that is when we hang up.
#[tokio::test]
async fn a_silence_is_hung_up_on_and_tried_again() {
    is_away(Fault {
        route: Some(READ.to_owned()),
        hold: true,
        ..Fault::default()
    })
    .await;
}

/// What was applied although nobody said so: found out by the next read, and not written twice.
async fn is_applied(fault: Fault) {
    Story {
        fault,
        lasts: Duration::from_mins(20),
        meanwhile: Meanwhile::WasDone,
        calls: 8,
        heals: Heals::Within(Duration::from_mins(6)),
    }
    .told()
    .await;
}

/// Somebody else wrote at the same moment. It concerns one conversation, and passes.
#[tokio::test]
async fn a_409_is_tried_again() {
    Story {
        fault: Fault::status(WRITE, 409),
        lasts: Duration::from_secs(20),
        meanwhile: Meanwhile::IsTriedAgain,
        calls: 24,
        heals: Heals::Within(Duration::from_mins(5)),
    }
    .told()
    .await;
}

/// Crisp has no such contact: the conversation is served, nobody is created, and a look an hour later finds out.
#[tokio::test]
async fn a_404_of_the_contact_leaves_the_contact_alone() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault {
        reason: Some("people_not_found".to_owned()),
        ..Fault::status(CONTACT, 404)
    });
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.pass(Duration::from_mins(61)).await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_mins(5)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// Twelve chats are opened and Crisp is away for half a day.
async fn half_a_day(fault: Fault, calls: usize) -> World {
    let (mut world, first) = ada_chats(|_| {}).await;
    let mut sessions = vec![first];
    for _ in 1..12 {
        sessions.push(world.open(OpenChat::by(ADA).proven()).await);
    }
    world.pass(Duration::from_mins(2)).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(fault.times(0));
    let marker = world.marker();
    for session in &sessions {
        agent_looks(&mut world, session).await;
    }
    hours(&mut world, 12).await;
    let made = world.calls_since(marker).len();
    assert!(made <= calls, "{made} calls");
    for session in &sessions {
        let row = world.work(WorkKind::Conversation, session).await;
        assert!(row.is_some_and(|row| row.is_pending()), "the work waits");
    }
    let dead = world.service.ledger.dead(100).await.expect("readable");
    assert!(dead.is_empty(), "{dead:#?}");
    world.sandbox.clear_faults();
    // Five minutes for the probe, and then everybody at once.
    world.pass(Duration::from_mins(6)).await;
    for session in &sessions {
        assert_shows(&world, session, "starter");
    }
    world
}

/// One probe a minute in the first hour, then one in five, whoever waits.
#[tokio::test]
async fn half_a_day_without_crisp_buries_nothing() {
    let away = Fault {
        status: Some(503),
        body: FaultBody::Html,
        ..Fault::default()
    };
    half_a_day(away, 220).await.finish().await;
}

/// A read before each write: two calls a probe.
#[tokio::test]
async fn half_a_day_in_which_crisp_only_reads_buries_nothing() {
    half_a_day(Fault::status(WRITE, 503).body(FaultBody::Html), 440)
        .await
        .finish()
        .await;
}

/// Conversations are served all the while, so that nothing fails often in a row; reads of the contact are, too.
#[tokio::test]
async fn half_a_day_without_one_kind_of_call_for_contacts_buries_nobody() {
    let (mut world, session) = ada_chats(|_| {}).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault::status(CONTACT, 503).times(0));
    let marker = world.marker();
    for plan in ["pro", "team", "starter"].iter().cycle().take(36) {
        world.change_user("u1", &format!("plan = '{plan}'")).await;
        agent_looks(&mut world, &session).await;
        for _ in 0..2 {
            world.pass(Duration::from_mins(10)).await;
        }
        assert_eq!(world.data(&session, "plan"), *plan, "the chat is kept true");
    }
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert!(dead.is_empty(), "{dead:#?}");
    let tried = world.calls_since(marker);
    let tried = tried.iter().filter(|call| **call == CONTACT).count();
    assert!((5..=240).contains(&tried), "{tried} probes");
    world.sandbox.clear_faults();
    world.pass(Duration::from_mins(9)).await;
    assert_shows(&world, &session, "starter");
    world.finish().await;
}

/// What fails for one conversation while others are served is that conversation's. It is buried, and nobody waits for it.
async fn fails_for_one_alone(route: &str) {
    let (mut world, sick) = ada_chats(|_| {}).await;
    world.change_user("u1", "plan = 'starter'").await;
    world
        .sandbox
        .fault(Fault::status(route, 500).of(&sick).times(0));
    agent_looks(&mut world, &sick).await;
    let marker = world.marker();
    for minutes in 0..90 {
        let well = world.open(OpenChat::by(ADA).proven()).await;
        world.pass(Duration::from_mins(1)).await;
        assert_eq!(world.data(&well, "plan"), "starter", "after {minutes} min");
    }
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].key, sick);
    let calls = world.requests_since(marker);
    let spent = calls
        .iter()
        .filter(|call| call.session.as_ref() == Some(&sick));
    assert!(spent.count() <= 60);
    // What was buried is not lost: the next trigger takes it up.
    world.sandbox.clear_faults();
    agent_looks(&mut world, &sick).await;
    assert_shows(&world, &sick, "starter");
    world.finish().await;
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_is_buried_alone() {
    fails_for_one_alone(READ).await;
}

#[tokio::test]
async fn a_conversation_that_cannot_be_written_is_buried_alone() {
    fails_for_one_alone(WRITE).await;
}
