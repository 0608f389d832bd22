//! The stand-in for Crisp keeps what `crisp` promises of the real one.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_web::{HttpRequest, HttpResponse, web};
use crisp_sync::{
    clock::Clock,
    crisp::signature::{self, SigningSecrets},
    sandbox::{
        Author, Behaviour, DEFAULT_TOKEN_IDENTIFIER, DEFAULT_TOKEN_KEY, DEFAULT_WEBSITE, Fault,
        FaultBody, HookState, LabelEdit, OpenChat, Reset, Sandbox, SandboxSettings, Semantics,
        TokenSettings, WebhookSettings,
    },
};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

const SECRET: &str = "914a657d8cc2efbc20593f1806f9bde2";

fn clock() -> Clock {
    Clock::standing_at(jiff::Timestamp::from_second(1_800_000_000).expect("in range"))
}

fn start() -> Sandbox {
    start_as(|_| {})
}

fn start_as(change: impl FnOnce(&mut SandboxSettings)) -> Sandbox {
    let mut settings = SandboxSettings::default();
    change(&mut settings);
    Sandbox::start(settings, clock()).expect("starts")
}

/// A REST client with the default token.
struct Api {
    http: reqwest::Client,
    base: String,
    key: String,
    tier: &'static str,
}

impl Api {
    fn of(sandbox: &Sandbox) -> Self {
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        Self {
            http: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(10))
                .build()
                .expect("a client"),
            base: sandbox.rest_url(),
            key: DEFAULT_TOKEN_KEY.to_owned(),
            tier: "plugin",
        }
    }

    fn request(&self, method: Method, path: &str, body: Option<Json>) -> reqwest::RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .basic_auth(DEFAULT_TOKEN_IDENTIFIER, Some(&self.key))
            .header("x-crisp-tier", self.tier);
        match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(body.to_string()),
            None => request,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Json>) -> (u16, Json) {
        let answer = self
            .request(method, path, body)
            .send()
            .await
            .expect("an answer");
        assert!(answer.headers().contains_key("request-id"), "{path}");
        let status = answer.status().as_u16();
        let text = answer.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Json) {
        self.call(Method::GET, &site(path), None).await
    }

    async fn post(&self, path: &str, body: Json) -> (u16, Json) {
        self.call(Method::POST, &site(path), Some(body)).await
    }

    async fn patch(&self, path: &str, body: Json) -> (u16, Json) {
        self.call(Method::PATCH, &site(path), Some(body)).await
    }
}

fn site(path: &str) -> String {
    format!("website/{DEFAULT_WEBSITE}/{path}")
}

fn reason(answer: &(u16, Json)) -> (u16, &str) {
    (answer.0, answer.1["reason"].as_str().unwrap_or("none"))
}

fn card(email: &str) -> Json {
    json!({"email": email, "person": {"nickname": "Ada"}})
}

/// What a receiver got: headers it cares for, and the body.
#[derive(Clone, Debug)]
struct Received {
    timestamp: String,
    signature: Option<String>,
    count: String,
    limit: String,
    query: String,
    body: Vec<u8>,
}

impl Received {
    fn event(&self) -> String {
        let body: Json = serde_json::from_slice(&self.body).expect("JSON");
        body["event"].as_str().expect("a name").to_owned()
    }
}

#[derive(Clone, Default)]
struct Inbox {
    received: Arc<Mutex<Vec<Received>>>,
    /// Answers to give, last one first; 200 when there is none.
    answers: Arc<Mutex<Vec<u16>>>,
}

impl Inbox {
    fn all(&self) -> Vec<Received> {
        self.received.lock().expect("whole").clone()
    }

    fn events(&self) -> Vec<String> {
        self.all().iter().map(Received::event).collect()
    }
}

async fn receive(request: HttpRequest, body: web::Bytes, inbox: web::Data<Inbox>) -> HttpResponse {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map(|value| value.to_str().expect("plain").to_owned())
    };
    inbox.received.lock().expect("whole").push(Received {
        timestamp: header("x-crisp-request-timestamp").expect("always there"),
        signature: header("x-crisp-signature"),
        count: header("x-delivery-attempt-count").expect("always there"),
        limit: header("x-delivery-attempt-limit").expect("always there"),
        query: request.query_string().to_owned(),
        body: body.to_vec(),
    });
    let status = inbox.answers.lock().expect("whole").pop().unwrap_or(200);
    HttpResponse::build(actix_web::http::StatusCode::from_u16(status).expect("a status")).finish()
}

/// A sandbox whose webhooks go to a receiver on its own port.
fn start_with_receiver(behaviour: Behaviour) -> (Sandbox, Inbox) {
    let inbox = Inbox::default();
    let served = inbox.clone();
    let settings = SandboxSettings {
        behaviour,
        ..SandboxSettings::default()
    };
    let sandbox = Sandbox::start_with(settings, clock(), move |config| {
        config
            .app_data(web::Data::new(served.clone()))
            .route("/receiver", web::post().to(receive));
    })
    .expect("starts");
    sandbox.set_webhook(Some(WebhookSettings::signed(
        format!("{}/receiver", sandbox.url()),
        SECRET,
    )));
    (sandbox, inbox)
}

#[tokio::test]
async fn an_opening_is_told_in_crisps_order_and_signed() {
    let (sandbox, inbox) = start_with_receiver(Behaviour::default());
    let session = sandbox.open_chat(OpenChat::by("ada@example.org").proven());
    sandbox.hooks_idle().await.expect("delivered");
    assert_eq!(
        inbox.events(),
        [
            "message:send",
            "session:set_email",
            "session:update_verify",
            "people:profile:created",
            "people:bind:session",
        ]
    );
    let secrets = SigningSecrets::new([SECRET.to_owned().into()]);
    for received in inbox.all() {
        signature::verify_plugin(
            &secrets,
            Some(received.timestamp.as_bytes()),
            received.signature.as_deref().map(str::as_bytes),
            received.body.clone().into(),
        )
        .expect("verifies");
        assert_eq!(
            (received.count.as_str(), received.limit.as_str()),
            ("1", "5")
        );
    }
    let message: Json = serde_json::from_slice(&inbox.all()[0].body).expect("JSON");
    assert_eq!(message["data"]["from"], "user");
    assert_eq!(message["data"]["user"]["user_id"], session.as_str());

    // Again, resolved in between: nothing about the identity, but a new state.
    sandbox.set_state(&session, "resolved").expect("there");
    sandbox.open_chat(OpenChat::by("ada@example.org").proven().again_in(&session));
    sandbox.hooks_idle().await.expect("delivered");
    assert_eq!(
        inbox.events()[5..],
        ["session:set_state", "message:send", "session:set_state"]
    );
    sandbox.stop().await;
}

#[tokio::test]
async fn an_email_conversation_names_its_visitor_by_address() {
    let (sandbox, inbox) = start_with_receiver(Behaviour::default());
    sandbox.open_chat(OpenChat::by("ada@example.org").by_email_channel());
    sandbox.hooks_idle().await.expect("delivered");
    let message: Json = serde_json::from_slice(&inbox.all()[0].body).expect("JSON");
    assert_eq!(message["data"]["origin"], "email");
    assert_eq!(message["data"]["user"]["user_id"], "ada@example.org");
}

#[tokio::test]
async fn a_website_hook_has_a_key_and_no_signature() {
    let (sandbox, inbox) = start_with_receiver(Behaviour::default());
    sandbox.set_webhook(Some(WebhookSettings::keyed(
        format!("{}/receiver", sandbox.url()),
        "a key&more",
    )));
    sandbox.open_chat(OpenChat::default());
    sandbox.hooks_idle().await.expect("delivered");
    let received = &inbox.all()[0];
    assert_eq!(received.signature, None);
    assert_eq!(received.query, "key=a+key%26more");
}

#[tokio::test]
async fn failed_webhooks_are_sent_again_up_to_the_limit() {
    let (sandbox, inbox) = start_with_receiver(Behaviour {
        attempt_limit: 2,
        ..Behaviour::default()
    });
    *inbox.answers.lock().expect("whole") = vec![500, 503];
    sandbox.open_chat(OpenChat::default());
    sandbox.hooks_idle().await.expect("tried");
    assert_eq!(
        sandbox.look(|state| state.hooks()[0].state),
        HookState::Failed
    );
    assert_eq!(sandbox.retry_hooks(), 1);
    sandbox.hooks_idle().await.expect("tried");
    assert_eq!(
        sandbox.look(|state| state.hooks()[0].state),
        HookState::Lost
    );
    assert_eq!(sandbox.retry_hooks(), 0, "what is lost is lost");
    let counts: Vec<_> = inbox
        .all()
        .into_iter()
        .map(|received| received.count)
        .collect();
    assert_eq!(counts, ["1", "2"]);
    sandbox.redeliver(1).expect("there");
    sandbox.hooks_idle().await.expect("tried");
    assert_eq!(inbox.all().len(), 3, "a duplicate on demand");
}

#[tokio::test]
async fn webhooks_overtake_one_another_on_demand() {
    let (sandbox, inbox) = start_with_receiver(Behaviour::default());
    sandbox.hold_hooks(true);
    sandbox.open_chat(OpenChat::by("ada@example.org"));
    sandbox.reverse_hooks();
    assert!(inbox.all().is_empty());
    sandbox.hold_hooks(false);
    sandbox.hooks_idle().await.expect("delivered");
    assert_eq!(
        inbox.events(),
        [
            "people:bind:session",
            "people:profile:created",
            "session:set_email",
            "message:send"
        ]
    );
}

#[tokio::test]
async fn rest_writes_come_back_as_webhooks() {
    let (sandbox, inbox) = start_with_receiver(Behaviour::default());
    let session = sandbox.open_chat(OpenChat::by("ada@example.org"));
    sandbox.hooks_idle().await.expect("delivered");
    let before = inbox.all().len();
    let api = Api::of(&sandbox);
    api.patch(
        &format!("conversation/{session}/meta"),
        json!({"data": {"plan": "pro"}, "segments": ["plan-pro"]}),
    )
    .await;
    api.patch(
        "people/data/ada@example.org",
        json!({"data": {"plan": "pro"}}),
    )
    .await;
    sandbox.hooks_idle().await.expect("delivered");
    assert_eq!(
        inbox.events()[before..],
        [
            "session:set_data",
            "session:set_segments",
            "people:profile:updated"
        ]
    );
    sandbox.behave(|behaviour| behaviour.echoes = false);
    api.patch(
        "people/data/ada@example.org",
        json!({"data": {"plan": "free"}}),
    )
    .await;
    sandbox.hooks_idle().await.expect("delivered");
    assert_eq!(inbox.all().len(), before + 3);
}

#[tokio::test]
async fn contacts_are_made_and_found() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    // Nothing without a contact.
    for answer in [
        api.patch("people/profile/ada@example.org", json!({"segments": []}))
            .await,
        api.patch("people/data/ada@example.org", json!({"data": {"a": 1}}))
            .await,
        api.post(
            "people/events/ada@example.org",
            json!({"text": "user:signup"}),
        )
        .await,
        api.get("people/profile/ada@example.org").await,
    ] {
        assert_eq!(reason(&answer), (404, "people_not_found"));
    }
    assert_eq!(
        sandbox.unexpected().len(),
        0,
        "a missing contact is no mistake"
    );

    let created = api.post("people/profile", card("ada+x@example.org")).await;
    assert_eq!(reason(&created), (201, "added"));
    let id = created.1["data"]["people_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let again = api.post("people/profile", card("Ada+X@example.org")).await;
    assert_eq!(again.0, 409);

    // By id, by address, raw and encoded.
    for person in [
        id.as_str(),
        "ada+x@example.org",
        "ada%2Bx%40example.org",
        "ADA+x@example.org",
    ] {
        let profile = api.get(&format!("people/profile/{person}")).await;
        assert_eq!(reason(&profile), (200, "resolved"), "{person}");
        assert_eq!(profile.1["data"]["person"]["nickname"], "Ada");
    }
    let head = api
        .request(Method::HEAD, &site(&format!("people/profile/{id}")), None)
        .send()
        .await
        .expect("an answer");
    assert_eq!(head.status(), StatusCode::OK);
}

#[tokio::test]
async fn profiles_are_patched_and_saved() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let id = sandbox.create_contact("ada+x@example.org", "Ada");
    // Partial and whole.
    api.patch(
        &format!("people/profile/{id}"),
        json!({"company": {"name": "Acme"}, "segments": ["a", "b"]}),
    )
    .await;
    api.patch(
        &format!("people/profile/{id}"),
        json!({"person": {"gender": "female"}, "segments": ["b"]}),
    )
    .await;
    let profile = api.get(&format!("people/profile/{id}")).await.1["data"].clone();
    assert_eq!(profile["company"]["name"], "Acme");
    assert_eq!(
        profile["person"],
        json!({"nickname": "Ada", "gender": "female"})
    );
    assert_eq!(profile["segments"], json!(["b"]));
    let put = api
        .call(
            Method::PUT,
            &site(&format!("people/profile/{id}")),
            Some(card("ada+x@example.org")),
        )
        .await;
    assert_eq!(put.0, 200);
    let profile = api.get(&format!("people/profile/{id}")).await.1["data"].clone();
    assert_eq!(
        (&profile["company"], &profile["segments"]),
        (&Json::Null, &json!([]))
    );
}

#[tokio::test]
async fn contact_data_merges_and_needs_its_wrapper() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let id = sandbox.create_contact("ada+x@example.org", "Ada");
    // Data merges, nests twice, and needs its wrapper.
    api.patch(&format!("people/data/{id}"), json!({"data": {"a": 1}}))
        .await;
    api.patch(&format!("people/data/{id}"), json!({"data": {"b": true}}))
        .await;
    let data = api.get(&format!("people/data/{id}")).await;
    assert_eq!(data.1["data"], json!({"data": {"a": 1, "b": true}}));
    let bare = api
        .patch(&format!("people/data/{id}"), json!({"a": 2}))
        .await;
    assert_eq!(reason(&bare), (400, "invalid_data"));
    assert_eq!(sandbox.unexpected().len(), 1);
    api.call(
        Method::PUT,
        &site(&format!("people/data/{id}")),
        Some(json!({"data": {"c": 1}})),
    )
    .await;
    assert_eq!(
        sandbox.look(|state| state.contact(&id).map(|contact| contact.labels.data.len())),
        Some(1)
    );
}

#[tokio::test]
async fn events_are_listed_and_held_to_limits() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let id = sandbox.create_contact("ada+x@example.org", "Ada");
    // Events, newest first, and what Crisp refuses.
    let event = json!({"text": "user:signup", "data": {"plan": "pro"}, "color": "green"});
    assert_eq!(
        reason(&api.post(&format!("people/events/{id}"), event).await),
        (201, "added")
    );
    api.post(
        &format!("people/events/{id}"),
        json!({"text": "user:import:completed"}),
    )
    .await;
    let listed = api.get(&format!("people/events/{id}/list/1")).await;
    assert_eq!(reason(&listed), (200, "listed"));
    assert_eq!(listed.1["data"][0]["text"], "user:import:completed");
    assert_eq!(listed.1["data"][1]["color"], "green");
    for body in [
        json!([]),
        json!({"text": "a", "color": null}),
        json!({"text": "a", "color": "teal"}),
        json!({"text": "x".repeat(81)}),
    ] {
        let refused = api.post(&format!("people/events/{id}"), body).await;
        assert_eq!(reason(&refused), (400, "invalid_data"));
    }
    let gone = api
        .call(Method::DELETE, &site(&format!("people/profile/{id}")), None)
        .await;
    assert_eq!(gone.0, 200);
    assert_eq!(api.get(&format!("people/data/{id}")).await.0, 404);
}

#[tokio::test]
async fn conversations_over_rest() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let session = sandbox.open_chat(OpenChat::by("ada@example.org").proven());
    let path = format!("conversation/{session}");
    let whole = api.get(&path).await.1["data"].clone();
    assert_eq!(whole["is_verified"], true);
    assert_eq!(whole["verifications"][0]["annotation"], "ada@example.org");
    assert_eq!(whole["meta"]["email"], "ada@example.org");
    assert_eq!(whole["meta"]["origin"], "chat");
    assert!(whole["people_id"].is_string());
    // What the service's own reading makes of it.
    serde_json::from_value::<crisp_sync::crisp::model::Conversation>(whole)
        .expect("the shape we read");

    assert_eq!(
        api.get(&format!("{path}/verify")).await.1["data"]["verified"],
        true
    );
    assert_eq!(
        api.get(&format!("{path}/state")).await.1["data"]["state"],
        "pending"
    );
    api.patch(&format!("{path}/state"), json!({"state": "resolved"}))
        .await;
    assert_eq!(
        api.patch(&format!("{path}/state"), json!({"state": "lost"}))
            .await
            .0,
        400
    );
    assert_eq!(
        api.patch(&format!("{path}/open"), json!({"opened": true}))
            .await
            .0,
        200
    );
    for _ in 0..11 {
        sandbox.open_chat(OpenChat::default());
    }
    let count = async |query: &str, page: u32| {
        let listed = api.get(&format!("conversations/{page}?{query}")).await;
        listed.1["data"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(count("per_page=10", 1).await, 10);
    assert_eq!(count("per_page=10", 2).await, 2);
    assert_eq!(count("filter_not_resolved=1", 1).await, 11);
    assert_eq!(count("filter_resolved=1", 1).await, 1);
    assert_eq!(api.get("conversations/1?per_page=5").await.0, 416);
    assert_eq!(api.get("conversations/0").await.0, 400);
    let removed = api.call(Method::DELETE, &site(&path), None).await;
    assert_eq!(removed.0, 200);
    assert_eq!(
        reason(&api.get(&path).await),
        (404, "conversation_not_found")
    );
}

#[tokio::test]
async fn merge_or_replace_is_a_switch() {
    for (semantics, data, segments) in [
        (Semantics::Replace, json!({"b": 2}), json!(["y"])),
        (Semantics::Merge, json!({"a": 1, "b": 2}), json!(["x", "y"])),
    ] {
        let sandbox = start_as(|settings| {
            settings.behaviour.session_data = semantics;
            settings.behaviour.session_segments = semantics;
            settings.behaviour.contact_segments = semantics;
        });
        let api = Api::of(&sandbox);
        let session = sandbox.open_chat(OpenChat::by("ada@example.org"));
        let path = format!("conversation/{session}/meta");
        api.patch(&path, json!({"data": {"a": 1}, "segments": ["x"]}))
            .await;
        api.patch(&path, json!({"nickname": "Ada"})).await;
        api.patch(&path, json!({"data": {"b": 2}, "segments": ["y"]}))
            .await;
        let metas = api.get(&path).await.1["data"].clone();
        assert_eq!(
            (&metas["data"], &metas["segments"]),
            (&data, &segments),
            "{semantics:?}"
        );
        assert_eq!(metas["nickname"], "Ada");
        let person = "people/profile/ada@example.org";
        api.patch(person, json!({"segments": ["x"]})).await;
        api.patch(person, json!({"segments": ["y"]})).await;
        assert_eq!(api.get(person).await.1["data"]["segments"], segments);
    }
}

#[tokio::test]
async fn strangers_are_turned_away() {
    let sandbox = start();
    let mut api = Api::of(&sandbox);
    assert_eq!(
        api.call(Method::HEAD, "plugin/connect/session", None)
            .await
            .0,
        200
    );
    let account = api.call(Method::GET, "plugin/connect/account", None).await;
    assert!(account.1["data"]["plugin_id"].is_string());
    let websites = api
        .call(Method::GET, "plugin/connect/websites/all/1", None)
        .await;
    assert_eq!(websites.1["data"][0]["website_id"], DEFAULT_WEBSITE);
    let foreign = api.call(Method::GET, "website/11111111-0000", None).await;
    assert_eq!(reason(&foreign), (404, "not_subscribed"));
    sandbox.subscribe(DEFAULT_WEBSITE, false).expect("there");
    assert_eq!(
        reason(&api.get("conversations/1").await),
        (404, "not_subscribed")
    );
    sandbox.subscribe(DEFAULT_WEBSITE, true).expect("there");
    sandbox.set_tokens(vec![TokenSettings {
        scopes: Some(vec!["website:people:data:read".to_owned()]),
        ..TokenSettings::default()
    }]);
    sandbox.create_contact("ada@example.org", "Ada");
    assert_eq!(api.get("people/data/ada@example.org").await.0, 200);
    assert_eq!(
        api.patch("people/data/ada@example.org", json!({"data": {}}))
            .await
            .0,
        403
    );
    assert_eq!(api.get("conversations/1").await.0, 403);
    let website = api
        .call(Method::GET, site("").trim_end_matches('/'), None)
        .await;
    assert_eq!(website.0, 200, "needs no scope");
    api.tier = "website";
    assert_eq!(
        reason(&api.get("conversations/1").await),
        (403, "restricted_route_tier")
    );
    api.tier = "plugin";
    api.key = "wrong".to_owned();
    assert_eq!(
        reason(&api.get("conversations/1").await),
        (401, "invalid_session")
    );
    assert!(sandbox.unexpected().is_empty());
    assert_eq!(api.get("people/nonsense").await.0, 404);
    assert_eq!(sandbox.unexpected()[0].what, "GET unknown route");
}

#[tokio::test]
async fn faults_shape_answers_once() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    sandbox.create_contact("ada@example.org", "Ada");
    let path = "people/data/ada@example.org";
    for (status, body) in [
        (401, FaultBody::Json),
        (402, FaultBody::Json),
        (403, FaultBody::Json),
        (404, FaultBody::Html),
        (420, FaultBody::Empty),
        (423, FaultBody::Json),
        (429, FaultBody::Json),
        (502, FaultBody::Html),
    ] {
        sandbox.fault(
            Fault::status("people_data.update", status)
                .body(body)
                .retry_after("7"),
        );
        let answer = api
            .request(
                Method::PATCH,
                &site(path),
                Some(json!({"data": {"a": status}})),
            )
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(answer.headers()["retry-after"], "7");
        let text = answer.text().await.expect("a body");
        assert_eq!(text.is_empty(), body == FaultBody::Empty);
        assert_eq!(text.starts_with('{'), body == FaultBody::Json);
    }
    let data = || {
        sandbox.look(|state| {
            state
                .contact("ada@example.org")
                .expect("there")
                .labels
                .data
                .clone()
        })
    };
    sandbox.fault(Fault::status("people_data.update", 200).body(FaultBody::Half));
    let change = Some(json!({"data": {"a": 1}}));
    let half = api.request(Method::PATCH, &site(path), change).send().await;
    let half = half.expect("a head").text().await;
    assert!(half.is_err(), "{half:?}");
    assert!(data().is_empty(), "refused is not applied");
    sandbox.fault(Fault::status("people_data.update", 500).but_applied());
    assert_eq!(api.patch(path, json!({"data": {"a": 1}})).await.0, 500);
    assert_eq!(data()["a"], 1, "an error after the fact");
    assert_eq!(
        api.patch(path, json!({"data": {"a": 2}})).await.0,
        200,
        "and it is over"
    );
    assert!(sandbox.look(|state| {
        state
            .calls()
            .all()
            .iter()
            .take(8)
            .all(|call| call.faulted && !call.applied)
    }));
}

#[tokio::test]
async fn a_cut_connection_says_nothing_of_what_was_done() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    sandbox.create_contact("ada@example.org", "Ada");
    for (reset, applied) in [(Reset::Before, 0), (Reset::After, 1)] {
        sandbox.fault(Fault::reset("people_event.add", reset));
        let error = api
            .request(
                Method::POST,
                &site("people/events/ada@example.org"),
                Some(json!({"text": "user:signup"})),
            )
            .send()
            .await
            .expect_err("no answer");
        assert!(error.is_request() && !error.is_timeout(), "{error:?}");
        let count = sandbox.look(|state| {
            state
                .contact("ada@example.org")
                .expect("there")
                .events
                .len()
        });
        assert_eq!(count, applied, "{reset:?}");
        let call = sandbox.calls_since(0).pop().expect("journalled");
        assert_eq!((call.status, call.applied), (None, applied == 1));
    }
}

#[tokio::test]
async fn late_is_late_by_the_clock_or_on_demand() {
    let clock = clock();
    let sandbox = Sandbox::start(SandboxSettings::default(), clock.clone()).expect("starts");
    let api = Api::of(&sandbox);
    sandbox.create_contact("ada@example.org", "Ada");
    let post = async || {
        sandbox.fault(Fault::applied_late(
            "people_event.add",
            Duration::from_mins(1),
        ));
        api.request(
            Method::POST,
            &site("people/events/ada@example.org"),
            Some(json!({"text": "user:signup"})),
        )
        .send()
        .await
        .expect_err("no answer");
    };
    let count = async || {
        let listed = api.get("people/events/ada@example.org/list/1").await;
        listed.1["data"].as_array().map_or(0, Vec::len)
    };
    post().await;
    clock.advance(Duration::from_secs(59));
    assert_eq!(count().await, 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(count().await, 1);
    post().await;
    assert_eq!(sandbox.apply_late(), 1);
    assert_eq!(count().await, 2);
    let late: Vec<_> = sandbox
        .calls_since(0)
        .into_iter()
        .filter(|call| call.faulted)
        .collect();
    assert!(
        late.iter()
            .all(|call| call.applied && call.status.is_none()),
        "{late:?}"
    );
}

#[tokio::test]
async fn an_older_claim_must_not_write_last() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let session = sandbox.open_chat(OpenChat::by("ada@example.org"));
    let other = sandbox.open_chat(OpenChat::by("bob@example.org"));
    let write = async |session: &str, stamp: Option<&str>| {
        let path = site(&format!("conversation/{session}/meta"));
        let mut request = api.request(Method::PATCH, &path, Some(json!({"data": {"plan": "pro"}})));
        if let Some(stamp) = stamp {
            request = request.header("X-Request-Id", stamp);
        }
        drop(request.send().await);
    };
    let listed = async || {
        let (_, body) = control(&sandbox, Method::GET, "violations", Json::Null).await;
        body["violations"].as_array().expect("a list").clone()
    };
    // Newer and equal ones, somebody else's, and those that say nothing or something else.
    for stamp in ["1.1", "1.2", "2.1", "2.1", "10.1"] {
        write(&session, Some(stamp)).await;
    }
    write(&other, Some("1.1")).await;
    for stamp in [None, Some("nonsense"), Some("9f8e"), Some("1.x")] {
        write(&session, stamp).await;
    }
    assert_eq!(listed().await, [] as [Json; 0]);
    // What did not take effect did no harm; a read does none either.
    sandbox.fault(Fault::status("metas.update", 503));
    write(&session, Some("9.1")).await;
    let read = api
        .request(Method::GET, &site(&format!("conversation/{session}")), None)
        .header("X-Request-Id", "9.1");
    read.send().await.expect("an answer");
    assert_eq!(listed().await, [] as [Json; 0]);
    // It takes effect late: the answer was lost, the next claim wrote, then the older one came through.
    sandbox.fault(Fault::applied_late("metas.update", Duration::from_mins(1)));
    write(&session, Some("10.2")).await;
    write(&session, Some("10.3")).await;
    let newer = sandbox.calls_since(0).last().expect("a call").number;
    assert_eq!(sandbox.apply_late(), 1);
    write(&session, Some("9.7")).await;
    let found = listed().await;
    let stamps: Vec<_> = found
        .iter()
        .map(|one| (one["stamp"].as_str(), one["newer"].as_str()))
        .collect();
    assert_eq!(
        stamps,
        [(Some("10.2"), Some("10.3")), (Some("9.7"), Some("10.3"))]
    );
    assert_eq!(found[0]["after"], newer);
    assert_eq!(found[0]["about"], session);
    let calls = sandbox.calls_since(0);
    assert_eq!(calls[0].stamp.as_deref(), Some("1.1"));
}

#[tokio::test]
async fn of_a_person_the_older_claim_must_not_write_last_either() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let path = site("people/profile");
    let create = api.request(Method::POST, &path, Some(card("ada@example.org")));
    create
        .header("X-Request-Id", "4.2")
        .send()
        .await
        .expect("an answer");
    let path = site("people/data/ada@example.org");
    let body = Some(json!({"data": {"plan": "pro"}}));
    let update = api.request(Method::PATCH, &path, body);
    update
        .header("X-Request-Id", "4.1")
        .send()
        .await
        .expect("an answer");
    let violations = sandbox.look(|state| state.calls().violations().to_vec());
    let [violation] = violations.as_slice() else {
        panic!("{violations:?}");
    };
    assert_eq!((violation.call, violation.after), (2, 1));
}

#[tokio::test]
async fn a_held_answer_waits_for_its_release() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    let session = sandbox.open_chat(OpenChat::default());
    sandbox.fault(Fault {
        route: Some("conversation.get".to_owned()),
        hold: true,
        ..Fault::default()
    });
    let path = format!("conversation/{session}");
    let (answer, ()) = tokio::join!(api.get(&path), async {
        sandbox
            .wait_until("the request arrived", |state| {
                state.calls().count("conversation.get", 0) == 1
            })
            .await
            .expect("arrives");
        sandbox.release();
    });
    assert_eq!(answer.0, 200);
}

#[tokio::test]
async fn lists_are_capped_and_cached_on_demand() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    sandbox.create_contact("ada@example.org", "Ada");
    let post = async |text: &str| {
        api.post("people/events/ada@example.org", json!({"text": text}))
            .await
    };
    let list = async || {
        let answer = api
            .request(
                Method::GET,
                &site("people/events/ada@example.org/list/1"),
                None,
            )
            .send()
            .await
            .expect("an answer");
        let bloom = answer.headers()["bloom-status"]
            .to_str()
            .expect("plain")
            .to_owned();
        let json: Json = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        (bloom, json["data"].as_array().map_or(0, Vec::len))
    };
    post("one").await;
    sandbox.behave(|behaviour| behaviour.cached_lists = true);
    assert_eq!(list().await, ("MISS".to_owned(), 1));
    post("two").await;
    assert_eq!(list().await, ("HIT".to_owned(), 1), "stale");
    sandbox.flush_cache();
    assert_eq!(list().await, ("MISS".to_owned(), 2));
    sandbox.behave(|behaviour| {
        behaviour.cached_lists = false;
        behaviour.list_cap = Some(1);
    });
    assert_eq!(list().await, ("MISS".to_owned(), 1));
    sandbox.behave(|behaviour| {
        behaviour.list_cap = None;
        behaviour.page_size = 1;
    });
    assert_eq!(list().await, ("MISS".to_owned(), 1), "a page of two");
}

#[tokio::test]
async fn agents_visitors_and_the_service_are_told_apart() {
    let sandbox = start_as(|settings| settings.behaviour.session_data_flows_into_contacts = true);
    let api = Api::of(&sandbox);
    let session = sandbox.open_chat(OpenChat {
        data: json!({"plan": "enterprise"})
            .as_object()
            .expect("an object")
            .clone(),
        segments: vec!["plan-enterprise".to_owned()],
        ..OpenChat::by("ada@example.org")
    });
    assert_eq!(
        sandbox.look(
            |state| state.contact("ada@example.org").expect("there").labels.data["plan"].clone()
        ),
        "enterprise",
        "it flowed"
    );
    sandbox
        .edit_session(
            &session,
            Author::Agent,
            LabelEdit {
                segments: vec!["vip".to_owned()],
                remove_segments: vec!["plan-enterprise".to_owned()],
                ..LabelEdit::default()
            },
        )
        .expect("there");
    api.patch(
        &format!("conversation/{session}/meta"),
        json!({"segments": ["vip", "plan-pro"]}),
    )
    .await;
    sandbox.look(|state| {
        let labels = &state.conversation(&session).expect("there").labels;
        assert_eq!(labels.segment_authors["vip"], Author::Agent);
        assert_eq!(labels.segment_authors["plan-pro"], Author::Service);
        assert_eq!(labels.segment_authors.len(), 2);
        assert_eq!(labels.data_authors["plan"], Author::Visitor);
        assert_eq!(state.calls_of_opening(&session).len(), 1);
    });
    let other = Sandbox::edit_contact(
        &sandbox,
        "nobody@example.org",
        Author::Agent,
        LabelEdit::default(),
    );
    assert!(other.is_err());
}

#[tokio::test]
async fn a_changed_address_voids_its_proof() {
    let sandbox = start();
    let session = sandbox.open_chat(OpenChat::by("ada@example.org").proven());
    sandbox
        .change_identity(&session, Some("grace@example.org"), false)
        .expect("there");
    sandbox.look(|state| {
        let conversation = state.conversation(&session).expect("there");
        assert!(!conversation.is_verified && conversation.verifications.is_empty());
        let contact = state.contact("grace@example.org").expect("made");
        assert_eq!(
            conversation.people_id.as_deref(),
            Some(contact.people_id.as_str())
        );
    });
    sandbox.behave(|behaviour| behaviour.creates_contacts = false);
    sandbox
        .change_identity(&session, Some("new@example.org"), false)
        .expect("there");
    assert!(sandbox.look(|state| state.contact("new@example.org").is_none()));
    let people = sandbox.create_contact("new@example.org", "New");
    assert_eq!(
        sandbox.look(|state| state
            .conversation(&session)
            .expect("there")
            .people_id
            .clone()),
        Some(people),
        "a contact takes in who waited for it"
    );
}

async fn control(sandbox: &Sandbox, method: Method, path: &str, body: Json) -> (u16, Json) {
    let answer = Api::of(sandbox)
        .http
        .request(method, format!("{}/sandbox/{path}", sandbox.url()))
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .expect("an answer");
    let status = answer.status().as_u16();
    let text = answer.text().await.expect("a body");
    (status, serde_json::from_str(&text).expect("JSON"))
}

#[tokio::test]
async fn the_control_api_does_what_the_methods_do() {
    let sandbox = start();
    let opened = control(&sandbox,
        Method::POST,
        "conversations",
        json!({"email": "ada@example.org", "verified": true, "channel": "chat", "data": {"a": 1}, "segments": ["b"]}),
    )
    .await;
    assert_eq!(opened.0, 201);
    let session = opened.1["session_id"].as_str().expect("an id").to_owned();
    let of = |path: &str| format!("conversations/{session}/{path}");
    for (path, body) in [
        (of("message"), json!({"text": "again"})),
        (of("identity"), json!({"email": "grace@example.org"})),
        (of("opened"), json!({})),
        (of("initiated"), json!({})),
        (of("state"), json!({"state": "resolved"})),
        (
            of("labels"),
            json!({"by": "visitor", "segments": ["plan-enterprise"], "remove_data": ["a"]}),
        ),
        (
            "contacts/ada@example.org/labels".to_owned(),
            json!({"data": {"note": "kind"}}),
        ),
        (
            "contacts/ada@example.org/events".to_owned(),
            json!({"text": "page:viewed", "color": "grey"}),
        ),
        (
            "faults".to_owned(),
            json!({"route": "website.get", "status": 429, "retry_after": "3"}),
        ),
        ("release".to_owned(), json!({})),
        ("flush-cache".to_owned(), json!({})),
        (
            "hooks".to_owned(),
            json!({"event": "session:sync:pages", "session_id": session}),
        ),
        (
            "hooks/hold".to_owned(),
            json!({"held": true, "reverse": true}),
        ),
        (
            "subscription".to_owned(),
            json!({"website_id": DEFAULT_WEBSITE, "bound": true}),
        ),
    ] {
        let answer = control(&sandbox, Method::POST, &path, body).await;
        assert_eq!(answer.0, 200, "{path}: {}", answer.1);
    }
    let seen = control(&sandbox, Method::GET, "state", json!({})).await.1;
    assert_eq!(
        seen["conversations"][0]["segments"],
        json!(["b", "plan-enterprise"])
    );
    let journal = control(&sandbox, Method::GET, "hooks?after=0", json!({}))
        .await
        .1;
    assert_eq!(journal["hooks"][0]["body"]["event"], "message:send");
    assert_eq!(journal["hooks"][0]["state"], "no_receiver");
    assert_eq!(
        control(&sandbox, Method::GET, "calls?after=0", json!({}))
            .await
            .1["calls"],
        json!([])
    );
    let one = control(
        &sandbox,
        Method::GET,
        &format!("conversations/{session}"),
        json!({}),
    )
    .await
    .1;
    assert_eq!(one["contact"]["email"], "grace@example.org");
}

#[tokio::test]
async fn the_control_api_says_no() {
    let sandbox = start();
    let nobody = control(
        &sandbox,
        Method::POST,
        "conversations/session_x/opened",
        json!({}),
    )
    .await;
    assert_eq!(nobody.0, 404);
    let typo = control(&sandbox, Method::POST, "faults", json!({"rout": "x"})).await;
    assert_eq!(typo.0, 400);
    let settings = control(
        &sandbox,
        Method::PATCH,
        "settings",
        json!({"behaviour": {"session_data": "merge"}}),
    )
    .await;
    assert_eq!(settings.1["behaviour"]["session_data"], "merge");
    assert_eq!(
        control(
            &sandbox,
            Method::PATCH,
            "settings",
            json!({"behaviour": {"x": 1}})
        )
        .await
        .0,
        400
    );
    let late = control(&sandbox, Method::POST, "apply-late", json!({})).await;
    assert_eq!(late.1["count"], 0);
    for webhook in [
        json!({"url": "http://127.0.0.1:1/"}),
        json!({"url": "x", "secret": "a", "url_key": "b"}),
    ] {
        let refused = control(
            &sandbox,
            Method::PATCH,
            "settings",
            json!({"webhook": webhook}),
        )
        .await;
        assert_eq!(refused.0, 400);
    }
    let plain = Api::of(&sandbox)
        .http
        .post(format!("{}/sandbox/hooks/hold", sandbox.url()))
        .body(r#"{"held":true}"#)
        .send()
        .await
        .expect("an answer");
    assert_eq!(plain.status(), 400, "a form of another site is not obeyed");
}

#[tokio::test]
async fn the_long_poll_answers_at_the_next_change() {
    let sandbox = start();
    let session = sandbox.open_chat(OpenChat::by("ada@example.org"));
    let seen = control(&sandbox, Method::GET, "state", json!({})).await.1;
    let version = seen["version"].as_u64().expect("a number");
    let path = format!("state?after={version}&wait=20000");
    let (news, ()) = tokio::join!(control(&sandbox, Method::GET, &path, json!({})), async {
        sandbox.message(&session, "hello").expect("there");
    });
    assert!(news.1["version"].as_u64() > Some(version));
    assert_eq!(news.1["conversations"][0]["messages"][1]["text"], "hello");
}

#[tokio::test]
async fn each_opening_has_its_cost() {
    let sandbox = start();
    sandbox.behave(|behaviour| behaviour.creates_contacts = false);
    let api = Api::of(&sandbox);
    let other = sandbox.open_chat(OpenChat::by("grace@example.org"));
    let session = sandbox.open_chat(OpenChat::by("ada@example.org"));
    api.get(&format!("conversation/{session}")).await;
    api.patch(
        "people/data/ada@example.org",
        json!({"data": {"plan": "pro"}}),
    )
    .await;
    api.post("people/profile", card("ada@example.org")).await;
    api.patch(
        "people/data/ada@example.org",
        json!({"data": {"plan": "pro"}}),
    )
    .await;
    api.get(&format!("conversation/{other}")).await;
    let names = || {
        sandbox.look(|state| {
            state
                .calls_of_opening(&session)
                .iter()
                .map(|call| call.name)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        names(),
        [
            "conversation.get",
            "people_data.update",
            "profile.create",
            "people_data.update"
        ],
        "also what was refused, and nothing of others"
    );
    sandbox.operator_opens(&session).expect("there");
    assert!(names().is_empty());
    api.get(&format!("conversation/{session}")).await;
    let seen = control(&sandbox, Method::GET, "state", json!({})).await.1;
    let openings = &seen["conversations"][1]["openings"];
    assert_eq!(
        (&openings[0]["by"], &openings[1]["by"]),
        (&json!("agent"), &json!("visitor"))
    );
    let counts = [0, 1].map(|place: usize| openings[place]["calls"].as_array().map(Vec::len));
    assert_eq!(counts, [Some(1), Some(4)]);

    // A new conversation of somebody known starts from what the agent knew.
    let again = sandbox.open_chat(OpenChat::by("ada@example.org").by_email_channel());
    let plan = sandbox.look(|state| {
        state
            .conversation(&again)
            .expect("there")
            .opening
            .before
            .contact
            .data["plan"]
            .clone()
    });
    assert_eq!(plan, "pro");
}

#[tokio::test]
async fn the_page_brings_everything_itself() {
    let sandbox = start();
    let api = Api::of(&sandbox);
    for (path, kind) in [
        ("/", "text/html"),
        ("/inbox.css", "text/css"),
        ("/inbox.js", "text/javascript"),
    ] {
        let answer = api
            .http
            .get(format!("{}{path}", sandbox.url()))
            .send()
            .await
            .expect("an answer");
        assert_eq!(answer.status(), 200);
        assert!(
            answer.headers()["content-type"]
                .to_str()
                .expect("plain")
                .starts_with(kind)
        );
        let policy = answer.headers()["content-security-policy"]
            .to_str()
            .expect("plain")
            .to_owned();
        assert!(policy.starts_with("default-src 'self'"));
        let text = answer.text().await.expect("a body");
        for elsewhere in ["http://", "https://", "innerHTML", " style=", "onclick="] {
            assert!(!text.contains(elsewhere), "{path} holds {elsewhere}");
        }
    }
}

#[tokio::test]
async fn an_address_in_use_is_said() {
    let sandbox = start();
    let bind = sandbox.address().to_string();
    let settings = SandboxSettings {
        bind: bind.clone(),
        ..SandboxSettings::default()
    };
    let error = Sandbox::start(settings, clock()).expect_err("taken");
    assert!(error.to_string().contains(&bind), "{error}");
}
