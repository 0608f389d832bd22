//! What an agent sees beside a chat: what comes, what goes, what stays theirs, and what happens on Crisp's bad days.

use std::time::Duration;

use crisp_sync::{
    ids::SessionId,
    ledger::{PauseScope, WorkKind},
    sandbox::{Author, DEFAULT_WEBSITE, Fault, FaultBody, LabelEdit, OpenChat, Reset, Semantics},
};
use serde_json::{Map, Value as Json, json};

use crate::{
    telemetry,
    world::{Setup, World},
};

const ADA: &str = "ada@northwind.example";
const BEN: &str = "ben@southwind.example";

/// Somebody's labels, as they type them.
fn labels(data: Json, segments: &[&str]) -> LabelEdit {
    let Json::Object(data) = data else {
        panic!("data is an object")
    };
    LabelEdit {
        data,
        segments: segments.iter().map(|&segment| segment.to_owned()).collect(),
        ..LabelEdit::default()
    }
}

/// Ada has an account and a proven conversation.
async fn ada_chats(mut world: World) -> (World, String) {
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    (world, session)
}

async fn agent_looks(world: &mut World, session: &str) {
    world
        .sandbox
        .operator_opens(session)
        .expect("it is still there");
    world.refresh().await;
}

#[tokio::test]
async fn a_first_opening_brings_the_context() {
    let (world, session) = ada_chats(World::start().await).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(
        world.data(&session, "context_as_of"),
        "2026-03-02T09:00:01Z"
    );
    assert_eq!(world.data(&session, "admin"), "", "that is for agents only");
    assert_eq!(world.segments(&session), ["plan-pro", "status-active"]);
    assert_eq!(world.contact_data(ADA, "tenant"), "Northwind");
    assert!(world.contact_data(ADA, "admin").contains("/users/u1"));
    let contact = world.contact(ADA);
    assert_eq!(contact.labels.segments, ["plan-pro", "status-active"]);
    assert_eq!(contact.nickname(), Some("ada"), "Crisp had one");
    assert_eq!(contact.card["company"]["name"], "Northwind");
    world.finish().await;
}

/// Nobody outside knows whether Crisp merges or replaces. Whatever it does, what agents wrote stays, and what we wrote and
/// no longer want goes.
#[tokio::test]
async fn an_agents_labels_stay_and_stale_ones_go_whether_crisp_merges_or_replaces() {
    for semantics in [Semantics::Replace, Semantics::Merge] {
        let world = World::with(|setup| {
            setup.behaviour.session_data = semantics;
            setup.behaviour.session_segments = Semantics::Replace;
            setup.behaviour.contact_segments = Semantics::Replace;
        })
        .await;
        let (mut world, session) = ada_chats(world).await;
        let typed = || labels(json!({ "note": "calls on Mondays" }), &["vip"]);
        let sandbox = &world.sandbox;
        sandbox
            .edit_session(&session, Author::Agent, typed())
            .expect("there");
        sandbox
            .edit_contact(ADA, Author::Agent, typed())
            .expect("there");
        world.settle().await;
        world
            .change_user("u1", "plan = 'starter', tenant = NULL")
            .await;
        agent_looks(&mut world, &session).await;
        assert_eq!(
            world.segments(&session),
            ["plan-starter", "status-active", "vip"],
            "{semantics:?}"
        );
        assert_eq!(world.data(&session, "plan"), "starter");
        assert_eq!(world.data(&session, "tenant"), "");
        assert_eq!(world.data(&session, "note"), "calls on Mondays");
        let mut contact = world.contact(ADA).labels.segments;
        contact.sort();
        assert_eq!(contact, ["plan-starter", "status-active", "vip"]);
        assert_eq!(world.contact_data(ADA, "note"), "calls on Mondays");
        assert_eq!(world.contact_data(ADA, "tenant"), "");
        world.finish().await;
    }
}

/// If Crisp only ever adds segments, an old one cannot be taken away. It must not become a war of requests.
#[tokio::test]
async fn segments_that_crisp_merges_do_not_cost_a_request_for_ever() {
    let world = World::with(|setup| {
        setup.behaviour.session_segments = Semantics::Merge;
        setup.behaviour.contact_segments = Semantics::Merge;
    })
    .await;
    let (mut world, session) = ada_chats(world).await;
    world.change_user("u1", "plan = 'starter'").await;
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_hours(1)).await;
    let segments = world.segments(&session);
    assert!(
        segments.contains(&"plan-starter".to_owned()),
        "{segments:?}"
    );
    let marker = world.marker();
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(world.calls_since(marker), [""; 0]);
    world.finish().await;
}

#[tokio::test]
async fn what_the_definition_no_longer_names_is_cleaned_up() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world
        .restart(|setup| {
            setup.replace("plan = \"{{ plan }}\"\n", "");
            setup.replace("\"plan-{{ plan }}\" = \"plan\"\n", "");
        })
        .await;
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "plan"), "");
    assert_eq!(world.data(&session, "tenant"), "Northwind");
    assert_eq!(world.segments(&session), ["status-active"]);
    assert_eq!(world.contact_data(ADA, "plan"), "");
    assert_eq!(world.contact(ADA).labels.segments, ["status-active"]);
    world.finish().await;
}

#[tokio::test]
async fn what_a_visitor_forges_is_corrected_once_and_our_own_echo_is_not() {
    let (mut world, session) = ada_chats(World::start().await).await;
    let marker = world.marker();
    let forged = labels(json!({ "plan": "enterprise", "hobby": "chess" }), &[]);
    world
        .sandbox
        .edit_session(&session, Author::Visitor, forged)
        .expect("there");
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.data(&session, "hobby"), "chess", "that is theirs");
    assert_eq!(
        world.calls_since(marker),
        ["conversation.get", "metas.update"]
    );
    world.pass(Duration::from_mins(30)).await;
    assert_eq!(world.calls_since(marker).len(), 2, "the echo is no edit");
    world.finish().await;
}

/// Our correction comes back as we wrote it, so this is somebody's doing and not Crisp's.
#[tokio::test]
async fn whoever_forges_again_is_corrected_again() {
    let (mut world, session) = ada_chats(World::start().await).await;
    for _ in 0..4 {
        let forged = labels(json!({ "plan": "enterprise" }), &[]);
        world
            .sandbox
            .edit_session(&session, Author::Visitor, forged)
            .expect("there");
        world.refresh().await;
        assert_eq!(world.data(&session, "plan"), "pro");
        world.pass(Duration::from_mins(3)).await;
    }
    world.finish().await;
}

/// What comes back after every correction, and is all that ever comes back, is Crisp's own way to write our values.
#[tokio::test]
async fn after_two_equal_corrections_the_form_is_accepted() {
    let world = World::with(|setup| setup.behaviour.echoes = false).await;
    let (mut world, session) = ada_chats(world).await;
    let before = telemetry::marker();
    let mut calls = Vec::new();
    for _ in 0..4 {
        let marker = world.marker();
        let form = labels(json!({ "plan": "PRO" }), &[]);
        world
            .sandbox
            .edit_session(&session, Author::Crisp, form)
            .expect("there");
        world.refresh().await;
        calls.push(world.calls_since(marker).len());
        world.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(calls, [2, 2, 0, 0]);
    assert_eq!(world.data(&session, "plan"), "PRO");
    let warned = telemetry::lines_since(before)
        .iter()
        .filter(|line| line["event"] == "mirror.normalised" && line["session.id"] == session)
        .count();
    assert_eq!(warned, 1);
    world.finish().await;
}

/// A row without a key cannot be read, however often it is looked up. That is no fault of the query.
#[tokio::test]
async fn a_row_that_cannot_be_read_stops_nobody_elses_look_ups() {
    let mut world = World::start().await;
    world.add_user("", BEN).await;
    let unreadable = world.open(OpenChat::by(BEN).proven()).await;
    world.pass(Duration::from_mins(2)).await;
    let row = world.work(WorkKind::Conversation, &unreadable).await;
    assert!(row.is_some_and(|row| row.is_pending()), "it is tried again");
    let (mut world, session) = ada_chats(world).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.data(&session, "context_state"), "");
    world.change_user("", "id = 'u2'").await;
    world.pass(Duration::from_hours(1)).await;
    world.finish().await;
}

#[tokio::test]
async fn while_the_database_is_away_the_context_is_marked_as_stale_and_then_refreshed() {
    let (mut world, session) = ada_chats(World::with(Setup::impatient).await).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.database_goes_down().await;
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "plan"), "pro", "what was known stays");
    assert_eq!(world.data(&session, "context_state"), "stale");
    let marker = world.marker();
    world.pass(Duration::from_secs(30)).await;
    assert!(
        world.calls_since(marker).len() <= 1,
        "retries ask the database, not Crisp: {:?}",
        world.calls_since(marker)
    );
    world.database_comes_back().await;
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    assert_eq!(world.data(&session, "context_state"), "");
    world.finish().await;
}

/// The mark says that a look-up is owed. Once it was made, it goes, also if it found nobody.
#[tokio::test]
async fn a_stale_mark_does_not_outlive_the_outage() {
    let (mut world, session) = ada_chats(World::with(Setup::impatient).await).await;
    world
        .change_user("u1", "deleted_at = '2026-03-02 09:00:00'")
        .await;
    world.database_goes_down().await;
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "context_state"), "stale");
    world.database_comes_back().await;
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(world.data(&session, "plan"), "");
    assert_eq!(world.data(&session, "context_state"), "");
    world.finish().await;
}

#[tokio::test]
async fn another_address_gets_another_persons_context() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world.add_user("u2", BEN).await;
    world
        .change_user("u2", "plan = 'starter', tenant = NULL")
        .await;
    world
        .sandbox
        .change_identity(&session, Some(BEN), true)
        .expect("there");
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "starter");
    assert_eq!(world.data(&session, "tenant"), "", "that was Ada's");
    assert_eq!(world.segments(&session), ["plan-starter", "status-active"]);
    assert_eq!(world.contact_data(BEN, "plan"), "starter");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn another_address_clears_the_previous_person_even_without_the_database() {
    let (mut world, session) = ada_chats(World::with(Setup::impatient).await).await;
    world.add_user("u2", BEN).await;
    world.database_goes_down().await;
    world
        .sandbox
        .change_identity(&session, Some(BEN), true)
        .expect("there");
    world.refresh().await;
    for key in ["plan", "tenant"] {
        assert_eq!(world.data(&session, key), "", "{key}");
    }
    assert_eq!(world.data(&session, "context_state"), "stale");
    assert_eq!(world.segments(&session), [""; 0]);
    world.database_comes_back().await;
    world.pass(Duration::from_hours(1)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.data(&session, "context_state"), "");
    world.finish().await;
}

#[tokio::test]
async fn without_an_address_one_look_is_enough() {
    let mut world = World::start().await;
    let session = world.open(OpenChat::default()).await;
    assert!(
        world.calls_since(0).len() <= 1,
        "{:?}",
        world.calls_since(0)
    );
    let marker = world.marker();
    for text in ["hello?", "anybody?", "well then"] {
        world.sandbox.message(&session, text).expect("there");
        world.pass(Duration::from_mins(5)).await;
    }
    assert_eq!(world.calls_since(marker), [""; 0]);
    assert_eq!(world.segments(&session), [""; 0], "no mark either");
    world.finish().await;
}

#[tokio::test]
async fn an_address_the_app_does_not_know_gets_nothing_and_keeps_nothing_of_ours() {
    let mut world = World::start().await;
    let forged = OpenChat {
        data: Map::from_iter([("plan".to_owned(), json!("enterprise"))]),
        segments: vec!["plan-enterprise".to_owned(), "newsletter".to_owned()],
        ..OpenChat::by("nobody@nowhere.example").proven()
    };
    let session = world.open(forged).await;
    assert_eq!(world.data(&session, "plan"), "");
    assert_eq!(world.segments(&session), ["newsletter"]);
    let people = world
        .calls_since(0)
        .into_iter()
        .filter(|name| name.starts_with("people") || name.starts_with("profile"))
        .count();
    assert_eq!(people, 0, "a stranger's contact is none of our business");
    world.finish().await;
}

#[tokio::test]
async fn of_several_accounts_the_first_row_counts_and_agents_are_told() {
    let mut world = World::with(|setup| {
        setup.replace(
            "tenant = \"{{ tenant }}\"\n",
            "tenant = \"{{ tenant }}\"\naccounts = \"{{ accounts_count }}\"\n",
        );
        setup.replace(
            "onboarded = \"onboarded_at\"",
            "onboarded = \"onboarded_at\"\nseveral-accounts = \"ambiguous\"",
        );
    })
    .await;
    world.add_user("u1", ADA).await;
    world.add_user("u2", "Ada@Northwind.example").await;
    world
        .change_user("u2", "plan = 'starter', created_at = '2026-02-01 08:00:00'")
        .await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.data(&session, "accounts"), "2");
    assert_eq!(
        world.segments(&session),
        ["plan-pro", "several-accounts", "status-active"]
    );
    world.finish().await;
}

#[tokio::test]
async fn a_removed_conversation_is_forgotten() {
    let (mut world, session) = ada_chats(World::start().await).await;
    assert!(world.mirror(&session).await.is_some());
    world
        .sandbox
        .message(&session, "one more thing")
        .expect("there");
    world.hooks_arrive().await;
    world
        .sandbox
        .remove_conversation(&session)
        .expect("it was there");
    world.refresh().await;
    assert_eq!(world.mirror(&session).await, None);
    assert_eq!(world.work(WorkKind::Conversation, &session).await, None);
    world.finish().await;
}

#[tokio::test]
async fn a_contact_that_was_removed_is_not_written_again() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world.sandbox.remove_contact(ADA).expect("it was there");
    world.refresh().await;
    world.change_user("u1", "plan = 'starter'").await;
    let marker = world.marker();
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_hours(24 * 8)).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    let about_people: Vec<_> = world
        .calls_since(marker)
        .into_iter()
        .filter(|name| name.starts_with("people") || name.starts_with("profile"))
        .collect();
    // One look, whether another one has its place.
    assert_eq!(about_people, ["profile.get"]);
    let marker = world.marker();
    agent_looks(&mut world, &session).await;
    agent_looks(&mut world, &session).await;
    let looks = world.calls_since(marker).into_iter();
    let looks = looks.filter(|name| *name == "profile.get").count();
    assert!(looks <= 1, "{looks} looks within a minute");
    world.finish().await;
}

/// The token, or the quota, is refused: nothing at all is called until a probe comes through.
#[tokio::test]
async fn what_concerns_the_token_pauses_every_call_until_a_probe_comes_through() {
    for status in [401, 420, 423, 429] {
        let (mut world, session) = ada_chats(World::start().await).await;
        world.change_user("u1", "plan = 'starter'").await;
        world
            .sandbox
            .fault(Fault::status("conversation.get", status).times(2));
        let marker = world.marker();
        agent_looks(&mut world, &session).await;
        let pauses = world.service.ledger.pauses().await.expect("readable");
        assert_eq!(pauses.len(), 1, "{status}: {pauses:?}");
        assert_eq!(pauses[0].scope, PauseScope::Token);
        // Others wait as well; only one probe goes when it is time.
        let other = world.open(OpenChat::by(ADA).proven()).await;
        assert_eq!(world.calls_since(marker), ["conversation.get"], "{status}");
        world.pass(Duration::from_mins(16)).await;
        assert_eq!(world.calls_since(marker).len(), 2, "{status}: one probe");
        world.pass(Duration::from_mins(16)).await;
        assert_eq!(world.data(&session, "plan"), "starter", "{status}");
        assert_eq!(world.data(&other, "plan"), "starter", "{status}");
        let pauses = world.service.ledger.pauses().await.expect("readable");
        assert_eq!(pauses, [], "{status}");
        world.finish().await;
    }
}

#[tokio::test]
async fn a_pause_lasts_as_long_as_crisp_asks() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world.change_user("u1", "plan = 'starter'").await;
    world
        .sandbox
        .fault(Fault::status("conversation.get", 429).retry_after("40"));
    agent_looks(&mut world, &session).await;
    world.pass(Duration::from_secs(39)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.pass(Duration::from_secs(2)).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    world.finish().await;
}

/// The website cannot be served: its work waits, and goes on with the subscription, without waiting for a probe.
#[tokio::test]
async fn what_concerns_a_website_pauses_it_until_the_plugin_is_installed_again() {
    for (status, reason) in [
        (402, "plan_required"),
        (403, "forbidden"),
        (404, "not_subscribed"),
    ] {
        let (mut world, session) = ada_chats(World::start().await).await;
        world.change_user("u1", "plan = 'starter'").await;
        world
            .sandbox
            .fault(Fault::status("conversation.get", status));
        agent_looks(&mut world, &session).await;
        let pauses = world.service.ledger.pauses().await.expect("readable");
        assert_eq!(pauses.len(), 1, "{status}");
        assert_eq!(pauses[0].scope, PauseScope::Website);
        assert_eq!(pauses[0].reason, reason);
        world.settle().await;
        assert_eq!(world.data(&session, "plan"), "pro", "{status}");
        world
            .sandbox
            .subscribe(DEFAULT_WEBSITE, true)
            .expect("there");
        world.settle().await;
        assert_eq!(world.data(&session, "plan"), "starter", "{status}");
        world.finish().await;
    }
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again() {
    let reset = |when| Fault::reset("metas.update", when);
    let faults = [
        ("500", Fault::status("conversation.get", 500)),
        ("503", Fault::status("metas.update", 503).retry_after("5")),
        (
            "a load balancer's 404",
            Fault::status("conversation.get", 404).body(FaultBody::Html),
        ),
        (
            "a 200 that is no JSON",
            Fault::status("conversation.get", 200).body(FaultBody::Html),
        ),
        ("a reset before", reset(Reset::Before)),
        ("a reset after", reset(Reset::After)),
        (
            "an answer lost",
            Fault::status("metas.update", 502).but_applied(),
        ),
        (
            "the contact fails",
            Fault::status("people_data.update", 500),
        ),
    ];
    for (what, fault) in faults {
        let (mut world, session) = ada_chats(World::start().await).await;
        world.change_user("u1", "plan = 'starter'").await;
        world.sandbox.fault(fault);
        agent_looks(&mut world, &session).await;
        world.pass(Duration::from_mins(5)).await;
        assert_eq!(world.data(&session, "plan"), "starter", "{what}");
        assert_eq!(world.contact_data(ADA, "plan"), "starter", "{what}");
        assert_eq!(
            world.service.ledger.pauses().await.expect("readable"),
            [],
            "{what}"
        );
        world.finish().await;
    }
}

#[tokio::test]
async fn a_call_that_gets_no_answer_times_out_and_is_tried_again() {
    let world =
        World::with(|setup| setup.add("[crisp]\ntimeout = \"1s\"\nconnect_timeout = \"1s\"")).await;
    let (mut world, session) = ada_chats(world).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault {
        route: Some("conversation.get".to_owned()),
        hold: true,
        times: Some(0),
        ..Fault::default()
    });
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.sandbox.clear_faults();
    world.sandbox.release();
    world.pass(Duration::from_mins(5)).await;
    assert_eq!(world.data(&session, "plan"), "starter");
    world.finish().await;
}

#[tokio::test]
async fn a_conversation_that_crisp_does_not_have_is_given_up_quietly() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world.sandbox.fault(Fault {
        reason: Some("conversation_not_found".to_owned()),
        ..Fault::status("conversation.get", 404)
    });
    world
        .sandbox
        .change_identity(&session, Some(BEN), false)
        .expect("there");
    world.refresh().await;
    let row = world.work(WorkKind::Conversation, &session).await;
    assert!(row.is_none_or(|row| !row.is_pending()));
    world.finish().await;
}

/// A request that Crisp does not take will not be taken later either.
#[tokio::test]
async fn a_request_that_crisp_calls_invalid_is_buried_and_said_so() {
    let (mut world, session) = ada_chats(World::start().await).await;
    world.change_user("u1", "plan = 'starter'").await;
    world.sandbox.fault(Fault::status("metas.update", 400));
    agent_looks(&mut world, &session).await;
    let dead = world.service.ledger.dead(10).await.expect("readable");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].key, session);
    let error = dead[0].last_error.clone().unwrap_or_default();
    assert!(error.contains("invalid_data"), "{error}");
    world.finish_with_dead_letters(1).await;
}

#[tokio::test]
async fn observing_reads_and_writes_nothing_and_says_what_it_would() {
    let mut world =
        World::with(|setup| setup.replace("mode = \"live\"", "mode = \"observe\"")).await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world.pass(Duration::from_hours(1)).await;
    let written: Vec<_> = world
        .requests_since(0)
        .into_iter()
        .filter(|call| call.method != "GET" && call.method != "HEAD")
        .collect();
    assert!(written.is_empty(), "{written:?}");
    assert_eq!(world.data(&session, "plan"), "");
    let id = SessionId::parse(&session).expect("a session");
    let traces = world
        .service
        .ledger
        .traces(WorkKind::Conversation, &world.website, id.as_str())
        .await
        .expect("readable");
    assert_eq!(traces[0].trace.outcome, "would_patch");
    let detail = &traces[0].trace.detail;
    assert_eq!(detail["withheld"][0]["method"], "PATCH", "{detail}");
    let plan = detail["changes"]
        .as_array()
        .and_then(|changes| changes.iter().find(|change| change["name"] == "plan"));
    assert_eq!(plan.expect("it is among them")["after"], "pro");
    world.finish().await;
}

/// Live, after a while of observing: what was only noted down is now done.
#[tokio::test]
async fn going_live_does_what_observing_noted_down() {
    let mut world =
        World::with(|setup| setup.replace("mode = \"live\"", "mode = \"observe\"")).await;
    world.add_user("u1", ADA).await;
    let session = world.open(OpenChat::by(ADA).proven()).await;
    world
        .restart(|setup| setup.replace("mode = \"observe\"", "mode = \"live\""))
        .await;
    agent_looks(&mut world, &session).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn webhooks_twice_or_backwards_lead_to_the_same() {
    let mut world = World::start().await;
    world.add_user("u1", ADA).await;
    world.sandbox.hold_hooks(true);
    let session = world.sandbox.open_chat(OpenChat::by(ADA).proven());
    world.sandbox.reverse_hooks();
    world.sandbox.hold_hooks(false);
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.segments(&session), ["plan-pro", "status-active"]);
    let numbers: Vec<_> = world.sandbox.look(|state| {
        let hooks = state.hooks().iter();
        hooks.map(|hook| hook.number).collect()
    });
    for number in numbers {
        world.sandbox.redeliver(number).expect("it was sent");
    }
    world.pass(Duration::from_mins(30)).await;
    assert_eq!(world.data(&session, "plan"), "pro");
    assert_eq!(world.contact_data(ADA, "plan"), "pro");
    let writes = |name: &str| {
        let calls = world.calls_since(0);
        calls.into_iter().filter(|call| *call == name).count()
    };
    assert_eq!(writes("metas.update"), 1, "the same state is no request");
    assert_eq!(writes("people_data.update"), 1);
    world.finish().await;
}

crate::world::also_on_postgres! {
    a_first_opening_brings_the_context,
    an_agents_labels_stay_and_stale_ones_go_whether_crisp_merges_or_replaces,
    segments_that_crisp_merges_do_not_cost_a_request_for_ever,
    what_the_definition_no_longer_names_is_cleaned_up,
    what_a_visitor_forges_is_corrected_once_and_our_own_echo_is_not,
    whoever_forges_again_is_corrected_again,
    after_two_equal_corrections_the_form_is_accepted,
    a_row_that_cannot_be_read_stops_nobody_elses_look_ups,
    while_the_database_is_away_the_context_is_marked_as_stale_and_then_refreshed,
    a_stale_mark_does_not_outlive_the_outage,
    another_address_gets_another_persons_context,
    another_address_clears_the_previous_person_even_without_the_database,
    without_an_address_one_look_is_enough,
    an_address_the_app_does_not_know_gets_nothing_and_keeps_nothing_of_ours,
    of_several_accounts_the_first_row_counts_and_agents_are_told,
    a_removed_conversation_is_forgotten,
    a_contact_that_was_removed_is_not_written_again,
    what_concerns_the_token_pauses_every_call_until_a_probe_comes_through,
    a_pause_lasts_as_long_as_crisp_asks,
    what_concerns_a_website_pauses_it_until_the_plugin_is_installed_again,
    what_passes_by_itself_is_tried_again,
    a_call_that_gets_no_answer_times_out_and_is_tried_again,
    a_conversation_that_crisp_does_not_have_is_given_up_quietly,
    a_request_that_crisp_calls_invalid_is_buried_and_said_so,
    observing_reads_and_writes_nothing_and_says_what_it_would,
    going_live_does_what_observing_noted_down,
    webhooks_twice_or_backwards_lead_to_the_same,
}
