//! The webhook route: what gets in, what does not, and that the answer waits for the ledger and for nothing else.

use std::time::Duration;

use crisp_sync::{
    crisp::signature::sign,
    ledger::WorkKind,
    sandbox::{DEFAULT_WEBSITE, Fault, HookState, OpenChat, WebhookSettings},
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value as Json, json};
use sqlx::{Connection as _, Executor as _, SqliteConnection};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    telemetry,
    world::{OTHER_SECRET, SIGNING_SECRET, Setup, World},
};

const SESSION: &str = "session_5d0f6f1e-3c1b-4a3e-8a57-9f1f0a1b2c3d";
const ANOTHER_WEBSITE: &str = "11111111-2222-4333-8444-555555555555";

/// A body as Crisp writes it.
fn body(event: &str, website: &str, extra: Json) -> String {
    let mut data = json!({ "website_id": website, "session_id": SESSION });
    if let (Some(data), Json::Object(extra)) = (data.as_object_mut(), extra) {
        data.extend(extra);
    }
    json!({ "website_id": website, "event": event, "data": data, "timestamp": 1_772_442_000_000_i64 })
        .to_string()
}

/// A genuine delivery that asks for a refresh.
fn opened() -> String {
    body("session:set_opened", DEFAULT_WEBSITE, json!({}))
}

fn post(world: &World, body: &str) -> RequestBuilder {
    World::http()
        .post(world.webhook_url())
        .header("content-type", "application/json")
        .body(body.to_owned())
}

fn signed_at(world: &World, body: &str, secret: &str, timestamp: &str) -> RequestBuilder {
    post(world, body)
        .header("X-Crisp-Request-Timestamp", timestamp)
        .header(
            "X-Crisp-Signature",
            sign(secret, timestamp, body.as_bytes()),
        )
}

fn signed(world: &World, body: &str) -> RequestBuilder {
    let now = world.now().as_millisecond().to_string();
    signed_at(world, body, SIGNING_SECRET, &now)
}

/// The status, and that nobody is told anything but the status.
async fn status(request: RequestBuilder) -> u16 {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    let told = answer.text().await.expect("a body");
    assert!(
        told.is_empty() || ["accepted", "ignored", "foreign"].contains(&told.as_str()),
        "{status} says `{told}`"
    );
    status
}

fn webhooks(world: &World, outcome: &str, hook: &str) -> u64 {
    world.metric(&format!(
        "crisp_sync_webhooks_total{{outcome=\"{outcome}\",hook=\"{hook}\"}}"
    ))
}

/// The work that a test made by hand, on a conversation that Crisp does not have, ends as "gone".
async fn work_off(mut world: World) {
    world.settle().await;
    world.finish().await;
}

#[tokio::test]
async fn only_a_right_signature_gets_in() {
    let world = World::start().await;
    let now = world.now().as_millisecond().to_string();
    let body = opened();
    let genuine = sign(SIGNING_SECRET, &now, body.as_bytes());
    let (timestamp, signature) = ("X-Crisp-Request-Timestamp", "X-Crisp-Signature");
    let refused = [
        ("no headers", post(&world, &body)),
        (
            "no signature",
            post(&world, &body).header(timestamp, now.as_str()),
        ),
        (
            "no timestamp",
            post(&world, &body).header(signature, &genuine),
        ),
        (
            "another secret",
            signed_at(&world, &body, OTHER_SECRET, &now),
        ),
        (
            "another body",
            post(&world, &body.replace("opened", "closed"))
                .header(timestamp, now.as_str())
                .header(signature, &genuine),
        ),
        (
            "another timestamp",
            post(&world, &body)
                .header(timestamp, format!("{now}1"))
                .header(signature, &genuine),
        ),
        (
            "upper case",
            post(&world, &body)
                .header(timestamp, now.as_str())
                .header(signature, genuine.to_uppercase()),
        ),
        (
            "a prefix",
            post(&world, &body)
                .header(timestamp, now.as_str())
                .header(signature, format!("sha256={genuine}")),
        ),
    ];
    for (what, request) in refused {
        assert_eq!(status(request).await, 403, "{what}");
    }
    assert_eq!(world.deliveries().await, []);
    // The three that are well-formed, and of something else or by somebody else.
    assert_eq!(webhooks(&world, "refused", "plugin"), 3);
    assert_eq!(webhooks(&world, "refused", "none"), 5);
    assert_eq!(status(signed(&world, &body)).await, 200);
    assert_eq!(world.deliveries().await.len(), 1);
    work_off(world).await;
}

/// A recipe that goes around signs timestamp and body without anything between; whoever copied it must not get in by it.
#[tokio::test]
async fn the_recipe_without_brackets_is_refused() {
    let world = World::start().await;
    let vectors: Vec<Json> =
        serde_json::from_str(include_str!("../../fixtures/webhooks/signatures.json"))
            .expect("vectors");
    let vector = |name: &str| {
        let found = vectors
            .iter()
            .find(|vector| vector["name"].as_str().expect("a name").starts_with(name));
        let vector = found.expect("the vector is there");
        assert_eq!(vector["secret"], SIGNING_SECRET);
        let text = |key: &str| vector[key].as_str().expect("text").to_owned();
        post(&world, &text("body"))
            .header("X-Crisp-Request-Timestamp", text("timestamp"))
            .header("X-Crisp-Signature", text("signature"))
    };
    assert_eq!(status(vector("seed recipe")).await, 403);
    let genuine = status(vector("known answer")).await;
    assert_eq!(
        genuine, 400,
        "it verifies, and then it names no conversation: the signature was not the reason"
    );
    world.finish().await;
}

/// A marketplace plugin has a secret for development and one for production, and two of each while one is replaced.
#[tokio::test]
async fn any_configured_secret_may_have_signed() {
    let world = World::with(|setup| {
        setup.set(
            "CRISP_SIGNING_SECRETS",
            format!("{SIGNING_SECRET},{OTHER_SECRET}"),
        );
    })
    .await;
    let now = world.now().as_millisecond().to_string();
    for secret in [SIGNING_SECRET, OTHER_SECRET] {
        assert_eq!(
            status(signed_at(&world, &opened(), secret, &now)).await,
            200
        );
    }
    let stranger = "d".repeat(32);
    assert_eq!(
        status(signed_at(&world, &opened(), &stranger, &now)).await,
        403
    );
    work_off(world).await;
}

#[tokio::test]
async fn a_timestamp_may_count_seconds_or_milliseconds_and_an_old_one_is_late_not_wrong() {
    let world = World::start().await;
    let now = world.now();
    let hour_ago = now - Duration::from_hours(1);
    let table = [
        (now.as_second(), 0),
        (now.as_millisecond(), 0),
        (hour_ago.as_second(), 1),
        (hour_ago.as_millisecond(), 2),
    ];
    for (timestamp, late) in table {
        let request = signed_at(&world, &opened(), SIGNING_SECRET, &timestamp.to_string());
        assert_eq!(status(request).await, 200, "{timestamp}");
        assert_eq!(
            world.metric("crisp_sync_webhooks_late_total"),
            late,
            "{timestamp}"
        );
    }
    let signed: Vec<_> = world
        .deliveries()
        .await
        .into_iter()
        .filter_map(|delivery| delivery.signed_at)
        .collect();
    assert_eq!(signed, [hour_ago, hour_ago, now, now]);
    work_off(world).await;
}

#[tokio::test]
async fn website_hooks_are_off_until_a_key_is_configured() {
    let world = World::start().await;
    let request = World::http()
        .post(format!("{}?key=anything", world.webhook_url()))
        .body(opened());
    assert_eq!(status(request).await, 403);
    world.finish().await;
}

#[tokio::test]
async fn a_key_in_the_url_speaks_for_its_own_website_only() {
    let world = World::with(|setup| {
        setup.set("CRISP_WEBSITE_KEYS", format!("{DEFAULT_WEBSITE}=k+y/1"));
        setup.set(
            "CRISP_WEBSITES",
            format!("{DEFAULT_WEBSITE},{ANOTHER_WEBSITE}"),
        );
    })
    .await;
    let send = |key: &str, body: String| {
        World::http()
            .post(format!("{}?x=1&{key}", world.webhook_url()))
            .body(body)
    };
    assert_eq!(status(send("key=k%2By%2F1", opened())).await, 200);
    assert_eq!(status(send("key=wrong", opened())).await, 403);
    assert_eq!(status(send("key=", opened())).await, 403);
    let foreign = body("session:set_opened", ANOTHER_WEBSITE, json!({}));
    assert_eq!(
        status(send("key=k%2By%2F1", foreign)).await,
        403,
        "the key of one website proves nothing about another"
    );
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(deliveries[0].hook, "website");
    assert_eq!(webhooks(&world, "accepted", "website"), 1);
    // Signed hooks still come in beside it.
    assert_eq!(status(signed(&world, &opened())).await, 200);
    work_off(world).await;
}

/// The sandbox sends website hooks as Crisp does, so a whole opening works without a signature too.
#[tokio::test]
async fn a_whole_opening_works_over_website_hooks() {
    let mut world = World::with(|setup| {
        setup.set("CRISP_WEBSITE_KEYS", format!("{DEFAULT_WEBSITE}=k1"));
    })
    .await;
    world.add_user("u1", "ada@northwind.example").await;
    let url = world.webhook_url();
    world
        .sandbox
        .set_webhook(Some(WebhookSettings::keyed(url, "k1")));
    let session = world
        .open(OpenChat::by("ada@northwind.example").proven())
        .await;
    assert_eq!(world.data(&session, "plan"), "pro");
    world.finish().await;
}

#[tokio::test]
async fn what_is_signed_and_cannot_be_read_is_malformed() {
    let world = World::start().await;
    let bodies = [
        String::new(),
        "not json".to_owned(),
        "[]".to_owned(),
        json!({ "data": {} }).to_string(),
        json!({ "event": "message:send" }).to_string(),
        body("message:send", "not a website", json!({})),
        body("message:send", DEFAULT_WEBSITE, json!({ "session_id": 7 })),
        body(
            "message:send",
            DEFAULT_WEBSITE,
            json!({ "website_id": ANOTHER_WEBSITE }),
        ),
    ];
    let expected = bodies.len() as u64;
    for text in bodies {
        assert_eq!(status(signed(&world, &text)).await, 400, "{text}");
    }
    assert_eq!(webhooks(&world, "malformed", "plugin"), expected);
    assert_eq!(world.deliveries().await, []);
    world.finish().await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read() {
    let world =
        World::with(|setup| setup.replace("workers = 1", "workers = 1\nmax_body = \"4KiB\"")).await;
    let long = body(
        "message:send",
        DEFAULT_WEBSITE,
        json!({ "content": "x".repeat(5_000) }),
    );
    assert_eq!(status(signed(&world, &long)).await, 413);
    let fits = body(
        "session:set_opened",
        DEFAULT_WEBSITE,
        json!({ "content": "x".repeat(3_000) }),
    );
    assert_eq!(status(signed(&world, &fits)).await, 200);
    assert_eq!(webhooks(&world, "too_large", "none"), 1);
    work_off(world).await;
}

/// 503 is what makes Crisp try again; the retry is accepted and the opening is not lost.
#[tokio::test]
async fn a_delivery_that_cannot_be_committed_is_asked_for_again() {
    let mut world = World::with(|setup| {
        setup.needs_file = true;
        setup.add("[webhooks]\naccept_deadline = \"2s\"");
    })
    .await;
    world.add_user("u1", "ada@northwind.example").await;
    let mut other =
        SqliteConnection::connect(&format!("sqlite://{}", world.ledger_path().display()))
            .await
            .expect("the ledger is a file");
    other.execute("BEGIN IMMEDIATE").await.expect("locked");
    let session = world.sandbox.open_chat(OpenChat {
        verified: true,
        ..OpenChat::by("ada@northwind.example")
    });
    world.hooks_arrive().await;
    let states: Vec<_> = world.sandbox.look(|state| {
        let hooks = state.hooks().iter();
        hooks
            .map(|hook| (hook.state, hook.attempts[0].status))
            .collect()
    });
    assert!(!states.is_empty());
    for state in &states {
        assert_eq!(*state, (HookState::Failed, Some(503)));
    }
    assert_eq!(
        webhooks(&world, "unavailable", "plugin"),
        states.len() as u64
    );
    other.execute("COMMIT").await.expect("free again");
    assert_eq!(world.sandbox.retry_hooks(), states.len());
    world.refresh().await;
    assert_eq!(world.data(&session, "plan"), "pro");
    let second = world
        .deliveries()
        .await
        .into_iter()
        .filter(|delivery| delivery.attempt == Some(2))
        .count();
    assert_eq!(second, states.len(), "Crisp said which attempt it was");
    world.finish().await;
}

#[tokio::test]
async fn what_asks_for_nothing_is_acknowledged_and_not_stored() {
    let world = World::start().await;
    let uninteresting = [
        body("message:received", DEFAULT_WEBSITE, json!({})),
        body("an:event:of:tomorrow", DEFAULT_WEBSITE, json!({})),
        body(
            "session:set_state",
            DEFAULT_WEBSITE,
            json!({ "state": "resolved" }),
        ),
        body(
            "message:send",
            DEFAULT_WEBSITE,
            json!({ "from": "operator" }),
        ),
    ];
    for text in &uninteresting {
        assert_eq!(status(signed(&world, text)).await, 200, "{text}");
    }
    assert_eq!(webhooks(&world, "ignored", "plugin"), 4);
    let foreign = body("session:set_opened", ANOTHER_WEBSITE, json!({}));
    assert_eq!(status(signed(&world, &foreign)).await, 200);
    assert_eq!(webhooks(&world, "foreign", "plugin"), 1);
    assert_eq!(world.deliveries().await, []);
    assert_eq!(world.work(WorkKind::Conversation, SESSION).await, None);
    world.finish().await;
}

#[tokio::test]
async fn which_attempt_it_was_is_logged_and_kept() {
    let world = World::start().await;
    let marker = telemetry::marker();
    let request = signed(&world, &opened())
        .header("X-Delivery-Attempt-Count", "3")
        .header("X-Delivery-Attempt-Limit", "5")
        .header("X-Crisp-Hook-Origin", "plugin");
    assert_eq!(status(request).await, 200);
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries[0].attempt, Some(3));
    assert_eq!(deliveries[0].origin.as_deref(), Some("plugin"));
    let logged = telemetry::lines_since(marker).iter().any(|line| {
        line["event"] == "delivery.accepted"
            && line["attempt"] == 3
            && line["attempt_limit"] == 5
            && line["webhook.origin"] == "plugin"
    });
    assert!(logged, "the line names attempt and limit");
    let refused = post(&world, &opened())
        .header("X-Delivery-Attempt-Count", "4")
        .header("X-Delivery-Attempt-Limit", "5");
    assert_eq!(status(refused).await, 403);
    let logged = telemetry::lines_since(marker)
        .iter()
        .any(|line| line["event"] == "delivery.refused" && line["attempt"] == 4);
    assert!(logged, "so does the line about a refusal");
    work_off(world).await;
}

/// Crisp holds every answer and the app's database is away; deliveries are answered all the same.
#[tokio::test]
async fn the_answer_waits_for_neither_crisp_nor_the_database() {
    let mut world = World::with(Setup::impatient).await;
    world.add_user("u1", "ada@northwind.example").await;
    let session = world
        .open(OpenChat::by("ada@northwind.example").proven())
        .await;
    world.database_goes_down().await;
    world.sandbox.fault(Fault {
        route: Some("conversation.get".to_owned()),
        hold: true,
        ..Fault::default()
    });
    let opened = body(
        "session:set_email",
        DEFAULT_WEBSITE,
        json!({ "session_id": session, "email": "ada@northwind.example" }),
    );
    assert_eq!(status(signed(&world, &opened)).await, 200);
    world.clock.advance(Duration::from_secs(1));
    let worker = world.service.worker.clone();
    let marker = world.marker();
    let working = tokio::spawn(async move { worker.step().await });
    world
        .sandbox
        .wait_until("the refresh waits for Crisp", |state| {
            state.calls().count("conversation.get", marker) == 1
        })
        .await
        .expect("it was asked");
    for _ in 0..3 {
        assert_eq!(status(signed(&world, &opened)).await, 200);
    }
    assert!(!working.is_finished(), "Crisp still holds its answer");
    world.database_comes_back().await;
    world.sandbox.release();
    working.await.expect("no panic").expect("the ledger works");
    world.pass(Duration::from_mins(2)).await;
    world.finish().await;
}

#[tokio::test]
async fn who_sends_too_slowly_is_told_so() {
    let world = World::with(|setup| {
        setup.replace("workers = 1", "workers = 1\nrequest_timeout = \"300ms\"");
    })
    .await;
    let address = world.server.as_ref().expect("it listens").address;
    let mut stream = tokio::net::TcpStream::connect(address)
        .await
        .expect("connected");
    let signature = "0".repeat(64);
    let head = format!(
        "POST /webhooks/crisp HTTP/1.1\r\nhost: x\r\nx-crisp-request-timestamp: 1\r\nx-crisp-signature: {signature}\r\ncontent-length: 100\r\n\r\n{{\"half"
    );
    stream.write_all(head.as_bytes()).await.expect("sent");
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut answer))
        .await
        .expect("an answer within the time for bodies")
        .expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 408");
    assert_eq!(webhooks(&world, "incomplete", "none"), 1);
    world.finish().await;
}

#[tokio::test]
async fn only_the_route_and_the_method_that_are_served_answer() {
    let world = World::start().await;
    let table = [
        (Method::GET, "/webhooks/crisp", 405),
        (Method::PUT, "/webhooks/crisp", 405),
        (Method::POST, "/webhooks/other", 404),
        (Method::GET, "/", 404),
        (Method::GET, "/metrics", 404),
        (Method::GET, "/healthz", 200),
        (Method::GET, "/readyz", 200),
    ];
    for (method, path, expected) in table {
        let shown = format!("{method} {path}");
        let answer = World::http()
            .request(method, world.public_url(path))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{shown}");
    }
    world.finish().await;
}

#[tokio::test]
async fn a_path_prefix_stands_before_every_public_route() {
    let world = World::with(|setup| setup.set("CRISP_SYNC_PATH_PREFIX", "/crisp-sync")).await;
    assert_eq!(status(signed(&world, &opened())).await, 200);
    for (path, expected) in [
        ("/crisp-sync/readyz", 200),
        ("/readyz", 404),
        ("/webhooks/crisp", 404),
    ] {
        let answer = World::http()
            .get(world.public_url(path))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), expected, "{path}");
    }
    work_off(world).await;
}

/// Payloads as Crisp sends them.
#[tokio::test]
async fn every_recorded_payload_is_accepted() {
    let mut world = World::start().await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/webhooks");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).expect("the fixtures are there") {
        let path = entry.expect("readable").path();
        if path.ends_with("signatures.json") {
            continue;
        }
        let body = std::fs::read_to_string(&path).expect("readable");
        assert_eq!(
            status(signed(&world, &body)).await,
            200,
            "{}",
            path.display()
        );
        count += 1;
    }
    assert!(count >= 16, "{count} fixtures");
    // The conversation is not one that this Crisp knows: that is an end, not a fault.
    world.settle().await;
    while world.run_due().await {}
    world.finish().await;
}
